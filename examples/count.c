/* SPDX-License-Identifier: MIT */
/* Counts the hits of a process's probes for some seconds: count PID PATTERN SECONDS. */
#include <inttypes.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int print_counts(struct pp_session *session)
{
	struct pp_counts counts;
	struct pp_stat *stat;
	int err = pp_session_stat(session, &stat);

	if (err)
		return err;
	for (size_t row = 0; row < pp_stat_rows(stat); row++) {
		pp_stat_counts(stat, row, &counts, sizeof(counts));
		printf("%" PRIu64 " %s\n", counts.hits, pp_stat_probe(stat, row));
	}
	pp_stat_free(stat);
	return 0;
}

int main(int argc, char **argv)
{
	struct pp_session *session = NULL;
	struct pp_request *request = NULL;
	struct pp_report *report = NULL;
	int failed = argc != 4 || pp_request_new(&request) || pp_request_pid(request, atoi(argv[1])) ||
	             pp_request_pattern(request, argv[2]) || pp_session_private(&session) ||
	             pp_session_enable(session, request, &report) || sleep(atoi(argv[3])) || print_counts(session);

	if (failed)
		fprintf(stderr, "count: %s\n", argc == 4 ? pp_error() : "usage: count PID PATTERN SECONDS");
	pp_report_free(report);
	pp_session_close(session); /* disarms, because the session is private */
	pp_request_free(request);
	return failed;
}
