"""Finish or undo what an unclean stop left: a power cut, a kill, a crash."""

from __future__ import annotations

from collections.abc import Callable

from sealift.install.keeper import Keeper
from sealift.ledger.record import Event
from sealift.store.files import remove_file
from sealift.store.journal import Phase, read_journal, write_journal
from sealift.store.lock import turning
from sealift.store.prefix import Prefix
from sealift.store.receiving import end_receiving
from sealift.store.releases import active_tree
from sealift.store.staging import end_staging, noted_staging
from sealift.store.sweep import sweep_trees


def recover_prefix(
    prefix: Prefix, keeper_of: Callable[[str], Keeper], served: Callable[[str], bool]
) -> tuple[str, ...]:
    """Before a verb changes anything; the caller holds the prefix's lock.

    A service that a living supervisor serves is the supervisor's to finish.

    Args:
        keeper_of: service name -> its keeper.
        served: claims that a supervisor answers for that name.
    Returns: what was found and done, a sentence each.
    """
    found = [recover_staging(prefix, keeper_of)] if prefix.staging.is_file() else []
    folder = prefix.state / "journal"
    names = sorted(path.stem for path in folder.glob("*.json")) if folder.is_dir() else []
    for name in names:
        if not served(name):
            said = finish_turn(keeper_of(name))
            found += [said] if said else []
    return tuple(found)


def recover_staging(prefix: Prefix, keeper_of: Callable[[str], Keeper]) -> str:
    """Files were coming in: what is not a recorded release goes; objects that are whole stay for the next try."""
    note = noted_staging(prefix) or {}
    name, version = note.get("name", ""), note.get("version", "")
    for path in prefix.objects.glob("*/.*.new") if prefix.objects.is_dir() else ():
        remove_file(path)
    kept = keeper_of(name).is_installed(note.get("tree", "")) if name else False
    if kept:
        end_receiving(prefix, name)
    else:
        sweep_unfinished(prefix, name)
    end_staging(prefix)
    state = "it was complete" if kept else "nothing of it is active; install it again"
    said = f"bringing in {version} was cut off; {state}"
    keeper_of(name).tell(Event.RECOVER, {"found": said, "product": name})
    return f"{name}: {said}"


def sweep_unfinished(prefix: Prefix, name: str) -> None:
    """Trees without a record; objects stay, the next commit gives back what is not needed by then."""
    folder = prefix.releases(name)
    if folder.is_dir():
        sweep_trees(prefix, folder)


def finish_turn(keeper: Keeper) -> str | None:
    """Finish the turn of one service; None where nothing was left to do.

    The caller holds the prefix's lock, and no supervisor serves the name but perhaps the caller itself.
    """
    turn = keeper.journal.turn
    if turn is None:
        return None
    said = _finish(keeper, turn.phase, turn.tree)
    if said is None:
        return None
    version = keeper.release(turn.tree).version if keeper.is_installed(turn.tree) else turn.tree
    sentence = said.format(version=version)
    keeper.tell(Event.RECOVER, {"found": sentence, "product": keeper.name})
    return f"{keeper.name}: {sentence}"


def _finish(keeper: Keeper, phase: Phase, tree: str) -> str | None:
    if phase in (Phase.TURNING, Phase.RETURNING):
        if active_tree(keeper.prefix, keeper.name) == tree:
            keeper.turned(tree)
            return "the switch to {version} was cut off and is finished"
        _undo(keeper)
        return "the switch to {version} was cut off before anything changed"
    if phase is Phase.FALLING_BACK:
        keeper.fell_back()
        return "the fall back from {version} was cut off and is finished"
    if phase is Phase.COMMITTING:
        keeper.commit()
        return "the commit of {version} was cut off and is finished"
    return None


def _undo(keeper: Keeper) -> None:
    with turning(keeper.prefix, keeper.name, "recovery"):
        journal = read_journal(keeper.prefix, keeper.name)
        reasons = ("cut off before the switch",)
        write_journal(keeper.prefix, keeper.name, journal.moved(Phase.NOT_ACTIVATED, reasons))
