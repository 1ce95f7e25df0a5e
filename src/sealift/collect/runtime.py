"""What sealift itself needs on the box, and how far an application may move it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from sealift.collect.accelerator import NO_GPU, GpuDemands, gpu_demands
from sealift.collect.pylock import Pin, read_pins
from sealift.errors import UsageError
from sealift.model.service import ServedModel
from sealift.project.project import ModelEntry
from sealift.target.target import Target, version_key

PERMITTED = {
    "cryptography": SpecifierSet(">=42"),
    "cykooz-resizer": SpecifierSet(">=4,<5"),
    "zstandard": SpecifierSet(">=0.22"),
    "hpack": SpecifierSet(">=4,<5"),
    "httptools": SpecifierSet(">=0.6,<1"),
    "msgspec": SpecifierSet(">=0.19,<1"),
    "numpy": SpecifierSet(">=1.26,<3"),
    "onnxruntime": SpecifierSet(">=1.16.3,<2"),
    "pillow": SpecifierSet(">=10"),
    "protobuf": SpecifierSet(">=4.25.8"),
    "simplejpeg": SpecifierSet(">=1.8,<2"),
    "tomlkit": SpecifierSet(">=0.12,<1"),
    "uvloop": SpecifierSet(">=0.20,<1"),
}
"""What sealift's box side imports, and the versions it runs with. What these need in turn (cffi) has no range of
its own: their own metadata says what they take."""
PARTS: Mapping[str, Mapping[str, SpecifierSet]] = {
    "text": {"tokenizers": SpecifierSet(">=0.21,<1")},
}
"""What only some releases carry: the extras of `box.lock`, and the packages that box side code imports for
each. Which models need which: `parts_of`."""
_ENGINE_TOOLS = frozenset(
    {"coloredlogs", "flatbuffers", "humanfriendly", "mpmath", "packaging", "protobuf", "sympy"}
)
UNNEEDED: Mapping[str, frozenset[str]] = {
    "cffi": frozenset({"pycparser"}),
    "onnxruntime": _ENGINE_TOOLS,
    "onnxruntime-gpu": _ENGINE_TOOLS,
    "tokenizers": frozenset({"huggingface-hub"}),
}
"""What a package's metadata asks for and no code of ours reaches: clients of services on the network, and what
only tools use. (A session of onnxruntime imports numpy alone: seen in each release from 1.16.3 to 1.32. pycparser
reads C declarations, and the extensions here are compiled.)"""


@dataclass(frozen=True, slots=True)
class Tier:
    """A lock of the box side, for boxes whose C library is `glibc` or newer, and for these `pythons`.

    `why`: what keeps other interpreters out.
    """

    lock: Path
    glibc: str
    pythons: tuple[str, ...]
    why: str = ""

    def takes(self, target: Target) -> bool:
        """Claims that wheels of this tier can be had for `target`'s C library and interpreter."""
        return version_key(target.glibc) >= version_key(self.glibc) and target.python in self.pythons


BOX_LOCK = Path(__file__).with_name("box.lock")
TIERS = (
    Tier(BOX_LOCK, "2.28", ("3.11", "3.12", "3.13")),
    Tier(
        Path(__file__).with_name("box-2.17.lock"),
        "2.17",
        ("3.11",),
        why="onnxruntime's wheels for glibc 2.17 end with 1.16.3, those with CPython 3.11",
    ),
)
"""The newest first. Between two of them a box takes the older: wheels of its own glibc alone would be a third set
that nobody tests."""


def tier_for(target: Target) -> Tier:
    """The newest tier that `target` can take.

    Raises: UsageError: none; it says what would do.
    """
    for tier in TIERS:
        if tier.takes(target):
            return tier
    ways = " or ".join(
        f"glibc {tier.glibc} or newer with Python {', '.join(tier.pythons)}" for tier in reversed(TIERS)
    )
    raise UsageError(
        f"sealift's own box side cannot run on {target}.",
        next_step=_way_out(target),
        problems=[
            f"expected {ways}; found glibc {target.glibc} with Python {target.python}",
            *(tier.why for tier in TIERS if tier.why and _is_old(target)),
        ],
    )


def _is_old(target: Target) -> bool:
    return version_key(target.glibc) < version_key(TIERS[0].glibc)


def _way_out(target: Target) -> str:
    oldest = TIERS[-1]
    python = f'[target] python = "{oldest.pythons[-1]}", interpreter = "bundled"'
    if not _is_old(target):
        return "choose another [target] python"
    if version_key(target.glibc) >= version_key(oldest.glibc):
        return python
    return f"a box with glibc {oldest.glibc} or newer, and {python}"


@dataclass(frozen=True, slots=True)
class BoxSide:
    """`lock` (PEP 751) pins all that the packages in `permitted` need; `parts` are its extras that count.

    Without a `lock`: that of the newest tier which the target can take. `gpu`: what stands in the place of some of
    its packages; no lock of ours has that, the resolver finds it with the application's own requirements.
    """

    lock: Path | None = None
    permitted: Mapping[str, SpecifierSet] = field(default_factory=lambda: PERMITTED)
    parts: frozenset[str] = frozenset()
    unneeded: Mapping[str, frozenset[str]] = field(default_factory=lambda: UNNEEDED)
    gpu: GpuDemands = NO_GPU

    def roots(self, target: Target) -> tuple[Requirement, ...]:
        """One requirement for each package that the box side imports on `target`, with its permitted range."""
        there = {pin.name for pin in self.pins(target)}
        own = (Requirement(f"{name}{span}") for name, span in self.permitted.items() if name in there)
        return (*own, *self.gpu.roots)

    def pins(self, target: Target) -> tuple[Pin, ...]:
        """The wheels of the lock for `target`.

        Raises: UsageError: no tier or a package has no wheel for the target; all of them are named.
        """
        lock = self.lock or tier_for(target).lock
        try:
            pins = read_pins(lock, target, self.parts)
            return tuple(pin for pin in pins if pin.name not in self.gpu.replaced)
        except UsageError as error:
            raise UsageError(
                f"sealift's own box side cannot run on {target}.",
                next_step="choose another [target]: glibc 2.28 or newer, Python 3.11, 3.12 or 3.13",
                problems=error.problems or (error.message,),
            ) from error

    def notes(self, target: Target) -> tuple[str, ...]:
        """What an older tier means for the engineer, one sentence; empty on the newest.

        Raises: UsageError: as `pins`.
        """
        if self.lock is not None or (tier := tier_for(target)) is TIERS[0]:
            return self.gpu.notes
        found = {pin.name: pin.version for pin in self.pins(target)}
        versions = " and ".join(f"{name} {found[name]}" for name in ("onnxruntime", "numpy") if name in found)
        return (
            *self.gpu.notes,
            f"glibc {target.glibc} is older than {TIERS[0].glibc}: the release gets the set of wheels for "
            f"glibc {tier.glibc}, with {versions}",
        )

    @property
    def unneeded_by_gpu(self) -> Mapping[str, frozenset[str]]:
        """The part of `unneeded` that is about the engine's GPU build, which comes among the application's wheels."""
        return {root.name: self.unneeded.get(root.name, frozenset()) for root in self.gpu.roots}

    def range_of(self, name: str) -> SpecifierSet:
        """The versions of `name` (normalised) that will do; anything for what is not imported itself."""
        return self.permitted.get(name, SpecifierSet())


def box_side_for(models: Sequence[ServedModel | ModelEntry], target: Target | None = None) -> BoxSide:
    """sealift's box side with the parts that these models need, and no other.

    Args:
        target: with a GPU, the engine's build for it takes the place of the plain one; None: none is looked for.
    Raises: UsageError: as `gpu_demands`.
    """
    parts = parts_of(models)
    permitted = dict(PERMITTED)
    for part in sorted(parts):
        permitted.update(PARTS[part])
    gpu = gpu_demands(target, models) if target is not None else NO_GPU
    return BoxSide(permitted=permitted, parts=parts, gpu=gpu)


def parts_of(models: Iterable[ServedModel | ModelEntry]) -> frozenset[str]:
    """The keys of `PARTS` that serving `models` takes."""
    parts: set[str] = set()
    for model in models:
        if model.tokenizer is not None:
            parts.add("text")
    return frozenset(parts)
