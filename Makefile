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
# The CPU that PLUGIN_CC compiles for. GCC's x86-64 includes i386.
PLUGIN_CPU := $(patsubst i%86,x86_64,$(firstword $(subst -, ,$(shell $(PLUGIN_CC) -dumpmachine))))
PLUGIN_CPUS := x86_64 aarch64
PLUGIN_SRC := $(filter-out $(foreach cpu,$(filter-out $(PLUGIN_CPU),$(PLUGIN_CPUS)),%-$(cpu).cc),$(wildcard plugin/*.cc))
# On another CPU everything else is built.
ifeq ($(filter $(PLUGIN_CPU),$(PLUGIN_CPUS)),)
PLUGIN_SRC :=
endif

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
ifneq ($(filter-out clean deps demo check check-% bench uninstall uninstall-plugins help lint format,$(GOALS)),)
ifneq ($(MISSING),)
$(error missing: $(foreach m,$(MISSING),$(word 1,$(subst :, ,$m)) (package $(word 2,$(subst :, ,$m))));\
 `scripts/deps` installs what is missing)
endif
endif

.PHONY: all plugins install-plugins uninstall-plugins deps demo check check-long check-arm64 bench install uninstall clean FORCE

all: $(LIB) $(LIB_LINK) $(LIBA) $(PLUGIN) $(AGENT) $(CMDS)

# ---- objects ----

# Changes when the compiler or the flags change, so that all objects are rebuilt.
$(B)/obj/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(PLUGIN_CXX) $(PLUGIN_INC)' | cmp -s - $@ || \
		echo '$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(PLUGIN_CXX) $(PLUGIN_INC)' >$@

$(B)/obj/%.o: %.c $(B)/obj/flags
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(B)/obj/plugin/%.o: plugin/%.cc $(B)/obj/flags
	$(say) CXX $<
	@mkdir -p $(@D)
	$(Q)$(PLUGIN_CXX) -std=gnu++14 $(WARN) -fno-rtti -fno-exceptions -fPIC -fvisibility=hidden -O2 -g \
		-DPP_VERSION='"$(VERSION)"' -Iinclude -isystem $(PLUGIN_INC) -MMD -MP -c -o $@ $<
	$(Q)$$($(PLUGIN_CXX) -print-prog-name=objcopy) --weaken $@ # another GCC lacks some symbols, but must load the plugin, which then reports the version

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

# $(call plugin_of,gcc-N): the plugin that `make plugins` builds for this compiler. It has a build directory of its own.
plugin_of = $(B)/$(1)/lib/probepoint.so
# g++-N, or the C++ compiler of the rest if it is missing: GCC's interface does not depend on the compiler.
plugin_cxx = $(shell command -v $(subst gcc,g++,$(1)) >/dev/null && echo $(subst gcc,g++,$(1)) || echo '$(CXX)')

plugins: $(PLUGIN_CCS:%=plugin-for-%)

plugin-for-%: FORCE
	$(Q)$(MAKE) --no-print-directory O=$(B)/$* PLUGIN_CC=$* PLUGIN_CXX='$(call plugin_cxx,$*)' $(call plugin_of,$*)

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

# Builds for aarch64 and runs tests under an emulated Debian kernel; SHORT=1 runs fewer.
check-arm64:
	$(Q)scripts/check-arm64 $(if $(SHORT),--short)

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

# The plugins of all PLUGIN_CCS: with PREFIX /usr or /usr/local each in the directory of its GCC, where -fplugin=probepoint
# looks, else PREFIX/lib/gcc-N/probepoint.so.
plugindir_of = $(DESTDIR)$(if $(filter /usr /usr/local,$(abspath $(PREFIX))),$(shell $(1) -print-file-name=plugin),$(PREFIX)/lib/$(1))

install-plugins: plugins
	$(Q)$(foreach gcc,$(PLUGIN_CCS),install -d $(call plugindir_of,$(gcc)) && \
		install -m 644 $(call plugin_of,$(gcc)) $(call plugindir_of,$(gcc))/probepoint.so &&) :

uninstall-plugins:
	$(Q)rm -f $(foreach gcc,$(PLUGIN_CCS),$(call plugindir_of,$(gcc))/probepoint.so)

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
