/* SPDX-License-Identifier: MIT */
/*
 * The resource of a process describes its program, which is read from /proc when its first record arrives. Another process can get
 * the pid later, so the start time is compared again after a second. If the process has ended already, only its pid and name are
 * known.
 */
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/alloc.h"
#include "cmd/otlp.h"
#include "cmd/process-stat.h"

enum { RESOURCES_MAX = 4096, CHECK_S = 1 };

struct resource {
	pid_t pid;
	uint64_t start; /* 0: it had ended */
	time_t checked;
	json_object *object;
};

struct otlp_resources {
	struct resource *list;
	size_t n, next; /* next: the index of the one that is replaced when the list is full */
	char host[HOST_NAME_MAX + 1];
	const char *service; /* OTEL_SERVICE_NAME; NULL: not set */
	pid_t command;       /* a process whose program is known, even after its end; 0: none */
	const char *program;
};

/* ---- attributes ---- */

void otlp_add(json_object *attributes, const char *key, const char *type, json_object *value)
{
	json_object *attribute = json_new_object(), *any = json_new_object();

	if (json_object_object_add(any, type, value))
		alloc_failed();
	json_add_text(attribute, "key", key);
	json_add(attribute, "value", any);
	json_append(attributes, attribute);
}

void otlp_add_text(json_object *attributes, const char *key, const char *text)
{
	otlp_add(attributes, key, "stringValue", json_text(text));
}

void otlp_add_int(json_object *attributes, const char *key, int64_t value)
{
	char number[24];

	snprintf(number, sizeof(number), "%" PRId64, value);
	otlp_add(attributes, key, "intValue", json_text(number));
}

/* ---- processes ---- */

static time_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return now.tv_sec;
}

/* Adds the program's path and build-id. Returns the path's last component, or NULL. The caller frees it. */
static char *program_add(const struct otlp_resources *resources, json_object *attributes, pid_t pid)
{
	static const char *const none[] = { "no:probe" };
	char link[32], program[PATH_MAX + 1];
	const char *path = link;
	struct pp_image *image;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	n = readlink(link, program, PATH_MAX);
	if (n <= 0 && pid == resources->command) {
		path = resources->program;
		n = snprintf(program, sizeof(program), "%s", path);
	}
	if (n <= 0 || n > PATH_MAX)
		return NULL;
	program[n] = 0;
	program[text_path_length(program)] = 0;
	otlp_add_text(attributes, "process.executable.path", program);
	if (!pp_image_open_matching(path, none, 1, PP_IMAGE_COUNTS, &image)) {
		if (*pp_image_build_id(image))
			otlp_add_text(attributes, "process.executable.build_id.gnu", pp_image_build_id(image));
		pp_image_free(image);
	}
	return xstrdup(strrchr(program, '/') ? strrchr(program, '/') + 1 : program);
}

static json_object *resource_make(const struct otlp_resources *resources, pid_t pid, const char *comm)
{
	json_object *resource = json_new_object(), *attributes = json_new_array();
	pid_t process = pid ? pid : getpid();
	char *name = program_add(resources, attributes, process);

	otlp_add_text(attributes, "service.name", resources->service ? resources->service : name ? name : comm);
	otlp_add_text(attributes, "host.name", resources->host);
	otlp_add_int(attributes, "process.pid", process);
	free(name);
	json_add(resource, "attributes", attributes);
	return resource;
}

struct otlp_resources *otlp_resources_new(pid_t command, const char *program)
{
	struct otlp_resources *resources = xcalloc(1, sizeof(*resources));
	const char *service = getenv("OTEL_SERVICE_NAME");

	gethostname(resources->host, sizeof(resources->host) - 1);
	resources->service = service && *service ? service : NULL;
	resources->command = command;
	resources->program = program;
	resources->list = xcalloc(RESOURCES_MAX, sizeof(*resources->list));
	return resources;
}

void otlp_resources_free(struct otlp_resources *resources)
{
	if (!resources)
		return;
	for (size_t i = 0; i < resources->n; i++)
		json_object_put(resources->list[i].object);
	free(resources->list);
	free(resources);
}

static struct resource *resource_place(struct otlp_resources *resources, pid_t pid)
{
	struct resource *resource;

	for (size_t i = 0; i < resources->n; i++)
		if (resources->list[i].pid == pid)
			return &resources->list[i];
	if (resources->n < RESOURCES_MAX)
		return &resources->list[resources->n++];
	resource = &resources->list[resources->next];
	resources->next = (resources->next + 1) % RESOURCES_MAX;
	json_object_put(resource->object);
	*resource = (struct resource){ 0 };
	return resource;
}

json_object *otlp_resource(struct otlp_resources *resources, pid_t pid, const char *comm)
{
	struct resource *resource = resource_place(resources, pid);
	time_t now = seconds_now();
	uint64_t start;

	if (resource->object && (!pid || now < resource->checked + CHECK_S))
		return resource->object;
	start = pid ? process_stat_start(pid, NULL) : 0;
	resource->checked = now;
	/* A process that has ended keeps its resource. */
	if (resource->object && (!start || start == resource->start))
		return resource->object;
	json_object_put(resource->object);
	*resource = (struct resource){ pid, start, now, resource_make(resources, pid, comm) };
	return resource->object;
}
