/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cmd/export/export.h"

#define RANGES_MAX 64 /* media ranges of a header that are looked at */

struct media_range {
	bool is_openmetrics, is_text, is_any, is_protobuf;
	bool has_version, version_fits, is_family, is_delimited;
	double q;
};

/* Text without a NUL. */
struct header_text {
	const char *at;
	size_t length;
};

static bool header_is(struct header_text text, const char *word)
{
	return text.length == strlen(word) && !strncasecmp(text.at, word, text.length);
}

static struct header_text header_trim(struct header_text text)
{
	while (text.length && isspace((unsigned char)*text.at)) {
		text.at++;
		text.length--;
	}
	while (text.length && isspace((unsigned char)text.at[text.length - 1]))
		text.length--;
	return text;
}

/* Takes the text up to the separator from the rest. */
static struct header_text header_take(struct header_text *rest, char separator)
{
	const char *end = memchr(rest->at, separator, rest->length);
	struct header_text taken = { rest->at, end ? (size_t)(end - rest->at) : rest->length };

	rest->at += taken.length + (end != NULL);
	rest->length -= taken.length + (end != NULL);
	return header_trim(taken);
}

static void range_add_parameter(struct media_range *range, struct header_text parameter)
{
	struct header_text name = header_take(&parameter, '='), value = header_trim(parameter);

	if (value.length >= 2 && value.at[0] == '"' && value.at[value.length - 1] == '"')
		value = (struct header_text){ value.at + 1, value.length - 2 };
	if (header_is(name, "q")) {
		char number[16] = "";

		memcpy(number, value.at, value.length < sizeof(number) ? value.length : sizeof(number) - 1);
		range->q = strtod(number, NULL);
	} else if (header_is(name, "version")) {
		range->has_version = true;
		range->version_fits = header_is(value, range->is_openmetrics ? "1.0.0" : "0.0.4");
	} else if (header_is(name, "proto")) {
		range->is_family = header_is(value, "io.prometheus.client.MetricFamily");
	} else if (header_is(name, "encoding")) {
		range->is_delimited = header_is(value, "delimited");
	}
}

static struct media_range range_parse(struct header_text text)
{
	struct header_text type = header_take(&text, ';');
	struct media_range range = { .is_openmetrics = header_is(type, "application/openmetrics-text"),
		                     .is_protobuf = header_is(type, "application/vnd.google.protobuf"),
		                     .is_text = header_is(type, "text/plain"),
		                     .is_any = header_is(type, "*/*") || header_is(type, "text/*"),
		                     .q = 1 };

	while (text.length)
		range_add_parameter(&range, header_take(&text, ';'));
	return range;
}

/* Returns the format of the range, or EXPORT_FORMATS. */
static enum export_format range_format(const struct media_range *range)
{
	bool version = !range->has_version || range->version_fits;

	if (range->is_openmetrics && version)
		return EXPORT_OPENMETRICS;
	if (range->is_protobuf && range->is_family && range->is_delimited && protobuf_is_supported())
		return EXPORT_PROTOBUF;
	return (range->is_text && version) || range->is_any ? EXPORT_PROMETHEUS : EXPORT_FORMATS;
}

enum export_format accept_choose(const char *accept)
{
	struct header_text rest = { accept ? accept : "", accept ? strlen(accept) : 0 };
	enum export_format best = EXPORT_PROMETHEUS;
	double q = 0;

	for (int i = 0; rest.length && i < RANGES_MAX; i++) {
		struct media_range range = range_parse(header_take(&rest, ','));
		enum export_format format = range_format(&range);

		if (format != EXPORT_FORMATS && range.q > q) {
			best = format;
			q = range.q;
		}
	}
	return best;
}
