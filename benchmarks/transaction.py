"""How long a switch, a rollback and the staging of 30,000 files take, in the real commands.

    python benchmarks/transaction.py [--files 30000] [--rollbacks 20]

The service is a small real ONNX net, packed, installed and served by its own release; beside each figure stands
what the same machine needs for the plain work: a copy of the files (`cp -r`), the start of a bare worker.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.journey.conftest import Server, make_keys, sealift
from tests.journey.versions import Client, install, pack_version
from tests.killing import tiny
from tests.made_bundles import make_signer


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--rollbacks", type=int, default=20)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sealift-bench-") as folder:
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}")
        many_files(Path(folder), args.files)
        rollbacks(Path(folder), args.rollbacks)


def many_files(folder: Path, count: int) -> None:
    """Stage and switch a release of `count` files, mean 8 KiB, in hundreds of folders."""
    choose = random.Random(7)
    pieces = {
        f"dependencies/pkg{number % 300}/part{number // 300}.py": choose.randbytes(
            choose.randrange(1, 16_384)
        )
        for number in range(count)
    }
    here = folder / "many"
    here.mkdir()
    signer = make_signer()
    bundles = [
        tiny.bundle(here, signer, version, {**tiny.files(version), **pieces}) for version in ("1", "2")
    ]
    size = sum(map(len, pieces.values()))
    box = here / "box"
    trust = ("--trust", str(here / "root.json"), "--prefix", str(box))
    began = time.perf_counter()
    sealift("install", bundles[0], *trust, "--stage", cwd=here)
    staged = time.perf_counter() - began
    began = time.perf_counter()
    sealift("activate", "fraud", "1", "--prefix", str(box), cwd=here)
    switched = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run(["cp", "-r", str(bundles[0]), str(here / "copy")], check=True)
    os.sync()
    copied = time.perf_counter() - began
    print(
        f"{count} files, {size / 1e6:.0f} MB: verify and stage {staged:.2f} s ({staged / copied:.1f}x of cp -r and"
    )
    print(f"  sync of the bundle, {copied:.2f} s); switch {switched:.2f} s (nobody serves; with its commit)")
    began = time.perf_counter()
    sealift("install", bundles[1], *trust, "--stage", cwd=here)
    print(f"  the next version, all files but three the same: stage {time.perf_counter() - began:.2f} s")
    shutil.rmtree(here)


def rollbacks(folder: Path, count: int) -> None:
    """Command to the old release answering, under supervision; and the switch of an update."""
    make_keys(folder)
    bundles = [pack_version(folder, str(number), float(number)) for number in (1, 2)]
    install(folder, bundles[0])
    server = Server([str(folder / "box" / "bin" / "sealift"), "serve", "times", "--port", "0"], folder)
    try:
        began = time.perf_counter()
        install(folder, bundles[1], "--stage")
        staged = time.perf_counter() - began
        began = time.perf_counter()
        sealift("activate", "times", "2", "--prefix", "box", cwd=folder)
        print(
            f"a real service: stage and check of an update {staged:.2f} s, switch {time.perf_counter() - began:.2f} s"
        )
        took = []
        for _ in range(count):
            began = time.perf_counter()
            sealift("rollback", "--prefix", "box", cwd=folder)
            while serving(server.address) != "times@1":
                pass
            took.append(time.perf_counter() - began)
            sealift("activate", "times", "2", "--prefix", "box", cwd=folder)
        under_load(folder, server)
        start = [bare_start(folder) for _ in range(5)]
        median = statistics.median(took)
        print(
            f"rollback, command to old release answering: median {median:.2f} s of {count} "
            f"({min(took):.2f} to {max(took):.2f}); {median / statistics.median(start):.1f}x of "
            f"`python -c 'import numpy, onnxruntime'`, {statistics.median(start):.2f} s"
        )
    finally:
        server.stop()
        server.log.close()


def under_load(folder: Path, server: Server) -> None:
    """p99 before and during four switches, 16 keep-alive connections that never retry, one after the other."""
    client = Client(server.address, {"times@1": 1.0, "times@2": 2.0})
    stop = threading.Event()
    sending = threading.Thread(target=client.run, args=(16, stop))
    began = time.perf_counter()
    sending.start()
    time.sleep(3)
    spans = []
    for _ in range(2):
        for move in (("activate", "times", "2"), ("rollback",)):
            since = time.perf_counter()
            sealift(*move, "--prefix", "box", cwd=folder)
            spans.append((since, time.perf_counter()))
            time.sleep(2)
    stop.set()
    sending.join()
    before = client.p99_s(began, began + 3)
    during = sorted(client.p99_s(*span) for span in spans)
    inference = statistics.median(took for _, took in client.latencies_s) / 16
    print(
        f"{sum(client.releases.values())} requests over 16 connections, {len(client.failures)} failed; p99 before "
        f"{before * 1e3:.1f} ms, during a switch {during[0] * 1e3:.1f} to {during[-1] * 1e3:.1f} ms "
        f"(allowed: before, one inference, 20 ms: {(before + inference) * 1e3 + 20:.1f} ms)"
    )


def serving(address: str) -> str:
    """The release that answers on a new connection."""
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.headers["X-Sealift-Release"]


def bare_start(folder: Path) -> float:
    """A Python that loads what every worker must load."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numpy, onnxruntime"], check=True, cwd=folder)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
