/* SPDX-License-Identifier: MIT */
/* main() of each command, as scripts/static.mk renames it. */
#ifndef CMD_STATIC_COMMANDS_H
#define CMD_STATIC_COMMANDS_H

int probe_disable_main(int argc, char **argv);
int probe_enable_main(int argc, char **argv);
int probe_list_main(int argc, char **argv);
int probe_stat_main(int argc, char **argv);
int probe_trace_main(int argc, char **argv);

#endif
