/* SPDX-License-Identifier: MIT */
/* Checks the packets of probepoint's own traces. libbabeltrace2 refuses a whole trace because of one damaged packet header. */
#ifndef CMD_REPORT_PACKETS_H
#define CMD_REPORT_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PACKET_CLASSES_MAX = 4 };

/* The places of the fields of a class of packets, in bytes. */
struct packet_class {
	uint32_t stream; /* its id */
	size_t begin, end, content, size, header;
};

/* The packets of a trace, and its clock. */
struct packet_layout {
	uint8_t uuid[16];
	char clock[37]; /* UUID; "": unknown. Traces with the same one have the same clock */
	struct packet_class classes[PACKET_CLASSES_MAX];
	size_t nclasses;
	int64_t offset; /* from the clock to times, in ns */
};

/* A part of a stream that has only good packets, or only damaged bytes. */
struct packet_part {
	bool is_good;
	off_t from, to;
	int64_t begin,
		end; /* of good packets: their times; of damaged bytes: the end of the packet before and the begin of the packet after them */
};

/* Reads the layout from the text of a metadata file. Returns false if it is not one of probepoint's traces of this byte order. */
bool packets_layout(const char *metadata, struct packet_layout *layout);

/* Finds the parts of a stream file of this size. Returns their number. The caller frees them. */
size_t packets_check(const struct packet_layout *layout, int fd, off_t size, struct packet_part **parts);

#endif
