"""Flags that several verbs share, and how they become values."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from sealift.errors import UsageError
from sealift.store.prefix import Prefix, choose

ENVIRONMENT = "environment: SEALIFT_PREFIX names the prefix, NO_COLOR turns colours off"


def add_common(parser: argparse.ArgumentParser, description: str, examples: str) -> None:
    """`--json -q --no-input`, the description and the examples."""
    parser.description = description
    parser.epilog = f"examples:\n{examples.rstrip()}"
    parser.add_argument("--json", action="store_true", help="print the result as JSON (schema 1) on stdout")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, no messages but errors")
    parser.add_argument("--no-input", action="store_true", help="never ask; fail where a question would be")


def add_prefix(parser: argparse.ArgumentParser) -> None:
    """`--prefix P`."""
    parser.add_argument(
        "--prefix",
        type=Path,
        metavar="P",
        help="where sealift lives on this box (default: $SEALIFT_PREFIX, else /opt/sealift)",
    )


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """`--passphrase-file F`; a passphrase is never a flag's value."""
    parser.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="F",
        help="first line is the passphrase; without it you are asked (/dev/fd/N for a descriptor)",
    )


def prefix_of(args: argparse.Namespace) -> Prefix:
    """The prefix chosen by flag, environment or default."""
    return choose(args.prefix)


def passphrase_of(args: argparse.Namespace, *, new: bool = False) -> bytes:
    """The passphrase from a file or the terminal.

    Raises: UsageError: no file and nobody to ask; an empty or (when `new`) too short one; a mistyped repeat.
    """
    if args.passphrase_file is not None:
        phrase = _first_line(args.passphrase_file)
    elif args.no_input or not sys.stdin.isatty():
        raise UsageError(
            "a passphrase is needed and nobody can be asked", next_step="give --passphrase-file F"
        )
    else:
        phrase = getpass.getpass("passphrase: ").encode()
        if new and getpass.getpass("again: ").encode() != phrase:
            raise UsageError("the two passphrases differ")
    if new and len(phrase) < 8:
        raise UsageError("the passphrase has fewer than 8 characters")
    return phrase


def _first_line(path: Path) -> bytes:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path}: cannot read the passphrase: {error.strerror}") from error
    if not lines or not lines[0]:
        raise UsageError(f"{path}: its first line, the passphrase, is empty")
    return lines[0]


def source_date_epoch() -> int | None:
    """SOURCE_DATE_EPOCH in seconds, or None. Raises: UsageError: not a whole number."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isdigit():
        raise UsageError(f"SOURCE_DATE_EPOCH is {text!r}, expected whole seconds")
    return int(text)
