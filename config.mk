# Configuration of the build. Each variable can be set on the command line.

# The version is defined in the public header.
VERSION  := $(shell sed -n 's/^.define PROBEPOINT_VERSION_[A-Z]* *//p' include/probepoint.h | paste -sd.)
PREFIX   ?= /usr/local
DESTDIR  ?=
O        ?= build
SAN      ?=

# CROSS=aarch64-linux-gnu- builds for another CPU with $(CROSS)gcc. SYSROOT names a directory with the libraries of that CPU,
# such as an unpacked Debian system. Without it they are where Debian's multiarch packages have them.
CROSS    ?=
SYSROOT  ?=
triplet  := $(patsubst %-,%,$(notdir $(CROSS)))
ifeq ($(origin CC),default)
CC       := $(CROSS)gcc$(if $(SYSROOT), --sysroot=$(SYSROOT))
endif
ifeq ($(origin CXX),default)
CXX      := $(CROSS)g++$(if $(SYSROOT), --sysroot=$(SYSROOT))
endif
ifeq ($(origin AR),default)
AR       := $(CROSS)ar
endif
CFLAGS   ?= -O2 -g
# The plugin is a part of the compiler PLUGIN_CC, whose code it instruments. PLUGIN_CXX builds for the machine on which that
# compiler runs.
PLUGIN_CC  ?= $(CROSS)gcc$(if $(CROSS),$(if $(SYSROOT), --sysroot=$(SYSROOT)))
PLUGIN_CXX ?= g++
# The compilers that `make plugins` builds plugins for: each gcc-N that has its plugin headers.
ifeq ($(origin PLUGIN_CCS),undefined)
PLUGIN_CCS = $(shell scripts/gccs)
endif
ifneq ($(CROSS),)
PKG_CONFIG ?= env PKG_CONFIG_SYSROOT_DIR=$(SYSROOT) \
	PKG_CONFIG_LIBDIR=$(SYSROOT)/usr/lib/$(triplet)/pkgconfig:$(SYSROOT)/usr/share/pkgconfig pkg-config
endif
# Flags of the plugin, which g++ compiles and not $(CC).
PLUGIN_CXXFLAGS ?= -O2 -g
PLUGIN_LDFLAGS ?=
PKG_CONFIG ?= pkg-config

WARN     := -Wall -Wextra
# For C only; the plugin is C++.
WARN_C   := -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla

# $(call need_pkg,PKG_CONFIG_NAME,DEBIAN_PACKAGE): NAME:PACKAGE if it is missing
need_pkg = $(if $(shell $(PKG_CONFIG) --exists $(1) 2>/dev/null && echo yes),,$(1):$(2))
MISSING  := $(if $(shell command -v $(lastword $(PKG_CONFIG)) 2>/dev/null),\
                $(call need_pkg,libelf,libelf-dev) $(call need_pkg,libbpf,libbpf-dev) $(call need_pkg,json-c,libjson-c-dev),\
                pkg-config:pkg-config)
PLUGIN_INC := $(shell $(PLUGIN_CC) -print-file-name=plugin)/include
GCC_MAJOR := $(shell $(PLUGIN_CC) -dumpversion 2>/dev/null | cut -d. -f1)
MISSING  += $(if $(wildcard $(PLUGIN_INC)/gcc-plugin.h),,gcc-plugin.h:gcc-$(GCC_MAJOR)-plugin-dev$(if $(CROSS),-$(triplet)))
# Zydis has no pkg-config file in Debian 12.
MISSING  += $(if $(shell echo '#include <Zydis/Zydis.h>' | $(CC) -E -xc - >/dev/null 2>&1 && echo yes),,Zydis:libzydis-dev)
MISSING  := $(strip $(MISSING))
