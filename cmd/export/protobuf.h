/* SPDX-License-Identifier: MIT */
#ifndef CMD_EXPORT_PROTOBUF_H
#define CMD_EXPORT_PROTOBUF_H

#include <stdio.h>

#include "cmd/metrics.h"

/*
 * Writes metrics in the binary format of Prometheus: messages MetricFamily, each after its length. Histograms have native
 * buckets where these can represent the values, and classic buckets. Writes nothing if the program was built without it.
 */
void metrics_put_protobuf(FILE *out, const struct metrics *m);

#endif
