"""`sealift verify`: every signature and every byte of a bundle."""

from __future__ import annotations

import argparse
from pathlib import Path

from sealift import canonical
from sealift.bundle.read import verify_objects
from sealift.cli.opening import open_for_install
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import print_result


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `verify`."""
    add_common(
        parser,
        "Check every signature and every byte of a bundle, without installing it.",
        "  sealift verify /media/usb --trust root.json\n"
        "  sealift verify /media/usb      (with the root this box pinned)",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--trust", type=Path, metavar="ROOT.json")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `verify`."""
    bundle, _ = open_for_install(args.bundle, args.trust, prefix_of(args))
    verify_objects(bundle)
    release = bundle.release
    signers = [canonical.short(key) for key in bundle.signers]
    text = (
        f"VERIFIED {release.product} {release.version} {canonical.short(bundle.identity)}: "
        f"{len(bundle.bundle.objects)} objects, signed by {', '.join(signers)}"
    )
    result = {"identity": bundle.identity, "name": release.product, "signers": list(bundle.signers)}
    print_result(args, {**result, "version": release.version}, text)
    return 0
