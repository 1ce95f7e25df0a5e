"""`sealift keys init DIR`: a trust root and a release key; `keys show`: who they are."""

from __future__ import annotations

import argparse
from pathlib import Path

from sealift import canonical
from sealift.cli.options import add_common, add_passphrase, passphrase_of
from sealift.cli.screen import print_result
from sealift.errors import UsageError
from sealift.seal import keyfile
from sealift.trust.keys import PublicKey
from sealift.trust.root import Root, SignedRoot, decode_root


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `keys`."""
    add_common(
        parser,
        "Make the keys that sign bundles. DIR/root/ is to be kept offline; DIR/root.json goes to every box.",
        "  sealift keys init keys --passphrase-file /run/secrets/phrase\n"
        "  sealift keys init keys --product 'fraud*'\n"
        "  sealift keys show keys",
    )
    parser.add_argument("action", choices=["init", "show"])
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument(
        "--product",
        action="append",
        metavar="PATTERN",
        help="products the release key may sign (default: every one); may be repeated",
    )
    add_passphrase(parser)


def run(args: argparse.Namespace) -> int:
    """Run `keys`."""
    if args.action == "init":
        signed = _init(args)
        next_step = (
            f"\nkeep {args.directory}/root/ offline; give {args.directory}/root.json to every box,"
            f" and its fingerprint on paper\n  next: sealift pack PROJECT -o PLACE --keys {args.directory}"
        )
    else:
        signed, next_step = _read(args.directory), ""
    root = signed.root
    result = {
        "fingerprint": root.fingerprint,
        "release_keys": {key_id: list(patterns) for key_id, patterns in root.release_keys.items()},
        "root_keys": list(root.root_keys),
        "version": root.version,
    }
    print_result(args, result, _text(root) + next_step)
    return 0


def _init(args: argparse.Namespace) -> SignedRoot:
    directory: Path = args.directory
    taken = [name for name in ("root", "release", "root.json") if (directory / name).exists()]
    if taken:
        raise UsageError(f"{directory} already holds {', '.join(taken)}; keys are never overwritten")
    passphrase = passphrase_of(args, new=True)
    root_key, release_key = keyfile.generate(), keyfile.generate()
    patterns = tuple(sorted(set(args.product or ["*"])))
    root = _first_root(root_key.public, release_key.public, patterns)
    signed = SignedRoot(root, (root_key.sign(root.message()),))
    for name, key in (("root", root_key), ("release", release_key)):
        (directory / name).mkdir(parents=True, mode=0o700)
        keyfile.save(key, directory / name / "key.pem", passphrase)
    (directory / "root.json").write_bytes(signed.encode())
    return signed


def _first_root(root: PublicKey, release: PublicKey, patterns: tuple[str, ...]) -> Root:
    return Root(
        version=1,
        keys={root.key_id: root, release.key_id: release},
        root_keys=(root.key_id,),
        root_threshold=1,
        release_keys={release.key_id: patterns},
        release_threshold=1,
    )


def _read(directory: Path) -> SignedRoot:
    path = directory / "root.json"
    try:
        return decode_root(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", next_step=f"sealift keys init {directory}") from error


def _text(root: Root) -> str:
    lines = [f"root version {root.version}", f"  fingerprint  {root.fingerprint}"]
    lines += [f"  root key     {canonical.short(key_id)}" for key_id in root.root_keys]
    lines += [
        f"  release key  {canonical.short(key_id)}  may sign {', '.join(patterns)}"
        for key_id, patterns in root.release_keys.items()
    ]
    return "\n".join(lines)
