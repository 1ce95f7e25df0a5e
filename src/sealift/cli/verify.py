"""`sealift verify`: every signature and every byte of a bundle."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.bundle.read import UnverifiedBundle, verify_objects
from sealift.bundle.transport import bases_json
from sealift.bundle.volume_sets import check_pieces
from sealift.cli.opening import Judged, bases_at_hand, open_to_look, open_to_verify, told_plainly
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.refusals import record, recording_refusals
from sealift.cli.screen import print_result, progress_of
from sealift.ledger.record import Event


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `verify`."""
    add_common(
        parser,
        "Check every signature and every byte of a bundle, as install would, without installing it. On a box the "
        "pinned root judges; elsewhere name one. What the patches of a delta decode to is checked where their base "
        "is at hand: on a box that has it, or with --against.",
        "  sealift verify /media/usb --trust root.json\n"
        "  sealift verify /media/usb      (with the root this box pinned)\n"
        "  sealift verify fraud-1.1-from-1.0.sealift --trust root.json --against fraud-1.0.sealift",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--trust", type=Path, metavar="ROOT.json", help="the root, where none is pinned")
    parser.add_argument(
        "--against", type=Path, metavar="OLD", help="the full bundle that a delta was made from"
    )
    add_prefix(parser)


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was judged, and the patches whose base is not here."""

    judged: Judged
    undecoded: tuple[str, ...]

    @property
    def bundle(self) -> UnverifiedBundle:
        return self.judged.bundle

    @property
    def whole(self) -> bool:
        """True where nothing was left to a machine that has more."""
        return not (self.undecoded or self.bundle.lacking)


def run(args: argparse.Namespace) -> int:
    """Run `verify`."""
    prefix = prefix_of(args)
    with recording_refusals(prefix, "verify", args.bundle):
        older = None
        if args.against is not None:
            with told_plainly(f"--against {args.against}: "):
                older = open_to_look(args.against, args.trust, prefix).bundle
        judged = open_to_verify(args.bundle, args.trust, prefix, older)
        objects = judged.bundle.objects
        with told_plainly(), progress_of(args) as progress, bases_at_hand(prefix, older) as base:
            check_pieces(judged.bundle.source, progress)
            progress.start("check objects", sum(stored.size for stored in objects.values()))
            checked = _Checked(judged, verify_objects(judged.bundle, progress.advance, base))
    record(prefix, Event.VERIFY, {"bundle": str(args.bundle), "identity": judged.bundle.identity})
    print_result(args, _result(checked), _text(args, checked))
    return 0


def _result(checked: _Checked) -> dict[str, Any]:
    bundle, vouched, root = checked.bundle, checked.judged.vouched, checked.judged.root
    absent, undecoded = bundle.absent, checked.undecoded
    return {
        "absent": None if bundle.lacking else {"objects": len(absent), "size": sum(absent.values())},
        "approvers": list(vouched.officers),
        "bases": bases_json(bundle.bases),
        "complete": checked.whole,
        "identity": bundle.identity,
        "name": bundle.release.product,
        "objects": len(bundle.objects),
        "root": {"fingerprint": root.fingerprint, "version": root.version},
        "seq": bundle.release.seq,
        "signers": list(vouched.release_keys),
        "undecoded": {
            "objects": len(undecoded),
            "size": sum(bundle.objects[sha256].size for sha256 in undecoded),
        },
        "unknown_layers": sorted(bundle.lacking),
        "version": bundle.release.version,
    }


def _text(args: argparse.Namespace, checked: _Checked) -> str:
    bundle, root, officers = checked.bundle, checked.judged.root, checked.judged.vouched.officers
    release, absent = bundle.release, bundle.absent
    lines = [
        f"{'VERIFIED' if checked.whole else 'VERIFIED IN PART'} {release.product} {release.version} "
        f"{canonical.short(bundle.identity)}: {len(bundle.objects)} objects, signed by "
        + _short(checked.judged.vouched.release_keys)
        + (f", approved by {_short(officers)}" if officers else "")
        + f", under root {canonical.short(root.fingerprint)} version {root.version}"
    ]
    if bundle.bases:
        lines.append(f"  a delta, {bundle.made_for}")
    if absent and not bundle.lacking:
        lines.append(
            f"  {len(absent)} objects, {sum(absent.values()) / 1e6:.1f} MB, do not travel: "
            "the box must have them from an earlier release"
        )
    return "\n".join([*lines, *_left_to_the_box(args, checked)])


def _left_to_the_box(args: argparse.Namespace, checked: _Checked) -> list[str]:
    bundle, lines = checked.bundle, []
    if checked.undecoded:
        lines.append(
            f"  NOT CHECKED: what {len(checked.undecoded)} of its {len(bundle.objects)} objects decode to; they are "
            "patches, and what they were made from is not here. Their stored bytes are those that were signed"
        )
    if bundle.lacking:
        lines.append(
            f"  NOT CHECKED: the files of {', '.join(sorted(bundle.lacking))}; the list of them does not travel "
            "and is not here"
        )
    if lines:
        lines.append(
            f"  next: sealift verify {args.bundle} --against OLD   (the full bundle of a base), or on the box"
        )
    return lines


def _short(keys: Sequence[str]) -> str:
    return ", ".join(canonical.short(key) for key in keys)
