/* SPDX-License-Identifier: MIT */
/*
 * All commands in one program that is linked statically, for containers without a C library. It is the command that its
 * own name, or else its first argument, names.
 */
#include <argp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/static/commands.h"
#include "cmd/status.h"

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "probe-disable", probe_disable_main }, { "probe-enable", probe_enable_main },
	{ "probe-list", probe_list_main },       { "probe-stat", probe_stat_main },
	{ "probe-trace", probe_trace_main },
};

/* Returns the command of this name, with or without "probe-". NULL: the name is unknown. */
static const struct command *command_find(const char *name)
{
	static const char prefix[] = "probe-";
	const char *slash = strrchr(name, '/');

	name = slash ? slash + 1 : name;
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(commands[i].name, name) || !strcmp(commands[i].name + strlen(prefix), name))
			return &commands[i];
	return NULL;
}

static void commands_print(FILE *out)
{
	fputs("usage: probepoint-static COMMAND [ARGUMENT]...\n"
	      "A link to this program with the name of a command is that command. Commands:",
	      out);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(out, " %s", commands[i].name);
	fputs("\nThe agent needs a C library: load it by probe-enable of an ordinary installation.\n", out);
}

/*
 * Replaces the C library's function, which loads shared libraries for name services. A program that is linked statically
 * can load only those of the C library that it was built with. Reads /etc/passwd only.
 */
struct passwd *getpwuid(uid_t uid)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *user = NULL;

	while (file && (user = fgetpwent(file)) && user->pw_uid != uid)
		;
	if (file)
		fclose(file);
	return user;
}

int main(int argc, char **argv)
{
	const struct command *command = argc ? command_find(argv[0]) : NULL;

	if (!command && argc > 1) {
		command = command_find(argv[1]);
		if (command) {
			argc--;
			argv++;
		}
	}
	if (command) {
		/* Errors and help show the command's name. */
		program_invocation_name = program_invocation_short_name = argv[0] = (char *)command->name;
		return command->run(argc, argv);
	}
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?"))) {
		commands_print(stdout);
		return fflush(stdout) ? STATUS_FAILED : STATUS_DONE;
	}
	if (argc > 1)
		fprintf(stderr, "probepoint-static: no such command: '%s'\n", argv[1]);
	commands_print(stderr);
	return STATUS_USAGE;
}
