"""What a project asks for, ready for the solver, and with some of its lines changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from packaging.requirements import Requirement

from sealift.collect.found import Found
from sealift.collect.pylock import Pin
from sealift.collect.requirements import Demand, Demands
from sealift.collect.solve import Bench, Bounds, solve
from sealift.collect.wheel import WheelFile


@dataclass(frozen=True, slots=True)
class Question:
    """The project's lines, its own wheels by normalised name, and sealift's own versions.

    `avoid` are more constraints for pip: what keeps pairs apart that are known to fail together.
    """

    demands: Demands
    local: Mapping[str, WheelFile]
    box_pins: Sequence[Pin]
    bench: Bench
    avoid: tuple[str, ...] = ()

    @property
    def roots(self) -> list[Requirement]:
        """All that is asked for by name."""
        roots = [demand.requirement for demand in self.demands.demands]
        roots += [Requirement(f"{name}=={file.version}") for name, file in self.local.items()]
        return roots + [Requirement(line) for line in self.bench.box.gpu.lines]

    @property
    def origins(self) -> dict[str, str]:
        """A line as pip quotes it -> where it stands."""
        asked = (*self.demands.demands, *self.demands.constraints)
        return {demand.line().split(" --hash")[0]: demand.origin for demand in asked}

    def answer(self, *, dependencies: bool = True) -> dict[str, Found]:
        """The wheels that pip chooses, by name.

        Args:
            dependencies: False takes the lines as they are, sealift's own versions aside.
        Raises: as `solve`.
        """
        fixed = [*(demand.line() for demand in self.demands.constraints), *self.avoid]
        bounds = Bounds.from_pins(self.bench.box, self.box_pins if dependencies else (), fixed)
        bounds.widen(_excluded(self.roots, self.box_pins))
        return solve(self.roots, self._lines(), bounds, self.bench, dependencies=dependencies)

    def changed(self, changes: Mapping[int, Demand | None], bench: Bench) -> Question:
        """With other demands at these places, None leaving one out, and without digests; solved at `bench`."""
        kept = (changes.get(at, demand) for at, demand in enumerate(self.demands.demands))
        bare = [replace(demand, hashes=()) for demand in kept if demand is not None]
        demands = replace(self.demands, demands=bare)
        return replace(self, demands=demands, bench=bench)

    def _lines(self) -> list[str]:
        demands = self.demands.demands
        lines = [*self.demands.options, *(d.line() for d in demands), *self.bench.box.gpu.lines]
        hashed = any(
            demand.hashes for demand in demands
        )  # then pip wants a digest for each of the others too
        for file in self.local.values():
            digest = f" --hash=sha256:{file.wheel.sha256}" if hashed else ""
            lines.append(f"{file.wheel.path.absolute()}{digest}")
        return lines


def _excluded(roots: Sequence[Requirement], box_pins: Sequence[Pin]) -> list[str]:
    """Pins that a root excludes in so many words: saves pip a failed attempt."""
    pinned = {pin.name: pin.version for pin in box_pins}
    return [
        name
        for root in roots
        if (name := root.name.lower()) in pinned
        and not root.specifier.contains(pinned[name], prereleases=True)
    ]
