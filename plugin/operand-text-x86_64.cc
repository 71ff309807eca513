// SPDX-License-Identifier: GPL-3.0-or-later
/* Operands of x86-64 and i386 in AT&T syntax, whatever -masm says: $NUMBER, %REGISTER, NUMBER(%REGISTER). */
#include "parts.h"

int operand_registers(void)
{
	return TARGET_64BIT ? 6 : 2;
}

bool operand_number_is_readable(HOST_WIDE_INT)
{
	return true;
}

std::string operand_number_text(HOST_WIDE_INT number)
{
	return "$" + std::to_string(number);
}

std::string operand_register_text(rtx x, HOST_WIDE_INT size)
{
	std::string name = REG_P(x) && GENERAL_REGNO_P(REGNO(x)) ? reg_names[REGNO(x)] : "";

	/* Readers do not know r16 to r31, which APX adds. */
	if (name.empty() || size > UNITS_PER_WORD || (name[0] == 'r' && atoi(name.c_str() + 1) > 15))
		return "";
	/* gdb does not know r8b. Readers take as many bytes of a wider register as the operand has. */
	if (name[0] == 'r')
		return "%" + name + (size == 8 ? "" : size == 2 ? "w" : "d");
	if (size >= 4)
		return (size == 8 ? "%r" : "%e") + name;
	if (size == 1)
		return "%" + (name[1] == 'x' ? name.substr(0, 1) : name) + "l";
	return "%" + name;
}

std::string operand_memory_text(const std::string &base, HOST_WIDE_INT offset)
{
	return (offset ? std::to_string(offset) : "") + "(" + base + ")";
}
