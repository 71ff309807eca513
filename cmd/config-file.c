/* SPDX-License-Identifier: MIT */
/*
 * Reads a configuration. Its expressions run in the kernel and in other users' processes. So the command accepts a file only if it
 * belongs to root or to the user of the command, and if no other user can write to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/config.h"

enum { FILE_MAX = 1 << 20 };

/* Reports whether another user than root and this one could have written the file. */
static bool file_is_trusted(struct config *config, const struct stat *st)
{
	const struct config_place none = { 0, 0 };

	if (!S_ISREG(st->st_mode))
		config_error(config, none, "not a regular file");
	else if (st->st_size > FILE_MAX)
		config_error(config, none, "the file has more than 1 MiB");
	else if (st->st_uid && st->st_uid != geteuid())
		config_error(config, none,
		             "the file belongs to user %u, who could arm probes in your name; chown it to %s",
		             st->st_uid, geteuid() ? "yourself" : "root");
	else if (st->st_mode & 022)
		config_error(config, none,
		             "other users can write to the file, and so arm probes in your name; chmod it to go-w");
	return !config->errors;
}

/* Reads the whole file. Returns NULL after an error, which it reports. The caller frees the bytes. */
static char *file_read(struct config *config, int fd, size_t *size)
{
	char *bytes = xcalloc(1, FILE_MAX + 1);
	ssize_t n;

	for (*size = 0; *size <= FILE_MAX; *size += (size_t)n) {
		n = read(fd, bytes + *size, FILE_MAX + 1 - *size);
		if (n == 0)
			return bytes;
		if (n < 0 && errno == EINTR)
			n = 0;
		if (n < 0) {
			config_error(config, (struct config_place){ 0, 0 }, "%s", strerror(errno));
			break;
		}
	}
	if (*size > FILE_MAX)
		config_error(config, (struct config_place){ 0, 0 }, "the file has more than 1 MiB");
	free(bytes);
	return NULL;
}

enum status config_read(struct config *config, const char *path, struct options *options)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	enum status status = STATUS_FAILED;
	char *bytes = NULL;
	size_t size = 0;
	struct stat st;

	*config = (struct config){ .path = path, .options = options };
	if (fd < 0 || fstat(fd, &st)) {
		config_error(config, (struct config_place){ 0, 0 }, "%s", strerror(errno));
	} else if (file_is_trusted(config, &st)) {
		bytes = file_read(config, fd, &size);
		config->real_path = realpath(path, NULL);
	}
	if (fd >= 0)
		close(fd);
	if (bytes && !config->real_path)
		config_error(config, (struct config_place){ 0, 0 }, "%s", strerror(errno));
	/* The labels of what the file arms consist of lines (config-armed.c). */
	if (bytes && config->real_path && strchr(config->real_path, '\n'))
		config_error(config, (struct config_place){ 0, 0 }, "the path contains a newline; rename the file");
	else if (bytes && config->real_path)
		status = config_parse(config, bytes, size) ? STATUS_DONE : STATUS_USAGE;
	free(bytes);
	return status;
}
