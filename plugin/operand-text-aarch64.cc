// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Operands of aarch64: NUMBER, xN, [xN, NUMBER]. Readers take as many bytes of a register as the operand has. All of them
 * know x0, while perf and libbpf do not know w0.
 */
#include "parts.h"

int operand_registers(void)
{
	return 12; /* as many as stapsdt has operands; 28 can be allocated */
}

bool operand_number_is_readable(HOST_WIDE_INT number)
{
	return number != HOST_WIDE_INT_MIN; /* gdb reads the number without its sign first, which is too large */
}

std::string operand_number_text(HOST_WIDE_INT number)
{
	return std::to_string(number);
}

std::string operand_register_text(rtx x, HOST_WIDE_INT size)
{
	bool is_general = REG_P(x) && (GP_REGNUM_P(REGNO(x)) || REGNO(x) == SP_REGNUM);

	return is_general && size <= UNITS_PER_WORD ? reg_names[REGNO(x)] : "";
}

std::string operand_memory_text(const std::string &base, HOST_WIDE_INT offset)
{
	return "[" + base + (offset ? ", " + std::to_string(offset) : "") + "]";
}
