# make bench: measures what arming and hits cost on this machine, compared with other tools. bench/run has the details.

BENCH_SRC := $(wildcard bench/*.c)
BENCHES := $(BENCH_SRC:%.c=$(B)/%)

.PHONY: bench run-bench
.SECONDARY: $(BENCH_SRC:%.c=$(B)/obj/%.o)

bench:
	$(if $(MISSING),$(Q)scripts/deps)
	$(Q)$(MAKE) --no-print-directory run-bench

run-bench: all $(BENCHES)
	$(Q)B=$(B) CC='$(CC)' PLUGIN_CC='$(PLUGIN_CC)' bench/run
	$(Q)B=$(B) CC='$(CC)' bench/agent
	$(Q)B=$(B) CC='$(CC)' bench/aggregate
	$(Q)B=$(B) PLUGIN_CC='$(PLUGIN_CC)' PLUGIN_CXX='$(PLUGIN_CXX)' bench/plugin || [ $$? = 77 ]

$(B)/bench/%: $(B)/obj/bench/%.o $(LIBA)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
