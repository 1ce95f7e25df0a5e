"""`sealift export oci`: a verified bundle -> an OCI image layout, without daemon and network."""

from __future__ import annotations

import argparse
from pathlib import Path

from sealift.cli.options import add_common, add_prefix


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `export oci`."""
    add_common(
        parser,
        "Verify a full bundle and write it as an OCI image: a layout folder, or one file if -o ends in .tar. The same "
        "bundle gives the same bytes; a new model changes the last layers only. Needs neither a daemon nor a network.",
        "  sealift export oci fraud-1.0.sealift -o fraud.tar --trust root.json\n"
        "  sealift export oci fraud-1.0.sealift -o images/ --trust root.json --base hardened-base/",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR|FILE.tar")
    parser.add_argument("--trust", type=Path, metavar="ROOT.json", help="the root, where none is pinned")
    parser.add_argument(
        "--base",
        metavar="LAYOUT|none",
        help="an OCI layout folder whose layers lie below, or none (default: the C library of this machine)",
    )
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `export oci`."""
    raise NotImplementedError
