/* SPDX-License-Identifier: MIT */
/* peer SOCKET SECONDS SEED: a hostile peer. Exits with 0 if the agent replies to a valid request at the end. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/protocol.h"

static struct sockaddr_un address = { .sun_family = AF_UNIX };

static int meet(void)
{
	struct timeval patience = { 20, 0 };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	while (connect(fd, (struct sockaddr *)&address, sizeof(address))) {
		if (errno != EAGAIN) {
			perror("connect");
			exit(1);
		}
		usleep(1000);
	}
	return fd;
}

static void send_rights(int fd, const void *data, size_t size)
{
	char control[CMSG_SPACE(3 * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)data, size };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	int fds[3] = { 0, 1, 2 };

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(c), fds, sizeof(fds));
	sendmsg(fd, &message, MSG_NOSIGNAL);
}

int main(int argc, char **argv)
{
	static char junk[100000], buffer[AGENT_MESSAGE_MAX];
	time_t until;
	long sent = 0;

	if (argc != 4)
		return 2;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[1]);
	srand(atoi(argv[3]));
	until = time(NULL) + atoi(argv[2]);
	for (; time(NULL) < until; sent++) {
		struct agent_request request = {
			.magic = AGENT_MESSAGE_MAGIC,
			.version = AGENT_VERSION,
			.op = rand() % 6,
			.attachment = rand() % 4,
			.first = rand() % 3 ? rand() % 4 : rand(),
		};
		int fd = meet();

		strcpy(request.session, rand() % 2 ? "s" : "../s");
		for (int i = 0; i < 20; i++) {
			switch (rand() % 8) {
			case 0:
				for (size_t k = 0; k < sizeof(request); k++)
					junk[k] = rand();
				send(fd, junk, rand() % 200, MSG_NOSIGNAL);
				break;
			case 1: send(fd, junk, rand() % sizeof(junk), MSG_NOSIGNAL); break;
			case 2:
				((char *)&request)[8 + rand() % (sizeof(request) - 8)] = rand();
				/* fall through */
			case 3: send_rights(fd, &request, sizeof(request)); break;
			default: send(fd, &request, sizeof(request), MSG_NOSIGNAL);
			}
			if (rand() % 4)
				recv(fd, buffer, rand() % sizeof(buffer), MSG_DONTWAIT);
		}
		close(fd);
	}
	for (int tries = 0; tries < 10; tries++) {
		struct agent_request request = { .magic = AGENT_MESSAGE_MAGIC,
			                         .version = AGENT_VERSION,
			                         .op = AGENT_HELLO };
		int fd = meet();
		ssize_t n;

		send(fd, &request, sizeof(request), MSG_NOSIGNAL);
		n = recv(fd, buffer, sizeof(buffer), 0);
		close(fd);
		if (n == sizeof(struct agent_reply) + sizeof(struct agent_hello))
			return printf("%ld connections\n", sent), 0;
	}
	return 1;
}
