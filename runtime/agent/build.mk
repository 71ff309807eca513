# The agent. entry.c is called from slots, where vector registers are the target's.
AGENT_OBJ := $(AGENT_SRC:%.c=$(B)/obj/%.o)
AGENT_FLAGS := -ftls-model=initial-exec -fno-stack-protector -fno-plt -fcf-protection=branch

$(AGENT_OBJ): CFLAGS_ALL += $(AGENT_FLAGS)
$(B)/obj/runtime/agent/entry.o: CFLAGS_ALL += -mgeneral-regs-only -fno-tree-loop-distribute-patterns

# A sanitizer is no guest in somebody else's process.
$(B)/lib/libprobepoint-agent.so: CFLAGS_ALL := $(filter-out -fsanitize=%,$(CFLAGS_ALL))
$(B)/lib/libprobepoint-agent.so: $(AGENT_OBJ)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -shared -pthread $(LDFLAGS) -Wl,-soname,libprobepoint-agent.so -Wl,-z,defs -Wl,-z,now -Wl,-z,nodelete \
		-o $@ $(AGENT_OBJ)
