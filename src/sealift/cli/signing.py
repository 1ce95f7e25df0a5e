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
from sealift.trust.keys import Signature
from sealift.trust.root import SignedRoot, decode_root


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signs, if anybody, the roots that travel, and the folder of the packer's own books."""

    key: keyfile.SigningKey | None
    roots: tuple[SignedRoot, ...]
    books: Path

    def sign(self, message: bytes) -> tuple[Signature, ...]:
        """The signatures of a message; none for an unsigned bundle."""
        return (self.key.sign(message),) if self.key is not None else ()

    def sequence_for(self, product: str) -> Callable[[str], sequence.Entry]:
        """Content digest -> its entry in the sequence ledger."""
        epoch = source_date_epoch()
        return lambda content: sequence.assign(
            self.books / "sequences.json", product, content, time.time(), epoch
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
    folder = args.keys if (args.keys / "release").is_dir() else args.keys.parent
    roots = read_roots(folder)
    key = keyfile.load(folder / "release" / "key.pem", passphrase_of(args))
    if key.public.key_id not in roots[-1].root.release_keys:
        raise UsageError(f"{folder}: root.json does not know the release key beside it")
    return Signing(key, roots, folder / "release")


def read_roots(folder: Path) -> tuple[SignedRoot, ...]:
    """Every root below KEYS/roots, oldest first; KEYS/root.json is the newest."""
    paths = sorted((folder / "roots").glob("*.json"), key=lambda path: (len(path.name), path.name))
    try:
        newest = decode_root((folder / "root.json").read_bytes(), str(folder / "root.json"))
        earlier = [decode_root(path.read_bytes(), str(path)) for path in paths]
    except OSError as error:
        raise UsageError(
            f"{error.filename}: {error.strerror}", next_step=f"sealift keys init {folder}"
        ) from error
    return (*(signed for signed in earlier if signed.root.version < newest.root.version), newest)


def data_folder() -> Path:
    """Where the packing side keeps its own books when no keys are at hand."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "sealift"
