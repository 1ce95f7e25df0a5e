"""Counters, gauges and histograms with labels; a `Meter` is the set that one process keeps.

Not locked: one thread (the event loop's) writes and reads. Work on other threads hands its figures back
with its result. Look a child up once (`family.labels(...)`), keep it, and an update costs an addition.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Generic, Literal, TypeVar

LATENCY_BUCKETS_S: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds in seconds, ends included; 0.05 is the guide's p99."""

FOLD_AT: Final = 4096
"""Who keeps observations back hands them on when there are so many."""

_MANY: Final = 64

Kind = Literal["counter", "gauge", "histogram"]
Child = TypeVar("Child", "Counter", "Gauge", "Histogram")


class Counter:
    """A total that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float = 0

    def add(self, amount: float = 1) -> None:
        """Add `amount`, which is never negative."""
        self.value += amount


class Gauge:
    """A value that goes up and down, or is read when somebody looks (`follow`)."""

    __slots__ = ("_read", "_value")

    def __init__(self) -> None:
        self._value: float = 0
        self._read: Callable[[], float] | None = None

    @property
    def value(self) -> float:
        """The value now."""
        return self._value if self._read is None else self._read()

    def set(self, value: float) -> None:
        """Replace the value."""
        self._value = value

    def follow(self, read: Callable[[], float]) -> None:
        """From now on ask `read` at each reading; nothing is paid in between."""
        self._read = read

    def follow_too(self, read: Callable[[], float]) -> None:
        """From now on add what `read` says to what was read before."""
        before = self._read
        self._read = read if before is None else lambda: before() + read()


class Histogram:
    """Observations counted per bucket; `bounds` are ascending upper ends, included; one more for the rest."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = LATENCY_BUCKETS_S) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        """How many observations there were."""
        return sum(self.counts)

    def observe(self, value: float, times: int = 1) -> None:
        """Count one value, or the same one several times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def observe_all(self, values: Sequence[float]) -> None:
        """Count many values, at a twentieth of the price of one by one."""
        if len(values) < _MANY:
            for value in values:
                self.observe(value)
            return
        import numpy as np  # whoever observes so many runs a model with it

        array = np.array(values, np.float64)
        buckets = np.bincount(np.searchsorted(self.bounds, array), minlength=len(self.counts))
        self.counts = [before + new for before, new in zip(self.counts, buckets.tolist(), strict=True)]
        self.sum += float(array.sum())


class Family(Generic[Child]):
    """One metric name with its children, one per combination of label values."""

    def __init__(
        self, name: str, about: str, kind: Kind, labels: Sequence[str], make: Callable[[], Child]
    ) -> None:
        self.name = name
        self.about = about
        self.kind: Kind = kind
        self.label_names = tuple(labels)
        self.children: dict[tuple[str, ...], Child] = {}
        self._make: Callable[[], Child] = make

    def labels(self, *values: str) -> Child:
        """The child with these label values, made at first use; keep it where the path is hot."""
        child = self.children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has labels {self.label_names}, got {values}")
            child = self.children[values] = self._make()
        return child


AnyFamily = Family[Counter] | Family[Gauge] | Family[Histogram]


class Meter:
    """The metrics of one process, in the order they were declared."""

    def __init__(self) -> None:
        self._families: dict[str, AnyFamily] = {}

    def __iter__(self) -> Iterator[AnyFamily]:
        return iter(self._families.values())

    def counter(self, name: str, about: str, labels: Sequence[str] = ()) -> Family[Counter]:
        """Declare a counter; its name ends in `_total`."""
        return self._declare(Family(name, about, "counter", labels, Counter))

    def gauge(self, name: str, about: str, labels: Sequence[str] = ()) -> Family[Gauge]:
        """Declare a gauge."""
        return self._declare(Family(name, about, "gauge", labels, Gauge))

    def histogram(
        self, name: str, about: str, labels: Sequence[str] = (), bounds: Sequence[float] = LATENCY_BUCKETS_S
    ) -> Family[Histogram]:
        """Declare a histogram with fixed, ascending bucket bounds."""
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"{name}: bucket bounds must ascend, got {tuple(bounds)}")
        return self._declare(Family(name, about, "histogram", labels, lambda: Histogram(bounds)))

    def _declare(self, family: Family[Child]) -> Family[Child]:
        if family.name in self._families:
            raise ValueError(f"{family.name} is declared twice")
        self._families[family.name] = family
        return family
