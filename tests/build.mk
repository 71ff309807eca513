# make check, check-long. tests/run describes tests and how they run. TESTS="kernel/exact unit" runs only these.

CHECK_SRC := $(wildcard tests/unit/*.c)
# These set all registers of x86-64 at a hit (tests/kernel/hit.h, which tests/unit/expressions.h includes).
ifneq ($(AGENT_CPU),x86_64)
CHECK_SRC := $(shell grep -LE '"tests/(kernel/hit|unit/expressions)\.h"' $(CHECK_SRC))
endif
CHECKS := $(CHECK_SRC:tests/%.c=$(B)/tests/%)
CMD_ARCHIVE := $(B)/obj/cmd/shared.a

# Packages without which no test can be built. Without other packages of scripts/deps some tests are skipped.
test_needs = $(strip $(MISSING) $(call need_pkg,check,check))

.PHONY: run-check run-check-long check-gcc check-distros checks
.SECONDARY: $(CMD_SRC:%.c=$(B)/obj/%.o) $(CHECK_SRC:%.c=$(B)/obj/%.o)

# Installs missing packages first. make starts again, because it has looked for all packages already.
check check-long:
	$(Q)[ -z "$$(scripts/deps --test --list)" ] || scripts/deps --test || [ -z '$(test_needs)' ] || \
		{ echo 'missing: $(foreach m,$(test_needs),$(lastword $(subst :, ,$m)))'; exit 1; }
	$(Q)$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$$(nproc)) run-$@

# Builds the unit tests. They run elsewhere if CROSS is set.
checks: all $(CHECKS)

check-distros:
	$(Q)TESTS='$(TESTS)' scripts/check-distros $(if $(SHORT),--short) $(if $(NEW),--new) $(RELEASES)

run-check run-check-long: all $(CHECKS)
	$(Q)B=$(B) CC='$(CC)' CXX='$(CXX)' PLUGIN_CC='$(PLUGIN_CC)' PLUGIN_CXX='$(PLUGIN_CXX)' SAN='$(SAN)' \
		tests/run $(if $(filter run-check-long,$@),--long) $(TESTS)

# The plugin's tests with each compiler of PLUGIN_CCS, as a table.
check-gcc: all
	$(Q)B=$(B) PLUGIN_CCS='$(PLUGIN_CCS)' tests/gccs $(TESTS)

$(CMD_ARCHIVE): $(CMD_SHARED_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/tests/unit/%: $(B)/obj/tests/unit/%.o $(CMD_ARCHIVE) $(LIBA)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $$($(PKG_CONFIG) --libs check) $(LIBS)

# Tests in guests with other kernels: SHORT=1 runs fewer, KERNELS="6.1 7.2" only these. scripts/check-kernels describes it.
.PHONY: check-kernels
check-kernels: all $(CHECKS)
	$(Q)B=$(B) scripts/check-kernels $(if $(SHORT),--short) $(if $(TESTS),--tests '$(TESTS)') $(KERNELS)
