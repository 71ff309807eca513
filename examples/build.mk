# Builds the examples as a user would.

E := $(B)/examples
EXAMPLES := $(E)/kv $(if $(PLUGIN),$(E)/weblog $(E)/jobs $(E)/libcodec.so)
EXAMPLE_FLAGS = -std=gnu17 $(WARN) $(WARN_C) -Iinclude -pthread $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) $(SANFLAGS)

comma := ,
blank := $() $()
# $(call probed,FUNCTION...) expands to the flags that make the plugin probe these functions.
probed = -fplugin=$(abspath $(PLUGIN)) -fplugin-arg-probepoint-functions=$(subst $(blank),$(comma),$(1))

.PHONY: examples
examples: $(EXAMPLES)
ifneq ($(PLUGIN),)
all: examples
endif

$(E)/kv: examples/kv.c include/sys/sdt.h $(B)/obj/flags
	$(say) CC $@
	@mkdir -p $(@D)
	$(Q)$(CC) $(EXAMPLE_FLAGS) -o $@ $<

$(E)/weblog: examples/weblog.c $(PLUGIN) $(B)/obj/flags
	$(say) CC $@
	@mkdir -p $(@D)
	$(Q)$(PLUGIN_CC) $(EXAMPLE_FLAGS) $(call probed,parse_line find_route account complain depth_of) -o $@ $<

$(E)/libcodec.so: examples/codec.c examples/codec.h $(PLUGIN) $(B)/obj/flags
	$(say) CC $@
	@mkdir -p $(@D)
	$(Q)$(PLUGIN_CC) $(EXAMPLE_FLAGS) $(call probed,codec_*) -fPIC -shared -Wl,-soname,libcodec.so -o $@ $<

$(E)/jobs: examples/jobs.c examples/codec.h include/sys/sdt.h $(E)/libcodec.so $(PLUGIN) $(B)/obj/flags
	$(say) CC $@
	@mkdir -p $(@D)
	$(Q)$(PLUGIN_CC) $(EXAMPLE_FLAGS) $(call probed,run_*) -o $@ $< $(E)/libcodec.so '-Wl,-rpath,$$ORIGIN'
