"""Our own contender: two projects, and the same packed and installed with throwaway keys, below the cache.

An installed release is what an operator runs: its own interpreter, its own libraries, the thin supervisor in front.
It is packed again when a file of `src/` has changed. A project folder (`--served project`) runs the working tree,
which is what one wants while tuning.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Final

from contenders import OUR_ROUTES, Contender
from models import cache, ready_models

SOURCE: Final = Path(__file__).resolve().parents[2] / "src"
PROJECTS: Final = {
    "table": """\
[project]
name = "table"
version = "1.0.0"

[model]
path = "model.onnx"
license = "Apache-2.0"

[slo]
latency_p99_ms = 50
""",
    "lite0": """\
[project]
name = "lite0"
version = "1.0.0"

[model]
path = "model.onnx"
license = "Apache-2.0"

[model.input]
kind = "image"
size = [224, 224]
interpolation = "bilinear"
mean = [127, 127, 127]
std = [128, 128, 128]

[model.output]
kind = "classes"
top = 1
""",
}
"""Preprocessing as the peers' adapters do it. The photo service declares no SLO here: 32 clients that each wait for
their answer want more than two cores can give within 50 ms, and refusing them is overload.py's subject."""
PROJECTS["lite0-int8"] = PROJECTS["lite0"].replace('name = "lite0"', 'name = "lite0-int8"')
CASES: Final = {"tab": "table", "tabv2": "table", "img": "lite0", "raw": "lite0", "img8": "lite0-int8"}


def ours(case: str, served: str) -> Contender:
    """The server under test. `served`: `release` or `project`."""
    name = CASES[case]
    routes = {case: OUR_ROUTES[case]}
    if served == "project":
        command = ("{python}", "-m", "sealift", "serve", str(project_folder(name)))
        return Contender("sealift", "ours", (*command, "--port", "{port}", "-q"), routes)
    box = installed(name)
    command = (str(box / "bin" / "sealift"), "serve", name, "--prefix", str(box), "--port", "{port}", "-q")
    return Contender("sealift", "ours", command, routes)


def project_folder(name: str, text: str = "", model: Path | None = None) -> Path:
    """The project of that name, written anew."""
    folder = cache() / "projects" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sealift.toml").write_text(text or PROJECTS[name])
    shutil.copyfile(model or ready_models() / f"{name}.onnx", folder / "model.onnx")
    return folder


@lru_cache
def installed(name: str, text: str = "", model: Path | None = None) -> Path:
    """The prefix with that project's release active in it; made anew when `src/` has changed, once a run at most."""
    project = project_folder(name, text, model)
    box, stamp = cache() / f"box-{name}", _digest([*SOURCE.rglob("*.py"), *project.iterdir()])
    mark = box / ".made-from"
    if mark.is_file() and mark.read_text() == stamp:
        return box
    shutil.rmtree(box, ignore_errors=True)
    making = cache() / f"pack-{name}"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    (making / "phrase").write_text("only for this benchmark\n")
    print(f"packing and installing {name} ...", file=sys.stderr, flush=True)
    sealift("keys", "init", "keys", "--passphrase-file", "phrase", cwd=making)
    sealift("pack", project, "-o", "bundle", "--keys", "keys", "--passphrase-file", "phrase", cwd=making)
    sealift("install", "bundle", "--trust", "keys/root.json", "--prefix", box, cwd=making)
    shutil.rmtree(making)
    mark.write_text(stamp)
    return box


def sealift(*words: str | Path, cwd: Path) -> str:
    """Our command line. Raises: SystemExit: it failed; with what it said."""
    command = [sys.executable, "-m", "sealift", *map(str, words), "--no-input"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stderr}")
    return done.stdout


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in sorted(files):
        if path.is_file():
            digest.update(f"{path}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
