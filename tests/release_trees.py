"""Release trees made as `pack` makes them, from a project and one runtime layer: no bundle is written or read."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from sealift import canonical
from sealift.bundle.documents import LAYERS, LayerRef, Release
from sealift.check.launch import record_goldens
from sealift.collect.layers import write_layers
from sealift.collect.lock import collect_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.events import Silent
from sealift.pack.application import write_application
from sealift.project.file import load_project
from sealift.project.project import PythonSources, TargetWish
from sealift.store.prefix import Prefix
from sealift.store.releases import InstalledRelease, record, release_command
from sealift.target.host import own_python, read_host
from sealift.target.interpreter import Interpreter, find_interpreter, own_base
from sealift.target.target import Target
from sealift.target.wish import target_for


@dataclass(frozen=True)
class Runtime:
    """The runtime layer as `pack` writes it, and the interpreter that it is for."""

    tree: Path
    target: Target
    interpreter: Interpreter


def build_runtime(folder: Path) -> Runtime:
    """Collect and unpack it: seconds, so once for many trees."""
    target = target_for(TargetWish(), read_host(), own_python())
    interpreter = find_interpreter(target, environ=os.environ, own_base=own_base())
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealift" / "wheels"
    options = CollectOptions(
        folder=folder / "wheels", cache=cache, find_links=(), no_index=False, progress=Silent()
    )
    collected = collect_wheels(PythonSources(), target, options)
    write_layers(collected, folder / "tree", interpreter.path, Silent())
    return Runtime(folder / "tree", target, interpreter)


def stage(runtime: Runtime, project_folder: Path, box: Prefix) -> InstalledRelease:
    """Project -> its release as `pack` makes it -> its tree on a box, recorded and not active.

    Raises: UsageError: it does not pack.
    """
    project = load_project(project_folder)
    packing = box.root / "packing"
    packing.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(runtime.tree, packing, copy_function=os.link, symlinks=True)
    (packing / "application").mkdir(exist_ok=True)
    write_application(project, packing / "application")
    payloads = [f"--payloads={project.golden}"] if project.golden else []
    record_goldens(release_command(runtime.interpreter.path, packing, "_record", str(packing), *payloads))
    document = release_document(project.name, project.version, runtime.target)
    (packing / "release.json").write_bytes(document)
    identity = canonical.digest(document)
    tree = box.releases(project.name) / f"{project.version}-{identity[:8]}"
    tree.parent.mkdir(parents=True, exist_ok=True)
    packing.rename(tree)
    interpreter = runtime.interpreter.path
    release = InstalledRelease(project.name, project.version, identity, 1, tree, interpreter, 1, 1, (), {})
    record(box, release)
    return release


def release_document(name: str, version: str, target: Target) -> bytes:
    """A release.json; its layers are not looked at once a tree is staged."""
    return Release(
        product=name,
        version=version,
        seq=1,
        floor_seq=0,
        min_sealift="0",
        target=target.to_json(),
        created="2026-11-22T17:00:00Z",
        layers={layer: LayerRef("0" * 64, 0, 0) for layer in LAYERS},
        checks={},
        provenance={},
        total_size=0,
    ).encode()
