"""`sealift verify`: every signature and every byte of a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.bundle.read import VerifiedBundle, verify_objects
from sealift.cli.opening import open_for_install, told_plainly
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.refusals import record, recording_refusals
from sealift.cli.screen import print_result, progress_of
from sealift.ledger.record import Event


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `verify`."""
    add_common(
        parser,
        "Check every signature and every byte of a bundle, as install would, without installing it. On a box the "
        "pinned root judges; elsewhere name one.",
        "  sealift verify /media/usb --trust root.json\n"
        "  sealift verify /media/usb      (with the root this box pinned)",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--trust", type=Path, metavar="ROOT.json", help="the root, where none is pinned")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `verify`."""
    prefix = prefix_of(args)
    with recording_refusals(prefix, "verify", args.bundle):
        verified, _ = open_for_install(args.bundle, args.trust, prefix)
        objects = verified.bundle.objects
        with told_plainly(), progress_of(args) as progress:
            progress.start("check objects", sum(stored.size for stored in objects.values()))
            verify_objects(verified.bundle, progress.advance)
    record(prefix, Event.VERIFY, {"bundle": str(args.bundle), "identity": verified.identity})
    print_result(args, _result(verified), _text(verified))
    return 0


def _result(verified: VerifiedBundle) -> dict[str, Any]:
    release = verified.release
    absent = verified.bundle.absent
    return {
        "absent": {"objects": len(absent), "size": sum(absent.values())},
        "approvers": list(verified.vouched.officers),
        "identity": verified.identity,
        "name": release.product,
        "objects": len(verified.bundle.objects),
        "root": {"fingerprint": verified.root.fingerprint, "version": verified.root.version},
        "seq": release.seq,
        "signers": list(verified.signers),
        "version": release.version,
    }


def _text(verified: VerifiedBundle) -> str:
    release, root, absent = verified.release, verified.root, verified.bundle.absent
    officers = verified.vouched.officers
    text = (
        f"VERIFIED {release.product} {release.version} {canonical.short(verified.identity)}: "
        f"{len(verified.bundle.objects)} objects, signed by {_short(verified.signers)}"
        + (f", approved by {_short(officers)}" if officers else "")
        + f", under root {canonical.short(root.fingerprint)} version {root.version}"
    )
    if absent:
        text += (
            f"\n  {len(absent)} objects, {sum(absent.values()) / 1e6:.1f} MB, do not travel: "
            "the box must have them from an earlier release"
        )
    return text


def _short(keys: Sequence[str]) -> str:
    return ", ".join(canonical.short(key) for key in keys)
