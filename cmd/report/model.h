/* SPDX-License-Identifier: MIT */
/*
 * The data of a trace, as the parts of probe-report pass it on.
 *
 *     input.c     finds the traces below a directory, and leaves out damaged packets
 *     reader.c    reads records in the order of time, through libbabeltrace2
 *     fields.c    the fields of a record
 *     names.c     probes, threads and processes
 *     calls.c     pairs entries and returns
 *     run.c       reads a trace once or twice, and passes everything to consumers
 *
 * A consumer computes one kind of output: stats.c, perfetto.c, folded.c, html.c. It keeps its own state, in bounded memory.
 */
#ifndef CMD_REPORT_MODEL_H
#define CMD_REPORT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPORT_NONE UINT32_MAX /* no index */

enum value_kind { VALUE_SIGNED, VALUE_UNSIGNED, VALUE_HEX, VALUE_REAL, VALUE_TEXT, VALUE_FAULT };

/*
 * A field of a record. Members of structures and arrays are fields of their own, named "a.b" and "a[0]". The texts are valid
 * during the call that passes the record.
 */
struct report_value {
	const char *name;
	enum value_kind kind;
	bool cut; /* a text that was longer in the program */
	union {
		int64_t i;  /* VALUE_SIGNED */
		uint64_t u; /* VALUE_UNSIGNED, VALUE_HEX */
		double d;   /* VALUE_REAL */
	};
	const char *text; /* VALUE_TEXT: any bytes. A number: the label of an enumeration, or NULL */
	size_t length;    /* of the text */
};

/* A probe. Names are those of the trace; they can contain any bytes but NUL. */
struct report_probe {
	char *name;
	uint32_t index;    /* 0, 1, ... in the order of appearance */
	uint32_t function; /* whose entry or return it is; REPORT_NONE */
	bool is_entry, is_return;
	bool is_measured; /* the last argument of some of its records is the call's duration */
};

/* The subject of calls: the name is a probe's without "__entry" and "__return", or that of a pair of probes. */
struct report_function {
	char *name;
	uint32_t index;
	bool has_return; /* its return is a probe of the trace, so its entries begin calls */
};

struct report_process {
	char *host; /* "": unknown */
	int64_t pid;
	char *comm; /* the name of its main thread, else of the thread that was seen first */
	uint32_t index;
};

struct report_thread {
	struct report_process *process;
	int64_t tid;
	char *comm; /* the last one */
	uint32_t index;
	bool is_other; /* stands for all threads above the limit; has no calls */
};

struct report_record {
	int64_t time; /* ns since 1970, or of the trace's clock if the trace does not say */
	const struct report_probe *probe;
	const struct report_thread *thread;
	const struct report_value *values;
	size_t nvalues;
};

/* Records that are missing. */
struct report_loss {
	int64_t begin,
		end; /* the records are from after begin; end is when the trace's writer noticed, at the earliest */
	uint64_t records; /* 0: unknown */
	bool is_damage;   /* a part of the trace cannot be read */
};

enum call_status {
	CALL_ENDED,     /* its duration is known */
	CALL_UNCERTAIN, /* its return may be that of another call: calls around it did not end, or records were lost */
	CALL_UNENDED,   /* it has no return: an exception, longjmp(), the end of the thread or of the trace */
};

/* A call in flight, or one that ends. */
struct report_call {
	const struct report_function *function;
	const struct report_thread *thread;
	int64_t begin;
	int64_t end;    /* set when it is left. CALL_UNENDED: when this became known, not a duration */
	uint64_t inner; /* ns in calls below it. ns of CALL_UNENDED calls count, too */
	uint32_t depth; /* 0: no call around it */
	uint32_t path;  /* the node of its call stack (paths.h) */
	enum call_status status;
	bool at_end; /* CALL_UNENDED because the trace ends */
};

/*
 * Receives a trace. Each function may be NULL. Calls of the functions are in the order of time, except that measured()
 * passes a call when it has ended, and lost() may be late.
 */
struct report_consumer {
	void *state;
	/* The trace is read again from its beginning. Forgets everything. */
	void (*restart)(void *state);
	void (*record)(void *state, const struct report_record *record);
	/* A call begins, with its entry's record. */
	void (*enter)(void *state, const struct report_call *call, const struct report_record *record);
	/* A call of enter() ends. The innermost call of a thread ends first. record is its return's, NULL if it has none. */
	void (*leave)(void *state, const struct report_call *call, const struct report_record *record);
	/* A call without an entry, whose record has its duration. depth and path are 0. */
	void (*measured)(void *state, const struct report_call *call, const struct report_record *record);
	/* A return without an entry. */
	void (*unmatched)(void *state, const struct report_function *function, const struct report_record *record);
	void (*lost)(void *state, const struct report_loss *loss);
};

#endif
