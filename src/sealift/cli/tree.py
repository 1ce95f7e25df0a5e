"""A release's tree by its path, as a container has it: checked where it lies, no prefix, nothing written."""

from __future__ import annotations

import os
from pathlib import Path

from sealift import canonical
from sealift.bundle.documents import Release, decode_release
from sealift.check.launch import Bounds, check_release
from sealift.errors import MalformedBundle, NotActivated, StoreError
from sealift.model.settings import Settings
from sealift.store.releases import InstalledRelease, release_command
from sealift.target.interpreter import bundled_interpreter, find_interpreter, own_base
from sealift.target.target import Target

_DOCUMENT = "release.json"


def is_tree(path: Path) -> bool:
    """Claims that a release was laid out there."""
    return (path / _DOCUMENT).is_file() and (path / "runtime" / "boot.py").is_file()


def checked_tree(tree: Path, settings: Settings, site: Path | None) -> InstalledRelease:
    """The release at `tree`, checked on this very machine, as install checks before traffic.

    Args:
        tree: absolute. settings: what it runs with here, `site` included.
        site: the settings file, None: as the release says.
    Raises: NotActivated: something does not hold here. StoreError, MalformedBundle: the tree is damaged.
        IncompatibleHost: no interpreter for it.
    """
    document = _read(tree)
    release = decode_release(document)
    interpreter = _interpreter(tree, release)
    given = [f"--site={site}"] if site is not None else []
    report = check_release(
        release_command(interpreter, tree, "_check", str(tree), *given),
        Bounds(memory_mb=settings.limits.max_memory_mb),
    )
    if not report.ok:
        raise NotActivated(
            f"{release.product} {release.version} is not served: {len(report.problems)} check(s) failed here",
            problems=report.problems,
            next_step="give it what it lacks here (memory, processor, device), or export another release",
        )
    return InstalledRelease(
        name=release.product,
        version=release.version,
        identity=canonical.digest(document),
        seq=release.seq,
        tree=tree,
        interpreter=interpreter,
        installed_at=0,
        total_size=release.total_size,
        signers=(),
        check=report.summary(),
    )


def _read(tree: Path) -> bytes:
    try:
        return (tree / _DOCUMENT).read_bytes()
    except OSError as error:
        raise StoreError(f"{tree / _DOCUMENT}: {error.strerror}") from error


def _interpreter(tree: Path, release: Release) -> Path:
    target = Target.from_json(release.target)
    if target.interpreter != "bundled":
        return find_interpreter(target, environ=os.environ, own_base=own_base()).path
    own = bundled_interpreter(tree, target.python)
    if not os.access(own, os.X_OK):
        raise MalformedBundle(f"{own}: the interpreter that the release brings is not there or does not run")
    return own
