/* SPDX-License-Identifier: MIT */
/*
 * Access to words that other processes can write. Each macro reads or writes its word
 * once. A value that was read is checked before it becomes an index or an address,
 * and is not read again. The types of protocol.h allow no other access.
 */
#ifndef RUNTIME_AGENT_INPROC_SHARED_WORD_H
#define RUNTIME_AGENT_INPROC_SHARED_WORD_H

#define shared_get(x) __atomic_load_n(&(x).word, __ATOMIC_RELAXED)
#define shared_acquire(x) __atomic_load_n(&(x).word, __ATOMIC_ACQUIRE)
#define shared_set(x, value) __atomic_store_n(&(x).word, value, __ATOMIC_RELAXED)
#define shared_release(x, value) __atomic_store_n(&(x).word, value, __ATOMIC_RELEASE)
#define shared_add(x, value) __atomic_fetch_add(&(x).word, value, __ATOMIC_RELAXED)
/* Compares and exchanges. If the values differ, loads the word into *was as shared_acquire() does. */
#define shared_swap(x, was, will) \
	__atomic_compare_exchange_n(&(x).word, was, will, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

#endif
