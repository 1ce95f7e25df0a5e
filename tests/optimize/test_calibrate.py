"""Ranges from a stream: exact, the same however it went, and from where it was interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as some
from numpy.typing import NDArray
from onnx import TensorProto
from tests.optimize.nets import Graph, encoder, mlp, pictures, residual_net, sentences

from sealift.errors import ModelError, UsageError
from sealift.events import Silent
from sealift.model.arrays import Arrays
from sealift.optimize.quantise.calibrate import CalibrationWish, Observed, calibrate
from sealift.optimize.quantise.fuse import fuse
from sealift.optimize.quantise.histogram import BINS, Histogram, NotFinite, exponent_of
from sealift.optimize.quantise.probe import grouped
from sealift.optimize.quantise.ranges import METHODS, range_of
from sealift.optimize.quantise.static_int8 import StaticRecipe, quantise_static

FLOATS = some.arrays(
    np.float32, st.integers(0, 40), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)
)


class Told(Silent):
    """Remembers what was reported."""

    def __init__(self) -> None:
        self.items = 0
        self.notes: list[str] = []

    def advance(self, amount: int = 1) -> None:
        self.items += amount

    def note(self, text: str) -> None:
        self.notes.append(text)


class CutOff:
    """Items that end with the user's Ctrl-C; `Broken` before the item `at`."""

    def __init__(self, items: list[tuple[str, Arrays]], at: int) -> None:
        self.items = items
        self.at = at

    def __iter__(self) -> Iterator[tuple[str, Arrays]]:
        yield from self.items[: self.at]
        raise KeyboardInterrupt


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net")
    return fuse(residual_net(folder / "net.onnx", (4, 8), side=12), folder / "fused.onnx").path


def histogram(*batches: NDArray[Any]) -> Histogram:
    made = Histogram.empty()
    for values in batches:
        made.add(values)
    return made


def same(one: Histogram, other: Histogram) -> bool:
    ends = (one.low, one.high, one.exponent) == (other.low, other.high, other.exponent)
    return ends and bool(np.array_equal(one.counts, other.counts))


def equal(one: Observed, other: Observed) -> bool:
    return one.tensors.keys() == other.tensors.keys() and all(
        same(one.tensors[name], other.tensors[name]) for name in one.tensors
    )


@given(st.lists(FLOATS, max_size=5), st.randoms())
@settings(max_examples=150, deadline=None)
def test_a_range_that_grew_counts_as_if_it_had_been_that_wide_from_the_start(
    batches: list[NDArray[np.float32]], random: Any
) -> None:
    grown = histogram(*batches)
    wide = Histogram.empty()
    wide.grow(grown.exponent)
    shuffled = list(batches)
    random.shuffle(shuffled)
    for values in shuffled:
        wide.add(values)
    assert same(grown, wide)
    assert grown.counts.sum() == sum(map(len, batches))


@given(FLOATS)
@settings(max_examples=100, deadline=None)
def test_every_value_lies_in_its_bin(values: NDArray[np.float32]) -> None:
    made = histogram(values)
    edges = (np.arange(BINS + 1) - BINS // 2) * made.width
    expected = np.histogram(values.astype(np.float64), edges)[0]
    assert np.array_equal(made.counts, expected)


def test_ends_are_exact_and_the_range_is_the_next_power_of_two() -> None:
    made = histogram(np.array([[-0.75, 0.5], [4.0, 0.0]], np.float16))
    assert (made.low, made.high, made.exponent) == (-0.75, 4.0, 3)
    assert exponent_of(0.0) == -64


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_counts_nothing(bad: float) -> None:
    made = histogram(np.ones(3, np.float32))
    with pytest.raises(NotFinite):
        made.add(np.array([1, bad], np.float32))
    assert same(made, histogram(np.ones(3, np.float32)))


def test_the_methods_clip_as_they_say() -> None:
    bulk = np.linspace(-1, 1, 100_000, dtype=np.float32)
    made = histogram(bulk, np.array([64.0], np.float32))
    assert range_of(made, "minmax") == (-1.0, 64.0)
    low, high = range_of(made, "percentile 99.99")
    assert low == pytest.approx(-1, abs=made.width)
    assert high == pytest.approx(1, abs=made.width)
    normal = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    assert range_of(histogram(normal, np.array([64.0], np.float32)), "entropy")[1] < 10


def test_a_spike_at_zero_does_not_decide_where_entropy_clips() -> None:
    values = np.maximum(np.random.default_rng(0).standard_normal(200_000), 0).astype(np.float32)
    assert 2.5 < range_of(histogram(values), "entropy")[1] <= values.max()


@pytest.mark.parametrize("method", METHODS)
def test_zero_is_always_in_the_range(method: str) -> None:
    assert range_of(Histogram.empty(), method) == (0.0, 0.0)
    assert range_of(histogram(np.zeros(5, np.float32)), method) == (0.0, 0.0)
    low, high = range_of(histogram(np.full(5, 3, np.float32)), method)
    assert low == 0.0
    assert high >= 3.0


def test_an_unknown_method_is_refused_with_the_known_ones(net: Path, tmp_path: Path) -> None:
    observed = calibrate(net, pictures(1, 12), CalibrationWish(), tmp_path / "state", Silent())
    with pytest.raises(UsageError, match="no calibration method 'mean'; expected one of: minmax"):
        observed.ranges("mean")


def test_order_memory_and_stride_do_not_change_what_is_observed(net: Path, tmp_path: Path) -> None:
    items = pictures(7, 12)
    plain = calibrate(net, items, CalibrationWish(), tmp_path / "a", Silent())
    turned = calibrate(net, items[::-1], CalibrationWish(every=2), tmp_path / "b", Silent())
    tight = calibrate(net, items, CalibrationWish(memory_bytes=5000, every=3), tmp_path / "c", Silent())
    assert equal(plain, turned)
    assert equal(plain, tight)


def test_what_is_observed_is_what_flows_through_the_model(tmp_path: Path) -> None:
    model = mlp(tmp_path / "mlp.onnx")
    x = np.random.default_rng(3).standard_normal((50, 16)).astype(np.float32)
    observed = calibrate(model, [("rows", {"x": x})], CalibrationWish(), tmp_path / "state", Silent())
    assert observed.tensors.keys() == {"x", "h0.relu", "y"}
    assert observed.ranges("minmax")["x"] == (float(x.min()), float(x.max()))


def test_items_of_different_length_are_measured_anew(tmp_path: Path) -> None:
    model, items, told = encoder(tmp_path / "net.onnx", layers=1, hidden=16), sentences(4), Told()
    wish = CalibrationWish(memory_bytes=4000, every=1)
    observed = calibrate(model, items, wish, tmp_path / "state", told)
    assert (observed.items, told.items) == (4, 4)
    whole = calibrate(model, items, CalibrationWish(), tmp_path / "other", Silent())
    assert equal(observed, whole)


def test_groups_stay_below_the_bound_and_keep_the_order() -> None:
    sizes = {"a": 3, "b": 4, "c": 9, "d": 1, "e": 1}
    assert list(grouped(sizes, 8)) == [("a", "b"), ("c",), ("d", "e")]
    assert list(grouped({}, 8)) == []


@pytest.mark.parametrize("at", [1, 4, 5, 6])
def test_interrupted_anywhere_and_resumed_gives_the_same_bytes(net: Path, tmp_path: Path, at: int) -> None:
    items, wish, told = pictures(6, 12), CalibrationWish(every=2), Told()
    straight = calibrate(net, items, wish, tmp_path / "straight", Silent())
    with pytest.raises(KeyboardInterrupt):
        calibrate(net, CutOff(items, at), wish, tmp_path / "state", Silent())
    resumed = calibrate(net, items, wish, tmp_path / "state", told)
    assert told.notes == ([f"Calibration continues after {at // 2 * 2} items."] if at > 1 else [])
    recipe = StaticRecipe(method="entropy")
    models = [
        quantise_static(net, observed, recipe, tmp_path / f"{number}.onnx").read_bytes()
        for number, observed in enumerate((straight, resumed))
    ]
    assert models[0] == models[1]


def test_what_is_complete_is_not_run_again(net: Path, tmp_path: Path) -> None:
    items, told = pictures(3, 12), Told()
    first = calibrate(net, items, CalibrationWish(), tmp_path / "state", Silent())
    stamp = (tmp_path / "state").stat().st_mtime_ns
    assert equal(first, calibrate(net, items, CalibrationWish(), tmp_path / "state", told))
    assert told.items == 3
    assert (tmp_path / "state").stat().st_mtime_ns == stamp


def test_a_state_of_other_items_is_discarded_with_a_note(net: Path, tmp_path: Path) -> None:
    told, items = Told(), pictures(3, 12, seed=2)
    calibrate(net, pictures(3, 12), CalibrationWish(), tmp_path / "state", Silent())
    observed = calibrate(net, items, CalibrationWish(), tmp_path / "state", told)
    assert told.notes == ["The calibration that was begun earlier saw other items; it begins anew."]
    assert equal(observed, calibrate(net, items, CalibrationWish(), tmp_path / "fresh", Silent()))


def test_a_state_of_more_items_than_there_are_is_discarded(net: Path, tmp_path: Path) -> None:
    items, told = pictures(3, 12), Told()
    calibrate(net, items, CalibrationWish(), tmp_path / "state", Silent())
    assert calibrate(net, items[:2], CalibrationWish(), tmp_path / "state", told).items == 2
    assert len(told.notes) == 1


def test_a_state_of_another_model_or_wish_is_discarded_with_a_note(net: Path, tmp_path: Path) -> None:
    told, items = Told(), pictures(2, 12)
    calibrate(net, items, CalibrationWish(), tmp_path / "state", Silent())
    calibrate(net, items, CalibrationWish(kinds=("Conv",)), tmp_path / "state", told)
    other = residual_net(tmp_path / "other.onnx", (4, 8), side=12, classes=3)
    calibrate(other, items, CalibrationWish(), tmp_path / "state", told)
    expected = "The calibration that was begun earlier is of another model or another wish; it begins anew."
    assert told.notes == [expected, expected]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut", b"no archive at all"])
def test_a_damaged_state_is_discarded_with_a_note(net: Path, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "state").write_bytes(damage)
    told = Told()
    assert calibrate(net, pictures(1, 12), CalibrationWish(), tmp_path / "state", told).items == 1
    assert told.notes == ["state is damaged; the calibration begins anew."]


def test_a_nan_names_the_item_and_the_tensor_and_keeps_the_state(net: Path, tmp_path: Path) -> None:
    items = pictures(3, 12)
    items[2][1]["image"][0, 0, 0, 0] = np.nan
    with pytest.raises(
        ModelError, match="calibration item picture 2: the tensor 'image' holds NaN"
    ) as caught:
        calibrate(net, items, CalibrationWish(every=2), tmp_path / "state", Silent())
    assert caught.value.next_step is not None
    told = Told()
    calibrate(net, items[:2], CalibrationWish(every=2), tmp_path / "state", told)
    assert told.notes == ["Calibration continues after 2 items."]


def test_an_item_that_the_model_refuses_is_named(net: Path, tmp_path: Path) -> None:
    wrong = [("odd.png", {"image": np.zeros((1, 4, 12, 12), np.float32)})]
    with pytest.raises(ModelError, match=r"calibration item odd\.png: the model refused it"):
        calibrate(net, wrong, CalibrationWish(), tmp_path / "state", Silent())
    assert list(tmp_path.iterdir()) == []


def test_no_item_and_nothing_to_quantise_are_refused(net: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no item to calibrate on"):
        calibrate(net, [], CalibrationWish(), tmp_path / "state", Silent())
    graph = Graph()
    graph.node("Tanh", ["x"], "y")
    bare = graph.save(tmp_path / "bare.onnx", {"x": (TensorProto.FLOAT, ["n", 2])}, {"y": ["n", 2]})
    with pytest.raises(ModelError, match="nothing that static quantising could use"):
        calibrate(bare, pictures(1), CalibrationWish(), tmp_path / "state", Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["bare.onnx"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.optimize.nets import pictures
from sealift.events import Silent
from sealift.optimize.quantise.calibrate import CalibrationWish, calibrate

class Dying(Silent):
    seen = 0
    def advance(self, amount=1):
        self.seen += amount
        if self.seen == 5:
            os.kill(os.getpid(), signal.SIGKILL)

calibrate(Path(sys.argv[1]), pictures(8, 12), CalibrationWish(every=2), Path(sys.argv[2]), Dying())
"""


@pytest.mark.slow
def test_killed_and_resumed_gives_the_same_bytes(net: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(net), str(tmp_path / "state")]
    done = subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    told, items, wish = Told(), pictures(8, 12), CalibrationWish(every=2)
    resumed = calibrate(net, items, wish, tmp_path / "state", told)
    assert told.notes == ["Calibration continues after 4 items."]
    assert equal(resumed, calibrate(net, items, wish, tmp_path / "fresh", Silent()))


MEMORY = """
import json, resource, sys
from pathlib import Path
from tests.optimize.nets import pictures
from sealift.events import Silent
from sealift.optimize.quantise.calibrate import CalibrationWish, calibrate

class Many:
    def __iter__(self):
        for number in range(60):
            yield from pictures(1, 160, seed=number)

class Watch(Silent):
    peaks = []
    def advance(self, amount=1):
        self.peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

watch = Watch()
calibrate(Path(sys.argv[1]), Many(), CalibrationWish(every=4), Path(sys.argv[2]), watch)
print(json.dumps([watch.peaks[10], watch.peaks[-1]]))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_items(tmp_path: Path) -> None:
    model = residual_net(tmp_path / "net.onnx", (16, 16), side=160)
    command = [sys.executable, "-c", MEMORY, str(model), str(tmp_path / "state")]
    done = subprocess.run(command, check=True, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    early_kb, last_kb = json.loads(done.stdout)
    kept = 50 * 7 * 16 * 80 * 80 * 4 / 1024  # what fifty items' activations would take
    assert last_kb - early_kb < kept / 20
