"""Releases of the product `sealift` from a few bytes, and bootstrap files whose interpreter is a shell script."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.made_bundles import Signer, make_signer, write_tree

from sealift.bundle.read import VerifiedBundle, read_bundle, verify
from sealift.bundle.source import Folder
from sealift.bundle.write import Endorse, Uncompressed
from sealift.events import Silent
from sealift.pack.pack import Packed, Parts, pack
from sealift.pack.sequence import Entry
from sealift.store.prefix import TOOL
from sealift.target.host import read_host
from sealift.tool.runfile import RunFacts, RunFile, write_run
from sealift.trust.vouch import Policy

INTERPRETER = "runtime/python/bin/python3.11"
TARGET: dict[str, Any] = {
    "platform": read_host().platform,
    "python": "3.11",
    "glibc": "2.17",
    "implementation": "cpython",
    "interpreter": "bundled",
    "cpu": [],
    "kernel": None,
    "cuda": None,
}
SAYS_WHAT_IT_GETS = """#!/bin/sh
case " $* " in *" -c "*) exit 0 ;; esac
echo "$@"
"""


@dataclass(frozen=True)
class Tools:
    """Makes releases of the tool; each version has files of its own."""

    folder: Path
    signer: Signer = field(default_factory=make_signer)

    def pack(
        self,
        version: str = "1.0",
        seq: int = 1,
        files: Mapping[str, bytes] | None = None,
        min_sealift: str = "0",
    ) -> Packed:
        """A folder bundle with raw objects beside its tree."""
        given = {
            INTERPRETER: SAYS_WHAT_IT_GETS.encode(),
            "runtime/boot.py": version.encode(),
            **(files or {}),
        }
        tree = write_tree(self.folder / f"tree-{version}-{seq}", given)
        (tree / INTERPRETER).chmod(0o755)
        parts = Parts(
            product=TOOL,
            version=version,
            tree=tree,
            target=TARGET,
            checks={},
            provenance={},
            bill=lambda _: b"{}",
            min_sealift=min_sealift,
            travel=Uncompressed(),
        )
        return pack(
            parts,
            self.folder / f"bundle-{version}-{seq}",
            Endorse(lambda message: (self.signer.release_key.sign(message),), (self.signer.signed,)),
            lambda _: Entry(seq, "2026-11-29T17:00:00Z"),
            Silent(),
        )

    def bundle(self, version: str = "1.0", seq: int = 1, min_sealift: str = "0") -> VerifiedBundle:
        """As a box would have verified it."""
        packed = self.pack(version, seq, min_sealift=min_sealift)
        return verify(read_bundle(Folder(packed.path)), self.signer.signed.root, Policy())

    def run_file(self, name: str = "sealift-1.0.run", interpreter: str = SAYS_WHAT_IT_GETS) -> RunFile:
        """A bootstrap file of version 1.0."""
        packed = self.pack(files={INTERPRETER: interpreter.encode()})
        facts = RunFacts(
            "1.0",
            read_host().platform,
            "2.17",
            "3.11",
            packed.release.identity,
            self.signer.signed.root.fingerprint,
        )
        return write_run(self.folder / name, Folder(packed.path), self.folder / "tree-1.0-1", facts)


def sh(
    *words: str | Path, shell: str = "dash", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """`sh FILE.run ...` with nothing in its environment but PATH."""
    return subprocess.run(
        [shell, *map(str, words)],
        env={"PATH": os.defpath, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
