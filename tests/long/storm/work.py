# SPDX-License-Identifier: MIT
# For long/storm.sh: a Python program that runs one round for each line of input and prints the same result each time.
import gc, hashlib, json, os, subprocess, sys, threading, zlib


class Odd(Exception):
    pass


def recursive(n):
    if n == 0:
        raise Odd("bottom")
    return recursive(n - 1) + 1


def data(seed):
    x, out = seed, []
    for i in range(2000):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        out.append({"n": x, "text": str(x)[::-1], "list": [x % 7, x % 11, None, x % 2 == 0]})
    return out


def work(seed, results):
    text = json.dumps(data(seed))
    packed = zlib.compress(text.encode())
    back = json.loads(zlib.decompress(packed))
    ring = []
    ring.append(ring)
    caught = 0
    for depth in range(50):
        try:
            recursive(depth)
        except Odd:
            caught += 1
    with open(sys.argv[1], "rb") as file:
        content = file.read()
    results[seed] = hashlib.sha256(json.dumps(back).encode() + content).hexdigest() + str(caught)


def forked(seed):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        results = {}
        work(seed, results)
        os.write(writer, results[seed].encode())
        os._exit(7)
    os.close(writer)
    text = b""
    while part := os.read(reader, 100):
        text += part
    os.close(reader)
    return text.decode() + str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def round():
    results = {}
    threads = [threading.Thread(target=work, args=(seed, results)) for seed in range(6)]
    for thread in threads:
        thread.start()
    child = subprocess.run([sys.executable, "-c", "import hashlib, sys\n"
                            "print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest(), end='')\nsys.exit(5)"],
                           input=json.dumps(data(99)).encode(), stdout=subprocess.PIPE)
    for thread in threads:
        thread.join()
    gc.collect()
    parts = [results[seed] for seed in sorted(results)] + [child.stdout.decode(), str(child.returncode), forked(77)]
    return "round " + hashlib.sha256(" ".join(parts).encode()).hexdigest() + " ended with " + str(child.returncode) + " and " + parts[-1][65:]


print("ready", flush=True)
while sys.stdin.readline():
    print(round(), flush=True)
