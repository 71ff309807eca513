/* SPDX-License-Identifier: MIT */
/* Counts the hits of a process's probes for some seconds: count PID PATTERN SECONDS. */
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int count(struct pp_session *session, const struct pp_request *request, unsigned seconds)
{
	struct pp_report *report = NULL;
	struct pp_stat *stat = NULL;
	struct pp_counts counts;
	int err = pp_session_enable(session, request, &report);

	pp_report_free(report);
	if (err)
		return err;
	sleep(seconds);
	err = pp_session_stat(session, &stat);
	for (size_t row = 0; !err && row < pp_stat_rows(stat); row++) {
		pp_stat_counts(stat, row, &counts, sizeof(counts));
		printf("%llu %s\n", (unsigned long long)counts.hits, pp_stat_probe(stat, row));
	}
	pp_stat_free(stat);
	return err;
}

int main(int argc, char **argv)
{
	struct pp_session *session = NULL;
	struct pp_request *request = NULL;

	if (argc != 4)
		return 2;
	if (pp_request_new(&request) || pp_request_pid(request, atoi(argv[1])) || pp_request_pattern(request, argv[2]) ||
	    pp_session_private(&session) || count(session, request, (unsigned)atoi(argv[3])))
		fprintf(stderr, "count: %s\n", pp_error());
	pp_session_close(session); /* disarms, because the session is private */
	pp_request_free(request);
}
