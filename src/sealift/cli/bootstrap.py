"""`sealift _bootstrap`: what a bootstrap file starts once it has unpacked itself; never typed by hand."""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

from sealift import canonical
from sealift.bundle.read import VerifiedBundle, read_bundle, verify, verify_objects
from sealift.cli.opening import told_plainly
from sealift.cli.options import add_prefix, prefix_of
from sealift.cli.refusals import recording_refusals
from sealift.cli.tool_installing import install_tool
from sealift.errors import MalformedBundle, RootNotPinned
from sealift.install.trust import read_policy, root_to_trust
from sealift.store.prefix import TOOL, Prefix
from sealift.store.stamp import require_known_format
from sealift.tool.unpacked import UnpackedTool
from sealift.trust.root import SignedRoot

_PR_SET_PDEATHSIG = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_bootstrap`."""
    parser.add_argument("--unpacked", type=Path, required=True, metavar="DIR")
    parser.add_argument("--file", dest="bundle", type=Path, required=True, help="the file that was run")
    parser.add_argument("--parent", type=int, required=True, help="the shell that waits for this")
    parser.add_argument("--yes", "--no-input", dest="no_input", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("-q", "--quiet", action="store_true")
    parser.set_defaults(dry_run=False, stage=False, retry=False)
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Verify what was unpacked under the root that came along, and install it."""
    # The shell removes the folder that this runs from, also when it is started again after a kill.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != args.parent:
        return 1
    prefix = prefix_of(args)
    require_known_format(prefix)
    with recording_refusals(prefix, "bootstrap", args.bundle, TOOL):
        bundle, offered = _verified(args, prefix)
    if not (args.quiet or args.json):
        print(
            f"  {canonical.short(bundle.identity)} is signed under trust root version {bundle.root.version}, "
            f"fingerprint\n  {bundle.root.fingerprint}",
            file=sys.stderr,
        )
    return install_tool(args, prefix, bundle, offered)


def _verified(args: argparse.Namespace, prefix: Prefix) -> tuple[VerifiedBundle, SignedRoot]:
    """Every signature and every byte, the interpreter's that runs this included.

    Raises: RootNotPinned: no root came along. BundleError, TrustError.
    """
    with told_plainly():
        read = read_bundle(UnpackedTool(args.unpacked, str(args.bundle)))
    if read.release.product != TOOL:
        raise MalformedBundle(f"{args.bundle}: holds {read.release.product}, expected {TOOL}")
    if not read.roots:
        raise RootNotPinned(f"{args.bundle}: no trust root came along, so nobody can vouch for it")
    offered = read.roots[-1]
    bundle = verify(read, root_to_trust(prefix, offered, read), read_policy(prefix))
    with told_plainly():
        verify_objects(read)
    return bundle, offered
