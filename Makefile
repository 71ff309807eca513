# Builds, tests and installs probepoint. `make help` lists the targets and variables.

.DEFAULT_GOAL := all
include config.mk

ifeq ($(V),1)
Q :=
say = @:
else
Q := @
say = @printf '  %-7s %s\n'
endif

ifneq ($(SAN),)
SANFLAGS := -fsanitize=$(SAN) -fno-omit-frame-pointer
endif

B := $(or $(O),build)
CPPFLAGS_ALL := -D_GNU_SOURCE -DPP_VERSION='"$(VERSION)"' -Iinclude -I. $(CPPFLAGS)
CFLAGS_ALL := -std=gnu17 $(WARN) $(WARN_C) -fPIC -fvisibility=hidden -pthread $(CFLAGS) $(SANFLAGS)
LDFLAGS_ALL := -pthread $(LDFLAGS) $(SANFLAGS)
# Libraries that the library needs, those that the commands need in addition, and all of them for tests that link both.
LIB_PKGS := libelf libbpf
LIB_PRIVATE := -lZydis -lstdc++
LIB_LIBS = $$($(PKG_CONFIG) --libs $(LIB_PKGS)) $(LIB_PRIVATE)
CMD_LIBS = $$($(PKG_CONFIG) --libs json-c)
LIBS = $(LIB_LIBS) $(CMD_LIBS)

LIB_SRC := $(wildcard base/*.c sdt/*.c runtime/*.c runtime/fetch/*.c runtime/trace/*.c runtime/kernel/*.c runtime/agent/*.c)
AGENT_SRC := $(wildcard runtime/agent/inproc/*.c)
CMD_SRC := $(wildcard cmd/probe-*.c)
CMD_SHARED := $(filter-out $(CMD_SRC),$(wildcard cmd/*.c))
PLUGIN_SRC := $(wildcard plugin/*.cc)

LIB_OBJ := $(LIB_SRC:%.c=$(B)/obj/%.o)
CMD_SHARED_OBJ := $(CMD_SHARED:%.c=$(B)/obj/%.o)
CMDS := $(CMD_SRC:cmd/%.c=$(B)/bin/%)
PLUGIN_OBJ := $(PLUGIN_SRC:%.cc=$(B)/obj/%.o)

# Incremented when programs that were linked with an earlier library cannot run with this one.
ABI := 1
SONAME := libprobepoint.so.$(ABI)
LIB := $(B)/lib/$(SONAME)
LIB_LINK := $(B)/lib/libprobepoint.so
LIBA := $(B)/lib/libprobepoint.a
PLUGIN := $(if $(PLUGIN_SRC),$(B)/lib/probepoint.so)
AGENT := $(if $(AGENT_SRC),$(B)/lib/libprobepoint-agent.so)

# These targets must work on machines on which packages for the build are missing.
GOALS := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out clean deps demo check check-long bench uninstall help lint format,$(GOALS)),)
ifneq ($(MISSING),)
$(error missing: $(foreach m,$(MISSING),$(word 1,$(subst :, ,$m)) (package $(word 2,$(subst :, ,$m))));\
 `scripts/deps` installs what is missing)
endif
endif

.PHONY: all deps demo check check-long bench install uninstall clean FORCE

all: $(LIB) $(LIB_LINK) $(LIBA) $(PLUGIN) $(AGENT) $(CMDS)

# ---- objects -------------------------------------------------------------------

# Rebuilt when compiler or flags change.
$(B)/obj/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(PLUGIN_CXX)' | cmp -s - $@ || \
		echo '$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(PLUGIN_CXX)' >$@

$(B)/obj/%.o: %.c $(B)/obj/flags
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(B)/obj/plugin/%.o: plugin/%.cc $(B)/obj/flags
	$(say) CXX $<
	@mkdir -p $(@D)
	$(Q)$(PLUGIN_CXX) -std=gnu++14 $(WARN) -fno-rtti -fno-exceptions -fPIC -fvisibility=hidden -O2 -g \
		-DPP_VERSION='"$(VERSION)"' -Iinclude -isystem $(PLUGIN_INC) -MMD -MP -c -o $@ $<
	$(Q)objcopy --weaken $@ # weak, so that another GCC loads the plugin and gets its error message about the version

# ---- products -------------------------------------------------------------------

$(LIBA): $(LIB_OBJ)
	$(say) AR $@
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

MAP := runtime/libprobepoint.map

$(LIB): $(LIB_OBJ) $(MAP) include/probepoint.h scripts/symbol-map
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) -shared $(LDFLAGS_ALL) -Wl,-soname,$(SONAME) $(if $(SAN),,-Wl,-z,defs) \
		-Wl,--version-script=$(MAP) -o $@ $(LIB_OBJ) $(LIB_LIBS)
	$(Q)scripts/symbol-map $(MAP) include/probepoint.h $@ || { rm -f $@; exit 1; }

$(LIB_LINK): $(LIB)
	$(Q)ln -sf $(SONAME) $@

$(PLUGIN): $(PLUGIN_OBJ)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(PLUGIN_CXX) -shared -o $@ $^

# The run path leads from the command's directory to ../lib, in the build tree and after installation. The loader ignores
# it for commands with file capabilities or a set-user-ID bit. Their library must be where ldconfig(8) finds it.
$(B)/bin/%: $(B)/obj/cmd/%.o $(CMD_SHARED_OBJ) | $(LIB) $(LIB_LINK)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -Wl,-rpath,'$$ORIGIN/../lib' -o $@ $(filter %.o,$^) -L$(B)/lib -lprobepoint $(CMD_LIBS)

deps:
	$(Q)scripts/deps

# Installs missing packages first. A second make then searches for them again.
demo:
	$(if $(MISSING),$(Q)scripts/deps)
	$(Q)$(MAKE) --no-print-directory all
	$(Q)B=$(B) scripts/demo

# ---- installing ------------------------------------------------------------------

bindir := $(DESTDIR)$(PREFIX)/bin
libdir := $(DESTDIR)$(PREFIX)/lib
incdir := $(DESTDIR)$(PREFIX)/include
mandir := $(DESTDIR)$(PREFIX)/share/man/man1
# If PREFIX is /usr or /usr/local, the plugin is installed in GCC's plugin directory, where -fplugin=probepoint finds it.
# Otherwise it is installed below PREFIX, and -fplugin needs its path.
plugindir ?= $(if $(filter /usr /usr/local,$(abspath $(PREFIX))),$(shell $(PLUGIN_CC) -print-file-name=plugin),$(PREFIX)/lib)
plugininst = $(DESTDIR)$(plugindir)

install: all
	$(Q)install -d $(bindir) $(libdir)/pkgconfig $(incdir)/sys $(mandir) $(plugininst)
	$(Q)install -m 755 $(CMDS) $(bindir)
	$(Q)install -m 755 $(LIB) $(libdir)
	$(Q)ln -sf $(SONAME) $(libdir)/libprobepoint.so
	$(Q)install -m 644 $(LIBA) $(libdir)
	$(Q)$(if $(AGENT),install -m 755 $(AGENT) $(libdir))
	$(Q)install -m 644 $(PLUGIN) $(plugininst)/probepoint.so
	$(Q)install -m 644 include/probepoint.h include/probepoint-note.h $(incdir)
	$(Q)install -m 644 $(wildcard include/sys/*.h) $(incdir)/sys
	$(Q)install -m 644 doc/man/*.1 $(mandir)
	$(Q)printf '%s\n' 'prefix=$(PREFIX)' 'plugindir=$(plugindir)' 'Name: probepoint' \
		'Description: probe points of compiled programs' 'Version: $(VERSION)' 'Requires.private: $(LIB_PKGS)' \
		'Libs: -L$${prefix}/lib -lprobepoint' 'Libs.private: $(LIB_PRIVATE) -pthread' \
		'Cflags: -I$${prefix}/include' >$(libdir)/pkgconfig/probepoint.pc

uninstall:
	$(Q)rm -f $(CMDS:$(B)/bin/%=$(bindir)/%) $(libdir)/libprobepoint.so $(libdir)/$(SONAME) $(libdir)/libprobepoint.a \
		$(libdir)/libprobepoint-agent.so $(plugininst)/probepoint.so $(libdir)/pkgconfig/probepoint.pc \
		$(incdir)/probepoint.h $(incdir)/probepoint-note.h $(patsubst include/%,$(incdir)/%,$(wildcard include/sys/*.h)) \
		$(patsubst doc/man/%,$(mandir)/%,$(wildcard doc/man/*.1))

-include $(wildcard runtime/agent/inproc/build.mk) examples/build.mk tests/build.mk bench/build.mk

include scripts/lint.mk

clean:
	$(Q)rm -rf $(B)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
