"""`sealift inspect`: the officer's desk. What a bundle holds, who signed it and what changed; changes nothing."""

from __future__ import annotations

import argparse
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift.bundle import layout
from sealift.bundle.documents import FileEntry
from sealift.bundle.read import FindBase, UnverifiedBundle, read_object
from sealift.cli.opening import Looked, bases_at_hand, open_to_look, told_plainly
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import print_result, progress_of
from sealift.errors import MissingPart, UsageError
from sealift.inspect import html, listing, text
from sealift.inspect.as_json import difference_json, facts_json
from sealift.inspect.bill import BILL
from sealift.inspect.contents import Contents, Find
from sealift.inspect.difference import Difference, compare
from sealift.inspect.extract import extract, in_words, refuse_destination
from sealift.inspect.facts import Facts, facts_of
from sealift.inspect.page import page_of
from sealift.inspect.standing import standing_of
from sealift.store.objects import store_of
from sealift.store.prefix import Prefix


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `inspect`."""
    add_common(
        parser,
        "Show what a bundle holds: identity, signers and what is still missing, layers, every package with "
        "version and licence, the models with their inputs and outputs. Reads only; says NOT VERIFIED until a "
        "trusted root vouches.",
        "  sealift inspect /media/usb\n"
        "  sealift inspect /media/usb --trust root.json --html fraud.html\n"
        "  sealift inspect fraud-2.0.sealift --against fraud-1.0.sealift --files\n"
        "  sealift inspect fraud-2.0.sealift --extract /srv/scan/fraud\n"
        "  sealift inspect fraud-2.0.sealift --sha256sum > SHA256SUMS",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--trust", type=Path, metavar="ROOT.json", help="judge by this root (default: the pinned one)"
    )
    parser.add_argument("--against", type=Path, metavar="OLD", help="say what changed since that bundle")
    _add_outputs(parser)
    add_prefix(parser)


def _add_outputs(parser: argparse.ArgumentParser) -> None:
    lists = parser.add_mutually_exclusive_group()
    lists.add_argument(
        "--files",
        action="store_true",
        help="instead of the page an allow-list: sha256, size, mode and path of every file; with --against the "
        "page, and every changed file",
    )
    lists.add_argument(
        "--sha256sum", action="store_true", help="instead of the page a list that `sha256sum -c` reads"
    )
    parser.add_argument("--html", type=Path, metavar="F", help="also write one page to print and sign")
    parser.add_argument("--sbom", type=Path, metavar="F", help="also write the bill of materials (CycloneDX)")
    parser.add_argument(
        "--extract",
        type=Path,
        metavar="DIR",
        help="also write every file under its real name, for the virus scanner; DIR is new or empty",
    )


@dataclass(frozen=True, slots=True)
class _Desk:
    """What lies on the desk: the bundle, its facts, and what changed since an older one."""

    contents: Contents
    facts: Facts
    difference: Difference | None

    @property
    def bundle(self) -> UnverifiedBundle:
        return self.contents.bundle


def run(args: argparse.Namespace) -> int:
    """Run `inspect`."""
    with told_plainly():
        older = None
        if args.against is not None:
            with told_plainly(f"--against {args.against}: "):
                older = open_to_look(args.against, args.trust, prefix_of(args))
        with bases_at_hand(prefix_of(args), older.bundle if older else None) as base:
            return _run(args, older, base)


def _run(args: argparse.Namespace, older: Looked | None, base: FindBase) -> int:
    desk = _open(args, older, base, time.time())
    _refuse_places(args, desk.bundle)
    pages = _pages(args, desk)
    result = facts_json(desk.facts)
    if desk.difference is not None:
        result["against"] = difference_json(desk.difference, files=args.files)
    elif args.files or args.sha256sum:
        result["files"] = listing.as_json(desk.bundle)
    if args.extract is not None:
        result["extracted"] = _extract(args, desk)
    for flag, path, data in pages:
        _write(flag, path, data)
    _print(args, desk, result)
    return 0


def _extract(args: argparse.Namespace, desk: _Desk) -> dict[str, int]:
    with progress_of(args) as progress:
        done = extract(desk.bundle, args.extract, progress, desk.contents.base)
        progress.note(in_words(done))
    return {"files": done.files, "left_out": done.left_out, "patches": done.patches, "size": done.size}


def _open(args: argparse.Namespace, older: Looked | None, base: FindBase, now: float) -> _Desk:
    prefix = prefix_of(args)
    looked = open_to_look(args.bundle, args.trust, prefix, older.bundle if older else None)
    contents = Contents(looked.bundle, _elsewhere(prefix, older.bundle if older else None, base), base)
    facts = facts_of(contents, standing_of(looked.bundle, looked.root, looked.policy), now)
    if older is None:
        return _Desk(contents, facts, None)
    with told_plainly(f"--against {args.against}: "):
        before = Contents(older.bundle, _elsewhere(prefix, None, base), base)
        old_facts = facts_of(before, standing_of(older.bundle, older.root, older.policy), now)
    return _Desk(contents, facts, compare(facts, old_facts, looked.bundle, older.bundle))


def _elsewhere(prefix: Prefix, older: UnverifiedBundle | None, base: FindBase) -> Find:
    """Files that do not travel: in the older bundle, else in this box's store."""
    store = store_of(prefix)

    def find(entry: FileEntry) -> bytes | None:
        if older is not None and entry.sha256 in older.objects:
            return read_object(older, entry.sha256, base)
        path = store.path(entry)
        return path.read_bytes() if store.has(entry) else None

    return find


def _refuse_places(args: argparse.Namespace, bundle: UnverifiedBundle) -> None:
    """Before anything is written: a place inside a bundle would spoil it, a place without folder is a slip."""
    if args.extract is not None:
        refuse_destination(args.extract)
    folders = [Path(bundle.source.name).resolve(), args.bundle.resolve()]
    folders += [args.against.resolve()] if args.against is not None else []
    for flag in ("html", "sbom", "extract"):
        place: Path | None = getattr(args, flag)
        if place is None:
            continue
        whole = place.absolute().parent.resolve() / place.name
        if any(folder == whole or _holds(folder, whole) for folder in folders):
            raise UsageError(f"--{flag} {place}: lies in a bundle and would spoil it")
        if not whole.parent.is_dir() or (flag != "extract" and whole.is_dir()):
            raise UsageError(f"--{flag} {place}: is a folder, or would lie in none")


def _holds(folder: Path, place: Path) -> bool:
    return (folder / layout.RELEASE).is_file() and folder in place.parents


def _pages(args: argparse.Namespace, desk: _Desk) -> list[tuple[str, Path, bytes]]:
    """(flag, place, bytes) of every file to write, made before the first is written."""
    pages = []
    if args.sbom is not None:
        bill = desk.contents.read(BILL)
        if bill is None:
            raise MissingPart(
                f"application/{BILL} is neither in the bundle nor on this machine",
                next_step="name the bundle that the box has with --against OLD",
            )
        pages.append(("--sbom", args.sbom, bill))
    if args.html is not None:
        page = page_of(desk.facts, desk.difference, inventory=True)
        pages.append(("--html", args.html, html.draw(page).encode()))
    return pages


def _write(flag: str, path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{flag} {path}: {error.strerror}") from error


def _print(args: argparse.Namespace, desk: _Desk, result: dict[str, Any]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a licence in Chinese on a terminal without
    plain_list = (args.files and desk.difference is None) or args.sha256sum
    if plain_list and not args.json:
        _print_list(args, desk)
        return
    lines = [text.draw(page_of(desk.facts, desk.difference, inventory=desk.difference is None))]
    if desk.difference is not None and args.files:
        lines += ["", "files", *(f"  {line}" for line in listing.changed_files(desk.difference))]
    if desk.facts.standing.verified:
        against = f" --against {args.against}" if desk.facts.bases and args.against is not None else ""
        lines += [
            "",
            f"next: sealift verify {args.bundle}{against}   (this page looks at documents, verify at every byte)",
        ]
    print_result(args, result, "\n".join(lines))


def _print_list(args: argparse.Namespace, desk: _Desk) -> None:
    if not desk.facts.standing.verified and not args.quiet:
        print("  note: NOT VERIFIED: nobody vouches for this list", file=sys.stderr)
    lines = listing.checksums(desk.bundle) if args.sha256sum else listing.allow_list(desk.bundle)
    if sys.stdout.isatty():
        sys.stdout.write(listing.for_screen(lines))
        return
    # Bytes: a name is UTF-8 and a line ends in a line feed, also on Windows.
    sys.stdout.flush()
    sys.stdout.buffer.write(lines.encode())
    sys.stdout.buffer.flush()
