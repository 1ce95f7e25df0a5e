"""The program of the releases that the how-to pages install: it answers at once, and behaves as its version is said to.

It travels as `runtime/boot.py`, needs the standard library alone and speaks what every release speaks: `_check TREE`
prints a report, `_worker` talks to its supervisor (protocol 2). `application/manner` says how it behaves. Its
requests are made up and its sentences are those of `sealift.check`; all around it is real.
"""

import json
import os
import select
import socket
import sys

FINDINGS = {
    "model fraud": "loads, runs on cpu",
    "golden inputs of fraud": "20 as recorded, 1.90 ms each",
    "latency of fraud": "p99 2.40 ms of 100 runs",
    "batching of fraud": "batches up to 16 rows: 9.8x the rows/s of one",
}
OTHERWISE = {
    "golden inputs of fraud": "golden input case-17.json: output risk: differs by 0.031, tolerance 0.000488"
}
PER_BEAT = 20
BEAT_S = 0.05


def option(name: str) -> str:
    """The value of `--name=VALUE`."""
    return next((word.partition("=")[2] for word in sys.argv if word.startswith(name + "=")), "")


def manner(tree: str) -> str:
    """`good`, `differs`, `dies`, `errs` or `crashes`."""
    with open(tree + "/application/manner") as stream:  # noqa: PTH123 - it starts in a tenth of a second
        return stream.read().strip()


def check(tree: str) -> None:
    """The report of a release that holds, unless it is one that does not."""
    differs = OTHERWISE if manner(tree) == "differs" else {}
    findings = [
        {"name": name, "ok": name not in differs, "detail": differs.get(name, detail)}
        for name, detail in FINDINGS.items()
    ]
    report = {"findings": findings, "golden_checked": True, "latency_ms": {"fraud": 1.9}, "memory_mb": 96.0}
    print(json.dumps({**report, "max_rows": {"fraud": 16}}))


def beat(number: int, how: str) -> dict[str, object]:
    """What it says that it has done by its beat of that number."""
    requests = number * PER_BEAT
    return {
        "requests": requests,
        "errors": requests // 10 if how == "errs" else 0,
        "latency": {"14": requests},
        "resident_bytes": 121_000_000,
        "canaries": number,
    }


def is_over(channel: socket.socket) -> bool:
    """Another worker serves, or the supervisor is gone."""
    try:
        order = channel.recv(4096)
    except ConnectionError:
        return True
    return not order or b"retire" in order


def work(tree: str) -> None:
    """Beat until told to retire, or the supervisor is gone."""
    how = manner(tree)
    if how == "dies":
        sys.exit("libgomp.so.1: cannot open shared object file: No such file or directory")
    channel = socket.socket(fileno=int(option("--supervisor-fd")))
    channel.sendall(json.dumps({"protocol": 2, "ready": True, "pid": os.getpid()}).encode() + b"\n")
    number = 0
    while True:
        ready, _, _ = select.select([channel], [], [], BEAT_S)
        if ready and is_over(channel):
            return
        number += 1
        channel.sendall(json.dumps({"protocol": 2, "beat": beat(number, how)}).encode() + b"\n")
        if how == "crashes" and number > 2:
            os.abort()


if __name__ == "__main__":
    if sys.argv[1] == "_check":
        check(sys.argv[2])
    elif sys.argv[1] == "_worker":
        work(option("--tree"))
    else:
        os.execvp("sealift", ["sealift", *sys.argv[1:]])  # as a release's own box side, by the one under test
