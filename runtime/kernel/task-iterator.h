/* SPDX-License-Identifier: MIT */
/* Reads a word of the kernel's struct task_struct of threads, by a BPF iterator. No thread is stopped. */
#ifndef RUNTIME_KERNEL_TASK_ITERATOR_H
#define RUNTIME_KERNEL_TASK_ITERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct btf;

/* A word: offsets from the task, of which all but the last are those of pointers that are followed. */
struct task_word {
	int at[2];
	size_t n;
	int size; /* BPF_W or BPF_DW */
};

/*
 * Reads the word of all threads of the process (pid), or of one thread (tid); the other is 0. Sets *bits to the union of the
 * values and *n to the number of threads. Returns false if the kernel does not support it.
 */
bool tasks_read_word(const struct btf *btf, const struct task_word *word, pid_t pid, pid_t tid, uint64_t *bits,
                     size_t *n);

#endif
