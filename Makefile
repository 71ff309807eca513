# Builds probepoint. `make help` lists the targets and variables.

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
# Packages of the library; packages of the commands; libraries of tests, which link objects of both.
LIB_PKGS := libelf libbpf
LIB_PRIVATE := -lZydis -lstdc++
LIB_LIBS = $$($(PKG_CONFIG) --libs $(LIB_PKGS)) $(LIB_PRIVATE)
CMD_LIBS = $$($(PKG_CONFIG) --libs json-c)
LIBS = $(LIB_LIBS) $(CMD_LIBS)

LIB_SRC := $(wildcard base/*.c sdt/*.c runtime/*.c runtime/*/*.c)
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

# Targets that build nothing must work without the packages of the build.
GOALS := $(or $(MAKECMDGOALS),all)
ifneq ($(filter-out clean deps demo check check-% bench uninstall help lint format,$(GOALS)),)
ifneq ($(MISSING),)
$(error missing: $(foreach m,$(MISSING),$(word 1,$(subst :, ,$m)) (package $(word 2,$(subst :, ,$m))));\
 `scripts/deps` installs what is missing)
endif
endif

.PHONY: all deps demo check check-long bench install uninstall clean FORCE

all: $(LIB) $(LIB_LINK) $(LIBA) $(PLUGIN) $(AGENT) $(CMDS)

# ---- objects ----

# Changes when the compiler or the flags change, so that all objects are rebuilt.
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
	$(Q)objcopy --weaken $@ # another GCC lacks some symbols, but must load the plugin, which then reports the version

# ---- products ----

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

# The commands find the library by a path relative to their own, in the build tree and where they are installed. The loader ignores this
# for commands with file capabilities or a set-user-ID bit: their library must be where ldconfig(8) finds it.
$(B)/bin/%: $(B)/obj/cmd/%.o $(CMD_SHARED_OBJ) | $(LIB) $(LIB_LINK)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) -Wl,-rpath,'$$ORIGIN/../lib' -o $@ $(filter %.o,$^) -L$(B)/lib -lprobepoint $(CMD_LIBS)

deps:
	$(Q)scripts/deps

# Installs missing packages first. make starts again, because it has looked for all packages already.
demo:
	$(if $(MISSING),$(Q)scripts/deps)
	$(Q)$(MAKE) --no-print-directory $(if $(filter -j%,$(MAKEFLAGS)),,-j$$(nproc)) all
	$(Q)B=$(B) scripts/demo

# ---- installation ----

bindir := $(DESTDIR)$(PREFIX)/bin
libdir := $(DESTDIR)$(PREFIX)/lib
incdir := $(DESTDIR)$(PREFIX)/include
mandir := $(DESTDIR)$(PREFIX)/share/man
# The functions that a page of section 3 describes: the names in its NAME section. Each is installed as a link to the page.
MAN3 := $(wildcard doc/man/*.3)
man3_names = $(shell sed -n '/^.SH NAME/,/^.SH LIB\|^.SH SYN/p' $(1) | grep -oE '\<pp_[a-z_]+' | grep -vx $(notdir $(1:.3=)))
# With PREFIX /usr or /usr/local the plugin goes to GCC's own directory, where -fplugin=probepoint looks. With any other
# PREFIX nothing is written outside of it, and -fplugin takes the plugin's path.
plugindir ?= $(if $(filter /usr /usr/local,$(abspath $(PREFIX))),$(shell $(PLUGIN_CC) -print-file-name=plugin),$(PREFIX)/lib)
plugininst = $(DESTDIR)$(plugindir)

install: all
	$(Q)install -d $(bindir) $(libdir)/pkgconfig $(incdir)/sys $(mandir)/man1 $(mandir)/man3 $(plugininst)
	$(Q)install -m 755 $(CMDS) $(bindir)
	$(Q)install -m 755 $(LIB) $(libdir)
	$(Q)ln -sf $(SONAME) $(libdir)/libprobepoint.so
	$(Q)install -m 644 $(LIBA) $(libdir)
	$(Q)$(if $(AGENT),install -m 755 $(AGENT) $(libdir))
	$(Q)install -m 644 $(PLUGIN) $(plugininst)/probepoint.so
	$(Q)install -m 644 include/probepoint.h include/probepoint-note.h $(incdir)
	$(Q)install -m 644 $(wildcard include/sys/*.h) $(incdir)/sys
	$(Q)install -m 644 doc/man/*.1 $(mandir)/man1
	$(Q)install -m 644 doc/man/*.3 $(mandir)/man3
	$(Q)$(foreach page,$(MAN3),for name in $(call man3_names,$(page)); do \
		ln -sf $(notdir $(page)) $(mandir)/man3/$$name.3; done;)
	$(Q)printf '%s\n' 'prefix=$(PREFIX)' 'plugindir=$(plugindir)' 'Name: probepoint' \
		'Description: probe points of compiled programs' 'Version: $(VERSION)' 'Requires.private: $(LIB_PKGS)' \
		'Libs: -L$${prefix}/lib -lprobepoint' 'Libs.private: $(LIB_PRIVATE) -pthread' \
		'Cflags: -I$${prefix}/include' >$(libdir)/pkgconfig/probepoint.pc

uninstall:
	$(Q)rm -f $(CMDS:$(B)/bin/%=$(bindir)/%) $(libdir)/libprobepoint.so $(libdir)/$(SONAME) $(libdir)/libprobepoint.a \
		$(libdir)/libprobepoint-agent.so $(plugininst)/probepoint.so $(libdir)/pkgconfig/probepoint.pc \
		$(incdir)/probepoint.h $(incdir)/probepoint-note.h $(patsubst include/%,$(incdir)/%,$(wildcard include/sys/*.h)) \
		$(patsubst doc/man/%,$(mandir)/man1/%,$(wildcard doc/man/*.1)) \
		$(foreach page,$(MAN3),$(patsubst %,$(mandir)/man3/%.3,$(basename $(notdir $(page))) $(call man3_names,$(page))))

-include $(wildcard runtime/agent/inproc/build.mk) examples/build.mk tests/build.mk bench/build.mk

include scripts/lint.mk

clean:
	$(Q)rm -rf $(B)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
