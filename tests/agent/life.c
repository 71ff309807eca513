/* SPDX-License-Identifier: MIT */
/*
 * Does what processes do. Reads lines, and replies "ok" to each:
 *
 *     tick N             hits app:tick N times
 *     fork N             a child hits N times and exits; waits
 *     forks N            N children with one hit each, and in each a thread with one more
 *     rawfork N          as fork, by the system call alone
 *     vfork N            a vfork child hits N times and calls _exit
 *     clonevm N          a clone(CLONE_VM) child does
 *     spawn FILE         posix_spawn; waits
 *     run FILE IN HOW    runs a program with IN as its input; HOW: fork, vfork, shell
 *     exec               runs itself again
 *     threads N M        N threads at once, each hits M times
 *     churn N M          N threads, one after another
 *     cancel             a thread is cancelled between hits
 *     closeall           closes every descriptor above 2
 *     fds                prints the open descriptors
 *     newuser, setns, chroot, setuid UID, seccomp
 *     load FILE N        dlopen, N hits by its hit(), dlclose
 *     keep FILE          dlopen; again N: N hits by its hit()
 *     loop FILE N        N times: load with one hit
 *     block              blocks every signal
 *     unmap N            N strings whose page another thread unmaps
 *     unmapheap N        N strings on the heap, N with a page that another thread unmaps, N that are not mapped
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
#include <stdbool.h>
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

#define PAGE ((size_t)sysconf(_SC_PAGESIZE))

static char *volatile page;
static volatile int unmapping;

static void *unmapper(void *unused)
{
	while (unmapping) {
		mmap(page, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		char *fresh = mmap(page, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		memset(fresh, 'x', 100);
	}
	return unused;
}

static void unmap(long n)
{
	pthread_t id;

	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unmapping = 1;
	pthread_create(&id, NULL, unmapper, NULL);
	for (long i = 0; i < n; i++)
		speak(page);
	unmapping = 0;
	pthread_join(id, NULL);
	munmap(page, PAGE);
}

/*
 * The same in the heap, which is read in another way if there is only one thread: with one thread, with two, unmapped.
 */
static void unmap_heap(long n)
{
	char *edge = sbrk(3 * PAGE);
	pthread_t id;

	page = (char *)(((unsigned long)edge + PAGE - 1) & -PAGE);
	strcpy(page + PAGE - 8, "on the heap, on two pages");
	for (long i = 0; i < n; i++)
		speak(page + PAGE - 8);
	memset(page, 'x', 100);
	page[100] = 0;
	unmapping = 1;
	pthread_create(&id, NULL, unmapper, NULL);
	for (long i = 0; i < n; i++)
		speak(page);
	unmapping = 0;
	pthread_join(id, NULL);
	mprotect(page, PAGE, PROT_NONE);
	for (long i = 0; i < n; i++)
		speak(page);
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	strcpy(page + PAGE - 8, "on the heap, on two pages");
	mprotect(page + PAGE, PAGE, PROT_NONE);
	for (long i = 0; i < n; i++)
		speak(page + PAGE - 8);
	mprotect(page + PAGE, PAGE, PROT_READ | PROT_WRITE);
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
	char *room = mmap(NULL, size + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t stack = { .ss_size = size };

	size = (size + PAGE - 1) & -PAGE;
	stack.ss_size = size;
	stack.ss_sp = room + PAGE;
	mprotect(stack.ss_sp, size, PROT_READ | PROT_WRITE);
	sigaltstack(&stack, NULL);
	in_handler = n;
	sigaction(SIGUSR2, &action, NULL);
	raise(SIGUSR2);
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
	munmap(room, size + PAGE);
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

/* ---- commands ---- */

/* The arguments in a line. */
struct command_args {
	char word[300], word2[300], how[20];
	long n, m;
	char **argv; /* of main() */
};

static void do_tick(const struct command_args *a)
{
	ticks(a->n);
}

static void do_fork(const struct command_args *a)
{
	pid_t pid = fork();

	if (!pid) {
		ticks(a->n);
		exit(0);
	}
	reap(pid);
}

static void do_forks(const struct command_args *a)
{
	forks(a->n);
}

static void do_rawfork(const struct command_args *a)
{
#ifdef SYS_fork
	pid_t pid = syscall(SYS_fork);
#else
	pid_t pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
#endif

	if (!pid) {
		ticks(a->n);
		_exit(0);
	}
	reap(pid);
}

static void do_vfork(const struct command_args *a)
{
	pid_t pid = vfork();

	if (!pid) {
		ticks(a->n);
		_exit(0);
	}
	reap(pid);
}

static void do_clonevm(const struct command_args *a)
{
	static char stack[65536];

	reap(clone(vm_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)a->n));
}

static void do_spawn(const struct command_args *a)
{
	char *args[] = { (char *)a->word, NULL };
	extern char **environ;
	pid_t pid = -1;

	posix_spawn(&pid, a->word, NULL, NULL, args, environ);
	reap(pid);
}

static void do_run(const struct command_args *a)
{
	run(a->word, a->word2, a->how);
}

static void do_exec(const struct command_args *a)
{
	printf("ok\n");
	fflush(stdout);
	execv("/proc/self/exe", a->argv);
}

static void do_threads(const struct command_args *a)
{
	threads(a->n, a->m);
}

static void do_churn(const struct command_args *a)
{
	churn(a->n, a->m);
}

static void do_cancel(const struct command_args *a)
{
	pthread_t id;

	(void)a;
	pthread_create(&id, NULL, endless, NULL);
	usleep(20000);
	pthread_cancel(id);
	pthread_join(id, NULL);
}

static void do_closeall(const struct command_args *a)
{
	(void)a;
	for (int fd = 3; fd < 1024; fd++)
		close(fd);
	printf("%d\n", open("/dev/null", O_RDONLY));
}

static void do_fds(const struct command_args *a)
{
	(void)a;
	if (system("ls /proc/$PPID/fd | tr '\\n' ' '; echo")) {}
}

static void say_result(int failed)
{
	printf("%s\n", failed ? strerror(errno) : "done");
}

static void do_newuser(const struct command_args *a)
{
	(void)a;
	say_result(unshare(CLONE_NEWUSER));
}

static void do_setns(const struct command_args *a)
{
	int fd = open("/proc/self/ns/mnt", O_RDONLY);

	(void)a;
	say_result(setns(fd, CLONE_NEWNS));
	close(fd);
}

static void do_chroot(const struct command_args *a)
{
	(void)a;
	say_result(chroot("/tmp") || chdir("/"));
}

static void do_setuid(const struct command_args *a)
{
	say_result(setuid(a->n));
}

static void do_seccomp(const struct command_args *a)
{
	(void)a;
	forbid();
}

static void do_load(const struct command_args *a)
{
	load(a->word, 1, a->n);
}

static void do_keep(const struct command_args *a)
{
	keep(a->word);
}

static void do_again(const struct command_args *a)
{
	for (long i = 0; i < a->n; i++)
		kept(i);
}

static void do_loop(const struct command_args *a)
{
	load(a->word, a->n, 1);
}

static void do_block(const struct command_args *a)
{
	unsigned long all = ~0ul;

	(void)a;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, 8);
}

static void do_unmap(const struct command_args *a)
{
	unmap(a->n);
}

static void do_unmapheap(const struct command_args *a)
{
	unmap_heap(a->n);
}

static void do_altstack(const struct command_args *a)
{
	pthread_t id;

	altstack(a->n);
	pthread_create(&id, NULL, alt_thread, (void *)a->n);
	pthread_join(id, NULL);
}

/* arguments: "n" one number, "nn" two, "w" a word, "wn" a word and a number, "www" three words, "" none. */
static const struct life_command {
	const char *name, *arguments;
	void (*run)(const struct command_args *a);
} commands[] = {
	{ "tick", "n", do_tick },         { "fork", "n", do_fork },
	{ "forks", "n", do_forks },       { "rawfork", "n", do_rawfork },
	{ "vfork", "n", do_vfork },       { "clonevm", "n", do_clonevm },
	{ "spawn", "w", do_spawn },       { "run", "www", do_run },
	{ "exec", "", do_exec },          { "threads", "nn", do_threads },
	{ "churn", "nn", do_churn },      { "cancel", "", do_cancel },
	{ "closeall", "", do_closeall },  { "fds", "", do_fds },
	{ "newuser", "", do_newuser },    { "setns", "", do_setns },
	{ "chroot", "", do_chroot },      { "setuid", "n", do_setuid },
	{ "seccomp", "", do_seccomp },    { "load", "wn", do_load },
	{ "keep", "w", do_keep },         { "again", "n", do_again },
	{ "loop", "wn", do_loop },        { "block", "", do_block },
	{ "unmap", "n", do_unmap },       { "unmapheap", "n", do_unmapheap },
	{ "altstack", "n", do_altstack },
};

static bool parse_args(const char *rest, const char *arguments, struct command_args *a)
{
	if (!strcmp(arguments, "n"))
		return sscanf(rest, "%ld", &a->n) == 1;
	if (!strcmp(arguments, "nn"))
		return sscanf(rest, "%ld %ld", &a->n, &a->m) == 2;
	if (!strcmp(arguments, "w"))
		return sscanf(rest, "%299s", a->word) == 1;
	if (!strcmp(arguments, "wn"))
		return sscanf(rest, "%299s %ld", a->word, &a->n) == 2;
	if (!strcmp(arguments, "www"))
		return sscanf(rest, "%299s %299s %19s", a->word, a->word2, a->how) == 3;
	return true;
}

static void run_line(const char *line, struct command_args *a)
{
	size_t length = strcspn(line, " \n");

	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		const struct life_command *c = &commands[i];

		if (strlen(c->name) == length && !strncmp(line, c->name, length) &&
		    parse_args(line + length, c->arguments, a))
			c->run(a);
	}
}

int main(int argc, char **argv)
{
	struct command_args a = { .argv = argv };
	char line[900];

	(void)argc;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "exit", 4))
			return 0;
		run_line(line, &a);
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
