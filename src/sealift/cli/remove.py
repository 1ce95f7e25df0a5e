"""`sealift remove`: give up an installed release and its space."""

from __future__ import annotations

import argparse

from sealift.cli.keeping import is_served, keeper_of, runs_units
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import megabytes, print_result
from sealift.host import systemd
from sealift.install.recover import recover_prefix
from sealift.install.remove import remove
from sealift.store.lock import exclusive
from sealift.store.prefix import Prefix
from sealift.store.releases import find_release
from sealift.store.reserve import reserve_spent


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `remove`."""
    add_common(
        parser,
        "Give up an installed release: its files and every object that no other release needs. The active one "
        "and the one that a watched release would fall back to stay; the very last one goes when nobody serves "
        "it, and the service with it. Settings and the log are kept.",
        "  sudo sealift remove fraud 2026.10.0\n"
        "  sealift status fraud                 (lists what is installed)",
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("version", metavar="VERSION", help="as `sealift status` shows it")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `remove`."""
    prefix = prefix_of(args)
    with reserve_spent(prefix), exclusive(prefix, "remove"):
        recover_prefix(prefix, lambda name: keeper_of(prefix, name), is_served(prefix))
        release = find_release(prefix, args.name, args.version)
        removed = remove(keeper_of(prefix, args.name), release, is_served(prefix)(args.name))
    said = _forget_units(prefix, args.name) if removed.was_last else ()
    lines = [f"{release.name} {release.version}: removed, {megabytes(removed.size)} free again", *said]
    result = {"name": release.name, "size": removed.size, "version": release.version}
    print_result(
        args, {**result, "was_last": removed.was_last}, "\n".join([*lines, "  next: sealift status"])
    )
    return 0


def _forget_units(prefix: Prefix, name: str) -> tuple[str, ...]:
    if not runs_units(prefix):
        return ()
    return tuple(f"  {sentence}" for sentence in systemd.forget(name))
