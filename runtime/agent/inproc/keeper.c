/* SPDX-License-Identifier: MIT */
/*
 * The agent's side of the keeper, a process that keeps shared memory regions so that
 * counts outlive the process that counted (protocol.h).
 */
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/keeper.h"
#include "runtime/agent/inproc/socket.h"

#define KEEPER_MS 500

/* Returns a connection over which the keeper has confirmed that it keeps the region, or -1. */
static int keeper_offer(int agents, const struct session_shm *shm)
{
	struct agent_keep keep = { .magic = AGENT_KEEP_MAGIC,
		                   .version = AGENT_VERSION,
		                   .op = AGENT_KEEP_SHM,
		                   .start_time = agent.start_time };
	struct sockaddr_un address = { 0 };
	struct pollfd polled = { .events = POLLIN };
	char said = 0;

	socket_address(&address, agents, AGENT_KEEPER);
	memcpy(keep.session, shm->session->name, sizeof(keep.session));
	polled.fd = socket_open();
	if (polled.fd < 0)
		return -1;
	if (!connect(polled.fd, (struct sockaddr *)&address, sizeof(address)) && socket_peer_ok(polled.fd) &&
	    socket_send(polled.fd, &keep, sizeof(keep), shm->fd) && poll(&polled, 1, KEEPER_MS) == 1 &&
	    recv(polled.fd, &said, 1, 0) == 1 && said == '1')
		return polled.fd;
	close(polled.fd);
	return -1;
}

static bool shm_is_kept(const struct session_shm *shm)
{
	struct pollfd polled = { .fd = shm->keep, .events = POLLIN };

	return shm->keep >= 0 && poll(&polled, 1, 0) == 0;
}

void shms_keep(int store)
{
	int agents = store < 0 ? -1 : dir_open(store, "agents", false);

	for (unsigned i = 0; i < SHMS_MAX; i++) {
		struct session_shm *shm = &agent.shms[i];

		if (!shm->at || !shm->session || shm->fd < 0 || shm_is_kept(shm))
			continue;
		if (shm->keep >= 0)
			close(shm->keep);
		shm->keep = agents < 0 ? -1 : keeper_offer(agents, shm);
		session_mark_unkept(store, shm->session, shm->keep < 0);
	}
	if (agents >= 0)
		close(agents);
}
