# SPDX-License-Identifier: MIT
# For long/storm.sh: a Python program with threads, a forked child and a subprocess.
. tests/long/storm/converse.sh

service_needs() {
	for python in /usr/bin/python3 ''; do
		python=$(readlink -f "$python") && probe-list -q "$python" 2>/dev/null | grep -q python:function__entry && return
	done
	python=$(command -v python3) || echo "Python is not installed"
}

service_start() {
	converse "$python" tests/long/storm/work.py "$T/work.data"
	files=("$python")
	hot=(_PyEval_EvalFrameDefault PyObject_Call PyDict_GetItem PyErr_SetObject PyUnicode_New PyThread_acquire_lock_timed PyOS_AfterFork_Child)
}
