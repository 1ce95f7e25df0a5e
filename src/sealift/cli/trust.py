"""`sealift trust show|replace|policy`: whom this box believes, and what it asks beyond that."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sealift import canonical
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.refusals import recording_refusals
from sealift.cli.roots import root_facts, root_text
from sealift.cli.screen import print_result
from sealift.errors import RootNotPinned, UsageError
from sealift.install.trust import (
    Audit,
    pinned_or_damaged,
    pinned_root,
    read_policy,
    read_root,
    replace_root,
    write_policy,
)
from sealift.ledger.log import append
from sealift.ledger.record import Event
from sealift.ledger.who import operator
from sealift.store.lock import exclusive
from sealift.store.prefix import Prefix
from sealift.trust.root import Root
from sealift.trust.vouch import Policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `trust`."""
    add_common(
        parser,
        "Show the trust root that this box pinned and what it asks beyond it; or change them. Bundles bring "
        "newer roots of the same chain by themselves. replace is the last resort, when no chain leads on: it "
        "asks for the whole fingerprint from the paper and is written to the box's log.",
        "  sealift trust show\n"
        "  sudo sealift trust policy --officers 1\n"
        "  sudo sealift trust replace root.json\n"
        "  sudo sealift trust replace root.json --fingerprint-file paper.txt      (unattended)",
    )
    parser.add_argument("action", choices=["show", "replace", "policy"])
    parser.add_argument(
        "root", nargs="?", type=Path, metavar="ROOT.json", help="replace: the root from now on"
    )
    parser.add_argument("--officers", type=int, metavar="N", help="policy: ask for N officers' approvals")
    parser.add_argument(
        "--fingerprint-file",
        type=Path,
        metavar="F",
        help="replace: the fingerprint, instead of asking for it",
    )
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `trust`."""
    prefix = prefix_of(args)
    if (args.root is not None) != (args.action == "replace"):
        raise UsageError("trust replace needs ROOT.json, show and policy take none")
    if (args.officers is not None) != (args.action == "policy"):
        raise UsageError("trust policy needs --officers N, show and replace take none")
    if args.action == "show":
        return _show(args, prefix)
    with exclusive(prefix, f"trust {args.action}"):
        if args.action == "policy":
            return _policy(args, prefix, _audit(prefix))
        with recording_refusals(prefix, "trust replace", args.root):
            return _replace(args, prefix, _audit(prefix))


def _audit(prefix: Prefix) -> Audit:
    return lambda facts: append(prefix.ledger, Event.TRUST, facts, who=operator())


def _show(args: argparse.Namespace, prefix: Prefix) -> int:
    root, policy = pinned_root(prefix), read_policy(prefix)
    facts = {"pinned": root_facts(root) if root else None, "policy": {"officers": policy.officers}}
    if root is None:
        text = f"{prefix.root} trusts nobody yet\n  next: sealift install BUNDLE --trust ROOT.json"
    else:
        text = f"{prefix.root} trusts\n{root_text(root)}\n{_asks(root, policy)}"
    print_result(args, facts, text)
    return 0


def _asks(root: Root, policy: Policy) -> str:
    needed = max(root.officer_threshold, policy.officers)
    text = f"  this box     asks for {policy.officers} officer(s); {needed} must approve a bundle"
    if needed > len(root.officers):
        text += f"\n  note: the root names {len(root.officers)}, so no bundle can be installed"
    return text


def _replace(args: argparse.Namespace, prefix: Prefix, audit: Audit) -> int:
    signed = read_root(args.root)
    after, pinned = signed.root, pinned_or_damaged(prefix)
    if pinned is not None and pinned.fingerprint == after.fingerprint:
        print_result(args, {"outcome": "nothing to do"}, "this root is the pinned one; nothing to do")
        return 0
    before = replace_root(prefix, signed, _typed(args, after), audit)
    was = f"version {before.version} {canonical.short(before.fingerprint)}" if before else "nobody"
    text = (
        f"{prefix.root} trusts root version {after.version} {canonical.short(after.fingerprint)} from now on, "
        f"before: {was}\n  what is installed serves on; bundles signed under the other root are refused\n"
        "  next: sealift trust show"
    )
    result = {
        "after": after.fingerprint,
        "before": before.fingerprint if before else None,
        "outcome": "replaced",
    }
    print_result(args, result, text)
    return 0


def _policy(args: argparse.Namespace, prefix: Prefix, audit: Audit) -> int:
    policy, root = Policy(args.officers), pinned_root(prefix)
    write_policy(prefix, policy, audit)
    text = _asks(root, policy) if root else f"  this box     asks for {policy.officers} officer(s)"
    print_result(args, {"policy": {"officers": policy.officers}}, f"{prefix.root}\n{text}")
    return 0


def _typed(args: argparse.Namespace, root: Root) -> str:
    if args.fingerprint_file is not None:
        try:
            return str(args.fingerprint_file.read_text())
        except (OSError, ValueError) as error:
            raise UsageError(f"--fingerprint-file {args.fingerprint_file}: cannot be read") from error
    if args.no_input or not sys.stdin.isatty():
        raise RootNotPinned(
            "the fingerprint of the new root is needed, and nobody can be asked",
            next_step="give --fingerprint-file F, with all 64 digits from the paper",
        )
    print(f"root version {root.version}; everything that this box believes changes with it", file=sys.stderr)
    return input("type its whole fingerprint from the paper: ")
