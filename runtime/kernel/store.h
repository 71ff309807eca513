/* SPDX-License-Identifier: MIT */
/*
 * Where kernel sessions are kept: bpffs, directory probepoint/SESSION/ (of another
 * user than root: probepoint-UID), 0700. Any user can make a directory in bpffs and
 * take that name first. Then the user's sessions are kept in a directory of that name
 * with "-own-" and random digits; commands look in all directories of these names that
 * belong to the user, and in no others. In it, of the session
 *
 *     config ring mark scratch       maps
 *
 * and of each of its attachments S
 *
 *     counts-S switch-S              maps
 *     processes-S                    map, where points are everybody's
 *     raised-S                       map, where semaphores were raised by hand (raised.c)
 *     fork-S exit-S                  links that keep up who is meant (members.h)
 *     calls-S                        map, where returns are armed (calls.h)
 *     ended-S executed-S             links that see calls end with their threads
 *     even-S-L or odd-S-L, prog-S-L  links and the programs they run; both names are there
 *                                    while one takes over from the other
 *     watch                          a directory that a watcher has locked (brake.c); of the session
 *     held-S                         a folder that a holder has locked, whose links are pinned nowhere (hold.c)
 *     desc-S                         the description
 *
 * An attachment comes in the order prog, counts, switch, desc, even (of very many links
 * some come before); a link goes in the order prog, even or odd. So what a killed
 * command left can be told, and is removed by the next one that looks: anything of a
 * attachment without a description; the whole attachment where a prog has neither even nor
 * odd; a link that has no prog.
 */
#ifndef RUNTIME_KERNEL_STORE_H
#define RUNTIME_KERNEL_STORE_H

#include <stdbool.h>
#include <stdint.h>

struct store {
	int root, dir;  /* descriptors of the folders; -1: a private session, nothing is kept */
	char path[200]; /* of dir */
};

/* -ENOENT: there is no such session; -EPERM and others: no store is to be had, with a sentence. */
int store_open(struct store *store, const char *session, bool create);
void store_close(struct store *store);
/* An exclusive lock, which ends with its holder. -EBUSY after five seconds; -ENOENT: the session was removed. */
int store_lock(struct store *store, bool hasty); /* hasty: waits 0.1 s at most */
void store_unlock(struct store *store);
int store_names(int (*fn)(const char *name, void *arg), void *arg);

/* The path of an object, "NAME", "NAME-S" or "NAME-S-L" (numbers below 0 are left out), until the next call. */
const char *store_path(const struct store *store, const char *name, int attachment, int link);
int store_pin(const struct store *store, int fd, const char *name, int attachment, int link);
/* A descriptor, or -ENOENT. */
int store_get(const struct store *store, const char *name, int attachment, int link);
int store_unlink(const struct store *store, const char *name, int attachment, int link);
/* Calls fn for every object; attachment and link are -1 where the name has none. */
int store_each(const struct store *store, int (*fn)(const char *name, int attachment, int link, void *arg), void *arg);
int store_remove(struct store *store);

#endif
