/* SPDX-License-Identifier: MIT */
/*
 * The registers and signal frames of a traced thread on x86-64. The layout of the frame is the kernel's
 * (arch/x86/kernel/signal_64.c and fpu/signal.c). The kernel accepts vector state only with both magic numbers, with at
 * most the size of the thread's own, at an address that is a multiple of 64.
 */
#include "runtime/agent/tracee-cpu.h"

#ifdef __x86_64__

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define RED_ZONE 256
#define XSTATE_HEADER 512 /* offset of the word that says which components are in use, after the state of fxsave */
#define XSTATE_MIN 576
#define FLAG_TRAP 0x100ull
#define FLAG_DIRECTION 0x400ull
#define CS_64_BITS 0x33

/* The kernel's own; the C library's headers do not have them. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516
#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4

/* The kernel's struct rt_sigframe, as far as it is used. */
struct sigreturn_frame {
	uint64_t return_address;
	uint64_t flags, link;
	struct {
		uint64_t at, flags, size;
	} stack;
	struct sigcontext regs;
	uint64_t signals;
};

_Static_assert(sizeof(struct sigcontext) == 256 && sizeof(struct _fpx_sw_bytes) == 48, "the kernel's layout");

/*
 * The data that is written below the thread's stack pointer. The function finds its return address in it and uses what
 * is below.
 */
struct call_image {
	_Alignas(64) uint64_t
		stub[TRACEE_STUB_WORDS_MAX + 2]; /* its end: the address of the result stub, and what that pops */
	struct sigreturn_frame frame;
	uint64_t result;
	_Alignas(64) unsigned char xstate[TRACEE_XSTATE_MAX];
};

_Static_assert(sizeof(struct call_image) + 64 <= TRACEE_IMAGE_MAX, "room for the image");
_Static_assert(offsetof(struct call_image, frame) % 16 == 8, "alignment after a call instruction");

uint64_t tracee_pc(const struct tracee *t)
{
	return t->regs.rip;
}

uint64_t tracee_sp(const struct tracee *t)
{
	return t->regs.rsp;
}

uint64_t tracee_thread_pointer(const struct tracee *t)
{
	return t->regs.fs_base;
}

bool tracee_is_native(const struct tracee *t)
{
	return t->regs.cs == CS_64_BITS;
}

long tracee_syscall(const struct tracee *t, uint64_t *first)
{
	*first = t->regs.rdi;
	return (long)t->regs.orig_rax;
}

int tracee_read_regs(struct tracee *t)
{
	return ptrace(PTRACE_GETREGS, t->tid, NULL, &t->regs) ? -errno : 0;
}

/* ---- system calls that were interrupted ---- */

static void regs_repeat_syscall(struct user_regs_struct *regs, long long call)
{
	regs->rax = call;
	regs->orig_rax = -1;
	regs->rip -= 2; /* the syscall instruction */
}

/* Repeats the system calls that return EINTR because of the stop, though no signal came. */
static void regs_repeat_eintr(const struct tracee *t, struct user_regs_struct *regs)
{
	static const short calls[] = {
		SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_rt_sigtimedwait,
		SYS_semop,      SYS_semtimedop,  SYS_io_getevents, SYS_io_uring_enter,
		SYS_read,       SYS_readv,       SYS_recvfrom,     SYS_recvmsg,
		SYS_recvmmsg,   SYS_accept,      SYS_accept4,      SYS_connect,
		SYS_write,      SYS_writev,      SYS_sendto,       SYS_sendmsg,
		SYS_sendmmsg,
	};
	struct tracee_status s;

	if ((long)regs->rax != -EINTR)
		return;
	s = tracee_read_status(t);
	if ((s.pending | s.shared) & ~(t->saved ? t->signals : s.blocked))
		return;
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if ((long)regs->orig_rax == calls[i]) {
			regs_repeat_syscall(regs, calls[i]);
			return;
		}
}

/*
 * Does what the kernel would do if no handler runs. A system call that the kernel would continue, such as a sleep, is
 * repeated from its begin if whole is set.
 */
static void regs_restart(const struct tracee *t, struct user_regs_struct *regs, bool whole)
{
	regs_repeat_eintr(t, regs);
	if ((long)regs->orig_rax < 0)
		return;
	switch (-(long)regs->rax) {
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND: regs_repeat_syscall(regs, (long long)regs->orig_rax); break;
	case ERESTART_RESTARTBLOCK:
		regs_repeat_syscall(regs, whole ? (long long)regs->orig_rax : SYS_restart_syscall);
		break;
	}
	regs->orig_rax = -1;
}

/* ---- the frame ---- */

/* Reads the state that is not in regs. */
static int tracee_save(struct tracee *t)
{
	struct iovec state = { t->xstate, sizeof(t->xstate) };

	if (t->saved)
		return 0;
	if (ptrace(PTRACE_GETREGSET, t->tid, (void *)NT_X86_XSTATE, &state) ||
	    ptrace(PTRACE_GETSIGMASK, t->tid, (void *)sizeof(t->signals), &t->signals))
		return -errno;
	if (state.iov_len < XSTATE_MIN || state.iov_len >= sizeof(t->xstate))
		return -EOPNOTSUPP;
	t->xstate_size = state.iov_len;
	t->saved = true;
	return 0;
}

/*
 * Copies the vector state as far as it is in use: the kernel accepts at most what the thread may have, which can be
 * less than the CPU has. Returns the number of bytes.
 */
static size_t frame_put_xstate(const struct tracee *t, unsigned char *to)
{
	uint32_t size = XSTATE_MIN, magic = FP_XSTATE_MAGIC2;
	struct _fpx_sw_bytes header = { .magic1 = FP_XSTATE_MAGIC1 };
	uint64_t used;

	memcpy(&used, t->xstate + XSTATE_HEADER, sizeof(used));
	for (unsigned i = 2; i < 63; i++) {
		unsigned length, offset, c, d;

		if (used >> i & 1 && __get_cpuid_count(0xd, i, &length, &offset, &c, &d) && offset + length > size)
			size = offset + length;
	}
	if (size > t->xstate_size)
		size = (uint32_t)t->xstate_size;
	memcpy(to, t->xstate, size);
	header.xstate_size = size;
	header.extended_size = size + sizeof(magic);
	header.xstate_bv = used | 3;
	memcpy(to + XSTATE_HEADER - sizeof(header), &header, sizeof(header));
	memcpy(to + size, &magic, sizeof(magic));
	return size + sizeof(magic);
}

static void frame_put_regs(const struct tracee *t, struct sigcontext *to)
{
	struct user_regs_struct r = t->regs;

	regs_restart(t, &r, true);
	*to = (struct sigcontext){
		.r8 = r.r8,
		.r9 = r.r9,
		.r10 = r.r10,
		.r11 = r.r11,
		.r12 = r.r12,
		.r13 = r.r13,
		.r14 = r.r14,
		.r15 = r.r15,
		.rdi = r.rdi,
		.rsi = r.rsi,
		.rbp = r.rbp,
		.rbx = r.rbx,
		.rdx = r.rdx,
		.rax = r.rax,
		.rcx = r.rcx,
		.rsp = r.rsp,
		.rip = r.rip,
		.eflags = r.eflags,
		.cs = (unsigned short)r.cs,
		.__pad0 = (unsigned short)r.ss,
	};
}

/* Returns the index in call_image.stub of the word that the function returns by, which is the end if there is no stub. */
static size_t stub_index(const struct tracee_call *call)
{
	return sizeof(((struct call_image *)0)->stub) / sizeof(uint64_t) -
	       (call->result_stub ? call->stub_words + 1 : 0);
}

/* Writes the image for a call to `at`, and the text, if any, to text_at. */
static int image_write(const struct tracee *t, const struct tracee_call *call, uint64_t at, uint64_t text_at)
{
	struct call_image image = { 0 };
	size_t size;

	if (call->result_stub)
		image.stub[stub_index(call)] = call->result_stub;
	image.frame.return_address = call->restorer;
	image.frame.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	image.frame.stack.flags = ~0u; /* invalid flags, so that the alternate stack stays as it is */
	frame_put_regs(t, &image.frame.regs);
	image.frame.regs.fpstate = (void *)(at + offsetof(struct call_image, xstate));
	image.frame.signals = t->signals;
	size = offsetof(struct call_image, xstate) + frame_put_xstate(t, image.xstate);
	if (call->text && tracee_write(t, text_at, call->text, strlen(call->text) + 1))
		return -EFAULT;
	return tracee_write(t, at, &image, size);
}

/*
 * A second call's image replaces the first one's. Until the second call begins, the first image is what the thread
 * returns by.
 */
int tracee_begin_call(struct tracee *t, const struct tracee_call *call, uint64_t *return_sp, uint64_t *result_at)
{
	struct user_regs_struct regs = t->regs;
	uint64_t text = t->regs.rsp - RED_ZONE - PATH_MAX, all = ~0ull;
	uint64_t at = call->stack ? (call->stack + 63) & ~63ull : (text - sizeof(struct call_image)) & ~63ull;
	int err = tracee_save(t);

	if (err)
		return err;
	err = image_write(t, call, at, text);
	if (err)
		return err;
	*return_sp = at + offsetof(struct call_image, frame) + sizeof(uint64_t);
	*result_at = at + offsetof(struct call_image, result);
	regs.rdi = text;
	regs.rsi = call->second;
	regs.rax = 0;
	regs.rbx = *result_at;
	regs.orig_rax = -1;
	regs.rip = call->function;
	regs.rsp = at + stub_index(call) * sizeof(uint64_t);
	regs.eflags &= ~(FLAG_DIRECTION | FLAG_TRAP);
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &regs))
		return -errno;
	t->state = TRACEE_CALLING;
	return ptrace(PTRACE_SETSIGMASK, t->tid, (void *)sizeof(all), &all) ? -errno : 0;
}

int tracee_at_return(const struct tracee *t, uint64_t return_sp)
{
	struct user_regs_struct regs;

	if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs))
		return -errno;
	return regs.orig_rax == SYS_rt_sigreturn && regs.rsp == return_sp;
}

/* ---- restoring ---- */

static void tracee_restore_saved(const struct tracee *t)
{
	struct iovec state = { (void *)t->xstate, t->xstate_size };

	ptrace(PTRACE_SETREGSET, t->tid, (void *)NT_X86_XSTATE, &state);
	ptrace(PTRACE_SETSIGMASK, t->tid, (void *)sizeof(t->signals), &t->signals);
}

void tracee_restore(const struct tracee *t)
{
	struct user_regs_struct regs = t->regs;

	if (t->state == TRACEE_CRASHED)
		tracee_restore_saved(t);
	regs_repeat_eintr(t, &regs);
	ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
}

/* Replaces the thread's rt_sigreturn(2): skips it, up to the stop after it, at which system calls are restarted. */
void tracee_restore_returned(const struct tracee *t)
{
	struct user_regs_struct regs = t->regs;
	int status;

	tracee_restore_saved(t);
	regs_restart(t, &regs, false);
	regs.orig_rax = -1;
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &regs) || ptrace(PTRACE_SYSCALL, t->tid, NULL, NULL) ||
	    tracee_wait_stop(t, TRACEE_STOP_NS, &status) || !tracee_is_syscall_stop(status))
		return;
	regs = t->regs;
	regs_repeat_eintr(t, &regs);
	/* A pending interrupt makes the kernel take the path on which it restarts system calls. */
	if (!ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL))
		ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
}

#endif
