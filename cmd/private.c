/* SPDX-License-Identifier: MIT */
#include "cmd/private.h"

#include <stdlib.h>

#include "cmd/agent-preload.h"
#include "cmd/child.h"
#include "cmd/signals.h"
#include "cmd/ui.h"

enum status private_arm(struct private_session *private, struct options *o, struct arming *arming)
{
	enum status status;

	private->request = arming_request(o, arming, &status);
	if (!private->request)
		return status;
	if (!targets_open(&private->targets, o, arming))
		return STATUS_FAILED;
	if (pp_session_private(&private->session)) {
		ui_error(o, "%s", pp_error());
		return STATUS_FAILED;
	}
	pp_session_interrupt(private->session, &interrupted);
	return arming_run(o, arming, private->session, private->request, o->verbose && !o->json ? stderr : NULL);
}

void private_end(struct private_session *private)
{
	if (private->session)
		pp_session_close(private->session);
	pp_request_free(private->request);
	targets_close(&private->targets);
	private->session = NULL;
	private->request = NULL;
}

int private_run_command(struct options *o, struct arming *arming, enum status (*run)(void *arg), void *arg)
{
	struct child *child = &arming->child;
	enum status status;
	char *preload;
	int err, of_command;

	if (!preload_list(o, arming->argv[0], &preload))
		return ui_finish(o, STATUS_NOT_STARTED);
	err = child_start(child, arming->argv, preload);
	free(preload);
	if (err)
		return ui_finish(o, child_report(o, arming->argv[0], err));
	signals_catch();
	status = run(arg);
	status = ui_finish(o, status);
	if (!child->running) {
		child_cancel(child);
		return status == STATUS_NOT_FOUND || status == STATUS_NOT_EXECUTABLE ? status : STATUS_NOT_STARTED;
	}
	/* From here on an interrupt ends this process, and leaves the command alone. */
	signals_release();
	of_command = child_wait(child);
	/* Incomplete results are a failure, whatever the status of the command. */
	return of_command || status != STATUS_FAILED ? of_command : STATUS_FAILED;
}
