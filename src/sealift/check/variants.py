"""A model that travels in several variants -> the one that answers quickest on this box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.check.latency import measure
from sealift.check.loaded import LoadedModel, answering, as_served, compare, load_model
from sealift.check.report import Finding
from sealift.errors import SealiftError
from sealift.model.service import ServedModel
from sealift.model.settings import Settings

GAIN: Final = 1.05
"""Another variant than the first must be this much quicker: below, the next check might choose otherwise."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The model as the variant that answers here, and the sentence that says why."""

    model: ServedModel
    finding: Finding


def choose_variant(model: ServedModel, goldens: Path, settings: Settings) -> Choice:
    """Run every variant's golden inputs, and time those that answer as recorded, in turn.

    A variant that does not load here or answers otherwise is left out, with the reason; that is no failure while
    another one holds. Where none holds the first is returned: its own check says what is wrong.
    """
    held: dict[str, LoadedModel] = {}
    left_out: dict[str, str] = {}
    for variant in model.variants:
        try:
            loaded = load_model(model.running_as(variant.name), goldens, settings)
            problems = compare(loaded)
        except (SealiftError, MemoryError) as error:
            problems = [str(error) or "this box has not enough memory for it"]
        if problems:
            left_out[variant.name] = problems[0]
        else:
            held[variant.name] = loaded
    names = [variant.name for variant in model.variants if variant.name in held]
    times = _median_ms(held, settings) if len(names) > 1 else {}
    chosen = quickest(names, times) if names else model.variants[0].name
    title = f"variants of {model.name}"
    return Choice(model.running_as(chosen), Finding(title, True, _words(chosen, times, left_out)))


def quickest(names: Sequence[str], median_ms: Mapping[str, float]) -> str:
    """The first name, unless another is `GAIN` times quicker; then the quickest of all.

    Args:
        names: in the order in which they were packed, at least one.
        median_ms: by name, above 0; a name that is not there was not measured.
    """
    best = min(names, key=lambda name: median_ms.get(name, float("inf")))
    first = median_ms.get(names[0], 0.0)
    return best if first >= GAIN * median_ms.get(best, float("inf")) else names[0]


def _median_ms(held: Mapping[str, LoadedModel], settings: Settings) -> dict[str, float]:
    """Two rounds each, one after the other: a busy moment meets one round of one of them."""
    measurable = {name: loaded for name, loaded in held.items() if loaded.recorded.goldens}
    found: dict[str, float] = {}
    ready: dict[str, LoadedModel] = {}
    for name, loaded in measurable.items():
        ready[name], latency = as_served(loaded, settings)
        found[name] = latency.median_ms
    for name, loaded in ready.items():
        found[name] = min(found[name], measure(answering(loaded)).median_ms)
    return found


def _words(chosen: str, times: Mapping[str, float], left_out: Mapping[str, str]) -> str:
    """`int8-static answers here: 2.07 ms; fp32 4.73 ms; openvino-bf16 left out: ...`."""
    own = f": {times[chosen]:.2f} ms" if chosen in times else ""
    others = [f"{name} {took:.2f} ms" for name, took in times.items() if name != chosen]
    gone = [f"{name} left out: {why}" for name, why in left_out.items()]
    return "; ".join([f"{chosen} answers here{own}", *others, *gone])
