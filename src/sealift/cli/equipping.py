"""What a release needs of the box beside itself: its system packages, and NVIDIA's driver. Asked for, never silent."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from sealift import canonical
from sealift.bundle.read import VerifiedBundle, read_object
from sealift.cli.keeping import tell_to
from sealift.cli.screen import megabytes
from sealift.errors import DigestMismatch, IncompatibleHost, MissingPart, SealiftError, UsageError
from sealift.host import packages as system
from sealift.host.packages import Lacking
from sealift.inspect.visible import counted
from sealift.install.install import Box
from sealift.ledger.record import Event
from sealift.store.files import storing
from sealift.store.objects import store_of
from sealift.store.prefix import Prefix
from sealift.store.prefix import system as system_prefix
from sealift.store.releases import InstalledRelease
from sealift.target.driver import Installer, install_command, installer_in_bundle
from sealift.target.system_packages import FOLDER, LIST, SystemPackages, decode_list, packages_in_bundle

_SHOWN: Final = 20
_SERVICE: Final = "application/service.json"
_NVIDIA: Final = ("cuda", "tensorrt")


def add_equipment(parser: argparse.ArgumentParser) -> None:
    """`--with-packages` and `--with-driver`."""
    parser.add_argument(
        "--with-packages",
        action="store_true",
        help="install the system packages that came with the bundle and that this box lacks (root only)",
    )
    parser.add_argument(
        "--with-driver",
        action="store_true",
        help="where NVIDIA's driver does not do: put the installer that came with the bundle on this box, and say "
        "how to run it",
    )


def equipped(args: argparse.Namespace, bundle: VerifiedBundle, box: Box) -> Box:
    """The box as `install` sees it: what it lacks beside, what helps, and how it is equipped before the check.

    Raises: IncompatibleHost: `--with-driver` has put the installer here, and it is to be run first.
        UsageError: `--with-packages` by somebody who may not. MalformedBundle.
    """
    carried = _carried(box.prefix, bundle)
    missing = system.lacking(carried) if carried is not None else ()
    remedies = []
    driver = installer_in_bundle(bundle)
    problems = box.incompatibilities
    if any(map(_is_about_driver, problems)) and _may_do_without(box.prefix, bundle):
        problems = tuple(problem for problem in problems if not _is_about_driver(problem))
    is_about_driver = [_is_about_driver(problem) for problem in problems]
    if driver is not None and any(is_about_driver):
        remedies.append(_driver_remedy(args, bundle, box, driver))
    if missing and not args.with_packages:
        problems = (*problems, *map(str, missing))
        remedies.append(f"sudo sealift install {shlex.quote(str(args.bundle))} --with-packages")
    if not all(is_about_driver):  # then nothing that came along makes this box fit
        remedies = []
    if missing and args.with_packages:
        _require_root(box.prefix)
    return replace(
        box,
        incompatibilities=problems,
        remedy="; ".join(remedies),
        prepare=_preparing(args, box.prefix),
    )


def equipment_steps(args: argparse.Namespace, bundle: VerifiedBundle, box: Box) -> tuple[str, ...]:
    """What `--dry-run` says of it."""
    carried = _carried(box.prefix, bundle) if args.with_packages else None
    missing = system.lacking(carried) if carried is not None else ()
    if not missing:
        return ()
    size = megabytes(sum(each.package.size for each in missing))
    return (f"install {counted(len(missing), 'system package')} from the bundle ({size}): {_names(missing)}",)


def _carried(prefix: Prefix, bundle: VerifiedBundle) -> SystemPackages | None:
    """The list of packages; None where there is none, or it is still to come in another volume."""
    return packages_in_bundle(bundle, _reader(prefix, bundle))


def _reader(prefix: Prefix, bundle: VerifiedBundle) -> Callable[[str], bytes | None]:
    """An object's bytes from the bundle or from this box; None where they are still to come."""
    store = store_of(prefix)

    def read(sha256: str) -> bytes | None:
        path = None if sha256 in bundle.bundle.objects else store.base(sha256)
        try:
            return path.read_bytes() if path is not None else read_object(bundle.bundle, sha256, store.base)
        except MissingPart:
            return None

    return read


def _is_about_driver(problem: str) -> bool:
    return problem.startswith("NVIDIA driver:")


def _may_do_without(prefix: Prefix, bundle: VerifiedBundle) -> bool:
    """Claims that every model permits another device: then it is degraded, which its check says, not refused."""
    digest = next((entry.sha256 for path, entry in bundle.files() if path == _SERVICE), None)
    data = _reader(prefix, bundle)(digest) if digest is not None else None
    if digest is not None and data is None:
        return True  # still to come in another volume: decided when it is here
    try:
        models = json.loads(data or b"{}").get("models", [])
        return bool(models) and all(_permits_another(model["device"]) for model in models)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False  # the check of the staged release says what is wrong with it


def _permits_another(devices: object) -> bool:
    if not isinstance(devices, list):
        return False
    return any(str(device).partition(":")[0] not in _NVIDIA for device in devices)


def _preparing(args: argparse.Namespace, prefix: Prefix) -> Callable[[InstalledRelease], None]:
    def prepare(staged: InstalledRelease) -> None:
        path = staged.tree / "application" / FOLDER / LIST
        if not path.is_file():
            return
        carried = decode_list(path.read_bytes())
        missing = system.lacking(carried)
        if missing and not args.with_packages:
            raise IncompatibleHost(
                f"{staged.name} {staged.version} needs system packages that this box lacks",
                problems=[str(each) for each in missing],
                next_step=f"sudo sealift install {shlex.quote(str(args.bundle))} --with-packages",
            )
        if missing:
            _require_root(prefix)
            _install(carried, missing, staged, prefix)

    return prepare


def _install(
    carried: SystemPackages, missing: tuple[Lacking, ...], staged: InstalledRelease, prefix: Prefix
) -> None:
    facts = {
        "packages": [str(each.package) for each in missing],
        "product": staged.name,
        "version": staged.version,
    }
    tell = tell_to(prefix)
    try:
        system.install(carried, missing, staged.tree)
    except SealiftError as error:
        tell(Event.PACKAGES, facts | {"outcome": "failed", "why": error.message})
        raise
    tell(Event.PACKAGES, facts | {"outcome": "installed"})


def _require_root(prefix: Prefix) -> None:
    if os.geteuid() != 0 or prefix != system_prefix():
        raise UsageError(
            "--with-packages installs packages of this machine: only root does that, and only for the system's prefix.",
            next_step="sudo sealift install BUNDLE --with-packages (without --prefix)",
        )


def _driver_remedy(args: argparse.Namespace, bundle: VerifiedBundle, box: Box, driver: Installer) -> str:
    again = f"sudo sealift install {shlex.quote(str(args.bundle))}"
    place = box.prefix.state / "driver" / driver.name
    if args.dry_run or not args.with_driver:
        return (
            f"the bundle carries {driver.name} ({megabytes(driver.size)}): `{again} --with-driver` puts it to {place}, "
            f"then `{install_command(place)}`, then `{again}`"
        )
    _put(bundle, box, driver, place)
    tell_to(box.prefix)(
        Event.PACKAGES,
        {
            "outcome": "offered",
            "packages": [driver.name],
            "product": bundle.release.product,
            "version": bundle.release.version,
        },
    )
    return f"{install_command(place)}   then: {again}"


def _put(bundle: VerifiedBundle, box: Box, driver: Installer, place: Path) -> None:
    """Write the installer's verified bytes where only root can change them.

    Raises: DigestMismatch: they are damaged. MissingPart: they are still to come. StoreError, NoSpace.
    """
    store = store_of(box.prefix)
    here = None if driver.sha256 in bundle.bundle.objects else store.base(driver.sha256)
    partial = place.with_name(f".{place.name}.partial")
    try:
        with storing(place):
            place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with partial.open("w+b") as sink:
                if here is None:
                    bundle.copy_object(driver.sha256, sink, store.base)
                else:
                    _copy_whole(here, sink, driver)
                sink.flush()
                os.fsync(sink.fileno())
            partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _copy_whole(source: Path, sink: IO[bytes], driver: Installer) -> None:
    """Copy an object of this box's store, its digest checked. Raises: DigestMismatch."""
    with source.open("rb") as stream:
        shutil.copyfileobj(stream, sink)
        stream.seek(0)
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != driver.sha256:
        raise DigestMismatch(
            f"{driver.name} is damaged here: expected {canonical.short(driver.sha256)}, found {canonical.short(found)}",
            next_step="carry the full bundle",
        )


def _names(missing: tuple[Lacking, ...]) -> str:
    names = [str(each.package) for each in missing]
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
