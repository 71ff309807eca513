/* SPDX-License-Identifier: MIT */
/* SOCK_SEQPACKET sockets in STATE/agents. */
#ifndef RUNTIME_AGENT_INPROC_SOCKET_H
#define RUNTIME_AGENT_INPROC_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/un.h>

/* Returns a socket that does not block, or -1. */
int socket_open(void);
/*
 * Fills in the address by the directory's descriptor. The directory's path may be too
 * long for an address, or outside of a chroot.
 */
void socket_address(struct sockaddr_un *address, int dir, const char *name);
/* Returns whether the peer runs as root or as the user of this process. */
bool socket_peer_ok(int peer);
/* Sends a message, with a descriptor unless fd is -1. Returns whether it was sent. */
bool socket_send(int peer, const void *what, size_t size, int fd);

#endif
