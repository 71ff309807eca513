/* SPDX-License-Identifier: MIT */
/* Prints a number of hits of a process's probes: trace PID PATTERN HITS. */
#include <inttypes.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>

static void print(const struct pp_event *event)
{
	printf("%" PRIu64 " %s", pp_event_time(event), pp_event_probe(event));
	for (size_t i = 0; i < pp_event_args(event); i++)
		if (pp_event_arg_kind(event, i) == PP_STRING)
			printf(" %s=\"%s\"", pp_event_arg_name(event, i), pp_event_arg_string(event, i, NULL, NULL));
		else
			printf(" %s=%" PRId64, pp_event_arg_name(event, i), pp_event_arg_int(event, i));
	puts("");
}

int main(int argc, char **argv)
{
	struct pp_session *session = NULL;
	struct pp_request *request = NULL;
	struct pp_report *report = NULL;
	struct pp_reader *reader = NULL;
	const struct pp_event *event;

	if (argc != 4)
		return 2;
	if (pp_request_new(&request) || pp_request_pid(request, atoi(argv[1])) || pp_request_pattern(request, argv[2]) ||
	    pp_session_private(&session) || pp_session_enable(session, request, &report) || pp_reader_open(session, &reader))
		fprintf(stderr, "trace: %s\n", pp_error());
	for (int hits = atoi(argv[3]); reader && hits > 0 && pp_reader_next(reader, -1, &event) == 1; hits--)
		print(event);
	pp_reader_free(reader);
	pp_report_free(report);
	pp_session_close(session); /* disarms, because the session is private */
	pp_request_free(request);
}
