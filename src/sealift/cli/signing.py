"""Who signs on the packing side, and the books that are kept beside the keys."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sealift.cli.options import passphrase_of, source_date_epoch
from sealift.errors import UsageError
from sealift.ledger.log import append
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.pack import sequence
from sealift.pack.pack import Packed
from sealift.seal import keyfile
from sealift.seal.keyring import keys_folder, read_roots, root_keys_readable
from sealift.trust.keys import Signature
from sealift.trust.root import SignedRoot


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs, if anybody, the roots that travel, and the folder of the packer's own books.

    `notes`: sentences that the engineer should read.
    """

    key: keyfile.SigningKey | None
    roots: tuple[SignedRoot, ...]
    books: Path
    notes: tuple[str, ...] = ()

    def sign(self, message: bytes) -> tuple[Signature, ...]:
        """The signatures of a message; none for an unsigned bundle."""
        return (self.key.sign(message),) if self.key is not None else ()

    def sequence_for(self, product: str, after: int | None = None) -> Callable[[str], sequence.Entry]:
        """Content digest -> its entry in the sequence ledger, above the sequence `after`."""
        epoch = source_date_epoch()
        return lambda content: sequence.assign(
            self.books / "sequences.json", product, content, time.time(), epoch, after
        )

    def record(self, packed: Packed) -> None:
        """Write down which identity the sequence number got, and who packed it."""
        release = packed.release
        sequence.confirm(self.books / "sequences.json", release.product, release.seq, release.identity)
        facts = {
            "identity": release.identity,
            "path": str(packed.path),
            "product": release.product,
            "seq": release.seq,
            "signed": self.key is not None,
            "version": release.version,
        }
        append(self.books / "ledger.jsonl", Event.PACK, facts, who=operator())


def signing_of(args: argparse.Namespace) -> Signing:
    """What `--keys`, `--unsigned` and the passphrase say.

    Raises: UsageError: no keys and not `--unsigned`, keys that do not open or that their own root does not know.
    """
    if args.unsigned:
        return Signing(None, (), data_folder())
    if args.keys is None:
        raise UsageError(
            "nobody signs this bundle",
            next_step="sealift keys init keys, then pack with --keys keys; or --unsigned, and sealift sign later",
        )
    folder = keys_folder(args.keys)
    roots = read_roots(folder)
    key = keyfile.load(folder / "release" / "key.pem", passphrase_of(args))
    if key.public.key_id not in roots[-1].root.release_keys:
        raise UsageError(f"{folder}: root.json does not know the release key beside it")
    return Signing(key, roots, folder / "release", _warnings(folder))


def _warnings(folder: Path) -> tuple[str, ...]:
    beside = root_keys_readable(folder)
    if not beside:
        return ()
    names = ", ".join(str(path) for path in beside)
    return (
        f"root keys lie where bundles are signed ({names}): move them offline, a thief would get all of them",
    )


def data_folder() -> Path:
    """Where the packing side keeps its own books when no keys are at hand."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "sealift"
