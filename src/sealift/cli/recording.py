"""How the packing machine works for a target: compile for it, and record goldens as it would answer.

Where the collected wheels run here, the release records in itself. For another platform a stand-in records: the
same versions of every package, in their builds for this machine, beside the release's own application layer.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.check.launch import record_goldens
from sealift.collect.alike import collect_alike
from sealift.collect.layers import write_layers
from sealift.collect.lock import Collected
from sealift.collect.pip_download import CollectOptions
from sealift.errors import UsageError
from sealift.store.releases import release_command
from sealift.target.host import Host, read_host
from sealift.target.interpreter import Interpreter, bundled_interpreter, find_interpreter, own_base
from sealift.target.target import BUNDLED, SYSTEM, Target, version_key


@dataclass(frozen=True, slots=True)
class Hands:
    """`interpreter` has the target's X.Y and runs here; `native` says that the release itself runs here too."""

    target: Target
    here: Target
    interpreter: Interpreter
    native: bool


def hands_for(target: Target, collected: Collected, tree: Path) -> Hands:
    """What this machine has for the target: the release's own interpreter where it runs here, else one of that X.Y.

    Raises: IncompatibleHost: no such interpreter here.
    """
    host = read_host()
    native = _runs_here(target, collected, host)
    own = bundled_interpreter(tree, target.python)
    asked = str(own) if native and target.interpreter == BUNDLED else SYSTEM
    here = replace(target, platform=host.platform, glibc=host.glibc or target.glibc, interpreter=asked)
    interpreter = find_interpreter(here, environ=os.environ, own_base=own_base())
    return Hands(target, here, interpreter, native)


def _runs_here(target: Target, collected: Collected, host: Host) -> bool:
    is_new_enough = host.glibc is not None and version_key(collected.glibc) <= version_key(host.glibc)
    return host.platform == target.platform and is_new_enough


def record(
    hands: Hands, tree: Path, payloads: Path | None, collected: Collected, options: CollectOptions
) -> tuple[str, ...]:
    """Write `tree/application/goldens`; returns sentences for people.

    Raises: UsageError: a model does not load, or a given golden input does not run on it. DigestMismatch: a build for
        this machine is not the one that sealift has locked.
    """
    if hands.native:
        return _record_with(hands.interpreter, tree, tree, payloads)
    with tempfile.TemporaryDirectory(dir=tree.parent, prefix="stand-in-") as folder:
        try:
            stand_in = _stand_in(hands, collected, options, Path(folder))
        except UsageError as error:  # a full disk or a wrong digest is no reason to go on without
            reason = error.problems[0] if error.problems else error.message
            return (
                f"the release is not golden-checked: it does not run on {hands.here.platform}, and the same versions "
                f"are not to be had for this machine ({reason})",
            )
        notes = _record_with(hands.interpreter, stand_in, tree, payloads)
    where = f"golden inputs were recorded on {hands.here.platform}, with the same versions of every package"
    return (*notes, where)


def _stand_in(hands: Hands, collected: Collected, options: CollectOptions, folder: Path) -> Path:
    """The release's packages as this machine runs them."""
    near = replace(options, folder=folder / "wheels")
    write_layers(
        collect_alike(collected, hands.here, near), folder / "tree", hands.interpreter.path, near.progress
    )
    return folder / "tree"


def _record_with(interpreter: Interpreter, runs: Path, tree: Path, payloads: Path | None) -> tuple[str, ...]:
    given = [f"--payloads={payloads}"] if payloads else []
    return record_goldens(release_command(interpreter.path, runs, "_record", str(tree), *given))
