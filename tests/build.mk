# make check, check-long. A suite is tests/check_NAME.c, a script tests/t_NAME.sh; tests/run says how they are run.
# TESTS="name..." runs only these.

CHECK_SRC := $(wildcard tests/check_*.c)
CHECKS := $(CHECK_SRC:tests/%.c=$(B)/tests/%)
CMD_ARCHIVE := $(B)/obj/cmd/shared.a
TEST_TOOLS := bpftrace clang gdb jq perf setpriv valgrind

# Asked for only where a test is to be run: the answers take a moment.
test_missing = $(MISSING) $(call need_pkg,check,check) \
	$(foreach t,$(TEST_TOOLS),$(if $(shell command -v $(t) 2>/dev/null),,$(t)))

.PHONY: run-check run-check-long
.SECONDARY: $(CMD_SRC:%.c=$(B)/obj/%.o) $(CHECK_SRC:%.c=$(B)/obj/%.o)

# What is missing is got first; make starts again, for it has looked for everything already.
check check-long:
	$(if $(strip $(test_missing)),$(Q)scripts/deps --test)
	$(Q)$(MAKE) --no-print-directory run-$@

run-check run-check-long: all $(CHECKS)
	$(Q)B=$(B) CC='$(CC)' CXX='$(CXX)' PLUGIN_CC='$(PLUGIN_CC)' PLUGIN_CXX='$(PLUGIN_CXX)' SAN='$(SAN)' \
		tests/run $(if $(filter run-check-long,$@),--long) $(TESTS)

$(CMD_ARCHIVE): $(CMD_SHARED_OBJ)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(B)/tests/check_%: $(B)/obj/tests/check_%.o $(CMD_ARCHIVE) $(LIBA)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -o $@ $^ $$($(PKG_CONFIG) --libs check $(PKGS))
