# make install, uninstall, install-plugins, uninstall-plugins and dist.

.PHONY: install uninstall install-plugins uninstall-plugins dist

bindir     = $(PREFIX)/bin
libdir     = $(PREFIX)/lib
includedir = $(PREFIX)/include
datadir    = $(PREFIX)/share
mandir     = $(datadir)/man
# sys/sdt.h and sys/probe.h. Debian's package has them elsewhere, because systemtap-sdt-dev has a sys/sdt.h too.
sdtdir     = $(includedir)
bashdir    = $(datadir)/bash-completion/completions
zshdir     = $(datadir)/zsh/site-functions
cmakedir   = $(libdir)/cmake/probepoint
# With PREFIX /usr or /usr/local the plugin goes to GCC's own directory, where -fplugin=probepoint looks. With any other
# PREFIX nothing is written outside of it, and -fplugin takes the plugin's path.
plugindir ?= $(if $(filter /usr /usr/local,$(abspath $(PREFIX))),$(shell $(PLUGIN_CC) -print-file-name=plugin),$(libdir))

# make splits names at spaces, so uninstall would remove other files.
$(foreach name,PREFIX DESTDIR bindir libdir includedir datadir mandir,$(if $(word 2,$($(name))),$(error $(name)='$($(name))': \
	the name of a directory cannot contain spaces)))

MAN1 := $(filter-out $(if $(HAVE_BABELTRACE),,%/probe-report.1),$(wildcard doc/man/*.1))

# The functions that a page of section 3 describes: the names in its NAME section. Each is installed as a link to the page.
MAN3 := $(wildcard doc/man/*.3)
man3_names = $(shell sed -n '/^.SH NAME/,/^.SH LIB\|^.SH SYN/p' $(1) | grep -oE '\<pp_[a-z_]+' | grep -vx $(notdir $(1:.3=)))

# $(call filled,FILE): prints the file with the variables of this installation in place of @NAME@.
filled = sed -e 's|@prefix@|$(PREFIX)|' -e 's|@libdir@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(libdir))|' \
	-e 's|@includedir@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(includedir))|' \
	-e 's|@sdtdir@|$(if $(filter $(sdtdir),$(includedir)),, -I$(patsubst $(PREFIX)/%,$${prefix}/%,$(sdtdir)))|' \
	-e 's|@plugindir@|$(plugindir)|' -e 's|@version@|$(VERSION)|' -e 's|@requires@|$(LIB_PKGS)|' \
	-e 's|@private@|$(LIB_PRIVATE) -pthread|' -e 's|@soname@|$(SONAME)|' \
	-e 's|@cmake_libdir@|$(libdir)|' -e 's|@cmake_sdtdir@|$(sdtdir)|' -e 's|@cmake_includedir@|$(includedir)|' \
	-e 's|@to_prefix@|$(shell realpath -m --relative-to='$(cmakedir)' '$(PREFIX)')|' $(1)

install: all
	$(Q)install -d $(addprefix $(DESTDIR),$(bindir) $(libdir)/pkgconfig $(includedir) $(sdtdir)/sys $(mandir)/man1 $(mandir)/man3 $(mandir)/man5 \
		$(plugindir) $(bashdir) $(zshdir) $(cmakedir))
	$(Q)install -m 755 $(CMDS) $(DESTDIR)$(bindir)
	$(Q)install -m 755 $(LIB) $(DESTDIR)$(libdir)
	$(Q)ln -sf $(SONAME) $(DESTDIR)$(libdir)/libprobepoint.so
	$(Q)install -m 644 $(LIBA) $(DESTDIR)$(libdir)
	$(Q)$(if $(AGENT),install -m 755 $(AGENT) $(DESTDIR)$(libdir))
	$(Q)$(if $(PLUGIN),install -m 644 $(PLUGIN) $(DESTDIR)$(plugindir)/probepoint.so)
	$(Q)install -m 644 include/probepoint.h include/probepoint-note.h $(DESTDIR)$(includedir)
	$(Q)install -m 644 $(wildcard include/sys/*.h) $(DESTDIR)$(sdtdir)/sys
	$(Q)install -m 644 $(MAN1) $(DESTDIR)$(mandir)/man1
	$(Q)install -m 644 doc/man/*.3 $(DESTDIR)$(mandir)/man3
	$(Q)install -m 644 doc/man/*.5 $(DESTDIR)$(mandir)/man5
	$(Q)$(foreach page,$(MAN3),for name in $(call man3_names,$(page)); do \
		ln -sf $(notdir $(page)) $(DESTDIR)$(mandir)/man3/$$name.3; done;)
	$(Q)$(call filled,scripts/install/probepoint.pc.in) >$(DESTDIR)$(libdir)/pkgconfig/probepoint.pc
	$(Q)for name in probepoint-config probepoint-config-version; do \
		$(call filled,scripts/install/$$name.cmake.in) >$(DESTDIR)$(cmakedir)/$$name.cmake || exit 1; done
	$(Q)install -m 644 scripts/install/completion.bash $(DESTDIR)$(bashdir)/probe-list
	$(Q)for name in $(filter-out probe-list,$(notdir $(CMDS))); do ln -sf probe-list $(DESTDIR)$(bashdir)/$$name || exit 1; done
	$(Q)install -m 644 scripts/install/completion.zsh $(DESTDIR)$(zshdir)/_probepoint

uninstall:
	$(Q)rm -f $(addprefix $(DESTDIR),$(CMDS:$(B)/bin/%=$(bindir)/%) \
		$(addprefix $(libdir)/,libprobepoint.so $(SONAME) libprobepoint.a libprobepoint-agent.so pkgconfig/probepoint.pc) \
		$(plugindir)/probepoint.so $(includedir)/probepoint.h $(includedir)/probepoint-note.h \
		$(patsubst include/%,$(sdtdir)/%,$(wildcard include/sys/*.h)) \
		$(patsubst doc/man/%,$(mandir)/man1/%,$(wildcard doc/man/*.1)) \
		$(patsubst doc/man/%,$(mandir)/man5/%,$(wildcard doc/man/*.5)) \
		$(foreach page,$(MAN3),$(patsubst %,$(mandir)/man3/%.3,$(basename $(notdir $(page))) $(call man3_names,$(page)))) \
		$(CMDS:$(B)/bin/%=$(bashdir)/%) $(zshdir)/_probepoint \
		$(cmakedir)/probepoint-config.cmake $(cmakedir)/probepoint-config-version.cmake)
	$(Q)[ ! -d $(DESTDIR)$(cmakedir) ] || rmdir --ignore-fail-on-non-empty $(DESTDIR)$(cmakedir)

# The plugins of all PLUGIN_CCS: with PREFIX /usr or /usr/local each in the directory of its GCC, where -fplugin=probepoint
# looks, else PREFIX/lib/gcc-N/probepoint.so.
plugindir_of = $(DESTDIR)$(if $(filter /usr /usr/local,$(abspath $(PREFIX))),$(shell $(1) -print-file-name=plugin),$(PREFIX)/lib/$(1))

install-plugins: plugins
	$(Q)$(foreach gcc,$(PLUGIN_CCS),install -d $(call plugindir_of,$(gcc)) && \
		install -m 644 $(call plugin_of,$(gcc)) $(call plugindir_of,$(gcc))/probepoint.so &&) :

uninstall-plugins:
	$(Q)rm -f $(foreach gcc,$(PLUGIN_CCS),$(call plugindir_of,$(gcc))/probepoint.so)

# The archive holds the commit that is checked out. The same commit gives the same bytes.
DIST := probepoint-$(VERSION)
dist:
	$(Q)git diff --quiet HEAD -- || echo 'make dist: changes that are not committed are left out' >&2
	$(say) DIST $(B)/$(DIST).tar.xz
	$(Q)mkdir -p $(B)
	$(Q)tar=$(B)/$(DIST).$$$$.tar; trap 'rm -f "$$tar" "$$tar.xz"' EXIT; \
		git archive --format=tar --prefix=$(DIST)/ HEAD >"$$tar" && xz -9 --threads=1 "$$tar" && \
		mv "$$tar.xz" $(B)/$(DIST).tar.xz
