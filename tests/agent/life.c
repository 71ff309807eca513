/* SPDX-License-Identifier: MIT */
/*
 * Lives through what processes live through. Lines, each answered by "ok":
 *
 *     tick N             hits app:tick N times
 *     fork N             a child hits it N times and exits; waits
 *     forks N            N children, one hit each, and in each a thread with one more
 *     rawfork N          the same by the system call alone
 *     vfork N            a vfork child hits it N times, and _exits
 *     clonevm N          a clone(CLONE_VM) child does
 *     spawn FILE         posix_spawn; waits
 *     run FILE IN HOW    runs a program with IN as its input; HOW: fork, vfork, shell
 *     exec               runs itself again
 *     threads N M        N threads at once, each hits it M times
 *     churn N M          N threads, one after another
 *     cancel             a thread is cancelled between hits
 *     closeall           closes every descriptor above 2
 *     fds                prints the descriptors open
 *     newuser, setns, chroot, setuid UID, seccomp
 *     load FILE N        dlopen, N hits by its hit(), dlclose
 *     keep FILE          dlopen; again N: N hits by its hit()
 *     loop FILE N        the same N times, with one hit each
 *     block              blocks every signal
 *     unmap N            strings whose page another thread unmaps, N times
 *     unmapheap N        strings on the heap: there, with a page that another thread unmaps, and not there; N times each
 *     altstack N         hits N times in a signal handler on a stack of its own
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/probe.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

PROBE_DECLARE(app, say, (const char *text), (text));

__attribute__((noipa)) static void tick(long i)
{
	STAP_PROBE1(app, tick, i);
}

__attribute__((noipa)) static void speak(const char *what)
{
	say(what);
}

static void ticks(long n)
{
	for (long i = 0; i < n; i++)
		tick(i);
}

static void reap(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		printf("no child: %s\n", strerror(errno));
	else if (status)
		printf("child ended with %x\n", status);
}

static void *thread_ticks(void *n)
{
	ticks((long)n);
	return NULL;
}

static int vm_child(void *n)
{
	ticks((long)n);
	return 0;
}

static void *endless(void *unused)
{
	for (;;) {
		tick(0);
		pthread_testcancel();
	}
	return unused;
}

static void threads(long n, long each)
{
	pthread_t *ids = calloc(n, sizeof(*ids));

	for (long i = 0; i < n; i++)
		if (pthread_create(&ids[i], NULL, thread_ticks, (void *)each))
			printf("no thread\n");
	for (long i = 0; i < n; i++)
		pthread_join(ids[i], NULL);
	free(ids);
}

static void churn(long n, long each)
{
	pthread_t id;

	for (long i = 0; i < n; i++) {
		pthread_create(&id, NULL, thread_ticks, (void *)each);
		pthread_join(id, NULL);
	}
}

static void forks(long n)
{
	for (long i = 0; i < n; i++) {
		pid_t pid = fork();

		if (!pid) {
			tick(i);
			threads(1, 1);
			exit(0);
		}
		reap(pid);
	}
}

static void load(const char *file, long n, long hits)
{
	for (long i = 0; i < n; i++) {
		void *library = dlopen(file, RTLD_NOW);
		void (*hit)(long);

		if (!library) {
			printf("%s\n", dlerror());
			return;
		}
		hit = (void (*)(long))dlsym(library, "hit");
		for (long k = 0; k < hits; k++)
			hit(k);
		dlclose(library);
	}
}

static void (*kept)(long);

static void keep(const char *file)
{
	void *library = dlopen(file, RTLD_NOW);

	if (library)
		kept = (void (*)(long))dlsym(library, "hit");
	else
		printf("%s\n", dlerror());
}

static void forbid(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(*filter), filter };

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		printf("seccomp: %s\n", strerror(errno));
}

static char *volatile page;
static volatile int unmapping;

static void *unmapper(void *unused)
{
	while (unmapping) {
		mmap(page, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		char *fresh = mmap(page, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		memset(fresh, 'x', 100);
	}
	return unused;
}

static void unmap(long n)
{
	pthread_t id;

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unmapping = 1;
	pthread_create(&id, NULL, unmapper, NULL);
	for (long i = 0; i < n; i++)
		speak(page);
	unmapping = 0;
	pthread_join(id, NULL);
	munmap(page, 4096);
}

/* The same within the heap, which is read another way where there is one thread only: then, with two, and with none of it. */
static void unmap_heap(long n)
{
	char *edge = sbrk(3 * 4096);
	pthread_t id;

	page = (char *)(((unsigned long)edge + 4095) & -4096ul);
	strcpy(page + 4096 - 8, "on the heap, on two pages");
	for (long i = 0; i < n; i++)
		speak(page + 4096 - 8);
	memset(page, 'x', 100);
	page[100] = 0;
	unmapping = 1;
	pthread_create(&id, NULL, unmapper, NULL);
	for (long i = 0; i < n; i++)
		speak(page);
	unmapping = 0;
	pthread_join(id, NULL);
	mprotect(page, 4096, PROT_NONE);
	for (long i = 0; i < n; i++)
		speak(page);
	mprotect(page, 4096, PROT_READ | PROT_WRITE);
	strcpy(page + 4096 - 8, "on the heap, on two pages");
	mprotect(page + 4096, 4096, PROT_NONE);
	for (long i = 0; i < n; i++)
		speak(page + 4096 - 8);
	mprotect(page + 4096, 4096, PROT_READ | PROT_WRITE);
}

static long in_handler;

static void handler(int sig)
{
	char text[] = "on another stack";

	(void)sig;
	for (long i = 0; i < in_handler; i++) {
		tick(i);
		speak(text);
	}
}

static void altstack(long n)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	size_t size = sysconf(_SC_MINSIGSTKSZ) + 2048;
	char *room = mmap(NULL, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = { .ss_size = size };

	size = (size + 4095) & -4096ul;
	stack.ss_size = size;
	stack.ss_sp = room + 4096;
	mprotect(stack.ss_sp, size, PROT_READ | PROT_WRITE);
	sigaltstack(&stack, NULL);
	in_handler = n;
	sigaction(SIGUSR2, &action, NULL);
	raise(SIGUSR2);
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
	munmap(room, size + 4096);
}

static void *alt_thread(void *n)
{
	altstack((long)n);
	return NULL;
}

static void run(const char *file, const char *in, const char *how)
{
	char command[700];
	pid_t pid;

	snprintf(command, sizeof(command), "%s <%s >/dev/null; true", file, in);
	if (!strcmp(how, "shell")) {
		fflush(stdout);
		if (system(command)) {}
		return;
	}
	pid = !strcmp(how, "vfork") ? vfork() : fork();
	if (!pid) {
		int fd = open(in, O_RDONLY);

		dup2(fd, 0);
		dup2(open("/dev/null", O_WRONLY), 1);
		execl(file, file, NULL);
		_exit(9);
	}
	reap(pid);
}

int main(int argc, char **argv)
{
	char line[900], word[300], word2[300], how[20];
	static char vm_stack[65536];
	long n, m;

	(void)argc;
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "tick %ld", &n) == 1) {
			ticks(n);
		} else if (sscanf(line, "fork %ld", &n) == 1) {
			pid_t pid = fork();

			if (!pid) {
				ticks(n);
				exit(0);
			}
			reap(pid);
		} else if (sscanf(line, "forks %ld", &n) == 1) {
			forks(n);
		} else if (sscanf(line, "rawfork %ld", &n) == 1) {
#ifdef SYS_fork
			pid_t pid = syscall(SYS_fork);
#else
			pid_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif

			if (!pid) {
				ticks(n);
				_exit(0);
			}
			reap(pid);
		} else if (sscanf(line, "vfork %ld", &n) == 1) {
			pid_t pid = vfork();

			if (!pid) {
				ticks(n);
				_exit(0);
			}
			reap(pid);
		} else if (sscanf(line, "clonevm %ld", &n) == 1) {
			reap(clone(vm_child, vm_stack + sizeof(vm_stack), CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)n));
		} else if (sscanf(line, "spawn %299s", word) == 1) {
			char *args[] = { word, NULL };
			extern char **environ;
			pid_t pid = -1;

			posix_spawn(&pid, word, NULL, NULL, args, environ);
			reap(pid);
		} else if (sscanf(line, "run %299s %299s %19s", word, word2, how) == 3) {
			run(word, word2, how);
		} else if (!strcmp(line, "exec\n")) {
			printf("ok\n");
			fflush(stdout);
			execv("/proc/self/exe", argv);
		} else if (sscanf(line, "threads %ld %ld", &n, &m) == 2) {
			threads(n, m);
		} else if (sscanf(line, "churn %ld %ld", &n, &m) == 2) {
			churn(n, m);
		} else if (!strcmp(line, "cancel\n")) {
			pthread_t id;

			pthread_create(&id, NULL, endless, NULL);
			usleep(20000);
			pthread_cancel(id);
			pthread_join(id, NULL);
		} else if (!strcmp(line, "closeall\n")) {
			for (int fd = 3; fd < 1024; fd++)
				close(fd);
			printf("%d\n", open("/dev/null", O_RDONLY));
		} else if (!strcmp(line, "fds\n")) {
			if (system("ls /proc/$PPID/fd | tr '\\n' ' '; echo")) {}
		} else if (!strcmp(line, "newuser\n")) {
			printf("%s\n", unshare(CLONE_NEWUSER) ? strerror(errno) : "done");
		} else if (!strcmp(line, "setns\n")) {
			int fd = open("/proc/self/ns/mnt", O_RDONLY);

			printf("%s\n", setns(fd, CLONE_NEWNS) ? strerror(errno) : "done");
			close(fd);
		} else if (!strcmp(line, "chroot\n")) {
			printf("%s\n", chroot("/tmp") || chdir("/") ? strerror(errno) : "done");
		} else if (sscanf(line, "setuid %ld", &n) == 1) {
			printf("%s\n", setuid(n) ? strerror(errno) : "done");
		} else if (!strcmp(line, "seccomp\n")) {
			forbid();
		} else if (sscanf(line, "load %299s %ld", word, &n) == 2) {
			load(word, 1, n);
		} else if (sscanf(line, "keep %299s", word) == 1) {
			keep(word);
		} else if (sscanf(line, "again %ld", &n) == 1) {
			for (long i = 0; i < n; i++)
				kept(i);
		} else if (sscanf(line, "loop %299s %ld", word, &n) == 2) {
			load(word, n, 1);
		} else if (!strcmp(line, "block\n")) {
			unsigned long all = ~0ul;

			syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
		} else if (sscanf(line, "unmap %ld", &n) == 1) {
			unmap(n);
		} else if (sscanf(line, "unmapheap %ld", &n) == 1) {
			unmap_heap(n);
		} else if (sscanf(line, "altstack %ld", &n) == 1) {
			pthread_t id;

			altstack(n);
			pthread_create(&id, NULL, alt_thread, (void *)n);
			pthread_join(id, NULL);
		} else if (!strncmp(line, "exit", 4)) {
			return 0;
		}
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
