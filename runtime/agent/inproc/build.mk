# The agent. helpers.c is called from slots, where vector registers are the target's; and a sanitizer is no guest in
# somebody else's process.
AGENT_CPU := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
AGENT_CPUS := x86_64 aarch64
AGENT_SRC := $(filter-out $(foreach cpu,$(filter-out $(AGENT_CPU),$(AGENT_CPUS)),%-$(cpu).c),$(AGENT_SRC))
AGENT_OBJ := $(AGENT_SRC:%.c=$(B)/obj/%.o) $(B)/obj/runtime/agent/inproc/fetch-check.o
AGENT_FLAGS_x86_64 := -fcf-protection=branch
# No call into libgcc for what is one instruction or three.
AGENT_FLAGS_aarch64 := -mno-outline-atomics

$(AGENT_OBJ): CFLAGS_ALL := $(filter-out -fsanitize=%,$(CFLAGS_ALL)) -ftls-model=initial-exec -fno-stack-protector \
	-fno-plt -DAGENT_INSIDE -U_FORTIFY_SOURCE $(AGENT_FLAGS_$(AGENT_CPU))
# The library's functions are written here, and no loop of theirs becomes a call of themselves.
$(B)/obj/runtime/agent/inproc/libc-string.o: CFLAGS_ALL += -ffreestanding \
	$(if $(findstring clang,$(shell $(CC) --version)),-fno-builtin,-fno-tree-loop-distribute-patterns)
# No loop becomes a call of memcpy() either.
$(addprefix $(B)/obj/runtime/agent/inproc/,hit-read.o hit-ring.o): CFLAGS_ALL += -mgeneral-regs-only -fno-builtin \
	$(if $(findstring clang,$(shell $(CC) --version)),,-fno-tree-loop-distribute-patterns)

# What the library and the agent both have.
$(B)/obj/runtime/agent/inproc/fetch-check.o: runtime/fetch/check.c $(B)/obj/flags
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(B)/lib/libprobepoint-agent.so: $(AGENT_OBJ)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -Wl,-soname,libprobepoint-agent.so -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete \
		-o $@ $(AGENT_OBJ)

# This suite runs slots without an agent around them.
$(B)/tests/unit/trampoline: $(addprefix $(B)/obj/runtime/agent/inproc/,trampoline-$(AGENT_CPU).o compile.o codebuf.o hit-read.o hit-ring.o entry-$(AGENT_CPU).o)
