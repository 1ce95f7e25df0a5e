"""One line of the log: canonical JSON that names the digest of the line before it.

A line is `{"event", "facts", "number", "previous", "time", "who"}` in canonical JSON and a line feed. `number`
counts from 1; `previous` is the SHA-256 of the line before, its line feed included, and 64 zeros in the first.
So `tail -n 1 ledger.jsonl | sha256sum` prints the head, the one figure to keep on paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from sealift import canonical
from sealift.errors import BrokenLedger, MalformedBundle

FIRST: Final = "0" * 64
"""`previous` of the first line, and the head of an empty log."""

MAX_LINE_BYTES: Final = 2**20
MAX_FACTS: Final = 16
MAX_ITEMS: Final = 16
MAX_CHARACTERS: Final = 500
"""16 facts of 16 strings of 500 characters, six bytes each at worst, fit a line with room to spare."""

Facts = Mapping[str, Any]
"""Name -> string, integer, boolean, or a list of them. Never a secret."""

_KEYS: Final = {"event", "facts", "number", "previous", "time", "who"}
_FACT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_SECRET: Final = re.compile(r"passphrase|passw|secret|token|credential|private")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_EVENT: Final = re.compile(r"[a-z][a-z_]{0,31}")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


class Event(Enum):
    """What can be written. A reader takes any word: a newer sealift may have written the line."""

    PACK = "pack"
    SIGN = "sign"
    VERIFY = "verify"
    INSTALL = "install"
    REFUSAL = "refusal"
    TRUST = "trust"
    CONFIG = "config"
    ACTIVATE = "activate"
    COMMIT = "commit"
    FELL_BACK = "fell_back"
    ROLLBACK = "rollback"
    REMOVE = "remove"
    PRUNE = "prune"
    RECOVER = "recover"
    PACKAGES = "packages"
    TORN = "torn"
    """A line that a power cut left unfinished was set aside; written by the log itself."""


@dataclass(frozen=True, slots=True)
class Record:
    """One line. `time` is UTC, `2026-11-22T17:00:00Z`, by the clock of the machine that wrote it."""

    number: int
    time: str
    who: str
    event: str
    facts: Facts
    previous: str

    def encode(self) -> bytes:
        """The line, with its line feed."""
        return canonical.encode(self.to_json()) + b"\n"

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the line."""
        return {
            "event": self.event,
            "facts": dict(self.facts),
            "number": self.number,
            "previous": self.previous,
            "time": self.time,
            "who": self.who,
        }

    @property
    def digest(self) -> str:
        """SHA-256 of the line with its line feed: `previous` of the next one."""
        return canonical.digest(self.encode())


def decode_line(line: bytes, what: str) -> Record:
    """Read one line, with its line feed. Raises: BrokenLedger: not a record in its one form."""
    if not line.endswith(b"\n") or len(line) > MAX_LINE_BYTES:
        raise BrokenLedger(f"{what}: expected a line of at most {MAX_LINE_BYTES} bytes with its line feed")
    try:
        doc = canonical.decode(line[:-1], what)
    except MalformedBundle as error:
        raise BrokenLedger(error.message) from error
    if set(doc) != _KEYS or not _has_form(doc):
        raise BrokenLedger(f"{what}: not a record of this log")
    return Record(doc["number"], doc["time"], doc["who"], doc["event"], doc["facts"], doc["previous"])


def cleaned(facts: Facts) -> dict[str, Any]:
    """Facts as they are written: long texts and lists are cut, and say so.

    What a refused bundle says of itself may stand in a fact, so no content of a string can make this fail.

    Raises: ValueError: a name that is none or smells of a secret, a value of another type, over 16 facts.
    """
    if len(facts) > MAX_FACTS:
        raise ValueError(f"{len(facts)} facts, at most {MAX_FACTS} are written")
    for name in facts:
        if not _FACT_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a fact")
        if _SECRET.search(name):
            raise ValueError(f"{name!r}: a secret is never written to the log")
    return {name: _value(name, value) for name, value in facts.items()}


def text_of(value: str) -> str:
    """A string as the log holds it: encodable, at most 500 characters, and what was cut is counted."""
    text = value.encode("utf-8", "backslashreplace").decode()
    if len(text) <= MAX_CHARACTERS:
        return text
    note = f"... ({len(text)} characters)"
    return text[: MAX_CHARACTERS - len(note)] + note


def _value(name: str, value: object) -> object:
    if isinstance(value, list | tuple):
        items = [_scalar(name, item) for item in value[:MAX_ITEMS]]
        return items if len(value) <= MAX_ITEMS else [*items[:-1], f"... ({len(value)} entries)"]
    return _scalar(name, value)


def _scalar(name: str, value: object) -> str | int | bool:
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, int) and abs(value) <= canonical.MAX_INTEGER:
        return value
    raise ValueError(f"fact {name!r}: expected a string, an integer, a boolean or a list of them")


def _has_form(doc: Mapping[str, Any]) -> bool:
    number = doc["number"]
    texts = [(doc["event"], _EVENT), (doc["previous"], _DIGEST), (doc["time"], _TIME)]
    return (
        isinstance(number, int)
        and not isinstance(number, bool)
        and number >= 1
        and isinstance(doc["who"], str)
        and all(isinstance(text, str) and form.fullmatch(text) for text, form in texts)
        and isinstance(doc["facts"], dict)
        and all(_is_fact(value) for value in doc["facts"].values())
    )


def _is_fact(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str | int) for item in value)
    return isinstance(value, str | int)
