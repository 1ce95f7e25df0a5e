"""Taking a bundle in volumes, one medium at a time: what is here comes in, the rest is asked for by name."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sealift.bundle.documents import FileEntry
from sealift.bundle.layout import SUFFIX
from sealift.bundle.read import VerifiedBundle
from sealift.bundle.source import reading
from sealift.bundle.volume_sets import look, volumes_in
from sealift.bundle.volumes import Volume, Volumes, check_piece, file_name
from sealift.cli.opening import judge, told_plainly
from sealift.cli.options import prefix_of
from sealift.cli.screen import progress_of
from sealift.errors import BundleError, MissingPart, SealiftError, TrustError
from sealift.events import Progress
from sealift.install.install import Box, plan
from sealift.store.lock import exclusive
from sealift.store.objects import require_space
from sealift.store.prefix import Prefix
from sealift.store.receiving import (
    begin_receiving,
    end_receiving,
    read_receiving,
    take_volumes,
    waiting_bytes,
    wanted_volumes,
)
from sealift.trust.root import SignedRoot

Ask = Callable[[str], str]


def received(
    args: argparse.Namespace,
    bundle: VerifiedBundle,
    offered: SignedRoot | None,
    box: Box,
    ask: Ask = input,
) -> VerifiedBundle:
    """The bundle with every object on this box; at once where it does not come in volumes.

    What a medium holds goes straight into the store. On a terminal the next one is asked for; the lock is not
    held meanwhile.

    Raises: MissingPart: names the volumes that are still to come; what came in stays. DigestMismatch, BundleError:
        names the files that are damaged. StoreError: volumes of another bundle are coming in. As `plan`.
    """
    volumes = bundle.bundle.source
    if args.forget:
        with exclusive(box.prefix, "install"):
            end_receiving(box.prefix)
    if not isinstance(volumes, Volumes):
        return bundle
    with exclusive(box.prefix, "install"):
        planned = plan(bundle, for_planning(box, bundle), retry=args.retry)
        if planned.is_active:
            return bundle
        missing = planned.missing.entries
        require_space(
            box.prefix, planned.missing.size + waiting_bytes(bundle, volumes, missing), len(missing)
        )
        begin_receiving(box.prefix, bundle, volumes)
    coming = _Coming(args, bundle, offered, volumes, missing)
    _bring_all(coming, box.prefix, ask)
    return replace(bundle, bundle=replace(bundle.bundle, objects={}))


def for_planning(box: Box, bundle: VerifiedBundle) -> Box:
    """The box without a look at the settings, where what they are held against may lie in another volume."""
    source = bundle.bundle.source
    if isinstance(source, Volumes) and source.missing:
        return replace(box, require_settings=lambda _: None)
    return box


@dataclass(slots=True)
class _Coming:
    """What is still to come; `missing` shrinks."""

    args: argparse.Namespace
    bundle: VerifiedBundle
    offered: SignedRoot | None
    volumes: Volumes
    missing: Sequence[FileEntry]

    @property
    def folder(self) -> Path:
        """Where media are looked for."""
        place: Path = self.args.bundle
        return place.parent if place.is_file() or place.suffix == SUFFIX else place

    @property
    def named(self) -> str:
        """`fraud 1.0`."""
        return f"{self.bundle.release.product} {self.bundle.release.version}"

    def files(self, numbers: Sequence[int]) -> list[str]:
        """What these volumes are called."""
        known = next(iter(self.volumes.volumes.values()))
        return [f"volume {number}: {file_name(known, number)}" for number in numbers]


def _bring_all(coming: _Coming, prefix: Prefix, ask: Ask) -> None:
    wanted = _wanted(coming, prefix)
    while wanted:
        errors: list[SealiftError] = []
        with progress_of(coming.args) as progress:
            try:
                errors = _take_here(coming, prefix, wanted, progress)
            except (BundleError, TrustError) as error:  # pulled in the middle: what came in before stays
                errors = [error]
            wanted = _wanted(coming, prefix)
            for found in errors if wanted and _can_ask(coming.args) else ():
                progress.note(found.message)
        if wanted and not _can_ask(coming.args):
            raise _refusal(coming, wanted, errors)
        if wanted:
            _ask_for(coming, wanted, ask)


def _wanted(coming: _Coming, prefix: Prefix) -> tuple[int, ...]:
    with exclusive(prefix, "install"):
        record = read_receiving(prefix)
        if record is None or record.key != coming.volumes.key:
            raise MissingPart(
                f"{coming.named}: another command gave up what was coming in", next_step=_again(coming)
            )
        return wanted_volumes(prefix, record, coming.volumes, coming.missing)


def _take_here(
    coming: _Coming, prefix: Prefix, wanted: Sequence[int], progress: Progress
) -> list[SealiftError]:
    """Take the wanted volumes that lie in the folder; returns what was wrong with the others."""
    candidates, errors = _candidates(coming, wanted)
    size = sum(volume.size for found in candidates.values() for volume in found)
    progress.start("check volumes", size)
    good: dict[int, Volume] = {}
    for number, found in candidates.items():
        for volume in found:
            try:
                _check(coming, volume, progress)
            except (BundleError, TrustError) as error:
                errors.append(error)
            else:
                good[number] = volume
                break
    if good:
        with exclusive(prefix, "install"):
            coming.missing = take_volumes(
                prefix, coming.bundle, Volumes(good.values()), coming.missing, progress
            )
        for number, volume in good.items():
            progress.note(f"volume {number} of {volume.count} is in ({volume.path.name})")
    return errors


def _candidates(
    coming: _Coming, wanted: Sequence[int]
) -> tuple[Mapping[int, list[Volume]], list[SealiftError]]:
    """The files for each wanted number (one may lie there twice), and what is wrong with the rest."""
    try:
        with reading(str(coming.folder)):
            found = look(volumes_in(coming.folder))
    except BundleError as error:
        return {}, [error]
    errors = list(found.damaged.values())
    candidates: dict[int, list[Volume]] = {}
    for volume in found.volumes:
        if volume.key != coming.volumes.key:
            errors.append(
                BundleError(
                    f"{volume.path} is {volume.says}: another bundle than {coming.named}, or another cut"
                )
            )
        elif volume.number in wanted:
            candidates.setdefault(volume.number, []).append(volume)
    return candidates, errors


def _check(coming: _Coming, volume: Volume, progress: Progress) -> None:
    """Whoever signed the documents of this volume is trusted here, and its piece is what was written."""
    known = next(iter(coming.volumes.volumes.values()))
    if volume.documents != known.documents:
        with told_plainly(f"{volume.path}: "):
            judge(Volumes([volume]), coming.offered, prefix_of(coming.args))
    check_piece(volume, progress.advance)


def _can_ask(args: argparse.Namespace) -> bool:
    return not (args.no_input or args.json) and sys.stdin.isatty()


def _ask_for(coming: _Coming, wanted: Sequence[int], ask: Ask) -> None:
    """Raises: MissingPart: nobody answers any more."""
    lines = [
        f"{coming.named}: {len(wanted)} of {coming.volumes.count} volumes still to come",
        *(f"  {line}" for line in coming.files(wanted)),
    ]
    print("\n".join(lines), file=sys.stderr)
    try:
        ask(f"put the next medium in {coming.folder}, then press Enter (Ctrl-C: later, what came in stays) ")
    except EOFError:
        raise _refusal(coming, wanted, []) from None


def _refusal(coming: _Coming, wanted: Sequence[int], errors: Sequence[SealiftError]) -> SealiftError:
    count = coming.volumes.count
    text = f"{coming.named} comes in {count} volumes, {len(wanted)} of them still to come"
    files = coming.files(wanted)
    if not errors:
        return MissingPart(
            f"{text}; what came in stays",
            problems=files,
            next_step=f"bring the next medium, then {_again(coming)}",
        )
    problems = [*(error.message for error in errors), *(f"to come: {line}" for line in files)]
    return type(errors[0])(
        f"{text}; {len(errors)} file(s) could not be taken, what came in stays",
        problems=problems,
        next_step=f"copy what is damaged to the medium again, then {_again(coming)}",
    )


def _again(coming: _Coming) -> str:
    args = coming.args
    parts = ["sealift", "install", str(args.bundle)]
    parts += ["--trust", str(args.trust)] if args.trust else []
    parts += ["--prefix", str(args.prefix)] if args.prefix else []
    return shlex.join(parts)
