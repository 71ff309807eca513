# SPDX-License-Identifier: MIT
"""
Checks lines of OTLP/JSON against the fields of opentelemetry-proto 1.5 (logs.proto, trace.proto, common.proto, resource.proto)
and the rules of its JSON mapping, and prints each record in short, as JSON: {"kind","name","pid","trace","parent","duration",
"args":{...}}.
"""
import base64
import json
import re
import sys

COUNT64 = re.compile(r"^(0|[1-9][0-9]*)$")
INT64 = re.compile(r"^(0|-?[1-9][0-9]*)$")


def count64(v):
    return isinstance(v, str) and COUNT64.match(v) and int(v) < 1 << 64


def number32(v):
    return isinstance(v, int) and not isinstance(v, bool) and 0 <= v < 1 << 32


def enumeration(most):
    return lambda v: number32(v) and v <= most


def hexadecimal(n):
    return lambda v: isinstance(v, str) and re.match("^[0-9a-f]{%d}$" % n, v) and set(v) != {"0"}


def text(v):
    return isinstance(v, str)


def unique_attributes(v):
    keys = [a["key"] for a in v]
    return len(keys) == len(set(keys)) and all(keys)


def repeated(message):
    return lambda v: isinstance(v, list) and all(check(message, i) for i in v)


def of(message):
    return lambda v: check(message, v)


def double(v):
    return (isinstance(v, (int, float)) and not isinstance(v, bool)) or v in ("NaN", "Infinity", "-Infinity")


def encoded(v):
    return isinstance(v, str) and base64.b64encode(base64.b64decode(v, validate=True)).decode() == v


MESSAGES = {
    "AnyValue": {
        "stringValue": text,
        "boolValue": lambda v: isinstance(v, bool),
        "intValue": lambda v: isinstance(v, str) and INT64.match(v) and -(1 << 63) <= int(v) < 1 << 63,
        "doubleValue": double,
        "bytesValue": encoded,
    },
    "KeyValue": {"key": text, "value": of("AnyValue")},
    "Resource": {"attributes": repeated("KeyValue"), "droppedAttributesCount": number32},
    "Scope": {"name": text, "version": text},
    "LogRecord": {
        "timeUnixNano": count64,
        "observedTimeUnixNano": count64,
        "severityNumber": enumeration(24),
        "severityText": text,
        "body": of("AnyValue"),
        "attributes": repeated("KeyValue"),
        "droppedAttributesCount": number32,
        "flags": number32,
        "traceId": hexadecimal(32),
        "spanId": hexadecimal(16),
        "eventName": text,
    },
    "ScopeLogs": {"scope": of("Scope"), "logRecords": repeated("LogRecord"), "schemaUrl": text},
    "ResourceLogs": {"resource": of("Resource"), "scopeLogs": repeated("ScopeLogs"), "schemaUrl": text},
    "ExportLogsServiceRequest": {"resourceLogs": repeated("ResourceLogs")},
    "Status": {"message": text, "code": enumeration(2)},
    "Span": {
        "traceId": hexadecimal(32),
        "spanId": hexadecimal(16),
        "traceState": text,
        "parentSpanId": hexadecimal(16),
        "flags": number32,
        "name": lambda v: isinstance(v, str) and v,
        "kind": enumeration(5),
        "startTimeUnixNano": count64,
        "endTimeUnixNano": count64,
        "attributes": repeated("KeyValue"),
        "droppedAttributesCount": number32,
        "status": of("Status"),
    },
    "ScopeSpans": {"scope": of("Scope"), "spans": repeated("Span"), "schemaUrl": text},
    "ResourceSpans": {"resource": of("Resource"), "scopeSpans": repeated("ScopeSpans"), "schemaUrl": text},
    "ExportTraceServiceRequest": {"resourceSpans": repeated("ResourceSpans")},
}


def check(message, value):
    if not isinstance(value, dict):
        sys.exit(f"{message} is not an object: {value!r}")
    for key, v in value.items():
        if key not in MESSAGES[message]:
            sys.exit(f"{message} has no field {key}")
        if not MESSAGES[message][key](v):
            sys.exit(f"{message}.{key} is invalid: {v!r}")
        if key == "attributes" and not unique_attributes(v):
            sys.exit(f"{message}: keys of attributes are empty or repeated: {v!r}")
    if message == "AnyValue" and len(value) > 1:
        sys.exit(f"AnyValue has several values: {value!r}")
    return True


def value_of(any_value):
    for kind, v in any_value.items():
        if kind == "intValue":
            return int(v)
        if kind == "bytesValue":
            return {"bytes": base64.b64decode(v).hex()}
        return v
    return None


def unique(pairs):
    if len(pairs) != len({k for k, _ in pairs}):
        sys.exit(f"a key is repeated: {pairs!r}")
    return dict(pairs)


def refuse(name):
    sys.exit(f"not JSON: {name}")


for line in sys.stdin.buffer:
    whole = json.loads(line.decode("utf-8", "strict"), object_pairs_hook=unique, parse_constant=refuse)
    if not line.endswith(b"\n"):
        sys.exit("the last line is not complete")
    if "resourceSpans" in whole:
        check("ExportTraceServiceRequest", whole)
        resource = whole["resourceSpans"][0]
        record, kind = resource["scopeSpans"][0]["spans"][0], "span"
        for need in ("traceId", "spanId", "name", "startTimeUnixNano", "endTimeUnixNano"):
            record[need]
        duration = int(record["endTimeUnixNano"]) - int(record["startTimeUnixNano"])
        name = record["name"]
    else:
        check("ExportLogsServiceRequest", whole)
        resource = whole["resourceLogs"][0]
        record, kind = resource["scopeLogs"][0]["logRecords"][0], "log"
        if "spanId" in record and "traceId" not in record:
            sys.exit("a span id without a trace id")
        duration = None
        name = record["eventName"]
    of_resource = {a["key"]: value_of(a["value"]) for a in resource["resource"]["attributes"]}
    for need in ("service.name", "host.name", "process.pid"):
        of_resource[need]
    json.dump(
        {
            "kind": kind,
            "name": name,
            "time": int(record.get("timeUnixNano") or record["endTimeUnixNano"]),
            "resource": of_resource,
            "trace": record.get("traceId"),
            "span": record.get("spanId"),
            "parent": record.get("parentSpanId"),
            "duration": duration,
            "severity": record.get("severityNumber"),
            "dropped": record.get("droppedAttributesCount", 0),
            "args": {a["key"]: value_of(a["value"]) for a in record["attributes"]},
        },
        sys.stdout,
    )
    print()
