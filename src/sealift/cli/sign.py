"""`sealift sign`: add a signature to a bundle, after every byte of it was checked."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.bundle.bases import BundleObjects, manifest_in
from sealift.bundle.read import Known, UnverifiedBundle, read_bundle, verify_objects
from sealift.bundle.source import open_source
from sealift.cli.opening import told_plainly
from sealift.cli.options import add_common, add_passphrase, passphrase_of
from sealift.cli.screen import print_result, progress_of
from sealift.errors import MissingPart, UsageError
from sealift.events import Progress
from sealift.ledger.log import append, require_writable
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.seal import keyring, signing
from sealift.seal.keyfile import SigningKey
from sealift.seal.keyring import Role
from sealift.seal.signing import Paper
from sealift.trust.keys import Signature
from sealift.trust.root import Root, SignedRoot
from sealift.trust.rotate import resolve_key
from sealift.trust.vouch import Endorsement, Policy, missing

_ROLES = {"release": Role.RELEASE, "officer": Role.OFFICER}
_NAME_IT = "name the full bundle of a base with --against OLD: only what was checked whole is signed"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sign`."""
    add_common(
        parser,
        "Check every byte of a bundle, add a signature (a release key's, or an officer's approval) and the "
        "roots that its boxes may not know yet, and say what is still missing.",
        "  sealift sign fraud-1.0.sealift --keys keys\n"
        "  sealift sign /media/usb --keys officer --as officer --passphrase-file F\n"
        "  sealift sign fraud-1.1-from-1.0.sealift --keys keys --against fraud-1.0.sealift      (a delta)\n"
        "  sealift sign fraud-1.0.sealift --keys keys --as-seq 12      (the older version, issued anew)\n"
        "  sealift sign fraud-1.0.sealift --keys keys --digest-out to-sign.bin      (for an HSM; then)\n"
        "  sealift sign fraud-1.0.sealift --keys keys --signature-in signed.bin --key 9f31c2a0",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--keys",
        type=Path,
        required=True,
        metavar="KEYS",
        help="root.json, and the key in release/ or officers/",
    )
    parser.add_argument(
        "--as", dest="role", choices=sorted(_ROLES), default="release", help="default: release"
    )
    parser.add_argument("--key", metavar="KEYID", help="which key, where several could sign")
    parser.add_argument(
        "--against",
        type=Path,
        metavar="OLD",
        help="for a delta: the full bundle of a release that it was made from",
    )
    parser.add_argument(
        "--as-seq",
        type=int,
        metavar="N",
        help="issue it anew with this higher sequence; it becomes another release, all older signatures go",
    )
    hsm = parser.add_argument_group(
        "a key that only a device holds (Ed25519 signs the bytes, not their digest)"
    )
    hsm.add_argument(
        "--digest-out",
        type=Path,
        metavar="FILE",
        help="write the exact bytes to sign; a release key signs FILE and FILE.transport",
    )
    hsm.add_argument(
        "--signature-in",
        type=Path,
        metavar="FILE",
        help="take signatures back, raw or base64, from FILE (and FILE.transport); needs --key",
    )
    add_passphrase(parser)


@dataclass(frozen=True, slots=True)
class _Desk:
    """What lies before the signer: the bundle, whole and checked, and the roots it is judged by."""

    path: Path
    bundle: UnverifiedBundle
    older: UnverifiedBundle | None
    roots: tuple[SignedRoot, ...]
    paper: Paper

    @property
    def root(self) -> Root:
        return self.roots[-1].root


def run(args: argparse.Namespace) -> int:
    """Run `sign`."""
    role = _ROLES[args.role]
    _refuse_combinations(args)
    folder = keyring.keys_folder(args.keys)
    desk = _open(args, folder)
    key = _key(args, desk, role, folder)
    log = keyring.log_of(folder, role)
    require_writable(log)
    if args.as_seq is not None:
        _reissue(args, desk, folder)
        desk = _open(args, folder)
    if args.digest_out is not None:
        return _write_messages(args, desk, role)
    made = signing.sign_messages(key, desk.paper.messages(role)) if key else _taken_in(args, desk, role)
    endorsement = signing.endorsed(desk.bundle.endorsement, role, made)
    _write(desk, endorsement)
    append(log, Event.SIGN, _facts(args, desk, made), who=operator())
    return _say(args, desk, role, made, endorsement)


def _refuse_combinations(args: argparse.Namespace) -> None:
    rules = {
        "--signature-in needs --key": args.signature_in is not None and args.key is None,
        "--signature-in goes without --digest-out": args.signature_in is not None
        and args.digest_out is not None,
        "--signature-in goes without --as-seq; give that to --digest-out": args.signature_in is not None
        and args.as_seq is not None,
        "--as-seq is for release keys; an officer approves what they issued": args.as_seq is not None
        and args.role != "release",
    }
    if problems := [rule for rule, is_broken in rules.items() if is_broken]:
        raise UsageError(problems[0], problems=problems[1:])


def _open(args: argparse.Namespace, folder: Path) -> _Desk:
    older = None
    if args.against is not None:
        with told_plainly(f"--against {args.against}: "):
            older = read_bundle(open_source(args.against))
    bundle = read_bundle(open_source(args.bundle), _known(older), may_lack=True)
    roots = signing.all_roots(keyring.read_roots(folder), bundle.roots)
    with progress_of(args) as progress:
        _check_every_byte(bundle, older, progress)
    release = bundle.release
    paper = Paper(release.product, release.encode(), bundle.transport)
    return _Desk(Path(bundle.source.name), bundle, older, roots, paper)


def _known(older: UnverifiedBundle | None) -> Known:
    return (lambda _: None) if older is None else partial(manifest_in, older)


def _check_every_byte(bundle: UnverifiedBundle, older: UnverifiedBundle | None, progress: Progress) -> None:
    """Of a delta also what its patches decode to, and that the rest is in the older bundle."""
    progress.start("check every object", sum(stored.size for stored in bundle.objects.values()))
    with tempfile.TemporaryDirectory(prefix="sealift-bases-") as folder:
        base = BundleObjects([older] if older is not None else [], Path(folder))
        undecoded = verify_objects(bundle, progress.advance, base)
    there = older.objects if older is not None else {}
    absent = [sha256 for sha256 in bundle.absent if sha256 not in there] if bundle.bases else []
    problems = {
        f"the files of {', '.join(sorted(bundle.lacking))} are not known": bundle.lacking,
        f"{len(undecoded)} of its objects are patches of what is not here": undecoded,
        f"{len(absent)} objects that it leaves out are not here": absent,
    }
    if found := [problem for problem, several in problems.items() if several]:
        raise MissingPart(
            f"this delta cannot be checked whole: it was {bundle.made_for}",
            problems=found,
            next_step=_NAME_IT,
        )


def _key(args: argparse.Namespace, desk: _Desk, role: Role, folder: Path) -> SigningKey | None:
    """The key that lies here and signs; None where a device does.

    Raises: UsageError: none, or several to choose from. UnknownKey, RevokedKey: it would count for nothing.
    """
    if args.digest_out is not None or args.signature_in is not None:
        return None
    root, paper = desk.root, desk.paper
    wanted = resolve_key(root, args.key) if args.key is not None else None
    if wanted is not None:
        signing.require_may_sign(root, role, paper.product, wanted)
    if not keyring.private_keys(folder, role):
        raise UsageError(
            f"{folder / role.value}: no key lies there",
            next_step="name the folder with root.json and your key with --keys, or sign as another with --as",
        )
    keys = keyring.open_keys(folder, role, [passphrase_of(args)])
    done = signing.signed_by(root, role, paper, desk.bundle.endorsement) if args.as_seq is None else ()
    key = signing.choose_key(keys, wanted, done)
    signing.require_may_sign(root, role, paper.product, key.public.key_id)
    return key


def _taken_in(args: argparse.Namespace, desk: _Desk, role: Role) -> Mapping[str, Signature]:
    """The signatures that a device made. Raises: BadSignature, UnknownKey, RevokedKey, UsageError."""
    key_id = resolve_key(desk.root, args.key)
    signing.require_may_sign(desk.root, role, desk.paper.product, key_id)
    messages = desk.paper.messages(role)
    given = {part: _read(path) for part, path in _files(args.signature_in, messages).items()}
    return signing.foreign_signatures(desk.root.keys[key_id], messages, given)


def _write(desk: _Desk, endorsement: Endorsement) -> None:
    from sealift.bundle.write import rewrite_signatures

    new = tuple(signed for signed in desk.roots if signed not in desk.bundle.roots)
    present = desk.bundle.endorsement
    if endorsement == present and not new:
        return
    with _writing(desk.path):
        rewrite_signatures(
            desk.path, endorsement.signatures, endorsement.approvals, endorsement.transport_signatures, new
        )


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path}: the bundle cannot be written: {error.strerror}",
            next_step="copy it to a place that can be written, sign it there",
        ) from error


def _reissue(args: argparse.Namespace, desk: _Desk, folder: Path) -> None:
    from sealift.bundle.write import reissue

    old = desk.bundle.release
    if args.as_seq == old.seq:
        return
    if args.as_seq < old.seq:
        raise UsageError(f"--as-seq {args.as_seq}: expected more than its own sequence, {old.seq}")
    new = replace(old, seq=args.as_seq)
    book = folder / "release" / "sequences.json"
    if book.parent.is_dir():
        sequence = _sequence_book()
        content = canonical.digest(replace(old, seq=0).encode())
        created = int(datetime.fromisoformat(old.created).timestamp())
        sequence.claim(book, old.product, content, new.seq, created, created)
        sequence.confirm(book, old.product, new.seq, new.identity)
    with _writing(desk.path):
        reissue(desk.path, new, _known(desk.older))


def _sequence_book() -> Any:
    try:
        from sealift.pack import sequence
    except ModuleNotFoundError as error:
        raise UsageError("--as-seq belongs to the connected side, where the sequences are kept") from error
    return sequence


def _write_messages(args: argparse.Namespace, desk: _Desk, role: Role) -> int:
    messages = desk.paper.messages(role)
    rows = []
    for part, path in _files(args.digest_out, messages).items():
        try:
            path.write_bytes(messages[part])
        except OSError as error:
            raise UsageError(f"--digest-out {path}: {error.strerror}") from error
        rows.append({"file": str(path), "part": part, "sha256": hashlib.sha256(messages[part]).hexdigest()})
    text = "\n".join(
        [
            f"{_name(desk)}: the bytes to sign as {args.role}",
            *(f"  {row['file']}  sha256 {row['sha256']}" for row in rows),
            "Ed25519 signs these bytes themselves (RFC 8032, pure), not their SHA-256; that is for comparing.",
            f"  next: sealift sign {args.bundle} --keys {args.keys} --as {args.role} --signature-in FILE --key KEYID"
            + ("   (FILE and FILE.transport)" if len(rows) > 1 else ""),
        ]
    )
    print_result(args, {"identity": desk.bundle.identity, "to_sign": rows}, text)
    return 0


def _say(
    args: argparse.Namespace, desk: _Desk, role: Role, made: Mapping[str, Signature], endorsement: Endorsement
) -> int:
    paper, root = desk.paper, desk.root
    lacking = missing(root, Policy(), paper.product, paper.release, paper.transport, endorsement)
    key_id = next(iter(made.values())).key_id
    lines = [
        f"{'signed' if role is Role.RELEASE else 'approved'} {_name(desk)} with {canonical.short(key_id)}"
    ]
    lines += [f"  still missing: {line}" for line in lacking]
    if not lacking:
        lines.append(
            f"  nothing is missing under root version {root.version}; a box may ask for more officers"
        )
    lines.append(f"  next: sealift inspect {args.bundle}")
    result = {
        "as": args.role,
        "identity": desk.bundle.identity,
        "key": key_id,
        "missing": list(lacking),
        "root_version": root.version,
        "seq": desk.bundle.release.seq,
    }
    print_result(args, result, "\n".join(lines))
    return 0


def _facts(args: argparse.Namespace, desk: _Desk, made: Mapping[str, Signature]) -> dict[str, Any]:
    release = desk.bundle.release
    return {
        "as": args.role,
        "identity": desk.bundle.identity,
        "key": next(iter(made.values())).key_id,
        "path": str(desk.path),
        "product": release.product,
        "seq": release.seq,
        "version": release.version,
    }


def _name(desk: _Desk) -> str:
    release = desk.bundle.release
    return f"{release.product} {release.version} {canonical.short(desk.bundle.identity)} (sequence {release.seq})"


def _files(file: Path, messages: Mapping[str, bytes]) -> dict[str, Path]:
    """Part -> file; the transport's has its own ending."""
    return {
        part: file.with_name(f"{file.name}.transport") if part == signing.TRANSPORT_PART else file
        for part in messages
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"--signature-in {path}: {error.strerror}") from error
