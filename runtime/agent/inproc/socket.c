/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/socket.h"

int socket_open(void)
{
	return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

void socket_address(struct sockaddr_un *address, int dir, const char *name)
{
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path, "/proc/thread-self/fd/");
	format_number(address->sun_path + strlen(address->sun_path), dir);
	strcat(address->sun_path, "/");
	strcat(address->sun_path, name);
}

bool socket_peer_ok(int peer)
{
	struct ucred who;
	socklen_t size = sizeof(who);

	return !getsockopt(peer, SOL_SOCKET, SO_PEERCRED, &who, &size) && (!who.uid || who.uid == geteuid());
}

bool socket_send(int peer, const void *what, size_t size, int fd)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)what, size };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(peer, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}
