/* SPDX-License-Identifier: MIT */
#include <probepoint.h>
#include <stdbool.h>
#include <string.h>

#include "base/half.h"
#include "runtime/event.h"
#include "runtime/trace/ctf.h"

static char *bytes_put(char *to, const void *bytes, size_t n)
{
	memcpy(to, bytes, n);
	return to + n;
}

static char *string_put(char *to, const char *string, size_t room)
{
	size_t n = strnlen(string, room);

	to = bytes_put(to, string, n);
	*to = 0;
	return to + 1;
}

/* Writes the low-order size bytes of a number, which are the last ones in memory on a big-endian machine. */
static char *number_put(char *to, uint64_t value, size_t size)
{
	size_t skip = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? sizeof(value) - size : 0;

	return bytes_put(to, (const char *)&value + skip, size);
}

/* Readers of CTF do not know floats of 16 bits, so they become 32. */
static char *half_put(char *to, uint16_t bits)
{
	float wide = (float)half_to_double(bits);

	return bytes_put(to, &wide, sizeof(wide));
}

static char *argument_put(char *to, const struct pp_event *event, const struct manifest_layout *layout, uint32_t i,
                          uint32_t *cuts)
{
	bool fault = event->record->faults >> i & 1, cut = false;
	uint64_t value = fault ? 0 : event->record->value[i];
	const char *string = "";
	size_t length = 0;

	switch (ctf_field(layout, i)) {
	case CTF_NONE: return to;
	case CTF_SIGNED:
	case CTF_UNSIGNED:
	case CTF_HEX: return number_put(to, value, layout->size[i]);
	case CTF_FLOAT:
		if (layout->size[i] == 2)
			return half_put(to, (uint16_t)value);
		return bytes_put(to, &value, layout->size[i]);
	case CTF_BOOL: *to++ = value != 0; return to;
	case CTF_LETTER: *to++ = value; return to;
	case CTF_STRING:
		if (!fault)
			string = pp_event_arg_string(event, i, &length, &cut);
		/* The text of a trace ends at a NUL byte; a string with a length can contain one. */
		*cuts |= (uint32_t)(cut || strnlen(string, length) < length) << i;
		return string_put(to, string, length);
	}
	return to;
}

static char *arguments_put(const struct pp_event *event, char *to, uint32_t *cuts)
{
	const struct manifest_layout *layout =
		&manifest_layouts(event->manifest)[manifest_points(event->manifest)[event->record->point].layout];

	for (uint32_t i = 0; i < layout->nargs; i++)
		to = argument_put(to, event, layout, i, cuts);
	return to;
}

char *ctf_event_arguments(const struct pp_event *event, const struct ctf_class *class, char *to, uint32_t *cuts)
{
	if (!class->has_words)
		return arguments_put(event, to, cuts);
	for (uint32_t i = 0; i < class->nargs; i++) {
		uint64_t value = event->record->value[i];

		if (class->sizes[i] == 8) {
			memcpy(to, &value, 8);
			to += 8;
		} else {
			uint32_t low = (uint32_t)value;

			memcpy(to, &low, 4);
			to += 4;
		}
	}
	return to;
}

static char *header_put(char *to, uint32_t id, uint64_t time, int32_t pid, int32_t tid, const char comm[16])
{
	to = number_put(to, id, 4);
	to = number_put(to, time, 8);
	to = number_put(to, (uint32_t)pid, 4);
	to = number_put(to, (uint32_t)tid, 4);
	return string_put(to, comm, 15);
}

size_t ctf_event_encode(const struct pp_event *event, uint32_t id, char bytes[CTF_EVENT_MAX])
{
	const struct manifest_layout *layout =
		&manifest_layouts(event->manifest)[manifest_points(event->manifest)[event->record->point].layout];
	bool strings = false;
	uint32_t cuts = 0;
	char *to = header_put(bytes, id, event->time, (int32_t)event->thread.pid, (int32_t)event->thread.tid,
	                      event->thread.comm);

	to = arguments_put(event, to, &cuts);
	for (uint32_t i = 0; i < layout->nargs; i++)
		strings |= ctf_field(layout, i) == CTF_STRING;
	if (layout->nargs)
		to = number_put(to, event->record->faults, 4);
	if (strings)
		to = number_put(to, cuts, 4);
	return (size_t)(to - bytes);
}

size_t ctf_event_widen(const struct ctf_class *class, uint64_t time, const struct ctf_thread_packet *thread,
                       const char *arguments, size_t n, char bytes[CTF_EVENT_MAX])
{
	char *to = header_put(bytes, class->id, time, thread->pid, thread->tid, thread->comm);

	to = bytes_put(to, arguments, n);
	if (class->has_arguments)
		to = number_put(to, 0, 4);
	if (class->has_strings)
		to = number_put(to, 0, 4);
	return (size_t)(to - bytes);
}
