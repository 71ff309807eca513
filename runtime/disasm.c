/* SPDX-License-Identifier: MIT */
#include "runtime/disasm.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/disasm-internal.h"
#include "sdt/image.h"

#define FUNCTION_SIZE_MAX (4u << 20)
#define OTHER_CPU_INSN_SIZE 4

void decoder_init(ZydisDecoder *decoder, bool is_64)
{
	ZydisDecoderInit(decoder, is_64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32,
	                 is_64 ? ZYDIS_STACK_WIDTH_64 : ZYDIS_STACK_WIDTH_32);
}

/* Reads at most size bytes. Returns their number, or a negative errno. */
static ssize_t code_pread(const struct pp_image *image, uint64_t address, size_t size, void *to)
{
	int fd = image_reopen(image);
	ssize_t got = -1;
	uint64_t offset;

	if (fd < 0)
		return fd;
	if (!image_offset(image, address, &offset))
		got = pread(fd, to, size, (off_t)offset);
	close(fd);
	return got < 0 ? error_set(EIO, "'%s': cannot read the code at 0x%lx", image->path, (unsigned long)address)
	               : got;
}

static int code_read(const struct pp_image *image, uint64_t address, size_t size, uint8_t *to)
{
	ssize_t got = code_pread(image, address, size, to);

	if (got < 0 || (size_t)got == size)
		return got < 0 ? (int)got : 0;
	return error_set(EIO, "'%s': cannot read the code at 0x%lx", image->path, (unsigned long)address);
}

int code_read_some(const struct pp_image *image, uint64_t address, size_t size, void *to)
{
	ssize_t got = code_pread(image, address, size, to);

	if (got < 0)
		return (int)got;
	memset((char *)to + got, 0, size - (size_t)got);
	return 0;
}

int code_bytes_read(const struct pp_image *image, const char *name, uint64_t start, uint64_t end,
                    struct code_bytes *code)
{
	int err;

	if (end == start)
		return error_set(EOPNOTSUPP, "the symbol table of '%s' has no size for '%s'", image->path, name);
	if (end - start > FUNCTION_SIZE_MAX)
		return error_set(EOPNOTSUPP, "'%s' of '%s' is too long: it has %lu bytes (maximum %u)", name,
		                 image->path, (unsigned long)(end - start), FUNCTION_SIZE_MAX);
	*code = (struct code_bytes){ start, end, malloc(end - start) };
	if (!code->bytes)
		return error_nomem();
	err = code_read(image, start, end - start, code->bytes);
	if (err) {
		free(code->bytes);
		code->bytes = NULL;
	}
	return err;
}

int code_bytes_of_function(const struct pp_image *image, uint64_t address, const char **name, struct code_bytes *code)
{
	uint64_t start = 0, end = 0;

	*name = image_code_range(image, address, &start, &end);
	if (!*name || start != address)
		return error_set(EOPNOTSUPP, "'%s': no function begins at 0x%lx", image->path, (unsigned long)address);
	return code_bytes_read(image, *name, start, end, code);
}

bool code_is_known(int machine)
{
	return machine == EM_X86_64 || machine == EM_386;
}

size_t code_length(int machine, const uint8_t *code, size_t size)
{
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;

	if (!code_is_known(machine))
		return size < OTHER_CPU_INSN_SIZE ? size : OTHER_CPU_INSN_SIZE;
	decoder_init(&decoder, machine == EM_X86_64);
	ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
	return ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, code, size, &insn)) ? insn.length : 1;
}

/* Finds the last boundary at or before the offset, and the next one after it. Returns 0 or -EINVAL. */
static int boundary_find(const struct pp_image *image, const char *name, const struct code_bytes *code, uint64_t offset,
                         uint64_t *last, uint64_t *next)
{
	ZydisDecodedInstruction insn;
	ZydisDecoder decoder;
	uint64_t size = code->end - code->start;

	decoder_init(&decoder, true);
	for (*last = *next = 0; *next < offset; *next += insn.length) {
		*last = *next;
		if (!ZYAN_SUCCESS(
			    ZydisDecoderDecodeInstruction(&decoder, NULL, code->bytes + *last, size - *last, &insn)))
			return error_set(EINVAL, "'%s' of '%s': the instruction at +0x%lx cannot be decoded", name,
			                 image->path, (unsigned long)*last);
	}
	return 0;
}

static int boundary_check(const struct pp_image *image, const char *name, const struct code_bytes *code,
                          uint64_t offset)
{
	uint64_t last, next;
	int err;

	if (offset >= code->end - code->start)
		return error_set(EINVAL, "'%s' of '%s' has only %lu bytes: +0x%lx is outside of it", name, image->path,
		                 (unsigned long)(code->end - code->start), (unsigned long)offset);
	if (image->machine == EM_AARCH64) {
		err = 0;
		last = offset - offset % OTHER_CPU_INSN_SIZE;
		next = last == offset ? offset : last + OTHER_CPU_INSN_SIZE;
	} else {
		err = boundary_find(image, name, code, offset, &last, &next);
	}
	if (err || next == offset)
		return err;
	return error_set(
		EINVAL,
		"'%s+0x%lx' of '%s' is in the middle of an instruction: one begins at +0x%lx, the next at +0x%lx", name,
		(unsigned long)offset, image->path, (unsigned long)last, (unsigned long)next);
}

int code_boundary(const struct pp_image *image, uint64_t address, uint64_t offset)
{
	struct code_bytes code;
	const char *name;
	int err = code_bytes_of_function(image, address, &name, &code);

	if (err)
		return err;
	err = boundary_check(image, name, &code, offset);
	free(code.bytes);
	return err;
}

uint64_t insn_computed_address(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands, uint64_t at)
{
	uint64_t address;

	if (insn->mnemonic == ZYDIS_MNEMONIC_LEA && insn->operand_count_visible == 2 &&
	    operands[1].mem.base == ZYDIS_REGISTER_RIP &&
	    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(insn, &operands[1], at, &address)))
		return address;
	if (insn->mnemonic == ZYDIS_MNEMONIC_MOV && insn->operand_count_visible == 2 &&
	    operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return operands[1].imm.value.u;
	return 0;
}

static bool is_function_start(const struct pp_image *image, uint64_t address)
{
	uint64_t start, end;

	return image_code_range(image, address, &start, &end) && start == address;
}

static bool addresses_contain(const uint64_t *addresses, size_t n, uint64_t address)
{
	while (n--)
		if (addresses[n] == address)
			return true;
	return false;
}

size_t code_function_add(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t n)
{
	if (!address || addresses_contain(functions, n, address) || !is_function_start(image, address))
		return n;
	functions[n] = address;
	return n + 1;
}

size_t code_functions_named(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t room)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	struct code_bytes code;
	ZydisDecoder decoder;
	const char *name;
	size_t found = 0, size;

	if (image->machine == EM_AARCH64)
		return code_functions_named_aarch64(image, address, functions, room);
	if (code_bytes_of_function(image, address, &name, &code))
		return 0;
	size = code.end - code.start;
	decoder_init(&decoder, true);
	for (size_t at = 0; at < size && found < room; at += insn.length) {
		uint64_t computed;

		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.bytes + at, size - at, &insn, operands)))
			break;
		computed = insn_computed_address(&insn, operands, address + at);
		if (computed != address)
			found = code_function_add(image, computed, functions, found);
	}
	free(code.bytes);
	return found;
}
