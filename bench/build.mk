# make bench: each bench/NAME.c is a program that prints a table of ratios, taken within its one run.

BENCH_SRC := $(wildcard bench/*.c)
BENCHES := $(BENCH_SRC:%.c=$(B)/%)

.PHONY: bench run-bench
.SECONDARY: $(BENCH_SRC:%.c=$(B)/obj/%.o)
bench:
	$(if $(MISSING),$(Q)scripts/deps)
	$(Q)$(MAKE) --no-print-directory run-bench

run-bench: all $(BENCHES)
	$(Q)for b in $(BENCHES); do B=$(B) CC='$(CC)' $$b || exit; done

$(B)/bench/%: $(B)/obj/bench/%.o $(LIBA)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $$($(PKG_CONFIG) --libs $(PKGS))
