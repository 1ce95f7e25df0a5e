"""Lines of the log -> what a person reads: what was done to a service, by whom, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Final

from sealift.ledger.record import Record

_SHOWN: Final = {
    "install": "{version} brought in",
    "activate": "switched to {version}",
    "commit": "{version} committed",
    "fell_back": "FELL BACK to {version}, {bad} was bad: {reasons}",
    "rollback": "rolled back to {version}",
    "remove": "{version} removed",
    "recover": "recovered: {found}",
    "config": "settings changed",
    "refusal": "refused: {reason}",
}
_LONGEST: Final = 160


def told(records: Sequence[Record], zone: tzinfo | None) -> str:
    """The latest in one line, and what happened before it."""
    shown = [record for record in records if record.event in _SHOWN]
    if not shown:
        return "nothing yet"
    last = _line(shown[-1], zone)
    if len(shown) == 1:
        return last
    return f"{last} (before: {_line(shown[-2], zone)})"


def table_of(records: Sequence[Record], zone: tzinfo | None) -> list[tuple[str, str, str]]:
    """(time, who, what) of each record that is about the service."""
    return [
        (_time(record, zone, "%Y-%m-%d %H:%M:%S"), record.who, _what(record))
        for record in records
        if record.event in _SHOWN
    ]


def _line(record: Record, zone: tzinfo | None) -> str:
    return f"{_cut(_what(record))}, by {record.who}, {_time(record, zone, '%m-%d %H:%M')}"


def _what(record: Record) -> str:
    facts = {
        name: "; ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in record.facts.items()
    }
    form = "{version} was active already" if facts.get("outcome") == "nothing_to_do" else _SHOWN[record.event]
    said = form.format_map(_Known(facts))
    pruned = facts.get("pruned")
    why = facts.get("reasons") if record.event == "commit" else None
    return said + (f" ({why})" if why else "") + (f", removed {pruned}" if pruned else "")


class _Known(dict[str, str]):
    """A newer or older sealift may have written other facts."""

    def __missing__(self, key: str) -> str:
        return "?"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _time(record: Record, zone: tzinfo | None, form: str) -> str:
    at = datetime.strptime(record.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return at.astimezone(zone).strftime(form)
