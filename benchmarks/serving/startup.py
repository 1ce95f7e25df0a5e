"""From the start of the process to the first answer, and what the process tree costs in memory, for EfficientNet-Lite0.

    python benchmarks/serving/startup.py [--rounds 5] [--served project]

Ready: `sealift serve` is started, the real request (base64 JPEG) is sent every 5 ms until it is answered with 200.
Memory: PSS of supervisor and worker after that answer, beside a bare process: the same interpreter, onnxruntime and
numpy out of the same release, one session, one run. Rounds alternate; medians and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from install_peers import DEFAULT_FOLDER
from load import running
from machine import description, lone_session, pss_kb
from models import ready_models
from service import installed, ours
from verdicts import Verdict

BARE: Final = """\
import sys
sys.path.insert(0, sys.argv[2])
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
session.run(None, {"input": numpy.zeros((1, 3, 224, 224), numpy.float32)})
print("ready", flush=True)
sys.stdin.read()
"""


def main() -> int:
    """Measure and judge; 1 when a promise does not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--served", choices=("release", "project"), default="release")
    parser.add_argument("--json", type=Path, metavar="F", help="write every figure there")
    args = parser.parse_args()
    lone_session()
    models, contender = ready_models(), ours("img", args.served)
    rounds: list[dict[str, float]] = []
    for _ in range(args.rounds):
        bare_s, bare_mb = bare(models, args.served)
        with running(contender, "img", models, DEFAULT_FOLDER) as server:
            time.sleep(0.5)  # what it does after its first answer (a second thread layout, say) belongs to it
            rounds.append(
                {
                    "ready_s": server.ready_s,
                    "pss_mb": server.server.pss_mb(),
                    "worker_pss_mb": max(pss_kb(one.pid) for one in server.server.tree()) / 1024,
                    "bare_ready_s": bare_s,
                    "bare_pss_mb": bare_mb,
                }
            )
        print(
            json.dumps({key: round(value, 3) for key, value in rounds[-1].items()}),
            file=sys.stderr,
            flush=True,
        )
    middle = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    ratio = middle["pss_mb"] / middle["bare_pss_mb"]
    lines = [
        Verdict("ready, seconds from process start", 1.0, middle["ready_s"], at_most=True),
        Verdict("PSS of the process tree over the bare session", 1.35, ratio, at_most=True),
    ]
    print("\n".join(f"{key:18} {value:8.3f}" for key, value in middle.items()))
    print("\n".join(str(line) for line in lines))
    if args.json:
        machine = {**description(), "served": args.served}
        args.json.write_text(json.dumps({"machine": machine, "rounds": rounds}, indent=1) + "\n")
    return int(any(line.holds is False for line in lines))


def bare(models: Path, served: str) -> tuple[float, float]:
    """Seconds until a bare session has run once, and its PSS in MB."""
    libraries = ""
    if served == "release":
        libraries = str(next((installed("lite0") / "releases" / "lite0").iterdir()) / "runtime")
    environment: dict[str, Any] = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *(["-I", "-S"] if libraries else []), "-c", BARE, str(models / "lite0.onnx"), libraries],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            sys.exit("the bare session did not start")
        took, size_mb = time.perf_counter() - began, pss_kb(process.pid) / 1024
        process.communicate(b"")
    return took, size_mb


if __name__ == "__main__":
    sys.exit(main())
