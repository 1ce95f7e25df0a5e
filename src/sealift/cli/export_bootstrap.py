"""`sealift export bootstrap`: sealift itself, for a box that has nothing, or as an update for one that has it."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sealift import __version__, canonical
from sealift.bundle import layout
from sealift.bundle.read import read_bundle, verify
from sealift.bundle.source import Folder
from sealift.bundle.write import Endorse, Uncompressed
from sealift.cli.options import add_common, add_passphrase
from sealift.cli.screen import megabytes, print_result, progress_of
from sealift.cli.signing import Signing, signing_of
from sealift.cli.tool_making import ToolWish, make_tool, target_of
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.pack.pack import Packed, Parts, pack
from sealift.store.prefix import TOOL
from sealift.tool.make import OLDEST, require_may_sign
from sealift.tool.runfile import SUFFIX, RunFacts, RunFile, write_run
from sealift.trust.root import decode_root
from sealift.trust.vouch import Policy


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `export bootstrap`."""
    add_common(
        parser,
        "Write sealift itself with an interpreter, signed: FILE.run installs it on a box that has neither Python nor "
        "a network (`sh FILE.run`); FILE.sealift is the same release as an update for a box that has it already "
        "(`sealift install FILE.sealift`). The release key must be permitted to sign the product `sealift`.",
        f"  sealift export bootstrap -o sealift-{__version__}.run --keys keys\n"
        f"  sealift export bootstrap -o sealift-{__version__}.run --keys keys --target debian-12\n"
        f"  sealift export bootstrap -o sealift-{__version__}.sealift --keys keys      (an update)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="ends in .run or in .sealift"
    )
    parser.add_argument(
        "--keys", type=Path, required=True, metavar="KEYS", help="what `sealift keys init` wrote"
    )
    parser.add_argument(
        "--root", type=Path, metavar="ROOT.json", help="the trust root that it brings (default: that of KEYS)"
    )
    _add_target(parser)
    parser.add_argument(
        "--find-links", action="append", default=[], metavar="DIR", help="a folder with more wheels"
    )
    parser.add_argument("--no-index", action="store_true", help="take wheels from --find-links only")
    add_passphrase(parser)
    parser.set_defaults(unsigned=False)


def _add_target(parser: argparse.ArgumentParser) -> None:
    box = parser.add_argument_group("the box (default: one like this machine)")
    box.add_argument("--target", metavar="PRESET", help="a system, as [target] preset names it: debian-12")
    box.add_argument("--platform", help="linux-x86_64 or linux-aarch64")
    box.add_argument("--glibc", metavar="X.Y", help="its C library")
    box.add_argument("--python", metavar="X.Y", help="the interpreter to carry (default: this one's)")
    box.add_argument(
        "--interpreter-archive",
        metavar="FILE",
        help="as [target] interpreter_archive; without it the CPython of this machine is made relocatable",
    )
    box.add_argument("--interpreter-sha256", metavar="HEX", help="of that archive")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written; `run` is None for an update bundle."""

    packed: Packed
    path: Path
    size: int
    sha256: str
    notes: tuple[str, ...]


def run(args: argparse.Namespace) -> int:
    """Run `export bootstrap`."""
    if args.output.suffix not in (SUFFIX, layout.SUFFIX):
        raise UsageError(
            f"-o {args.output}: expected a name that ends in {SUFFIX} (for a box without sealift) or in "
            f"{layout.SUFFIX} (an update)"
        )
    with progress_of(args) as progress:
        exported = export(args, wish_of(args), progress)
    print_result(args, _result(exported), _text(exported))
    return 0


def wish_of(args: argparse.Namespace) -> ToolWish:
    """What the command line says of the box."""
    return ToolWish(
        preset=args.target,
        platform=args.platform,
        glibc=args.glibc,
        python=args.python,
        interpreter_archive=args.interpreter_archive,
        interpreter_sha256=args.interpreter_sha256,
        find_links=tuple(args.find_links),
        no_index=args.no_index,
    )


def export(args: argparse.Namespace, wish: ToolWish, progress: Progress) -> Exported:
    """Make, sign and write it; also for a door that writes a whole medium.

    Args:
        args: `output`, `keys`, `root` and what a passphrase takes (`cli.options.add_passphrase`).
    Raises: UsageError: the target, the interpreter or the keys will not do. TrustError: no box would take it.
    """
    signing = _signing(args)
    target = target_of(wish)
    with tempfile.TemporaryDirectory(prefix="sealift-tool-") as workspace:
        place = Path(workspace)
        made = make_tool(wish, target, place / "tree", progress)
        is_run = args.output.suffix == SUFFIX
        parts = Parts(
            product=TOOL,
            version=made.version,
            tree=place / "tree",
            target=made.target.to_json(),
            checks={},
            provenance={"packer": f"sealift {__version__}", "python": made.python},
            bill=made.bill,
            min_sealift=OLDEST,
            travel=Uncompressed() if is_run else None,
        )
        endorse = Endorse(signing.sign, signing.roots)
        destination = place / "bundle" if is_run else args.output
        packed = pack(parts, destination, endorse, signing.sequence_for(TOOL), progress)
        written = _run_file(args.output, packed, parts, signing, progress) if is_run else None
    signing.record(packed if written is None else replace(packed, path=written.path))
    size, sha256 = (written.size, written.sha256) if written else _measured(args.output)
    return Exported(packed, args.output, size, sha256, (*signing.notes, *made.notes))


def _signing(args: argparse.Namespace) -> Signing:
    signing = signing_of(args)
    if args.root is not None:
        try:
            signing = replace(signing, roots=(decode_root(args.root.read_bytes(), str(args.root)),))
        except OSError as error:
            raise UsageError(f"--root {args.root}: {error.strerror}") from error
    assert signing.key is not None  # noqa: S101 - never --unsigned here
    require_may_sign(signing.roots[-1].root, signing.key.public.key_id)
    return signing


def _run_file(output: Path, packed: Packed, parts: Parts, signing: Signing, progress: Progress) -> RunFile:
    """Only what a box would take under the root that it carries."""
    bundle = read_bundle(Folder(packed.path))
    verify(bundle, signing.roots[-1].root, Policy())
    progress.start("write the bootstrap file")
    target = parts.target
    facts = RunFacts(
        version=parts.version,
        platform=target["platform"],
        glibc=target["glibc"],
        python=target["python"],
        identity=packed.release.identity,
        fingerprint=signing.roots[-1].root.fingerprint,
    )
    return write_run(output, bundle.source, parts.tree, facts)


def _measured(path: Path) -> tuple[int, str]:
    from sealift.collect.wheel import sha256_of

    return path.stat().st_size, sha256_of(path)


def _result(exported: Exported) -> dict[str, Any]:
    release = exported.packed.release
    return {
        "glibc": release.target["glibc"],
        "identity": release.identity,
        "name": release.product,
        "notes": list(exported.notes),
        "path": str(exported.path),
        "platform": release.target["platform"],
        "seq": release.seq,
        "sha256": exported.sha256,
        "size": exported.size,
        "unpacked_size": release.total_size,
        "version": release.version,
    }


def _text(exported: Exported) -> str:
    release = exported.packed.release
    target = release.target
    lines = [
        f"exported {TOOL} {release.version} {canonical.short(release.identity)} (sequence {release.seq}) for "
        f"{target['platform']}, glibc {target['glibc']} or newer",
        *(f"  note: {note}" for note in exported.notes),
        f"  {exported.path}, {megabytes(exported.size)} ({megabytes(release.total_size)} on the box)",
        f"  sha256 {exported.sha256}",
    ]
    if exported.path.suffix == SUFFIX:
        lines.append(
            "  write that sum on the carry sheet: the box's own sha256sum is to print it before it is run"
        )
        lines.append(f"  next: carry it, then on the box: sudo sh {exported.path.name}")
    else:
        lines.append(f"  next: carry it, then on the box: sudo sealift install {exported.path.name}")
    return "\n".join(lines)
