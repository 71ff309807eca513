/* SPDX-License-Identifier: MIT */
/*
 * Parses YAML to a tree, by libyaml. The file can be hostile, so the parser refuses what a configuration does not need: aliases and
 * anchors, by which a small file makes a large tree, tags, several documents, NUL bytes, and more than DEPTH_MAX levels.
 */
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/config.h"

#ifdef HAVE_LIBYAML
#include <yaml.h>

enum { DEPTH_MAX = 8, NODES_MAX = 50000 };

struct tree_parser {
	yaml_parser_t yaml;
	yaml_event_t event; /* the current one */
	bool has_event;
	size_t nodes;
	struct config_place place; /* of the error */
	char *error;
};

static void tree_error(struct tree_parser *p, const char *message)
{
	if (p->error)
		return;
	p->error = xstrdup(message);
	p->place = (struct config_place){ (unsigned)p->event.start_mark.line + 1,
		                          (unsigned)p->event.start_mark.column + 1 };
}

/* Sets the error of libyaml. */
static void tree_error_of_yaml(struct tree_parser *p)
{
	const char *problem = p->yaml.problem ? p->yaml.problem : "invalid YAML";
	const yaml_mark_t *mark = &p->yaml.problem_mark;

	if (p->yaml.error == YAML_MEMORY_ERROR)
		alloc_failed();
	if (p->yaml.error == YAML_READER_ERROR) {
		p->error = xasprintf("%s at byte %zu", problem, p->yaml.problem_offset);
		mark = &p->yaml.mark;
	} else if (p->yaml.context) {
		p->error = xasprintf("%s, %s", problem, p->yaml.context);
	} else {
		p->error = xstrdup(problem);
	}
	p->place = (struct config_place){ (unsigned)mark->line + 1, (unsigned)mark->column + 1 };
}

/* Goes on to the next event. Returns false after an error. */
static bool tree_next(struct tree_parser *p)
{
	if (p->has_event)
		yaml_event_delete(&p->event);
	p->has_event = yaml_parser_parse(&p->yaml, &p->event);
	if (!p->has_event)
		tree_error_of_yaml(p);
	return p->has_event;
}

static struct config_node *node_new(struct tree_parser *p, enum config_type type)
{
	struct config_node *node = xcalloc(1, sizeof(*node));

	node->type = type;
	node->place = (struct config_place){ (unsigned)p->event.start_mark.line + 1,
		                             (unsigned)p->event.start_mark.column + 1 };
	if (p->nodes++ == NODES_MAX)
		tree_error(p, "the file has too many values");
	return node;
}

static void node_append(struct config_node *node, struct config_node *child)
{
	node->children = xreallocarray(node->children, node->n + 1, sizeof(*node->children));
	node->children[node->n++] = child;
}

static struct config_node *scalar_parse(struct tree_parser *p)
{
	const yaml_event_t *e = &p->event;
	struct config_node *node = node_new(p, CONFIG_SCALAR);

	if (e->data.scalar.anchor || (e->data.scalar.tag && e->data.scalar.tag[0]))
		tree_error(p, "anchors and tags are not supported");
	if (strlen((const char *)e->data.scalar.value) != e->data.scalar.length)
		tree_error(p, "a value contains a NUL byte");
	node->text = xstrdup((const char *)e->data.scalar.value);
	node->plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	return node;
}

static struct config_node *node_parse(struct tree_parser *p, unsigned depth);

/* Parses the children of a list or map up to its end. */
static struct config_node *parent_parse(struct tree_parser *p, enum config_type type, yaml_event_type_t end,
                                        unsigned depth)
{
	const yaml_event_t *e = &p->event;
	bool anchored = type == CONFIG_MAP ? e->data.mapping_start.anchor || e->data.mapping_start.tag
	                                   : e->data.sequence_start.anchor || e->data.sequence_start.tag;
	struct config_node *node = node_new(p, type);

	if (anchored)
		tree_error(p, "anchors and tags are not supported");
	if (depth == DEPTH_MAX)
		tree_error(p, "lists and maps are nested too deeply");
	while (!p->error && tree_next(p) && p->event.type != end)
		node_append(node, node_parse(p, depth + 1));
	return node;
}

/* Parses the node that begins with the current event. Never returns NULL. */
static struct config_node *node_parse(struct tree_parser *p, unsigned depth)
{
	switch (p->event.type) {
	case YAML_SCALAR_EVENT: return scalar_parse(p);
	case YAML_SEQUENCE_START_EVENT: return parent_parse(p, CONFIG_LIST, YAML_SEQUENCE_END_EVENT, depth);
	case YAML_MAPPING_START_EVENT: return parent_parse(p, CONFIG_MAP, YAML_MAPPING_END_EVENT, depth);
	case YAML_ALIAS_EVENT: tree_error(p, "aliases are not supported"); break;
	default: tree_error(p, "a value is missing");
	}
	return node_new(p, CONFIG_LIST);
}

static void document_parse(struct tree_parser *p, struct config_node **tree)
{
	while (!p->error && tree_next(p) && p->event.type != YAML_STREAM_END_EVENT) {
		if (p->event.type != YAML_DOCUMENT_START_EVENT)
			continue;
		if (*tree)
			tree_error(p, "the file has several documents");
		else if (tree_next(p))
			*tree = node_parse(p, 0);
	}
}

bool config_tree_parse(const char *bytes, size_t size, struct config_node **tree, struct config_place *place,
                       char **error)
{
	struct tree_parser p = { .error = NULL };

	*tree = NULL;
	if (!yaml_parser_initialize(&p.yaml))
		alloc_failed();
	yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&p.yaml, (const unsigned char *)bytes, size);
	document_parse(&p, tree);
	if (p.has_event)
		yaml_event_delete(&p.event);
	yaml_parser_delete(&p.yaml);
	*place = p.place;
	*error = p.error;
	if (!p.error)
		return true;
	config_tree_free(*tree);
	*tree = NULL;
	return false;
}

#else

bool config_tree_parse(const char *bytes, size_t size, struct config_node **tree, struct config_place *place,
                       char **error)
{
	(void)bytes;
	(void)size;
	*tree = NULL;
	*place = (struct config_place){ 0, 0 };
	*error = xstrdup("this probe-enable was built without libyaml, which reads such files");
	return false;
}

#endif

void config_tree_free(struct config_node *node)
{
	if (!node)
		return;
	for (size_t i = 0; i < node->n; i++)
		config_tree_free(node->children[i]);
	free(node->children);
	free(node->text);
	free(node);
}
