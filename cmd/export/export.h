/* SPDX-License-Identifier: MIT */
/*
 * probe-export consists of two processes, so that the one that reads requests from the network has no privileges.
 *
 *     reader   keeps the user that started the command, because sessions belong to a user. It has no network socket.
 *              It reads one byte at a time from the server: a format. It answers with a struct export_head and a document.
 *     server   has the listening socket and the socket to the reader. It runs as another user if it was started by root.
 *
 * Neither has capabilities, except that the reader keeps CAP_SYS_ADMIN with --cost. Each ends when the other one does.
 */
#ifndef CMD_EXPORT_EXPORT_H
#define CMD_EXPORT_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT_REPLY_MAX (64u << 20) /* bytes of a document */
#define EXPORT_FRESH_MS 250          /* for this time a document answers further requests */

enum export_format { EXPORT_OPENMETRICS, EXPORT_PROMETHEUS, EXPORT_PROTOBUF, EXPORT_FORMATS };

struct export_head {
	uint64_t size; /* of the document; 0: it would be larger than EXPORT_REPLY_MAX */
};

struct export_options {
	size_t series;
	bool cost;
};

/* Answers requests on the socket until the other end closes it. Returns an exit status. */
int reader_run(int fd, const struct export_options *options);

/* Serves HTTP on the listening socket until a signal arrives. signals: a signalfd(2). Returns an exit status. */
int server_run(int listener, int reader, int signals);

/* Returns the format that an Accept header asks for. NULL: there is no header. */
enum export_format accept_choose(const char *accept);

/* ---- privileges ---- */

struct user {
	unsigned uid, gid;
};

/* Finds the user that the server becomes. Returns 0 or a negative errno. */
int user_find(const char *name, struct user *user);
/*
 * Gives up all capabilities except `keep` (a capability; -1: none), for good. user NULL: keeps the user and its groups.
 * Returns 0 or a negative errno.
 */
int privileges_drop(const struct user *user, int keep);

/* Returns whether the program was built with the binary format. */
bool protobuf_is_supported(void);

#endif
