"""`sealift audit show`: what was done here; `audit verify`: that nobody changed the record of it."""

from __future__ import annotations

import argparse
import re
from collections import deque
from pathlib import Path
from typing import Any, Final

from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import print_result, table
from sealift.errors import BrokenLedger, UsageError
from sealift.ledger.record import FIRST, Record
from sealift.ledger.verify import Verified, records, verify

LAST: Final = 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `audit`."""
    add_common(
        parser,
        "The log of what was packed, signed, verified, installed, trusted and refused. Each line holds the digest "
        "of the one before: `verify` finds a changed, removed, added or moved line, and with the head from paper "
        "also an end that was cut off. Exit code 43: the log does not verify.",
        "  sealift audit show --last 50\n"
        "  sealift audit verify\n"
        "  sealift audit verify --head 9f31c2a0...   (the 64 digits on the paper)\n"
        "  sealift audit show --keys keys            (the packing side's log)",
    )
    parser.add_argument("action", choices=["show", "verify"])
    parser.add_argument(
        "--last", type=int, default=LAST, metavar="N", help=f"show: so many records (default {LAST}; 0: all)"
    )
    parser.add_argument("--head", metavar="HEX", help="verify: a head that was written down earlier")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--keys", type=Path, metavar="KEYS", help="the log beside the release key in KEYS")
    where.add_argument("--log", type=Path, metavar="FILE", help="a log that was carried here")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `audit`."""
    path = _log_of(args)
    return _show(args, path) if args.action == "show" else _verify(args, path)


def _log_of(args: argparse.Namespace) -> Path:
    if args.log is not None:
        return Path(args.log)
    if args.keys is not None:
        folder = Path(args.keys)
        return (folder if (folder / "release").is_dir() else folder.parent) / "release" / "ledger.jsonl"
    return prefix_of(args).ledger


def _show(args: argparse.Namespace, path: Path) -> int:
    """Every record up to the first bad line, then the refusal if there is one."""
    if args.last < 0:
        raise UsageError(f"--last {args.last}: expected 0 or more")
    shown: deque[Record] = deque(maxlen=args.last or None)
    broken: BrokenLedger | None = None
    last: Record | None = None
    try:
        for last in records(path):
            shown.append(last)
    except BrokenLedger as error:
        broken = error
    count, head = (last.number, last.digest) if last else (0, FIRST)
    result: dict[str, Any] = {
        "count": count,
        "head": head,
        "intact": broken is None,
        "log": str(path),
        "records": [{**record.to_json(), "digest": record.digest} for record in shown],
    }
    print_result(args, result, _shown(path, shown, count, head, broken))
    if broken is not None:
        raise broken
    return 0


def _shown(path: Path, shown: deque[Record], count: int, head: str, broken: BrokenLedger | None) -> str:
    state = "NOT INTACT after these" if broken else "intact"
    lines = [f"{path}: {count} records, {state}"]
    rows = [
        (f"  {record.number}", record.time, plain(record.who), record.event, _facts(record))
        for record in shown
    ]
    if rows:
        lines.append(table(rows, right=(0,)))
    if not broken:
        lines.append(f"  head, for paper: {head}")
    return "\n".join(lines)


def _facts(record: Record) -> str:
    return "  ".join(f"{plain(name)}={_fact(value)}" for name, value in record.facts.items())


def _fact(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_fact(item) for item in value)}]"
    return str(value).lower() if isinstance(value, bool) else plain(str(value))


def plain(text: str) -> str:
    """Text with nothing in it that a terminal would act on: a log repeats what refused bundles said."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _verify(args: argparse.Namespace, path: Path) -> int:
    verified = verify(path, _head(args.head))
    result = {
        "count": verified.count,
        "head": verified.head,
        "intact": True,
        "log": str(path),
        "paper": verified.paper,
        "torn": verified.torn,
    }
    print_result(args, result, _verified(path, verified))
    return 0


def _head(text: str | None) -> str | None:
    """64 digits as people copy them: in groups, in capitals, with `sha256:` in front."""
    if text is None:
        return None
    digits = re.sub(r"^sha256:|[\s-]", "", text.strip().lower())
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise UsageError(
            f"--head: expected the 64 digits 0-9 and a-f from the paper, got {len(digits)} characters",
            next_step="sealift audit verify prints the head of now; compare with what the paper says",
        )
    return digits


def _verified(path: Path, verified: Verified) -> str:
    lines = [f"INTACT {path}: {verified.count} records join"]
    if verified.torn:
        lines.append(f"  {verified.torn} torn by a power cut, set aside and recorded")
    if verified.paper is None:
        lines.append(
            "  without --head, an end that was cut off is not seen: give the figure from the last paper"
        )
    else:
        since = verified.count - verified.paper
        lines.append(f"  the head on the paper is that of record {verified.paper}; {since} were added since")
    return "\n".join([*lines, f"  head, for paper: {verified.head}"])
