"""A tiny real release: signed, installed by the real command, checked and served by its own program."""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.killing.forks import Forks
from tests.made_bundles import Signer, make_bundle

from sealift.bundle.documents import decode_manifest, decode_release
from sealift.project.project import TargetWish
from sealift.store.journal import read_journal
from sealift.store.prefix import Prefix, private
from sealift.store.releases import active_tree, installed_releases
from sealift.target.host import own_python, read_host
from sealift.target.wish import target_for

BOOT = (Path(__file__).parent / "boot.py").read_bytes()
WAIT_S = 20.0
TABLE = random.Random(7).randbytes(4096)
"""Nothing compresses it: from one version to the next a patch is what travels."""


def files(version: str, weights: str | None = None) -> Mapping[str, bytes]:
    """A release whose number is its version; the rest is the same in every version."""
    return {
        "runtime/boot.py": BOOT,
        "runtime/tool": b"#!/bin/sh\n",
        "dependencies/pkg/__init__.py": b"",
        "dependencies/pkg/notes.txt": b"a file that never changes\n" * 40,
        "application/sbom.cdx.json": b"{}",
        "application/weights": (weights or version).encode(),
        "application/table": TABLE + version.encode(),
    }


def bundle(
    folder: Path, signer: Signer, version: str, content: Mapping[str, bytes], olds: Sequence[Path] = ()
) -> Path:
    """One bundle for this very machine, its sequence number as its version; `root.json` lies beside it.

    Args:
        olds: bundles that it is a delta from.
    """
    folder.mkdir(exist_ok=True)
    (folder / "root.json").write_bytes(signer.signed.encode())
    target = target_for(TargetWish(), read_host(), own_python()).to_json()
    made = make_bundle(
        folder,
        signer,
        version=version,
        seq=int(version),
        files=content,
        target=target,
        olds=olds,
    )
    return made.path


def bundles(folder: Path, signer: Signer, count: int) -> dict[str, Path]:
    """Version -> bundle, `1` to `count`."""
    versions = [str(number) for number in range(1, count + 1)]
    return {version: bundle(folder, signer, version, files(version)) for version in versions}


def copy_prefix(template: Path, destination: Path) -> Prefix:
    """As hard links, but for what is written in place: the log and the locks."""
    shutil.rmtree(destination, ignore_errors=True)
    shutil.copytree(template, destination, symlinks=True, copy_function=os.link)
    for path in (destination / "state").glob("l*"):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(data)
    return private(destination)


def wholeness(prefix: Prefix, name: str = "fraud") -> str:
    """The version that is active, every file of it compared with what was signed; empty: nothing is active."""
    tree = active_tree(prefix, name)
    if tree is None:
        return ""
    root = prefix.releases(name) / tree
    release = decode_release((root / "release.json").read_bytes())
    assert tree in {found.tree.name for found in installed_releases(prefix, name)}, "active, not recorded"
    for layer, ref in release.layers.items():
        manifest = decode_manifest((prefix.manifests / f"{ref.manifest}.json").read_bytes(), layer)
        for path, entry in manifest.items():
            found = root / layer / path
            assert found.stat().st_size == entry.size, f"{found} is not whole"
            assert _digest(found) == entry.sha256, f"{found} is not whole"
    return release.version


def _digest(path: Path) -> str:
    from hashlib import sha256

    return sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Served:
    """A supervisor of `fraud` on its own port."""

    forks: Forks
    pid: int
    port: int

    def ask(self) -> str:
        """The number that is answered."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        connection.request("GET", "/")
        answer = connection.getresponse().read().decode()
        connection.close()
        return answer

    def stop(self) -> int:
        """Ask it to end, and wait."""
        os.kill(self.pid, signal.SIGTERM)
        return self.forks.wait(self.pid)


def serve(forks: Forks, prefix: Prefix, out: Path) -> Served:
    """Start `sealift serve fraud`; returns once it serves."""
    served = serve_or_die(forks, prefix, out)
    assert served is not None, f"it did not serve: {out.read_text()}"
    return served


def serve_or_die(forks: Forks, prefix: Prefix, out: Path, kill_at: int = 0) -> Served | None:
    """Start `sealift serve fraud`; None: it ended before it served."""
    out.unlink(missing_ok=True)
    argv = ("serve", "fraud", "--port", "0", "--prefix", prefix.root)
    pid = forks.start(*argv, out=out, kill_at=kill_at)
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        for line in out.read_text().splitlines() if out.is_file() else ():
            if line.startswith("serving fraud@"):
                return Served(forks, pid, int(line.rpartition(":")[2]))
        if not _runs(pid):
            break
        time.sleep(0.01)
    forks.wait(pid)
    return None


def _runs(pid: int) -> bool:
    """False also for a process that has ended and was not waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(prefix: Prefix, *phases: str) -> str:
    """Wait for a phase of the journal; which one it was."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        phase = read_journal(prefix, "fraud").phase
        if phase is not None and phase.value in phases:
            return phase.value
        time.sleep(0.02)
    raise AssertionError(f"no {phases} in the journal: {read_journal(prefix, 'fraud')}")
