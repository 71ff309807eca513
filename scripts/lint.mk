# make help, lint and format: they need nothing built.

.PHONY: help lint format

help:
	@sed -n 's/^#= \{0,1\}//p' scripts/lint.mk

lint:
	$(Q)WARN='$(WARN) $(WARN_C)' scripts/lint $(CHECK)

format:
	$(Q)scripts/format

#= Targets:
#=   all                build everything into build/ (default)
#=   demo               list, arm, count, trace and disarm the functions of a small program
#=   check              run the tests; install missing packages first
#=   check-long         run all tests, including those that take hours
#=   checks             build the unit tests without running them
#=   check-gcc          run the plugin's tests with each compiler of PLUGIN_CCS, and print a table
#=   plugins            build the plugin for each compiler of PLUGIN_CCS, into build/gcc-N/lib
#=   check-arm64        build for aarch64 and run tests under an emulated kernel (SHORT=1: fewer tests), as root
#=   check-kernels      run tests on the kernels of other Debian releases, in virtual machines (SHORT=1: fewer)
#=   check-distros      run demo and tests in Debian 12, 13 and 14 (as root; see CONTRIBUTING.md)
#=   bench              measure the cost of arming and of hits on this machine
#=   lint               check format, prose, structure, spelling, shell scripts and commit message
#=   format             format the C sources with clang-format
#=   examples           build the example programs
#=   static             link all commands into one static program, for containers without a C library
#=   install            install to PREFIX (default /usr/local)
#=   uninstall          remove what install installs
#=   install-plugins    install the plugins of PLUGIN_CCS
#=   uninstall-plugins  remove them
#=   dist               write build/probepoint-VERSION.tar.xz from the commit that is checked out
#=   deps               install the packages that the build needs, with apt
#=   clean              remove build/
#=   help               print this text
#=
#= Variables:
#=   V=1                     print each command
#=   O=DIR                   build into DIR instead of build/
#=   TESTS="AREA/NAME AREA"  run only these tests (kernel/exact, unit)
#=   SHORT=1                 run the short form of check-distros, check-kernels or check-arm64
#=   RELEASES="NAME..."      run check-distros in these releases only
#=   CHECK="NAME..."         run only these checks (scripts/lint names them)
#=   SAN=address,undefined   build with sanitizers
#=   CC= CXX= CFLAGS= CPPFLAGS= LDFLAGS=   compiler and flags of the library and the commands
#=   PLUGIN_CC= PLUGIN_CXX=  the GCC that the plugin is built for
#=   PLUGIN_CCS="gcc-N..."   the GCCs of plugins and check-gcc (default: each gcc-N that has its plugin headers)
#=   PREFIX= DESTDIR= plugindir= libdir= includedir= sdtdir= mandir=   where install puts files
#=   ZYDIS_A=FILE            static library of Zydis, for static
