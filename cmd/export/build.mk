# probe-export, which consists of more than one file and needs libraries that the other commands do not.

EXPORT_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(wildcard cmd/export/*.c))
# The binary format of Prometheus, which native histograms need, is optional.
HAVE_PROTOBUF_C := $(if $(HAVE_MICROHTTPD),$(if $(call need_pkg,libprotobuf-c,libprotobuf-c-dev),,$(shell command -v protoc-c)))
EXPORT_PKGS := libmicrohttpd

ifneq ($(HAVE_PROTOBUF_C),)
EXPORT_PKGS += libprotobuf-c
EXPORT_OBJ += $(B)/obj/cmd/export/metrics.pb-c.o
$(EXPORT_OBJ): private CPPFLAGS_ALL += -DHAVE_PROTOBUF_C -I$(B)/obj/cmd/export
$(B)/obj/cmd/export/protobuf.o: $(B)/obj/cmd/export/metrics.pb-c.h

$(B)/obj/cmd/export/metrics.pb-c.c $(B)/obj/cmd/export/metrics.pb-c.h &: cmd/export/metrics.proto
	$(say) PROTOC $<
	@mkdir -p $(@D)
	$(Q)$(HAVE_PROTOBUF_C) --proto_path=cmd/export --c_out=$(B)/obj/cmd/export $<

$(B)/obj/cmd/export/metrics.pb-c.o: $(B)/obj/cmd/export/metrics.pb-c.c
	$(say) CC $<
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -c -o $@ $<
endif

$(B)/bin/probe-export: $(EXPORT_OBJ)
$(B)/bin/probe-export: CMD_LIBS = $$($(PKG_CONFIG) --libs $(CMD_PKGS) $(EXPORT_PKGS)) -lm

ifeq ($(HAVE_MICROHTTPD),)
all: no-probe-export
.PHONY: no-probe-export
no-probe-export:
	@echo 'probe-export is not built: libmicrohttpd is missing (package libmicrohttpd-dev)'
endif
