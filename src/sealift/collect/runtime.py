"""What sealift itself needs on the box, and how far an application may move it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sealift.collect.pylock import Pin, read_pins
from sealift.errors import UsageError
from sealift.model.service import ServedModel
from sealift.project.project import ModelEntry
from sealift.target.target import Target

PERMITTED = {
    "cryptography": SpecifierSet(">=42"),
    "cykooz-resizer": SpecifierSet(">=4,<5"),
    "zstandard": SpecifierSet(">=0.22"),
    "hpack": SpecifierSet(">=4,<5"),
    "httptools": SpecifierSet(">=0.6,<1"),
    "msgspec": SpecifierSet(">=0.19,<1"),
    "numpy": SpecifierSet(">=1.26,<3"),
    "onnxruntime": SpecifierSet(">=1.20,<2"),
    "pillow": SpecifierSet(">=10"),
    "protobuf": SpecifierSet(">=4.25.8"),
    "simplejpeg": SpecifierSet(">=1.8,<2"),
    "tomlkit": SpecifierSet(">=0.12,<1"),
    "uvloop": SpecifierSet(">=0.20,<1"),
}
"""What sealift's box side imports, and the versions it runs with. What these need in turn (cffi,
flatbuffers, ...) has no range of its own: their own metadata says what they take."""
PARTS: Mapping[str, Mapping[str, SpecifierSet]] = {
    "text": {"tokenizers": SpecifierSet(">=0.21,<1")},
}
"""What only some releases carry: the extras of `box.lock`, and the packages that box side code imports for
each. Which models need which: `parts_of`."""
UNNEEDED: Mapping[str, frozenset[str]] = {
    "tokenizers": frozenset({"huggingface-hub"}),
}
"""What a package's metadata asks for and no code of ours reaches: clients of services on the network."""
BOX_LOCK = Path(__file__).with_name("box.lock")


@dataclass(frozen=True, slots=True)
class BoxSide:
    """`lock` (PEP 751) pins all that the packages in `permitted` need; `parts` are its extras that count."""

    lock: Path = BOX_LOCK
    permitted: Mapping[str, SpecifierSet] = field(default_factory=lambda: PERMITTED)
    parts: frozenset[str] = frozenset()
    unneeded: Mapping[str, frozenset[str]] = field(default_factory=lambda: UNNEEDED)

    def roots(self, target: Target) -> tuple[Requirement, ...]:
        """One requirement for each package that the box side imports on `target`, with its permitted range."""
        there = {pin.name for pin in self.pins(target)}
        return tuple(Requirement(f"{name}{span}") for name, span in self.permitted.items() if name in there)

    def pins(self, target: Target) -> tuple[Pin, ...]:
        """The wheels of the lock for `target`.

        Raises: UsageError: a package has no wheel for the target; all of them are named.
        """
        try:
            return read_pins(self.lock, target, self.parts)
        except UsageError as error:
            raise UsageError(
                f"sealift's own box side cannot run on {target}.",
                next_step="choose another [target]: glibc 2.28 or newer, Python 3.11, 3.12 or 3.13",
                problems=error.problems or (error.message,),
            ) from error

    def range_of(self, name: str) -> SpecifierSet:
        """The versions of `name` (normalised) that will do; anything for what is not imported itself."""
        return self.permitted.get(name, SpecifierSet())


def box_side_for(models: Iterable[ServedModel | ModelEntry]) -> BoxSide:
    """sealift's box side with the parts that these models need, and no other."""
    parts = parts_of(models)
    permitted = dict(PERMITTED)
    for part in sorted(parts):
        permitted.update(PARTS[part])
    return BoxSide(permitted=permitted, parts=parts)


def parts_of(models: Iterable[ServedModel | ModelEntry]) -> frozenset[str]:
    """The keys of `PARTS` that serving `models` takes."""
    parts: set[str] = set()
    for model in models:
        if model.tokenizer is not None:
            parts.add("text")
    return frozenset(parts)
