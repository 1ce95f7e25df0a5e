"""`sealift keys init|show|new|rotate|revoke`: who may sign, and who may say so."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from sealift import canonical
from sealift.cli.options import add_common, add_passphrase, passphrase_of
from sealift.cli.roots import root_facts, root_text
from sealift.cli.screen import print_result
from sealift.errors import UsageError
from sealift.ledger.log import append, require_writable
from sealift.ledger.record import MAX_ITEMS, Event
from sealift.ledger.who import operator
from sealift.seal import ceremony, keyfile, keyring
from sealift.seal.ceremony import KeyPlan
from sealift.seal.keyfile import SigningKey
from sealift.seal.keyring import Role
from sealift.trust.keys import PublicKey
from sealift.trust.root import MAX_ROLE_KEYS, Root, SignedRoot
from sealift.trust.rotate import Changes, next_root, resolve_key

_ADDED = {"add_root": Role.ROOT, "add_release": Role.RELEASE, "add_officer": Role.OFFICER}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `keys`."""
    add_common(
        parser,
        "Make and change the keys that sign bundles. DIR/root/ is to be kept offline; DIR/root.json goes to "
        "every box. init: new keys. show: who may do what. new: one key for somebody else's machine. "
        "rotate: the next root. revoke: the next root, without these keys for ever.",
        "  sealift keys init keys --passphrase-file /run/secrets/phrase\n"
        "  sealift keys init keys --root 2-of-3 --officers 2 --product 'fraud*'\n"
        "  sealift keys show keys\n"
        "  sealift keys new officer/key.pem      (on the officer's machine; carry key.pub)\n"
        "  sealift keys rotate keys --remove 9f31c2a0 --add-officer officer/key.pub\n"
        "  sealift keys revoke keys sha256:9f31-c2a0 --add-release\n"
        "  sealift keys rotate keys --root-threshold 2 --prepare next.json; then, where the other root key is:\n"
        "  sealift keys rotate keys --sign next.json",
    )
    parser.add_argument("action", choices=["init", "show", "new", "rotate", "revoke"])
    parser.add_argument("directory", type=Path, metavar="DIR", help="the keys; for `new` the file to write")
    parser.add_argument("keys", nargs="*", metavar="KEYID", help="revoke: 8 digits of the id or more")
    _add_init(parser)
    _add_rotate(parser)
    phrases = parser.add_argument_group("passphrases (each asked for where no file is given)")
    phrases.add_argument(
        "--root-passphrase-file",
        type=Path,
        action="append",
        metavar="F",
        help="of the root keys (default: --passphrase-file); may be repeated",
    )
    phrases.add_argument(
        "--officer-passphrase-file", type=Path, metavar="F", help="of new officers' keys (the same default)"
    )
    add_passphrase(parser)


def _add_init(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("init")
    group.add_argument("--root", default="1-of-1", metavar="K-of-N", help="K of N root keys sign roots")
    group.add_argument("--release", type=int, default=1, metavar="N", help="release keys (default 1)")
    group.add_argument("--officers", type=int, default=0, metavar="N", help="officers' keys (default 0)")
    group.add_argument(
        "--product",
        action="append",
        metavar="PATTERN",
        help="products that the new release keys may sign (default: every one); may be repeated",
    )
    both = parser.add_argument_group("init, rotate and revoke")
    both.add_argument(
        "--release-threshold", type=int, metavar="K", help="release keys that must sign (default 1)"
    )
    both.add_argument(
        "--officer-threshold",
        type=int,
        metavar="K",
        help="officers that must approve (default 1 where there are officers, else 0)",
    )


def _add_rotate(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("rotate and revoke")
    for flag, what in (("root", "root key"), ("release", "release key"), ("officer", "officer's key")):
        group.add_argument(
            f"--add-{flag}",
            action="append",
            nargs="?",
            const="",
            default=[],
            metavar="PUB",
            help=f"a {what}: its public half, or nothing to make one here",
        )
    group.add_argument("--remove", action="append", default=[], metavar="KEYID", help="whatever its role")
    group.add_argument("--root-threshold", type=int, metavar="K", help="root keys that must sign from now on")
    group.add_argument(
        "--prepare", type=Path, metavar="FILE", help="write the next root with the signatures so far"
    )
    group.add_argument(
        "--sign",
        type=Path,
        metavar="FILE",
        help="add the root keys here to a prepared root; use it when whole",
    )


def run(args: argparse.Namespace) -> int:
    """Run `keys`."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "init": _init,
        "new": _new,
        "revoke": _rotate,
        "rotate": _sign if args.sign else _rotate,
        "show": _show,
    }
    if args.keys and args.action != "revoke":
        raise UsageError(f"keys {args.action} takes no key ids, found {', '.join(args.keys)}")
    return actions[args.action](args)


def _init(args: argparse.Namespace) -> int:
    plan = _plan(args)
    signed = ceremony.make_keys(args.directory, plan, _new_phrases(args))
    lines = [root_text(signed.root)]
    if args.root_passphrase_file is None and args.passphrase_file is not None:
        lines.append(
            "note: root and release keys share one passphrase; --root-passphrase-file keeps them apart"
        )
    lines.append(
        f"keep {args.directory}/root/ offline; give {args.directory}/root.json to every box,"
        f" and its fingerprint on paper\n  next: sealift pack PROJECT -o PLACE --keys {args.directory}"
    )
    print_result(args, root_facts(signed.root), "\n".join(lines))
    return 0


def _show(args: argparse.Namespace) -> int:
    root = keyring.read_roots(keyring.keys_folder(args.directory))[-1].root
    print_result(args, root_facts(root), root_text(root, _where(keyring.keys_folder(args.directory))))
    return 0


def _new(args: argparse.Namespace) -> int:
    path: Path = args.directory
    public_file = path.with_suffix(".pub")
    if public_file.exists() or public_file == path:
        raise UsageError(f"{public_file} exists; keys are never overwritten")
    phrase = passphrase_of(args, new=True)
    key = keyfile.generate()
    path.parent.mkdir(parents=True, exist_ok=True)
    keyfile.save(key, path, phrase)
    keyring.write_public(public_file, key.public)
    text = (
        f"key {canonical.short(key.public.key_id)} ({key.public.key_id})\n"
        f"  {path} stays here; carry {public_file} to the root keys\n"
        f"  next: sealift keys rotate DIR --add-officer {public_file}   (or --add-release, --add-root)"
    )
    print_result(args, {"key": key.public.key_id, "public": str(public_file)}, text)
    return 0


def _rotate(args: argparse.Namespace) -> int:
    folder = keyring.keys_folder(args.directory)
    before = keyring.read_roots(folder)[-1].root
    made: list[tuple[Role, SigningKey]] = []
    after = next_root(before, _changes(args, before, made))
    root_keys = [key for role, key in made if role is Role.ROOT]
    opened = _open_root_keys(args, folder)
    signed = ceremony.sign_root(before, SignedRoot(after, ()), [*opened, *root_keys])
    lacking = ceremony.lacking(before, signed)
    if lacking and args.prepare is None:
        raise UsageError(
            f"root version {after.version} lacks signatures; nothing was changed",
            problems=lacking,
            next_step="again with --prepare FILE, then `sealift keys rotate DIR --sign FILE` where the other "
            "root keys are; with too few left: docs/how-to/keys.md",
        )
    phrases = _new_phrases(args)
    for role, key in made:
        keyring.save_key(folder, role, key, phrases(role))
    if args.prepare is not None:
        ceremony.write_partial(args.prepare, signed)
        return _say_partial(args, before, signed, args.prepare)
    return _use(args, folder, before, signed)


def _sign(args: argparse.Namespace) -> int:
    folder = keyring.keys_folder(args.directory)
    before = keyring.read_roots(folder)[-1].root
    partial = ceremony.read_partial(args.sign, before)
    if not args.quiet:
        # Before the passphrase is asked: it is the consent to these lines.
        print("\n".join(ceremony.differences(before, partial.root)), file=sys.stderr)
    keys = _open_root_keys(args, folder) if ceremony.lacking(before, partial) else []
    signed = ceremony.sign_root(before, partial, keys)
    if ceremony.lacking(before, signed):
        if signed == partial:
            raise UsageError(
                f"{args.sign}: no root key here adds a signature", problems=ceremony.lacking(before, partial)
            )
        ceremony.write_partial(args.sign, signed)
        return _say_partial(args, before, signed, args.sign)
    ceremony.write_partial(args.sign, signed)
    return _use(args, folder, before, signed)


def _use(args: argparse.Namespace, folder: Path, before: Root, signed: SignedRoot) -> int:
    log = keyring.log_of(folder, Role.ROOT)
    require_writable(log)
    away = ceremony.activate(folder, before, signed)
    facts = {"action": args.action, "after": signed.root.fingerprint, "version": signed.root.version}
    changed = ceremony.differences(before, signed.root)
    append(log, Event.TRUST, {**facts, "changed": list(changed[:MAX_ITEMS])}, who=operator())
    lines = [root_text(signed.root, _where(folder)), *ceremony.differences(before, signed.root)]
    lines += [f"put away: {path}" for path in away]
    lines.append(
        "boxes learn of it from the next bundle; older ones carry it after `sealift sign BUNDLE --keys "
        f"{folder}`\n  next: the new fingerprint on paper, for boxes that have never pinned a root"
    )
    print_result(args, {**root_facts(signed.root), "missing": []}, "\n".join(lines))
    return 0


def _say_partial(args: argparse.Namespace, before: Root, signed: SignedRoot, path: Path) -> int:
    missing = ceremony.lacking(before, signed)
    lines = [f"root version {signed.root.version}  fingerprint {signed.root.fingerprint}  (not in use yet)"]
    lines += [f"  {line}" for line in ceremony.differences(before, signed.root)]
    lines += [f"missing: {line}" for line in missing] or ["nothing is missing"]
    lines.append(
        f"  next: sealift keys rotate DIR --sign {path}   where the other root keys are, and here at last"
    )
    print_result(args, {**root_facts(signed.root), "missing": list(missing)}, "\n".join(lines))
    return 0


def _plan(args: argparse.Namespace) -> KeyPlan:
    match = re.fullmatch(r"([0-9]{1,2})-of-([0-9]{1,2})", args.root)
    if match is None:
        raise UsageError(f"--root {args.root}: expected K-of-N, as 2-of-3")
    most = MAX_ROLE_KEYS
    counts = {"--root": int(match[2]), "--release": args.release, "--officers": args.officers}
    wrong = [f"{flag}: {count}, expected at most {most}" for flag, count in counts.items() if count > most]
    wrong += [f"{flag}: {count}, expected 0 or more" for flag, count in counts.items() if count < 0]
    if wrong:
        raise UsageError("too many keys, or too few", problems=wrong)
    return KeyPlan(
        root=int(match[2]),
        root_threshold=int(match[1]),
        release=args.release,
        release_threshold=1 if args.release_threshold is None else args.release_threshold,
        officers=args.officers,
        officer_threshold=min(1, args.officers) if args.officer_threshold is None else args.officer_threshold,
        patterns=tuple(sorted(set(args.product or ["*"]))),
    )


def _changes(args: argparse.Namespace, root: Root, made: list[tuple[Role, SigningKey]]) -> Changes:
    """What the flags ask for; keys made on the way are added to `made`, not written yet."""

    def added(name: str) -> list[PublicKey]:
        found = []
        for given in getattr(args, name):
            if given:
                found.append(keyring.read_public(Path(given)))
            else:
                key = keyfile.generate()
                made.append((_ADDED[name], key))
                found.append(key.public)
        return found

    remove = tuple(resolve_key(root, text) for text in args.remove)
    revoke = tuple(resolve_key(root, text) for text in args.keys)
    if args.action == "revoke" and not revoke:
        raise UsageError("revoke which key?", next_step=f"sealift keys show {args.directory}")
    inherited = {pattern for key_id in (*remove, *revoke) for pattern in root.release_keys.get(key_id, ())}
    patterns = tuple(sorted(set(args.product or inherited or {"*"})))
    officers = added("add_officer")
    is_first_officer = officers and not root.officers and args.officer_threshold is None
    return Changes(
        remove=remove,
        revoke=revoke,
        add_root=tuple(added("add_root")),
        add_release=dict.fromkeys(added("add_release"), patterns),
        add_officers=tuple(officers),
        root_threshold=args.root_threshold,
        release_threshold=args.release_threshold,
        officer_threshold=1 if is_first_officer else args.officer_threshold,
    )


def _open_root_keys(args: argparse.Namespace, folder: Path) -> list[SigningKey]:
    if not keyring.private_keys(folder, Role.ROOT):
        return []
    files = args.root_passphrase_file or ([args.passphrase_file] if args.passphrase_file else [None])
    phrases = [_phrase(args, Role.ROOT, file, new=False) for file in files]
    return list(keyring.open_keys(folder, Role.ROOT, phrases).values())


def _new_phrases(args: argparse.Namespace) -> Callable[[Role], bytes]:
    """The passphrase of new keys, by role; each read or asked once."""
    files: dict[Role, Path | None] = {
        Role.ROOT: (args.root_passphrase_file or [args.passphrase_file])[0],
        Role.RELEASE: args.passphrase_file,
        Role.OFFICER: args.officer_passphrase_file or args.passphrase_file,
    }
    known: dict[Role, bytes] = {}

    def phrase(role: Role) -> bytes:
        if role not in known:
            known[role] = _phrase(args, role, files[role], new=True)
        return known[role]

    return phrase


def _phrase(args: argparse.Namespace, role: Role, file: Path | None, *, new: bool) -> bytes:
    if file is None and not args.no_input and sys.stdin.isatty():
        print(f"{'new ' if new else ''}{role.value} key(s)", file=sys.stderr)
    asked = argparse.Namespace(passphrase_file=file, no_input=args.no_input)
    return passphrase_of(asked, new=new)


def _where(folder: Path) -> Callable[[str], str]:
    def note(key_id: str) -> str:
        path = keyring.key_here(folder, key_id)
        return f"  here: {path}" if path is not None else ""

    return note
