// SPDX-License-Identifier: GPL-3.0-or-later
/*
 * What a function's probes are called: an identifier. ns::shape::area is
 * ns__shape__area, operators and destructors are spelt out (operator_plus,
 * _dtor), template arguments and parameters left out.
 */
#include "parts.h"

static const struct {
	const char *sign, *word;
} operators[] = {
	{ "new[]", "new_array" }, { "delete[]", "delete_array" }, { "->*", "member_of" }, { "<=>", "compare" },
	{ "<<=", "shift_left_assign" }, { ">>=", "shift_right_assign" }, { "->", "arrow" }, { "()", "call" },
	{ "[]", "index" }, { "==", "equal" }, { "!=", "unequal" }, { "<=", "at_most" }, { ">=", "at_least" },
	{ "<<", "shift_left" }, { ">>", "shift_right" }, { "&&", "and" }, { "||", "or" }, { "++", "increment" },
	{ "--", "decrement" }, { "+=", "plus_assign" }, { "-=", "minus_assign" }, { "*=", "times_assign" },
	{ "/=", "divide_assign" }, { "%=", "modulo_assign" }, { "&=", "bit_and_assign" }, { "|=", "bit_or_assign" },
	{ "^=", "bit_xor_assign" }, { "=", "assign" }, { "<", "less" }, { ">", "greater" }, { "+", "plus" },
	{ "-", "minus" }, { "*", "times" }, { "/", "divide" }, { "%", "modulo" }, { "&", "bit_and" },
	{ "|", "bit_or" }, { "^", "bit_xor" }, { "!", "not" }, { "~", "bit_not" }, { ",", "comma" },
	{ "\"\"", "literal" },
};

static void replace_all(std::string *text, const std::string &from, const std::string &to)
{
	for (size_t at = text->find(from); at != std::string::npos; at = text->find(from, at + to.size()))
		text->replace(at, from.size(), to);
}

/* "a<b<c>>::d(e)::f" -> "a::d::f"; the signs of operators are words by now. */
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

std::string probe_name(const std::string &function)
{
	std::string text = function, id;
	size_t at = text.rfind("operator");

	if (at != std::string::npos && (!at || text[at - 1] == ':') && text[at + 8] && !ISALNUM(text[at + 8]) &&
	    text[at + 8] != '_') {
		std::string rest = text.substr(at + 8 + (text[at + 8] == ' '));

		for (const auto &op : operators) {
			if (rest.compare(0, strlen(op.sign), op.sign))
				continue;
			text = text.substr(0, at) + "operator_" + op.word + rest.substr(strlen(op.sign));
			break;
		}
	}
	replace_all(&text, "{anonymous}", "anonymous");
	replace_all(&text, "<lambda", "lambda<");
	text = without_arguments(text);
	for (size_t i = 0; i < text.size(); i++) {
		if (!text.compare(i, 2, "::")) {
			id += "__";
			i++;
		} else if (text[i] == '~') {
			/* ns::shape::~shape: the class stands before it already */
			id = id.substr(0, id.size() - (id.size() >= 2 ? 2 : 0)) + "_dtor";
			break;
		} else {
			id += text[i];
		}
	}
	return identifier_of(id);
}
