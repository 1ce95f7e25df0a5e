"""What sealift itself needs on the box, and how far an application may move it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sealift.collect.pylock import Pin, read_pins
from sealift.errors import UsageError
from sealift.target.target import Target

PERMITTED = {
    "cryptography": SpecifierSet(">=42"),
    "zstandard": SpecifierSet(">=0.22"),
    "httptools": SpecifierSet(">=0.6,<1"),
    "msgspec": SpecifierSet(">=0.19,<1"),
    "numpy": SpecifierSet(">=1.26,<3"),
    "onnxruntime": SpecifierSet(">=1.20,<2"),
    "pillow": SpecifierSet(">=10"),
    "tomlkit": SpecifierSet(">=0.12,<1"),
    "uvloop": SpecifierSet(">=0.20,<1"),
}
"""What sealift's box side imports, and the versions it runs with. What these need in turn (protobuf,
cffi, ...) has no range of its own: their own metadata says what they take."""
BOX_LOCK = Path(__file__).with_name("box.lock")


@dataclass(frozen=True, slots=True)
class BoxSide:
    """`lock` (PEP 751) pins the full closure of the packages in `permitted`."""

    lock: Path = BOX_LOCK
    permitted: Mapping[str, SpecifierSet] = field(default_factory=lambda: PERMITTED)

    def roots(self) -> tuple[Requirement, ...]:
        """One requirement for each package that the box side imports, with its permitted range."""
        return tuple(Requirement(f"{name}{span}") for name, span in self.permitted.items())

    def pins(self, target: Target) -> tuple[Pin, ...]:
        """The wheels of the lock for `target`.

        Raises: UsageError: a package has no wheel for the target; all of them are named.
        """
        try:
            return read_pins(self.lock, target)
        except UsageError as error:
            raise UsageError(
                f"sealift's own box side cannot run on {target}.",
                next_step="choose another [target]: glibc 2.28 or newer, Python 3.11, 3.12 or 3.13",
                problems=error.problems or (error.message,),
            ) from error

    def range_of(self, name: str) -> SpecifierSet:
        """The versions of `name` (normalised) that will do; anything for what is not imported itself."""
        return self.permitted.get(name, SpecifierSet())
