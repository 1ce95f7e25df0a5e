"""What this box has committed per product, anchored in two places: no older bundle is let in.

Order is a matter of numbers alone: no clock is asked, neither this box's nor `created` of a release.
A place is `{"format": "sealift-sequences/1", "products": {name: {"floor_seq", "identity", "seq"}}}`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sealift import canonical
from sealift.errors import Downgrade, MalformedBundle, StoreError
from sealift.store.files import storing, write_document
from sealift.store.prefix import Prefix

FORMAT: Final = "sealift-sequences/1"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Anchor:
    """The highest sequence that this box committed, whose it was, and the floor below which nothing may go.

    `identity` is None where the two places name different releases for one number: then neither is let in by
    it. `disagreements` says how the two places differ, a sentence each; the stricter of the two counts.
    """

    product: str
    seq: int
    identity: str | None
    floor_seq: int
    disagreements: tuple[str, ...] = field(default=(), compare=False)


def read(prefix: Prefix, product: str) -> Anchor | None:
    """The stricter of the two places; changes nothing. None: this box never committed the product.

    Raises: StoreError: no place can be read, though one of them is there.
    """
    places = _places(prefix)
    anchor = _merged(places).get(product)
    if anchor is None:
        return None
    return Anchor(product, anchor.seq, anchor.identity, anchor.floor_seq, _disagreements(places, product))


def decide(anchor: Anchor | None, release_seq: int, identity: str, installed: Collection[str]) -> None:
    """Let a release in, or not.

    A higher sequence than the anchor's, or the same with the same identity, is let in. So is the return to an
    installed release (a rollback), as long as it is not below the floor.

    Args:
        installed: identities of the releases that are installed here.
    Raises: Downgrade.
    """
    if anchor is None:
        return
    name = f"{anchor.product} {canonical.short(identity)} with sequence {release_seq}"
    if release_seq < anchor.floor_seq:
        raise Downgrade(
            f"{name} is below the floor: this box accepts {anchor.floor_seq} or higher, also for a rollback",
            next_step=_NEXT_STEP,
        )
    if identity in installed or release_seq > anchor.seq:
        return
    if release_seq < anchor.seq:
        raise Downgrade(
            f"{name} is older than what this box committed, sequence {anchor.seq}", next_step=_NEXT_STEP
        )
    if identity != anchor.identity:
        whose = (
            canonical.short(anchor.identity) if anchor.identity else "a release its two records disagree on"
        )
        raise Downgrade(
            f"{name} is another release than the one this box committed with that sequence, {whose}",
            next_step=_NEXT_STEP,
        )


def commit(prefix: Prefix, product: str, seq: int, identity: str, floor_seq: int) -> None:
    """Record a committed release in both places, durably; nothing is ever lowered.

    Called under the prefix's lock. A place that was lost or damaged is written anew from the other.

    Raises: StoreError: a place cannot be written (the other may be; running it again is safe), or none can be
        read though one is there.
    """
    merged = _merged(_places(prefix))
    new = Anchor(product, seq, identity, floor_seq)
    old = merged.get(product)
    merged[product] = _stricter(old, new) if old is not None and old.seq != seq else _same_seq(old, new)
    doc = {
        "format": FORMAT,
        "products": {
            name: {"floor_seq": anchor.floor_seq, "identity": anchor.identity, "seq": anchor.seq}
            for name, anchor in merged.items()
        },
    }
    for path in prefix.sequences:
        write_document(path, doc)


_NEXT_STEP: Final = (
    "return to an installed release, or have the older version signed again with a higher sequence "
    "(sealift sign OLD --as-seq N)"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """One of the two files: `anchors` is None when it is missing (`problem` None) or damaged."""

    path: Path
    anchors: Mapping[str, Anchor] | None
    problem: str | None


def _places(prefix: Prefix) -> tuple[_Place, ...]:
    places = tuple(_place(path) for path in prefix.sequences)
    problems = [place.problem for place in places if place.problem]
    if problems and not any(place.anchors is not None for place in places):
        raise StoreError(
            "what this box has committed cannot be read, so nothing can be let in",
            problems=problems,
            next_step="bring one of the two files back from a copy; `sealift audit show` lists what was installed",
        )
    return places


def _place(path: Path) -> _Place:
    with storing(path):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return _Place(path, None, None)
    try:
        doc = canonical.decode(data, str(path))
    except MalformedBundle as error:
        return _Place(path, None, error.message)
    if set(doc) != {"format", "products"} or doc["format"] != FORMAT or not isinstance(doc["products"], dict):
        return _Place(path, None, f"{path}: expected format {FORMAT} with products")
    if not all(_is_entry(entry) for entry in doc["products"].values()):
        return _Place(path, None, f"{path}: an entry is not seq, identity and floor_seq")
    anchors = {
        name: Anchor(name, entry["seq"], entry["identity"], entry["floor_seq"])
        for name, entry in doc["products"].items()
    }
    return _Place(path, anchors, None)


def _is_entry(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"floor_seq", "identity", "seq"}:
        return False
    numbers, identity = (entry["seq"], entry["floor_seq"]), entry["identity"]
    return all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in numbers) and (
        identity is None or (isinstance(identity, str) and _DIGEST.fullmatch(identity) is not None)
    )


def _merged(places: tuple[_Place, ...]) -> dict[str, Anchor]:
    merged: dict[str, Anchor] = {}
    for place in places:
        for name, anchor in (place.anchors or {}).items():
            merged[name] = _stricter(merged[name], anchor) if name in merged else anchor
    return merged


def _stricter(one: Anchor, other: Anchor) -> Anchor:
    floor = max(one.floor_seq, other.floor_seq)
    if one.seq == other.seq:
        identity = one.identity if one.identity == other.identity else None
        return Anchor(one.product, one.seq, identity, floor)
    higher = max(one, other, key=lambda anchor: anchor.seq)
    return Anchor(one.product, higher.seq, higher.identity, floor)


def _same_seq(old: Anchor | None, new: Anchor) -> Anchor:
    """A number keeps the identity it was committed with, also where that is no longer known."""
    if old is None:
        return new
    return Anchor(old.product, old.seq, old.identity, max(old.floor_seq, new.floor_seq))


def _disagreements(places: tuple[_Place, ...], product: str) -> tuple[str, ...]:
    first, second = places
    found = [place.problem or f"{place.path}: missing" for place in places if place.anchors is None]
    if first.anchors is not None and second.anchors is not None:
        one, other = first.anchors.get(product), second.anchors.get(product)
        if one != other:
            found.append(f"{first.path} has {_said(one)}, {second.path} has {_said(other)}")
    return tuple(found)


def _said(anchor: Anchor | None) -> str:
    if anchor is None:
        return "nothing"
    identity = canonical.short(anchor.identity) if anchor.identity else "no identity"
    return f"sequence {anchor.seq}, {identity}, floor {anchor.floor_seq}"
