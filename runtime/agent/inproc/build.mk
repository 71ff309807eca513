# The agent. It is built without sanitizers, because it runs inside of other programs.
AGENT_CPU := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
AGENT_CPUS := x86_64 aarch64
AGENT_SRC := $(filter-out $(foreach cpu,$(filter-out $(AGENT_CPU),$(AGENT_CPUS)),%-$(cpu).c),$(AGENT_SRC))
AGENT_OBJ := $(AGENT_SRC:%.c=$(B)/obj/%.o) $(addprefix $(B)/obj/runtime/agent/inproc/,fetch-check.o aggregate.o)
AGENT_FLAGS_x86_64 := -fcf-protection=branch
# No calls into libgcc for atomic operations.
AGENT_FLAGS_aarch64 := -mno-outline-atomics

# clang would replace memcmp() of libc-string.c by the bcmp() of the program.
$(AGENT_OBJ): CFLAGS_ALL := $(filter-out -fsanitize=%,$(CFLAGS_ALL)) -ftls-model=initial-exec -fno-stack-protector \
	-fno-plt -fno-builtin-bcmp -DAGENT_INSIDE -U_FORTIFY_SOURCE $(AGENT_FLAGS_$(AGENT_CPU))
# This file defines memcpy() and others. The compiler must not replace the loop of a function by a call of itself.
$(B)/obj/runtime/agent/inproc/libc-string.o: CFLAGS_ALL += -ffreestanding \
	$(if $(findstring clang,$(shell $(CC) --version)),-fno-builtin,-fno-tree-loop-distribute-patterns)
# Trampolines call functions of these files without saving vector registers. So these use general registers only, and call
# no function of another file, not even memcpy().
$(addprefix $(B)/obj/runtime/agent/inproc/,hit-read.o hit-ring.o hit-flight.o hit-aggregate.o hit-calls.o hit-sample.o aggregate.o): CFLAGS_ALL += -mgeneral-regs-only -fno-builtin \
	$(if $(findstring clang,$(shell $(CC) --version)),,-fno-tree-loop-distribute-patterns)

# The library and the agent share these sources.
$(B)/obj/runtime/agent/inproc/fetch-check.o: runtime/fetch/check.c
$(B)/obj/runtime/agent/inproc/aggregate.o: runtime/aggregate.c
$(addprefix $(B)/obj/runtime/agent/inproc/,fetch-check.o aggregate.o): $(B)/obj/flags
	$(say) CC $(filter %.c,$^)
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $(filter %.c,$^)

$(B)/lib/libprobepoint-agent.so: $(AGENT_OBJ)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -Wl,-soname,libprobepoint-agent.so -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete \
		-o $@ $(AGENT_OBJ)

# This suite runs trampolines without the rest of the agent.
$(B)/tests/unit/trampoline: $(addprefix $(B)/obj/runtime/agent/inproc/,trampoline-$(AGENT_CPU).o compile.o codebuf.o hit-read.o hit-ring.o hit-flight.o hit-aggregate.o hit-calls.o hit-sample.o entry-$(AGENT_CPU).o)
