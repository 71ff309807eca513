/* SPDX-License-Identifier: MIT */
/*
 * Which register has which parameter at a function's entry?
 *
 * 1. In optimized code, DWARF's location list says it.
 * 2. In code that is not optimized, DWARF names the place in the frame that the function copies the parameter to, which is
 *    after the entry. There the calling convention says it: integers and pointers take the integer registers in their order.
 *    The first parameter that this does not decide (a small structure by value) ends the list.
 *
 * Parameters in other places, such as floating-point registers and the stack, are left out.
 */
#include "runtime/function-parameters.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "sdt/dwarf.h"

#define PARAMETERS_MAX 64

/* DWARF's numbers of the registers that abi->args has, in their order. */
static const int dwarf_registers_x86_64[] = { 5, 4, 1, 2, 8, 9 };
static const int dwarf_registers_aarch64[] = { 0, 1, 2, 3, 4, 5, 6, 7 };

/* Returns the index in abi->args of DWARF's register, -1 if it has no integer argument. */
static int register_index(const struct abi *abi, int reg)
{
	const int *registers = abi->machine == EM_AARCH64 ? dwarf_registers_aarch64 : dwarf_registers_x86_64;

	for (int i = 0; i < abi->nargs; i++)
		if (registers[i] == reg)
			return i;
	return -1;
}

/* ---- the calling convention ---- */

enum { IN_NO_REGISTER = -1, NOT_DECIDED = -2 };

/*
 * Returns how many registers a structure of up to 16 bytes takes that has integers and pointers only; 0 if it has anything
 * else, or memory allocation fails.
 */
static int small_structure_registers(struct ctypes *types, struct ctype *type)
{
	if (type->kind != CTYPE_STRUCT || !type->size || type->size > 16 || type->by_reference ||
	    ctype_load(types, type) || !type->nmembers)
		return 0;
	for (size_t i = 0; i < type->nmembers; i++) {
		const struct ctype *member = ctype_of_member(types, &type->members[i]);

		if (!member || (member->kind != CTYPE_INTEGER && member->kind != CTYPE_POINTER &&
		                member->kind != CTYPE_ENUM && member->kind != CTYPE_CHAR && member->kind != CTYPE_BOOL))
			return 0;
	}
	return (int)(type->size + 7) / 8;
}

/* Returns the register of the next parameter of a type. *next: how many registers the ones before it took. */
static int convention_index(const struct abi *abi, struct ctypes *types, struct ctype *type, int *next)
{
	int registers = small_structure_registers(types, type);
	bool is_value = type->kind == CTYPE_INTEGER || type->kind == CTYPE_BOOL || type->kind == CTYPE_CHAR ||
	                type->kind == CTYPE_ENUM || type->kind == CTYPE_POINTER;
	bool is_large = type->kind == CTYPE_STRUCT && type->size > 16;

	if (type->kind == CTYPE_FLOAT)
		return IN_NO_REGISTER;
	if (is_large && !type->by_reference && abi->machine == EM_X86_64)
		return IN_NO_REGISTER; /* on the stack */
	if (registers && *next + registers <= abi->nargs) {
		*next += registers;
		return IN_NO_REGISTER; /* in one or two, but as a whole it is not a value */
	}
	if (!is_value && !is_large && !type->by_reference)
		return NOT_DECIDED;
	return *next < abi->nargs ? (*next)++ : IN_NO_REGISTER;
}

/* Returns how many registers the address of the result takes: one if the function returns a large structure. */
static int result_registers(const struct abi *abi, const struct ctype *result)
{
	bool in_memory = result->kind == CTYPE_STRUCT && (result->size > 16 || result->by_reference);

	return in_memory && abi->machine == EM_X86_64;
}

/* ---- arguments ---- */

static char type_class(const struct ctype *type, bool is_string)
{
	switch (type->kind) {
	case CTYPE_BOOL: return PPN_CLASS_BOOL;
	case CTYPE_CHAR: return PPN_CLASS_CHAR;
	case CTYPE_STRUCT: return PPN_CLASS_POINTER;
	case CTYPE_POINTER: return is_string && type->is_const ? PPN_CLASS_STRING : PPN_CLASS_POINTER;
	default: return type->is_signed ? PPN_CLASS_SIGNED : PPN_CLASS_UNSIGNED;
	}
}

/* Returns the name by which print_strings() knows a type of strings of C or C++, or "" for other types. */
static const char *parameter_type_text(const struct ctype *type, const struct ctype *target)
{
	const struct ctype *object = target ? target : type;

	if (target && target->kind == CTYPE_CHAR)
		return "char *";
	return object->kind == CTYPE_STRUCT && !strncmp(object->name, "basic_string", 12) ? "std::string" : "";
}

/* What is being made. */
struct parameter_list {
	struct function_parameters *made;
	const struct abi *abi;
	FILE *operands, *operands_by_jump;
};

/* Returns the i-th operand of a list that is separated by spaces, without its size. */
static const char *abi_operand(const char *operands, int i, int *length)
{
	while (i--)
		operands = strchr(operands, ' ') + 1;
	operands = strchr(operands, '@') + 1;
	*length = (int)strcspn(operands, " ");
	return operands;
}

/*
 * Adds an argument of a type. place: the index of its operand in list, and in list_by_jump.
 */
static int list_add(struct parameter_list *m, const char *name, const struct ctype *type, const struct dwarf_die *die,
                    int place, const char *list, const char *list_by_jump)
{
	struct function_parameters *made = m->made;
	struct ctype *target = type->kind == CTYPE_POINTER ? ctype_target(&made->names, type) : NULL;
	bool is_string = target && target->kind == CTYPE_CHAR;
	char class = type_class(type, is_string);
	int size = type->kind == CTYPE_STRUCT ? 8 : (int)type->size, length;
	const struct pp_type *enumeration;
	const char *text;

	if (made->nargs == ABI_SHAPE_ARGS_MAX || (type->kind == CTYPE_POINTER && !target))
		return type->kind == CTYPE_POINTER && !target ? -ENOMEM : 0;
	made->dies[made->nargs] = *die;
	enumeration = ctype_enumeration(&made->names, type);
	made->types[made->nargs] = enumeration ? *enumeration : (struct pp_type){ .name = type->name };
	made->types[made->nargs].die = &made->dies[made->nargs];
	made->args[made->nargs] = (struct pp_arg){ .name = (char *)name,
		                                   .type = (char *)parameter_type_text(type, target),
		                                   .class = class,
		                                   .described = &made->types[made->nargs] };
	text = abi_operand(list, place, &length);
	fprintf(m->operands, "%s%s%d@%.*s", made->nargs ? " " : "",
	        class == PPN_CLASS_SIGNED || class == PPN_CLASS_CHAR ? "-" : "", size, length, text);
	text = abi_operand(list_by_jump, place, &length);
	fprintf(m->operands_by_jump, "%s%s%d@%.*s", made->nargs ? " " : "",
	        class == PPN_CLASS_SIGNED || class == PPN_CLASS_CHAR ? "-" : "", size, length, text);
	made->nargs++;
	return 0;
}

static bool any_in_register(const struct dwarf_parameter *found, int n)
{
	for (int i = 0; i < n; i++)
		if (found[i].reg >= 0)
			return true;
	return false;
}

static int list_add_parameters(struct parameter_list *m, const struct dwarf_parameter *found, int n, int next,
                               const char *list, const char *list_by_jump)
{
	bool optimized = any_in_register(found, n);

	for (int i = 0; i < n; i++) {
		struct ctype type = { .name = "" };
		int err = dwarf_type_of(&m->made->names, &found[i].die, &type), at;

		if (err == -ENOMEM)
			return err;
		at = optimized ? register_index(m->abi, found[i].reg)
		               : convention_index(m->abi, &m->made->names, &type, &next);
		if (at == NOT_DECIDED)
			return 0;
		if (at < 0 || !*found[i].name || type.kind == CTYPE_UNKNOWN || type.kind == CTYPE_ARRAY ||
		    type.kind == CTYPE_FLOAT || (type.kind != CTYPE_STRUCT && type.size > 8) ||
		    (type.kind == CTYPE_STRUCT && optimized))
			continue;
		err = list_add(m, found[i].name, &type, &found[i].die, at, list, list_by_jump);
		if (err)
			return err;
	}
	return 0;
}

/* Adds the result, if it is in the integer register, and the duration. */
static int list_add_ends(struct parameter_list *m, const struct ctype *result, const struct dwarf_die *function)
{
	static const struct ctype duration = { .kind = CTYPE_INTEGER, .name = "unsigned long", .size = 8 };
	static const struct dwarf_die none;
	const char *list = m->abi->leave.operands, *list_by_jump = m->abi->leave_by_jump;
	bool has_value = result->kind == CTYPE_INTEGER || result->kind == CTYPE_BOOL || result->kind == CTYPE_CHAR ||
	                 result->kind == CTYPE_ENUM || result->kind == CTYPE_POINTER;
	int err = 0;

	if (has_value && result->size <= 8)
		err = list_add(m, "ret", result, function, m->abi->nargs, list, list_by_jump);
	err = err ? err : list_add(m, "duration", &duration, &none, m->abi->nargs + 1, list, list_by_jump);
	if (err)
		return err;
	if (m->made->nargs)
		m->made->args[m->made->nargs - 1].described = NULL;
	return 0;
}

static int list_make(struct parameter_list *m, bool is_return)
{
	const struct abi *abi = m->abi;
	const char *list = is_return ? abi->leave.operands : abi->entry.operands;
	const char *list_by_jump = is_return ? abi->leave_by_jump : list;
	struct dwarf_parameter found[PARAMETERS_MAX];
	struct dwarf_die function;
	struct ctype result = { .name = "", .kind = CTYPE_VOID };
	int n = dwarf_parameters(&m->made->names, found, PARAMETERS_MAX, &function), err;

	if (n < 0)
		return n;
	err = dwarf_type_of(&m->made->names, &function, &result);
	if (err == -ENOMEM)
		return err;
	err = list_add_parameters(m, found, n, result_registers(abi, &result), list, list_by_jump);
	return err || !is_return ? err : list_add_ends(m, &result, &function);
}

int function_parameters(const struct pp_image *image, uint64_t address, const struct abi *abi, bool is_return,
                        struct function_parameters *made)
{
	struct parameter_list m = { .made = made, .abi = abi };
	size_t size;
	int err;

	*made = (struct function_parameters){ .names = { .image = image, .address = address } };
	made->dies = calloc(ABI_SHAPE_ARGS_MAX, sizeof(*made->dies));
	made->types = calloc(ABI_SHAPE_ARGS_MAX, sizeof(*made->types));
	m.operands = open_memstream(&made->operands, &size);
	m.operands_by_jump = open_memstream(&made->operands_by_jump, &size);
	err = made->dies && made->types && m.operands && m.operands_by_jump ? list_make(&m, is_return) : -ENOMEM;
	if (m.operands && fclose(m.operands))
		err = -ENOMEM;
	if (m.operands_by_jump && fclose(m.operands_by_jump))
		err = -ENOMEM;
	return err == -ENOMEM ? error_nomem() : err;
}

void function_parameters_free(struct function_parameters *parameters)
{
	free(parameters->operands);
	free(parameters->operands_by_jump);
	free(parameters->dies);
	free(parameters->types);
	ctypes_release(&parameters->names);
}
