"""A staged sealift -> the prefix's own command, or the one before again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sealift.bundle.read import VerifiedBundle
from sealift.errors import Downgrade, FellBack, NotInstalled
from sealift.install.install import Box, InstallReport, Outcome, active, return_to
from sealift.install.keeper import Keeper, Pruned, named, write_command
from sealift.store.failures import count_failure
from sealift.store.files import remove_file, write_file
from sealift.store.journal import Phase
from sealift.store.prefix import TOOL, Prefix
from sealift.store.releases import InstalledRelease, active_release
from sealift.store.sweep import forget_release, sweep

Ask = Callable[[InstalledRelease], tuple[str, ...]]
"""Asks the tool that is active now through the prefix's own command; what does not hold, a sentence each."""

GOOD = "its self-test, and its answers after the switch"


def refuse_older(prefix: Prefix, bundle: VerifiedBundle) -> None:
    """Carrying an older sealift is no way back, also where it is still installed.

    Raises: Downgrade: it comes before the active one.
    """
    now = active(prefix, TOOL)
    if now is None or bundle.release.seq >= now.seq:
        return
    raise Downgrade(
        f"sealift {bundle.release.version} (sequence {bundle.release.seq}) is older than {named(now)} "
        f"(sequence {now.seq}), which this box runs; nothing was changed",
        next_step="sealift rollback sealift goes back to one that was here before",
    )


def activate_tool(release: InstalledRelease, box: Box, ask: Ask) -> InstallReport:
    """Switch the prefix's command to a staged tool, ask it, and keep it or take it back.

    The caller holds the prefix's lock. Services serve on throughout: their supervisors are not touched.

    Raises: FellBack: it did not answer as it must; the one before is active again.
    """
    previous = active(box.prefix, TOOL)
    if release.tree.name in box.keeper.journal.committed:
        return _returned(release, previous, box, ask)
    command = _command(box.prefix)
    box.keeper.begin(release.tree.name, back=False)
    box.keeper.turned(release.tree.name)
    return InstallReport(Outcome.COMMITTED, release, previous, _judge(release, box, ask, command))


def finish_tool(box: Box, ask: Ask) -> Pruned | None:
    """Judge a tool whose switch was cut off before it was asked; None where nothing was left to do.

    The caller holds the prefix's lock. Raises: FellBack.
    """
    release = active(box.prefix, TOOL)
    if release is None or box.keeper.journal.phase is not Phase.WATCHED:
        return None
    return _judge(release, box, ask, None)


def _judge(release: InstalledRelease, box: Box, ask: Ask, command: bytes | None) -> Pruned:
    problems = ask(release)
    if not problems:
        return box.keeper.commit((GOOD,))
    try:
        safe = box.keeper.fall_back(problems)
        box.keeper.fell_back()
        serves = named(box.keeper.release(safe))
    except NotInstalled:
        _undo_first(release, box, problems, command)
        serves = "the command from before" if (box.prefix.bin / "sealift").exists() else "no command"
    raise FellBack(
        f"{named(release)} was switched to and did not answer as it must; {serves} is active again, and no "
        "service was touched",
        problems=problems,
        next_step="sealift audit show has the reasons; carry a mended sealift",
    )


def _returned(
    release: InstalledRelease, previous: InstalledRelease | None, box: Box, ask: Ask
) -> InstallReport:
    report = return_to(release, box)
    problems = ask(release)
    if problems and previous is not None:
        return_to(previous, box)
        raise FellBack(
            f"{named(release)} did not answer as it must; {named(previous)} is active again",
            problems=problems,
        )
    return report


def _undo_first(
    release: InstalledRelease, box: Box, problems: tuple[str, ...], command: bytes | None
) -> None:
    """There was no tool before: the box is as it was, but for the note that this one failed."""
    prefix: Prefix = box.prefix
    count_failure(prefix, TOOL, release.identity, release.version, problems, box.clock())
    remove_file(prefix.current(TOOL))
    remove_file(prefix.journal(TOOL))
    forget_release(prefix, TOOL, release.tree.name)
    _restore_command(box.keeper, command)
    sweep(prefix)


def _restore_command(keeper: Keeper, command: bytes | None) -> None:
    prefix = keeper.prefix
    path = prefix.bin / "sealift"
    if command is not None:
        write_file(path, command, 0o755)
        return
    remove_file(path)
    for name in prefix.services():
        write_command(prefix, active_release(prefix, name))


def _command(prefix: Prefix) -> bytes | None:
    path: Path = prefix.bin / "sealift"
    return path.read_bytes() if path.is_file() else None
