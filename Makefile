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
# libdw is optional: without it, types come from the plugin's notes only.
HAVE_LIBDW := $(if $(call need_pkg,libdw,libdw-dev),,1)
# libyaml is optional: without it, probe-enable --config says so.
HAVE_LIBYAML := $(if $(call need_pkg,yaml-0.1,libyaml-dev),,1)
CPPFLAGS_ALL := -D_GNU_SOURCE -DPP_VERSION='"$(VERSION)"' $(if $(HAVE_LIBDW),-DHAVE_LIBDW) $(if $(HAVE_LIBYAML),-DHAVE_LIBYAML) -Iinclude -I. $(CPPFLAGS)
CFLAGS_ALL := -std=gnu17 $(WARN) $(WARN_C) -fPIC -fvisibility=hidden -pthread $(CFLAGS) $(SANFLAGS)
LDFLAGS_ALL := -pthread $(LDFLAGS) $(SANFLAGS)
# Packages of the library; packages of the commands; libraries of tests, which link objects of both.
LIB_PKGS := $(if $(HAVE_LIBDW),libdw) libelf libbpf
LIB_PRIVATE := -lZydis -lstdc++
LIB_LIBS = $$($(PKG_CONFIG) --libs $(LIB_PKGS)) $(LIB_PRIVATE)
CMD_PKGS := json-c $(if $(HAVE_LIBYAML),yaml-0.1)
CMD_LIBS = $$($(PKG_CONFIG) --libs $(CMD_PKGS))
LIBS = $(LIB_LIBS) $(CMD_LIBS)

LIB_SRC := $(wildcard base/*.c sdt/*.c runtime/*.c runtime/*/*.c)
AGENT_SRC := $(wildcard runtime/agent/inproc/*.c)
# probe-export is optional: it needs an HTTP server.
HAVE_MICROHTTPD := $(if $(call need_pkg,libmicrohttpd,libmicrohttpd-dev),,1)
# probe-report reads traces through libbabeltrace2. Without that it is not built.
HAVE_BABELTRACE := $(if $(call need_pkg,babeltrace2,libbabeltrace2-dev),,1)
REPORT_SRC := $(if $(HAVE_BABELTRACE),$(wildcard cmd/report/*.c))
CMD_ALL := $(wildcard cmd/probe-*.c)
CMD_SRC := $(filter-out $(if $(HAVE_BABELTRACE),,cmd/probe-report.c) $(if $(HAVE_MICROHTTPD),,cmd/probe-export.c),$(CMD_ALL))
CMD_SHARED := $(filter-out $(CMD_ALL),$(wildcard cmd/*.c))
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
REPORT_OBJ := $(REPORT_SRC:%.c=$(B)/obj/%.o)
CMDS := $(CMD_SRC:cmd/%.c=$(B)/bin/%)
PLUGIN_OBJ := $(if $(PLUGIN_SRC),$(B)/obj/plugin.o)

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
ifneq ($(filter-out clean deps demo check check-% bench uninstall uninstall-plugins dist help lint format,$(GOALS)),)
ifneq ($(MISSING),)
$(error missing: $(foreach m,$(MISSING),$(word 1,$(subst :, ,$m)) (package $(word 2,$(subst :, ,$m))));\
 `scripts/deps` installs what is missing)
endif
endif

.PHONY: all plugins deps demo check check-long check-arm64 bench clean FORCE

all: $(LIB) $(LIB_LINK) $(LIBA) $(PLUGIN) $(AGENT) $(CMDS)
	$(if $(HAVE_BABELTRACE),,@echo 'probe-report is not built: libbabeltrace2 is missing (package libbabeltrace2-dev)')

# ---- objects ----

# Changes when the compiler or the flags change, so that all objects are rebuilt.
$(B)/obj/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(PLUGIN_CXX) $(PLUGIN_INC) $(PLUGIN_CXXFLAGS) $(PLUGIN_SRC)' | cmp -s - $@ || \
		echo '$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(PLUGIN_CXX) $(PLUGIN_INC) $(PLUGIN_CXXFLAGS) $(PLUGIN_SRC)' >$@

$(B)/obj/%.o: %.c $(B)/obj/flags
	$(say) CC $<
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

# The plugin is compiled as one file that includes its others, so that GCC's headers, most of the work, are read once.
$(PLUGIN_OBJ): $(PLUGIN_SRC) $(B)/obj/flags
	$(say) CXX 'plugin/*.cc'
	@mkdir -p $(@D)
	$(Q)printf '#include "%s"\n' $(PLUGIN_SRC) | $(PLUGIN_CXX) -std=gnu++14 $(WARN) -fno-rtti -fno-exceptions -fPIC \
		-fvisibility=hidden $(PLUGIN_CXXFLAGS) -DPP_VERSION='"$(VERSION)"' -Iinclude -I. -isystem $(PLUGIN_INC) \
		-MMD -MP -MF $(@:.o=.d) -MT $@ -c -x c++ - -o $@
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
	$(Q)$(PLUGIN_CXX) -shared $(PLUGIN_LDFLAGS) -o $@ $^

# $(call plugin_of,gcc-N): the plugin that `make plugins` builds for this compiler. It has a build directory of its own.
plugin_of = $(B)/$(1)/lib/probepoint.so
# g++-N, or the C++ compiler of the rest if it is missing: GCC's interface does not depend on the compiler.
plugin_cxx = $(shell command -v $(subst gcc,g++,$(1)) >/dev/null && echo $(subst gcc,g++,$(1)) || echo '$(CXX)')

plugins: $(PLUGIN_CCS:%=plugin-for-%)

plugin-for-%: FORCE
	$(Q)$(MAKE) --no-print-directory O=$(B)/$* PLUGIN_CC=$* PLUGIN_CXX='$(call plugin_cxx,$*)' $(call plugin_of,$*)

# The commands find the library by a path relative to their own, in the build tree and where they are installed. The loader ignores this
# for commands with file capabilities or a set-user-ID bit: their library must be where ldconfig(8) finds it. A package whose
# library is in the loader's default path sets RUNPATH to nothing.
RUNPATH ?= $$ORIGIN/../lib
$(B)/bin/%: $(B)/obj/cmd/%.o $(CMD_SHARED_OBJ) | $(LIB) $(LIB_LINK)
	$(say) LD $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(LDFLAGS_ALL) $(if $(RUNPATH),-Wl$(comma)-rpath$(comma)'$(RUNPATH)') -o $@ $(filter %.o,$^) -L$(B)/lib -lprobepoint $(CMD_LIBS) $(CMD_LIBS_$(@F))

$(B)/bin/probe-report: $(REPORT_OBJ)
$(B)/obj/cmd/report/page.o: $(wildcard cmd/report/page/*)
CMD_LIBS_probe-report = $$($(PKG_CONFIG) --libs babeltrace2)

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

-include $(wildcard runtime/agent/inproc/build.mk) cmd/export/build.mk examples/build.mk tests/build.mk bench/build.mk

include scripts/install.mk scripts/static.mk scripts/lint.mk

clean:
	$(Q)rm -rf $(B)

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)
