"""`sealift export oci`: a verified bundle -> an OCI image layout, without daemon and network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import megabytes, print_result, progress_of
from sealift.errors import IncompatibleHost, MissingPart

if TYPE_CHECKING:
    from sealift.bundle.read import VerifiedBundle
    from sealift.scale.oci.export import Below, Exported


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `export oci`."""
    add_common(
        parser,
        "Verify a full bundle and write it as an OCI image: a layout folder, or one file if -o ends in .tar. The same "
        "bundle gives the same bytes; a new model changes only the last layers. Needs neither a daemon nor a network.",
        "  sealift export oci fraud-1.0.sealift -o fraud.tar --trust root.json   then: podman load -i fraud.tar\n"
        "  sealift export oci fraud-1.0.sealift -o images/ --trust root.json --base hardened/",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR|FILE.tar")
    parser.add_argument("--trust", type=Path, metavar="ROOT.json", help="the root, where none is pinned")
    parser.add_argument(
        "--base",
        metavar="LAYOUT|none",
        help="an OCI layout folder whose image lies below, or none (default: this machine's C library)",
    )
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `export oci`."""
    from sealift.cli.opening import told_plainly
    from sealift.scale.oci.export import require_exportable, room_needed, write_export
    from sealift.scale.oci.layout import new_layout, refuse_place, require_room

    refuse_place(args.output)
    bundle = _open(args)
    below = _below(args, bundle)
    interpreter = require_exportable(bundle, below)
    require_room(args.output, room_needed(bundle, below))
    with told_plainly(), progress_of(args) as progress:
        licences = _licences(bundle)
        with new_layout(args.output) as layout:
            done = write_export(bundle, below, interpreter, licences, layout, progress)
    print_result(args, _result(args, bundle, done), _text(args, bundle, done))
    return 0


def _open(args: argparse.Namespace) -> VerifiedBundle:
    """The bundle, verified and whole. Raises: UsageError, BundleError, TrustError."""
    from sealift.bundle.read import NEXT_STEP
    from sealift.cli.opening import open_for_install
    from sealift.scale.oci.export import require_whole

    try:
        bundle, _ = open_for_install(args.bundle, args.trust, prefix_of(args))
    except MissingPart as error:
        if error.next_step != NEXT_STEP:  # a volume or an object: what is missing says where it is
            raise
        raise MissingPart(
            error.message,
            next_step="export the full bundle: an image needs every file of the release",
            problems=error.problems,
        ) from error
    require_whole(bundle)
    return bundle


def _below(args: argparse.Namespace, bundle: VerifiedBundle) -> Below:
    """What lies below the release."""
    from sealift.scale.oci.base import read_base
    from sealift.scale.oci.image import ARCHITECTURES
    from sealift.target.target import Target

    target = Target.from_json(bundle.release.target)
    if args.base == "none":
        return None
    if args.base is not None:
        return read_base(Path(args.base), ARCHITECTURES[target.machine], target.machine)
    return _own_library(target.platform, target.machine)


def _own_library(platform: str, machine: str) -> Below:
    from sealift.scale.oci.machine import NEXT_STEP, Machine, c_library, loaded_libc
    from sealift.target.host import read_host

    host, libc = read_host(), loaded_libc()
    if host.platform != platform:
        raise IncompatibleHost(
            f"the release is for {platform}, and the C library of this machine is for {host.platform}",
            next_step=NEXT_STEP,
        )
    if libc is None:
        raise IncompatibleHost("the C library of this machine is not glibc", next_step=NEXT_STEP)
    return c_library(Machine(libc, machine))


def _licences(bundle: VerifiedBundle) -> str:
    """Of all that the bill of materials lists; empty where it lists nothing."""
    from sealift.inspect.bill import BILL, NOT_STATED, read_bill
    from sealift.inspect.contents import Contents
    from sealift.inspect.node import parse
    from sealift.scale.oci.export import spdx

    data = Contents(bundle.bundle).read(BILL)
    if data is None:
        return ""
    bill = read_bill(parse(data, f"application/{BILL}"))
    found = [package.licence for package in bill.packages] + list(bill.model_licences.values())
    return spdx([licence for licence in found if licence != NOT_STATED])


def _result(args: argparse.Namespace, bundle: VerifiedBundle, done: Exported) -> dict[str, Any]:
    return {
        "identity": bundle.identity,
        "image": done.image["digest"],
        "layers": [
            {"about": layer.about, "digest": layer.descriptor["digest"], "size": layer.descriptor["size"]}
            for layer in done.layers
        ],
        "model": None if done.model is None else done.model["digest"],
        "name": done.name,
        "output": str(args.output),
    }


def _text(args: argparse.Namespace, bundle: VerifiedBundle, done: Exported) -> str:
    from sealift.scale.oci.export import system_packages

    size = sum(layer.descriptor["size"] for layer in done.layers)
    lines = [f"wrote {done.name} to {args.output}: image {done.image['digest']}, {megabytes(size)}"]
    lines += [
        f"  {megabytes(layer.descriptor['size']):>10}  {layer.descriptor['digest'][:19]}  {layer.about}"
        for layer in done.layers
    ]
    if done.model is not None:
        lines.append(f"  its model alone, as ModelPack artifact: {done.model['digest']}")
    packages = system_packages(bundle)
    if packages:
        lines.append(f"  note: the base must have {', '.join(packages)}, which the release carries for boxes")
    if args.base == "none":
        lines.append("  note: nothing lies below it, so it does not run by itself")
    is_file = args.output.suffix == ".tar"
    load = (
        f"podman load -i {args.output}" if is_file else f"skopeo copy --all oci:{args.output}:{done.name} ..."
    )
    return "\n".join([*lines, f"  next: {load}"])
