/* SPDX-License-Identifier: MIT */
/*
 * The pins of a session: names in the BPF file system, in the session's directory.
 *
 * Root's sessions are in /sys/fs/bpf/probepoint/SESSION/, those of other users in probepoint-UID/SESSION/, with mode
 * 0700. Another user can create a directory of that name in the BPF file system first. The sessions are then
 * in a directory of that name with "-own-" and random digits. Commands look in all directories of these names that
 * belong to the user, and in no others (session-dir.h). The directory contains, for the session:
 *
 *     config ring mark scratch       maps; `mark` is the handover map
 *     reader                         a directory that the reader keeps locked (ring.c)
 *     watch                          a directory that the watcher keeps locked (watcher.c)
 *
 * and for each of its attachments S:
 *
 *     desc-S                         the manifest
 *     counts-S switch-S              maps; switch-S is the control map
 *     processes-S                    a map, if points are armed for every process
 *     cells-S misfits-S              maps, if the attachment has aggregates (aggregates.c)
 *     flight-S                       a map, if the session is a flight recorder (flight.c)
 *     raised-S                       a map, if semaphores were raised by hand (semaphore-raised.c)
 *     fork-S exit-S                  links that keep a scope up to date (scope.c)
 *     calls-S                        a map, if returns are armed (returns.h)
 *     ended-S executed-S             links that abandon the calls of threads that end
 *     prog-S-L                       the program of link L
 *     even-S-L or odd-S-L            link L; both while one replaces the other (handover.c)
 *     held-S                         a directory that the owner keeps locked; its links are not pinned (owner-lock.c)
 *
 * The pins of an attachment are created in the order prog, counts, switch, desc, even (if there are many links, some of
 * them earlier). Those of a link are removed in the order prog, even or odd. So the next command recognizes what a
 * killed command left, and removes it (session.c):
 *
 * - pins of an attachment without a manifest;
 * - an attachment with a program that has neither an even nor an odd link;
 * - a link that has no program.
 */
#ifndef RUNTIME_KERNEL_PINS_H
#define RUNTIME_KERNEL_PINS_H

#include <stdbool.h>
#include <stdint.h>

struct session_pins {
	int root, dir;  /* descriptors of the user's directory and the session's; -1: a private session, without pins */
	char path[200]; /* of dir */
};

/* Functions that return int return 0 or a negative errno with an error message, unless they say otherwise. */

/* Opens the session's directory, or creates it. Returns -ENOENT if the session does not exist. */
int pins_open(struct session_pins *pins, const char *session, bool create);
void pins_close(struct session_pins *pins);
/*
 * Locks the session against other commands. Waits 5 s at most, hasty: 0.1 s. The lock ends with this process. Returns
 * -EBUSY if another command has it, -ENOENT if the session was removed. Does nothing in a private session.
 */
int pins_lock(struct session_pins *pins, bool hasty);
void pins_unlock(struct session_pins *pins);
/* Calls fn with the name of each session of the user, until it returns nonzero. */
int pins_names(int (*fn)(const char *name, void *arg), void *arg);
/* Calls fn for each pin, until it returns nonzero. attachment and link are -1 if the name does not have them. */
int pins_each(const struct session_pins *pins, int (*fn)(const char *name, int attachment, int link, void *arg),
              void *arg);
/* Removes the session's directory with all pins. */
int pins_remove(struct session_pins *pins);

/*
 * Returns the path of the pin NAME, NAME-S, or NAME-S-L; numbers below 0 are left out. Valid until the next call in
 * this thread.
 */
const char *pin_path(const struct session_pins *pins, const char *name, int attachment, int link);
/* Pins the object of a descriptor. Does nothing in a private session. */
int pin_add(const struct session_pins *pins, int fd, const char *name, int attachment, int link);
/* Returns a descriptor, or a negative errno without an error message. */
int pin_get(const struct session_pins *pins, const char *name, int attachment, int link);
/* Unlinks a pin, or removes an empty directory. Returns 0 or a negative errno without an error message. */
int pin_unlink(const struct session_pins *pins, const char *name, int attachment, int link);

#endif
