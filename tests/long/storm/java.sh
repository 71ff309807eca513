# SPDX-License-Identifier: MIT
# For long/storm.sh: a Java program that starts and ends threads, collects garbage and throws exceptions.
. tests/long/storm/converse.sh

service_needs() {
	have javac && have java || { echo "Java is not installed"; return; }
	home=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
}

service_start() {
	expect 0 "$home/bin/javac" -d "$T" tests/long/storm/Work.java
	converse "$home/bin/java" -Xmx128m -XX:-UsePerfData -XX:+DTraceMonitorProbes -XX:+UseParallelGC -cp "$T" Work "$T/work.data"
	files=("$home/lib/server/libjvm.so")
	hot=(JVM_FillInStackTrace JVM_MonitorWait JVM_StartThread JVM_ArrayCopy JVM_IHashCode)
}
