"""One virtual environment per peer server, below a folder outside the repository; optional, never in CI.

    python benchmarks/serving/install_peers.py             every peer
    python benchmarks/serving/install_peers.py mosec triton

What does not install is reported with pip's last words, and `run.py` leaves it out. Needs a network (pip's own
settings apply) and about 7 GB for all of them; TorchServe also needs Java. Running it again skips what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

DEFAULT_FOLDER: Final = Path.home() / ".cache" / "sealift-peers"
ENGINE: Final = ("numpy", "pillow", "onnxruntime==1.32.0")
"""What every adapter runs the model with: the same engine for all."""

ENVIRONMENTS: Final[dict[str, tuple[str, ...]]] = {
    "mosec": ("mosec",),
    "fastapi": ("fastapi", "uvicorn[standard]", "granian", "msgspec"),
    "triton": ("nvidia-pytriton",),
    "flask": ("flask", "gunicorn", "torch==2.13.0"),
    "litserve": ("litserve",),
    "mlserver": ("mlserver", "uvloop<0.22"),
    "bentoml": ("bentoml",),
    "kserve": ("kserve",),
    "torchserve": (
        "torch==2.13.0", "torchserve", "torch-model-archiver", "captum", "pyyaml", "packaging", "setuptools<81",
    ),
    "ray": ("ray[serve]",),
}  # fmt: skip


def main() -> int:
    """Install; returns the number of peers that could not be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENVIRONMENTS)}")
    parser.add_argument("--folder", type=Path, default=DEFAULT_FOLDER, help=f"default: {DEFAULT_FOLDER}")
    args = parser.parse_args()
    unknown = set(args.names) - set(ENVIRONMENTS)
    if unknown:
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    failed = 0
    for name in args.names or ENVIRONMENTS:
        problem = install(args.folder / name, ENVIRONMENTS[name])
        failed += bool(problem)
        print(f"{name:12} {problem or 'ready'}", flush=True)
    return failed


def install(folder: Path, packages: tuple[str, ...]) -> str:
    """Make the environment; '' when it stands, else why not. A half-made one is never left behind."""
    stamp = folder / "installed.json"
    if stamp.is_file():
        return ""
    shutil.rmtree(folder, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", folder], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no venv: {_last(made.stderr)}"
    pip = ["nice", "-n", "19", folder / "bin" / "pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *ENGINE, *packages], capture_output=True, text=True, check=False)
    if done.returncode:
        shutil.rmtree(folder)
        return f"pip: {_last(done.stderr)}"
    listed = subprocess.run(
        [folder / "bin" / "pip", "list", "--format=json", "--disable-pip-version-check"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    versions = {one["name"]: one["version"] for one in json.loads(listed.stdout)}
    stamp.write_text(json.dumps(versions, indent=1) + "\n")
    return ""


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-2:])[:300]


if __name__ == "__main__":
    sys.exit(main())
