# SPDX-License-Identifier: MIT
"""Sends malformed, large, slow and random HTTP requests to probe-export.

usage: http.py PORT SEED garbage|slow

garbage: prints the statuses of replies, each once. slow: prints "slow" when it has opened 60 connections, and sends a byte to
each every second until it is killed.
"""
import random
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

port, seed, what = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
r = random.Random(seed)


def send(data, wait=3):
    """Returns the first line of the reply, "" if there is none in this time."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as s:
        try:
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            return s.recv(65536).split(b"\r\n")[0].decode("latin-1")
        except OSError:  # the server has closed, or is silent
            return ""


if what == "slow":
    open_ = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    print("slow", flush=True)
    while True:
        for s in open_:
            try:
                s.send(b"G" if r.random() < 0.5 else b"\r\nX: y")
            except OSError:
                pass
        time.sleep(1)

good = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
requests = [
    b"", b"\0", b"\r\n\r\n", b"GET", b"GET /metrics", b"GET /metrics HTTP/9.9\r\n\r\n", b"GET /metrics\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\n\r\n", b"GET " + b"/" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 1000000 + b"\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100000 + b"\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /../metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /metrics/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics%00 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://x/metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: " + b",;q=" * 3000 + b"\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: ;;;===\"\",\xff\xfe;q=nan, */*;q=-1\r\n\r\n",
    good * 50, b"PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcd", b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
]
for _ in range(200):
    data = bytearray(r.choice([good, bytes(r.randrange(256) for _ in range(r.randrange(300)))]))
    for _ in range(r.randrange(6)):
        if data:
            data[r.randrange(len(data))] = r.randrange(256)
    requests.append(bytes(data))
with ThreadPoolExecutor(32) as pool:
    statuses = {(line.split(" ") + ["none"] * 2)[1] for line in pool.map(send, requests)}
print(" ".join(sorted(statuses)))
