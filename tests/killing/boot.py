"""The tiny release's own program: it checks itself and serves one number, with the standard library alone.

It travels as `runtime/boot.py` and speaks what every release speaks: `_check TREE` prints a report, `_worker`
answers on an inherited socket and talks to its supervisor (protocol 2). Any other verb is refused.
"""

import json
import os
import select
import socket
import sys


def option(name: str) -> str:
    """The value of `--name=VALUE` or `--name VALUE`."""
    for number, word in enumerate(sys.argv):
        if word.startswith(name + "="):
            return word.partition("=")[2]
        if word == name:
            return sys.argv[number + 1]
    return ""


def weights(tree: str) -> str:
    """The release's one number."""
    with open(tree + "/application/weights") as stream:  # noqa: PTH123 - it starts 400 times
        return stream.read()


def check(tree: str) -> None:
    """The report of a release that holds, unless its weights say that they do not."""
    value = weights(tree)
    finding = {"name": "weights", "ok": not value.startswith("bad"), "detail": "the number is " + value}
    report = {"findings": [finding], "golden_checked": True, "latency_ms": {"m": 0.1}, "memory_mb": 8.0}
    print(json.dumps(report))


def answer(connection: socket.socket, value: str) -> None:
    """One request, one answer, in one go."""
    with connection:
        connection.recv(4096)
        body = value.encode()
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )


def work(tree: str) -> None:
    """Serve until told to retire, or the supervisor is gone."""
    channel = socket.socket(fileno=int(option("--supervisor-fd")))
    listener = socket.socket(fileno=int(option("--listen-fd")))
    listener.setblocking(False)
    value, beats = weights(tree), 0
    channel.sendall(json.dumps({"protocol": 2, "ready": True, "pid": os.getpid()}).encode() + b"\n")
    while True:
        ready, _, _ = select.select([channel, listener], [], [], 0.05)
        if channel in ready:
            order = channel.recv(4096)
            if not order or b"retire" in order:
                return
        if listener in ready:
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                continue
            connection.setblocking(True)
            answer(connection, value)
            beats += 1
        beat = {"protocol": 2, "beat": {"requests": beats, "canaries": beats + 1}}
        channel.sendall(json.dumps(beat).encode() + b"\n")
        if value == "weak":
            sys.exit("it ends by itself, whatever is asked")


verb = sys.argv[1]
if verb == "_check":
    check(sys.argv[2])
elif verb == "_worker":
    work(option("--tree"))
else:
    sys.exit("this tiny release has no verb " + verb)
