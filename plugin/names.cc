// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * Names of probes, which are identifiers. ns::shape::area becomes ns__shape__area.
 * Operators and destructors are spelt out (operator_plus, shape_dtor). Template
 * arguments and parameters are left out.
 */
#include "parts.h"

static bool is_word(char c)
{
	return ISALNUM(c) || c == '_';
}

bool is_identifier(const std::string &text)
{
	if (text.empty() || ISDIGIT(text[0]))
		return false;
	for (char c : text)
		if (!is_word(c))
			return false;
	return true;
}

std::string identifier_of(const std::string &text)
{
	std::string id;

	for (char c : text)
		if (is_word(c))
			id += c;
		else if (id.empty() || id.back() != '_')
			id += '_';
	if (id.empty() || ISDIGIT(id[0]))
		id = "_" + id;
	return id;
}

static const struct {
	const char *sign, *word;
} operators[] = {
	{ "new[]", "new_array" },
	{ "delete[]", "delete_array" },
	{ "->*", "member_of" },
	{ "<=>", "compare" },
	{ "<<=", "shift_left_assign" },
	{ ">>=", "shift_right_assign" },
	{ "->", "arrow" },
	{ "()", "call" },
	{ "[]", "index" },
	{ "==", "equal" },
	{ "!=", "unequal" },
	{ "<=", "at_most" },
	{ ">=", "at_least" },
	{ "<<", "shift_left" },
	{ ">>", "shift_right" },
	{ "&&", "and" },
	{ "||", "or" },
	{ "++", "increment" },
	{ "--", "decrement" },
	{ "+=", "plus_assign" },
	{ "-=", "minus_assign" },
	{ "*=", "times_assign" },
	{ "/=", "divide_assign" },
	{ "%=", "modulo_assign" },
	{ "&=", "bit_and_assign" },
	{ "|=", "bit_or_assign" },
	{ "^=", "bit_xor_assign" },
	{ "=", "assign" },
	{ "<", "less" },
	{ ">", "greater" },
	{ "+", "plus" },
	{ "-", "minus" },
	{ "*", "times" },
	{ "/", "divide" },
	{ "%", "modulo" },
	{ "&", "bit_and" },
	{ "|", "bit_or" },
	{ "^", "bit_xor" },
	{ "!", "not" },
	{ "~", "bit_not" },
	{ ",", "comma" },
	{ "\"\"", "literal" },
};

static void replace_all(std::string *text, const std::string &from, const std::string &to)
{
	for (size_t at = text->find(from); at != std::string::npos; at = text->find(from, at + to.size()))
		text->replace(at, from.size(), to);
}

/* Signs of operators must be words already. */
std::string without_arguments(const std::string &text)
{
	std::string plain;
	int depth = 0;

	for (char c : text) {
		if (c == '<' || c == '(')
			depth++;
		else if ((c == '>' || c == ')') && depth)
			depth--;
		else if (!depth)
			plain += c;
	}
	return plain;
}

/* "a::operator+=" -> "a::operator_plus_assign"; "operator bool" stays. */
static std::string operator_spell(const std::string &function)
{
	size_t at = function.rfind("operator"), end = at + strlen("operator");

	if (at == std::string::npos || (at && function[at - 1] != ':') || !function[end] || is_word(function[end]))
		return function;
	std::string sign = function.substr(end + (function[end] == ' '));
	for (const auto &op : operators)
		if (!sign.compare(0, strlen(op.sign), op.sign))
			return function.substr(0, at) + "operator_" + op.word + sign.substr(strlen(op.sign));
	return function;
}

std::string probe_name(const std::string &function)
{
	std::string text = operator_spell(function), id;

	replace_all(&text, "{anonymous}", "anonymous");
	replace_all(&text, "<lambda", "lambda<");
	text = without_arguments(text);
	for (size_t i = 0; i < text.size(); i++) {
		if (!text.compare(i, 2, "::")) {
			id += "__";
			i++;
		} else if (text[i] == '~') {
			/* ns::shape::~shape: the class is already there */
			id = id.substr(0, id.size() - (id.size() >= 2 ? 2 : 0)) + "_dtor";
			break;
		} else {
			id += text[i];
		}
	}
	return identifier_of(id);
}
