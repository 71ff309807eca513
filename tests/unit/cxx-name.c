/* SPDX-License-Identifier: MIT */
/* Patterns in C++ names. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sdt/cxx-name.h"
#include "tests/unit/random.h"

START_TEST(probes)
{
	static const struct {
		const char *pattern, *name;
		int matches;
	} cases[] = {
		{ "shop::Cart::add", "shop__Cart__add__entry", 1 },
		{ "shop::Cart::add", "shop__Cart__add_2__return", 1 },
		{ "shop::Cart::add", "shop__Cart__add_2", 1 },
		{ "shop::Cart::add", "shop__Cart__added__entry", 0 },
		{ "shop::Cart::add*", "shop__Cart__added__entry", 1 },
		{ "shop::Cart::add", "shop__Cart__add__x__entry", 0 },
		{ "shop::Cart::add__entry", "shop__Cart__add__entry", 1 },
		{ "shop::Cart::add__entry", "shop__Cart__add__return", 0 },
		{ "shop::Cart::add_2", "shop__Cart__add_2__entry", 1 },
		{ "shop::Cart::add_2", "shop__Cart__add__entry", 0 },
		{ "shop::Cart::add(int)", "shop__Cart__add__entry", 1 }, /* parameters are ignored */
		{ "shop::Cart::add(int)__entry", "shop__Cart__add_2__entry", 1 },
		{ "shop::Cart::add(int)__entry", "shop__Cart__add_2__return", 0 },
		{ "shop::Cart::operator()(int)__return", "shop__Cart__operator_call__return", 1 },
		{ "shop::Cart::~Cart", "shop__Cart_dtor__entry", 1 },
		{ "shop::Cart::operator==", "shop__Cart__operator_equal__entry", 1 },
		{ "shop::Cart::operator()", "shop__Cart__operator_call__entry", 1 },
		{ "shop::Cart::operator()(int)", "shop__Cart__operator_call__entry", 1 },
		{ "shop::Cart::operator*", "shop__Cart__operator_plus__entry", 1 },
		{ "shop::box<int, a::b>::put", "shop__box__put__entry", 1 },
		{ "(anonymous namespace)::f", "anonymous__f__entry", 1 },
		{ "*::add", "shop__Cart__add__entry", 1 },
		{ "shop::C?rt::[ab]dd", "shop__Cart__add__entry", 1 },
		{ "::add", "add__entry", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(cxx_matches_probe(cases[i].pattern, cases[i].name) == cases[i].matches, "%s and %s",
		              cases[i].pattern, cases[i].name);
}
END_TEST

#define STRING "std::__cxx11::basic_string<char, std::char_traits<char>, std::allocator<char> >"

START_TEST(demangled)
{
	static const struct {
		const char *glob, *name;
		int matches;
	} cases[] = {
		{ "shop::add", "shop::add(int)", 1 },
		{ "shop::add(int)", "shop::add(int)", 1 },
		{ "shop::add( int )", "shop::add(int)", 1 },
		{ "shop::add(int)", "shop::add(long)", 0 },
		{ "shop::add(int)", "shop::add(int, int)", 0 },
		{ "shop::add(int,int)", "shop::add(int, int)", 1 },
		{ "shop::add(const char *)", "shop::add(char const*)", 1 },
		{ "shop::add(char const *)", "shop::add(char const*)", 1 },
		{ "shop::add(const std::vector<int> &, int)", "shop::add(std::vector<int> const&, int)", 1 },
		{ "shop::add(int)", "shop::add(int) [clone .isra.0]", 1 },
		{ "shop::add(const int)", "shop::add(int const)", 1 },
		{ "shop::made", "long shop::made<int>(int)", 1 },
		{ "shop::made<int>", "long shop::made<int>(int)", 1 },
		{ "shop::made<long>", "long shop::made<int>(int)", 0 },
		{ "shop::*", "shop::order::total(int) const", 1 },
		{ "shop::order::total(int) const", "shop::order::total(int) const", 1 },
		{ "shop::order::operator()", "shop::order::operator()(long)", 1 },
		{ "shop::order::operator()(long)", "shop::order::operator()(long)", 1 },
		{ "shop::order::operator<", "shop::order::operator<(long)", 1 },
		{ "shop::order::operator bool", "shop::order::operator bool()", 1 },
		{ "shop::(anonymous namespace)::hidden", "shop::(anonymous namespace)::hidden(int)", 1 },
		{ "shop::f(void (*)(int))", "shop::f(void (*)(int))", 1 },
		{ "main", "main", 1 },
		{ "shop::add(int)__entry", "shop::add(int)", 1 },
		{ "shop::add(int) const__return", "shop::add(int) const", 1 },
		{ "shop::add(const std::string &, double)", "shop::add(" STRING " const&, double)", 1 },
		{ "shop::add(std::string const&,double)", "shop::add(" STRING " const&, double)", 1 },
		{ "shop::add(" STRING " const&, double)", "shop::add(" STRING " const&, double)", 1 },
		{ "shop::add(std::string)", "shop::add(std::string)", 1 }, /* of the ABI before GCC 5 */
		{ "shop::add(std::string)", "shop::add(std::basic_string<wchar_t, std::char_traits<wchar_t> >)", 0 },
		{ "shop::add(std::string_view, int)",
		  "shop::add(std::basic_string_view<char, std::char_traits<char> >, int)", 1 },
		{ "shop::add(const std::vector<const char *> &)",
		  "shop::add(std::vector<char const*, std::allocator<char const*> > const&)", 1 },
		{ "shop::add(std::map<int, std::string> *)",
		  "shop::add(std::map<int, " STRING ", std::less<int>, std::allocator<std::pair<int const, " STRING
		  " > > >*)",
		  1 },
		{ "shop::add(std::unique_ptr<shop::Db>)",
		  "shop::add(std::unique_ptr<shop::Db, std::default_delete<shop::Db> >)", 1 },
		{ "shop::add(std::vector<int>)", "shop::add(std::vector<long, std::allocator<long> >)", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(cxx_matches_demangled(cases[i].glob, cases[i].name) == cases[i].matches, "%s and %s",
		              cases[i].glob, cases[i].name);
}
END_TEST

START_TEST(colons)
{
	ck_assert_ptr_null(pattern_colon("a::b::c"));
	ck_assert_str_eq(pattern_colon("p:a::b"), ":a::b");
	ck_assert_str_eq(pattern_colon("a::b:c"), ":c");
	ck_assert_ptr_null(pattern_colon("name"));
}
END_TEST

/* Names from files are hostile: whatever they are, nothing is read or written out of bounds. */
START_TEST(anything)
{
	static const char alphabet[] = ":::()<>, *&~ constoperator_2[]?a\\x";
	static char a[5000], b[5000];

	for (int n = 0; n < 200000; n++) {
		size_t la = below(below(50) ? 60 : sizeof(a)), lb = below(below(50) ? 60 : sizeof(b));

		for (size_t i = 0; i < la; i++)
			a[i] = alphabet[below(sizeof(alphabet) - 1)];
		for (size_t i = 0; i < lb; i++)
			b[i] = alphabet[below(sizeof(alphabet) - 1)];
		a[la] = b[lb] = 0;
		cxx_matches_probe(a, b);
		if (la < 60 && lb < 60)
			cxx_matches_demangled(a, b);
		pattern_colon(a);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cxx-name");
	TCase *tc = tcase_create("cxx-name");
	SRunner *runner = srunner_create(suite);
	int failed;

	seed_set();
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, probes);
	tcase_add_test(tc, demangled);
	tcase_add_test(tc, colons);
	tcase_add_test(tc, anything);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
