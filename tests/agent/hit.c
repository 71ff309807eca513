/* SPDX-License-Identifier: MIT */
/*
 * For agent/hit.sh: a process whose hits are in difficult places. Reads one word per line, replies with its own count
 * and then "ok", by read(2) and write(2) alone.
 *
 *     hit             10 hits of hit:text, with a string on the heap, one in the image, one on the stack
 *     thread          the same in a new thread
 *     other           the same in a second thread that exists from the start
 *     strict filter   sets a seccomp filter: by prctl(2), for this thread
 *     seccomp tsync   sets the same filter by seccomp(2): for this thread, for all threads
 *     filter-other    the second thread sets the filter
 *     tsc             gives up access to the CPU's counter
 *     files           2000 threads that hit while descriptors are opened; prints how many were not the lowest free one
 *     edge            hits on a stack of its own: after its end, and across two pages
 *     strings         hits there with strings in the page after the end, and in a guard page
 *     unmap           hits there while another thread maps and unmaps the pages after the end
 *     lock            mlockall(); prints by how many MB the process has grown
 *     memory          whether 300 MB can be allocated
 *     vfork clone     a child that hits, and hits of its parent meanwhile and afterwards
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sdt.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static char *heap;
static atomic_int asked, answered;
static atomic_bool stop;
static void *volatile kept;

static void say(const char *what)
{
	if (write(1, what, strlen(what)) < 0)
		_exit(3);
}

static void say_number(const char *what, long n)
{
	char text[100];

	snprintf(text, sizeof(text), "%s %ld\n", what, n);
	say(text);
}

__attribute__((noipa)) static void hit(long n)
{
	char local[] = "on the stack";

	__asm__ volatile("" : : "r"(local) : "memory");
	STAP_PROBE4(hit, text, n, (const char *)heap, "in the image", (const char *)local);
}

/*
 * A leaf function with a hand-written note: its arguments are at and above the stack pointer, and at rbp. rbx points to
 * a string.
 */
__asm__(".text\n.globl leaf\n.type leaf, @function\n.p2align 4\nleaf:\n"
        ".p2align 3,0x66,2\n990: .byte 0x90,0x66,0x2e,0x0f,0x1f,0x84,0,0,0,0,0\nret\n.size leaf, . - leaf\n"
        ".pushsection .note.stapsdt,\"?\",@note\n.balign 4\n.4byte 992f-991f,994f-993f,3\n991: .asciz \"stapsdt\"\n"
        "992: .balign 4\n993: .8byte 990b\n.8byte _.stapsdt.base\n.8byte 0\n.asciz \"hit\"\n.asciz \"leaf\"\n"
        ".asciz \"8@8(%rsp) 8@240(%rsp) 8@-8(%rsp) 8@(%rbp) 8@%rbx\"\n994: .balign 4\n.popsection\n"
        ".pushsection .stapsdt.base,\"aG\",@progbits,.stapsdt.base,comdat\n.weak _.stapsdt.base\n"
        ".hidden _.stapsdt.base\n_.stapsdt.base: .space 1\n.size _.stapsdt.base,1\n.popsection\n");

/* Calls it with this stack pointer, rbp and rbx; 8(%rsp) is then at the stack pointer. */
__attribute__((noipa)) static void call_leaf(void *sp, const void *rbp, const void *rbx)
{
	const void *in[3] = { sp, rbp, rbx };

	__asm__ volatile("push %%rbp\nmov %%rsp, %%r12\nmov 16(%0), %%rbx\nmov 8(%0), %%rbp\nmov (%0), %%rsp\n"
	                 "call leaf\nmov %%r12, %%rsp\npop %%rbp"
	                 :
	                 : "r"(in)
	                 : "rbx", "r12", "memory", "cc");
}

/* ---- filters ---- */

#define ALLOW(name) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##name, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* The system calls of a program that reads, writes and starts threads; none that the agent used to make in hits. */
static struct sock_filter instructions[] = {
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	ALLOW(read),
	ALLOW(write),
	ALLOW(exit),
	ALLOW(exit_group),
	ALLOW(futex),
	ALLOW(mmap),
	ALLOW(mprotect),
	ALLOW(munmap),
	ALLOW(clone),
	ALLOW(clone3),
	ALLOW(madvise),
	ALLOW(rseq),
	ALLOW(set_robust_list),
	ALLOW(membarrier),
	ALLOW(sched_yield),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	/* rt_sigprocmask is used by pthread_create(), with operations that exist */
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigprocmask, 0, 3),
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
	BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 2, 1, 0),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
};
static struct sock_fprog program = { sizeof(instructions) / sizeof(*instructions), instructions };

static void filter(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		say("no filter\n");
}

static void filter_by_seccomp(unsigned flags)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program))
		say("no filter\n");
}

/* ---- threads ---- */

static void ten_hits(void)
{
	for (long i = 0; i < 10; i++)
		hit(i);
}

static void *in_thread(void *unused)
{
	ten_hits();
	return unused;
}

/* The second thread waits without a system call that a filter could forbid. */
static void *second(void *unused)
{
	for (int n; !stop;)
		switch (n = asked) {
		case 1:
			ten_hits();
			asked = 0;
			answered = n;
			break;
		case 2:
			filter();
			asked = 0;
			answered = n;
			break;
		default: sched_yield();
		}
	return unused;
}

static void ask_second(int what)
{
	static bool there;
	pthread_t thread;

	if (!there && pthread_create(&thread, NULL, second, NULL))
		say("no thread\n");
	there = true;
	answered = 0;
	asked = what;
	while (!answered && what != 3)
		;
}

/* ---- descriptors ---- */

static void *churn(void *unused)
{
	for (int i = 0; i < 2000; i++) {
		pthread_t thread;

		if (!pthread_create(&thread, NULL, in_thread, NULL))
			pthread_join(thread, NULL);
	}
	stop = true;
	return unused;
}

static long wrong_descriptors(void)
{
	int first = open("/dev/null", O_RDONLY), fd;
	pthread_t thread;
	long wrong = 0;

	close(first);
	stop = false;
	pthread_create(&thread, NULL, churn, NULL);
	while (!stop) {
		fd = open("/dev/null", O_RDONLY);
		wrong += fd != first;
		wrong += close(fd) != 0;
	}
	pthread_join(thread, NULL);
	stop = false;
	return wrong;
}

/* ---- stacks ---- */

/* 4 pages that can be used, between two that cannot. */
static char *own_stack(void)
{
	char *at = mmap(NULL, 6 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(at + PAGE, 4 * PAGE, PROT_READ | PROT_WRITE);
	return at + PAGE;
}

/* Each word of the stack is its number, above and below the stack pointer. */
static void call_leaf_numbered(char *stack, char *sp, const void *rbp)
{
	for (size_t i = 0; i < 4 * PAGE / 8; i++)
		((uint64_t *)stack)[i] = i;
	call_leaf(sp, rbp, "in the image");
}

static void edge(void)
{
	char *stack = own_stack(), *end = stack + 4 * PAGE;

	/* All arguments are mapped: in one page; in two pages; up to the middle; at the very end. */
	call_leaf_numbered(stack, stack + 2 * PAGE + 1024, stack + 64);
	call_leaf_numbered(stack, stack + 2 * PAGE - 64, stack + 64);
	call_leaf_numbered(stack, end - 64, end);
	call_leaf_numbered(stack, end, end + 8);
}

static void strings(void)
{
	char *stack = own_stack(), *end = stack + 4 * PAGE;

	strcpy(end - 200, "near the end");
	call_leaf(end - 1024, stack, end - 200);
	call_leaf(end - 1024, stack, end);
	call_leaf(end - 1024, stack, end + 100);
	memset(end - 8, 'x', 8);
	call_leaf(end - 1024, stack, end - 8);
	/* A guard page in the middle of the thread's own stack. */
	char room[12 * PAGE], *page = (char *)(((uintptr_t)room + 8 * PAGE) & -PAGE);

	memset(room, 0, sizeof(room));
	mprotect(page, PAGE, PROT_NONE);
	call_leaf(page - PAGE - 64, room, page + 8);
	mprotect(page, PAGE, PROT_READ | PROT_WRITE);
	strcpy(page + 8, "far up");
	call_leaf(page - PAGE - 64, room, page + 8);
}

static void *maps(void *at)
{
	while (!stop) {
		mmap(at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		munmap(at, PAGE);
	}
	return at;
}

static long unmap(void)
{
	char *stack = own_stack(), *end = stack + 4 * PAGE;
	pthread_t thread;
	long n;

	stop = false;
	munmap(end, PAGE);
	pthread_create(&thread, NULL, maps, end);
	for (n = 0; n < 20000; n++)
		call_leaf(end - 32, end + 16, end + n % 64);
	stop = true;
	pthread_join(thread, NULL);
	stop = false;
	return n;
}

/* ---- memory ---- */

static long resident(void)
{
	char text[200] = "";
	int fd = open("/proc/self/statm", O_RDONLY);
	long size, pages = 0;

	if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
		sscanf(text, "%ld %ld", &size, &pages);
	close(fd);
	return pages / 256;
}

/* ---- children ---- */

static int in_clone(void *arg)
{
	for (long i = 0; i < 20000; i++)
		hit(*(long *)arg + i);
	_exit(0);
}

static void children(bool with_clone)
{
	long from = 1000000;
	int status;
	pid_t pid;

	if (with_clone) {
		pid = clone(in_clone, (char *)malloc(65536) + 65536, CLONE_VM | SIGCHLD, &from);
		for (long i = 0; i < 20000; i++)
			hit(i);
		waitpid(pid, &status, 0);
		say_number("clone", 40000);
		return;
	}
	pid = vfork();
	if (!pid) {
		hit(1000);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ten_hits();
	say_number("tid", syscall(SYS_gettid));
}

/* ---- words ---- */

static void serve(const char *word)
{
	static long before;
	pthread_t thread;

	if (!strcmp(word, "hit")) {
		ten_hits();
	} else if (!strcmp(word, "thread")) {
		if (pthread_create(&thread, NULL, in_thread, NULL) || pthread_join(thread, NULL))
			say("no thread\n");
	} else if (!strcmp(word, "second")) {
		ask_second(3);
	} else if (!strcmp(word, "other")) {
		ask_second(1);
	} else if (!strcmp(word, "filter-other")) {
		ask_second(2);
	} else if (!strcmp(word, "strict")) {
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	} else if (!strcmp(word, "filter")) {
		filter();
	} else if (!strcmp(word, "seccomp")) {
		filter_by_seccomp(0);
	} else if (!strcmp(word, "tsync")) {
		filter_by_seccomp(SECCOMP_FILTER_FLAG_TSYNC);
	} else if (!strcmp(word, "tsc")) {
		prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
	} else if (!strcmp(word, "files")) {
		say_number("wrong", wrong_descriptors());
	} else if (!strcmp(word, "edge")) {
		edge();
	} else if (!strcmp(word, "strings")) {
		strings();
	} else if (!strcmp(word, "unmap")) {
		say_number("hits", unmap());
	} else if (!strcmp(word, "lock")) {
		before = resident();
		/* The mappings may exceed the limit already; new mappings count against it. */
		if (mlockall(MCL_CURRENT | MCL_FUTURE) && mlockall(MCL_FUTURE))
			say("not locked\n");
	} else if (!strcmp(word, "grown")) {
		say_number("grown", resident() - before);
	} else if (!strcmp(word, "memory")) {
		kept = malloc(300 << 20);
		say_number("memory", kept != NULL);
	} else if (!strcmp(word, "vfork") || !strcmp(word, "clone")) {
		children(*word == 'c');
	} else if (!strcmp(word, "exit")) {
		syscall(SYS_exit_group, 0);
	} else {
		say("what?\n");
	}
}

int main(void)
{
	char word[40];
	size_t n = 0;

	heap = strdup("on the heap");
	while (read(0, word + n, 1) == 1) {
		if (word[n] != '\n' && n < sizeof(word) - 1) {
			n++;
			continue;
		}
		word[n] = 0;
		n = 0;
		serve(word);
		say("ok\n");
	}
	return 0;
}
