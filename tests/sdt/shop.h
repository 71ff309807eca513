/* SPDX-License-Identifier: MIT */
/* Declared probes of every kind, for shop.c. Lines "= NAME CLASSname ..." have the expected notes. */
#ifndef SHOP_H
#define SHOP_H

#include <stddef.h>
#ifndef __cplusplus
#include <stdbool.h>
#endif
#include <sys/probe.h>

enum shelf { TOP, BOTTOM = 9 };
struct item {
	int price;
};

#ifdef __cplusplus
namespace shop
{
#endif
/* = open */
PROBE_DECLARE(shop, open, (void), ());
/* = order iid sname ulen */
PROBE_DECLARE(shop, order, (int id, const char *name, size_t len), (id, name, len));
/* = kinds ca bb ic ud ie uf pg sh fi */
PROBE_DECLARE(shop, kinds,
              (char a, bool b, signed char c, unsigned char d, short e, enum shelf f, const struct item *g, char *h,
               double i),
              (a, b, c, d, e, f, g, h, i));
/* = some ulast */
PROBE_DECLARE(shop, some, (int hidden __attribute__((unused)), unsigned long last), (last));
#define SHOP_PROVIDER shop
/* = twelve ia ib ic id ie if ig ih ii ij ik il */
PROBE_DECLARE(SHOP_PROVIDER, twelve,
              (long a, long b, long c, long d, long e, long f, long g, long h, long i, long j, long k, long l),
              (a, b, c, d, e, f, g, h, i, j, k, l));
PROBE_DECLARE(shop, never_called, (const char *why), (why));
#ifdef __cplusplus
/* = order iid sname ulen */
PROBE_DECLARE(shop, order_of, (int &id), (id));
PROBE_DECLARE(shop, order_of, (const item &it, const char *name), (it.price, name));
}
#endif

#endif
