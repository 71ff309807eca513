# make static: all commands in one program that is linked statically. `make help` describes it.

.PHONY: static
static: $(B)/bin/probepoint-static

STATIC_SRC := $(wildcard cmd/static/*.c)
# libbabeltrace2 loads plugins, which a static program cannot do. probe-export is a server of its own.
STATIC_CMD := $(filter-out cmd/probe-report.c cmd/probe-export.c,$(CMD_SRC))
STATIC_OBJ := $(STATIC_SRC:%.c=$(B)/obj/%.o) $(STATIC_CMD:%.c=$(B)/obj/static/%.o)

# Each main() gets the name of its command.
$(B)/obj/static/cmd/%.o: cmd/%.c $(B)/obj/flags
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) -Dmain=$(subst -,_,$*)_main -include cmd/static/commands.h $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# Debian has Zydis as a shared library only. ZYDIS_A= names a static library, if there is one; otherwise it is built from
# the source package.
ZYDIS_A ?= $(B)/static/libZydis.a
$(B)/static/libZydis.a: scripts/zydis-static
	$(say) ZYDIS $@
	@mkdir -p $(@D)
	$(Q)CC='$(CC)' AR='$(AR)' scripts/zydis-static $@

$(B)/bin/probepoint-static: $(STATIC_OBJ) $(CMD_SHARED_OBJ) $(LIBA) $(ZYDIS_A)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -static-pie -o $@ $^ $$($(PKG_CONFIG) --static --libs $(CMD_PKGS) $(LIB_PKGS)) -lstdc++
