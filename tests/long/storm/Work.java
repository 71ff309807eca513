// SPDX-License-Identifier: MIT
// For long/storm.sh: a Java program that runs one round for each line of input and prints the same result each time.
import java.io.*;
import java.nio.file.*;
import java.security.*;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.atomic.*;
import java.util.zip.*;

public class Work {
	static class Odd extends Exception {
		final long value;
		Odd(long value) { this.value = value; }
	}
	static long thrower(long n) throws Odd {
		if (n % 3 == 0)
			throw new Odd(n * n);
		return n;
	}
	static long exceptions(int seed) {
		long sum = 0;
		for (long i = seed; i < seed + 2000; i++)
			try {
				sum += thrower(i);
			} catch (Odd odd) {
				sum ^= odd.value;
			}
		return sum;
	}
	static long garbage(int seed) throws Exception {
		Map<String, byte[]> map = new HashMap<>();
		Random random = new Random(seed);
		for (int i = 0; i < 3000; i++) {
			byte[] bytes = new byte[random.nextInt(2000)];
			random.nextBytes(bytes);
			map.put("key" + random.nextInt(300), bytes);
		}
		MessageDigest digest = MessageDigest.getInstance("SHA-256");
		for (String key : new TreeSet<>(map.keySet())) {
			digest.update(key.getBytes());
			digest.update(map.get(key));
		}
		CRC32 crc = new CRC32();
		crc.update(digest.digest());
		return crc.getValue();
	}
	static final Object monitor = new Object();
	static long shared;
	static long locks(int seed) throws Exception {
		for (int i = 0; i < 500; i++)
			synchronized (monitor) {
				shared += seed + i;
				if (i % 100 == 0)
					monitor.wait(0, 1000);
			}
		return 0;
	}
	static long files(Path file) throws Exception {
		Adler32 adler = new Adler32();
		byte[] bytes = new byte[999];
		try (InputStream in = new FileInputStream(file.toFile())) {
			for (int n; (n = in.read(bytes)) > 0; )
				adler.update(bytes, 0, n);
		}
		adler.update(Files.readAllBytes(file));
		return adler.getValue();
	}
	static String round(Path file) throws Exception {
		AtomicLong sum = new AtomicLong();
		AtomicReference<Throwable> wrong = new AtomicReference<>();
		shared = 0;
		for (int generation = 0; generation < 3; generation++) {
			List<Thread> threads = new ArrayList<>();
			for (int i = 0; i < 6; i++) {
				int seed = generation * 6 + i;
				Thread thread = new Thread(() -> {
					try {
						sum.addAndGet(exceptions(seed) + garbage(seed) + locks(seed) + files(file));
					} catch (Throwable t) {
						wrong.set(t);
					}
				}, "worker-" + seed);
				thread.start();
				threads.add(thread);
			}
			System.gc();
			for (Thread thread : threads)
				thread.join();
		}
		long parallel = java.util.stream.LongStream.range(0, 100000).parallel().map(i -> i * i % 7919).sum();
		if (wrong.get() != null)
			return "wrong " + wrong.get();
		return "round " + sum + " " + shared + " " + parallel;
	}
	public static void main(String[] args) throws Exception {
		Path file = Paths.get(args[0]);
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in));
		System.out.println("ready");
		while (in.readLine() != null)
			System.out.println(round(file));
	}
}
