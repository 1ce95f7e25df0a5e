"""Gates and choice: bounds and figures in, verdicts, sentences and one winner out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from sealift.optimize.choose import Chosen, choose, objections
from sealift.optimize.gates import ACCURACY, AGREEMENT, Bounds, Measured, gates_of
from sealift.optimize.report import Comparison, File, Interval, Speed, Standing, Variant, Verdict
from sealift.project.project import Optimize


def comparison(
    metric: str, value: float, low: float, high: float, reference: float = 0.9, n: int = 400
) -> Comparison:
    return Comparison(
        metric=metric,
        n=n,
        reference=reference,
        value=value,
        difference=value - reference,
        interval=Interval(low=low, high=high),
    )


def speed(ratio: float = 2.0, low: float = 1.9, high: float = 2.1, p99: float = 3.0) -> Speed:
    return Speed(
        p50_ms=4 / ratio, p99_ms=p99, rows_per_s=100 * ratio, layout="one run", speedup=ratio,
        speedup_interval=Interval(low=low, high=high),
    )  # fmt: skip


GOOD = comparison("top1", 0.90, -0.005, 0.004)


def measured(**changes: Any) -> Measured:
    return replace(Measured(size_bytes=5_200_000, speed=speed(), accuracy=GOOD), **changes)


DEFAULTS = Optimize()


def bounds(wish: Optimize = DEFAULTS, **changes: Any) -> Bounds:
    return replace(Bounds(wish=wish, permitted_bytes=1e9, reference_bytes=18_900_000), **changes)


def verdicts(found: Measured, held: Bounds) -> dict[str, Verdict]:
    return {gate.name: gate.verdict for gate in gates_of(found, held)}


def test_a_good_variant_passes_every_gate() -> None:
    held = bounds(p99_ms=50, rows_share=True)
    assert set(verdicts(measured(), held).values()) == {Verdict.PASSED}
    assert list(verdicts(measured(), held)) == ["accuracy", "size", "speed", "latency", "batch independence"]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-0.009, 0.01, Verdict.PASSED),
        (-0.030, 0.01, Verdict.NOT_ENOUGH_EVIDENCE),
        (-0.050, -0.02, Verdict.FAILED),
    ],
)
def test_accuracy_is_held_by_the_interval_not_by_the_figure(
    low: float, high: float, verdict: Verdict
) -> None:
    found = measured(accuracy=comparison("top1", 0.9, low, high))
    assert verdicts(found, bounds())[ACCURACY] is verdict


def test_points_of_an_rmse_are_percent_of_the_references() -> None:
    worse = Comparison(
        metric="rmse", n=400, reference=10.0, value=10.05, difference=0.05, interval=Interval(low=0.01, high=0.09),
        higher_is_better=False,
    )  # fmt: skip
    assert verdicts(measured(accuracy=worse), bounds())[ACCURACY] is Verdict.PASSED, "0.1 is 1 % of 10"
    strict = bounds(Optimize(max_accuracy_drop_points=0.05))
    assert verdicts(measured(accuracy=worse), strict)[ACCURACY] is Verdict.FAILED


def test_without_labels_agreement_is_the_gate() -> None:
    agrees = comparison("agreement", 0.975, -0.039, -0.016, reference=1.0, n=600)
    found = verdicts(measured(accuracy=None, agreement=agrees), bounds())
    assert found[AGREEMENT] is Verdict.PASSED
    strict = bounds(Optimize(min_agreement=0.99))
    assert verdicts(measured(accuracy=None, agreement=agrees), strict)[AGREEMENT] is Verdict.FAILED


def test_where_labels_cannot_tell_agreement_is_asked_too() -> None:
    vague = comparison("top1", 0.9, -0.2, 0.2, n=20)
    agrees = comparison("agreement", 0.90, -0.12, -0.08, reference=1.0, n=600)
    found = verdicts(measured(accuracy=vague, agreement=agrees), bounds())
    assert (found[ACCURACY], found[AGREEMENT]) == (Verdict.NOT_ENOUGH_EVIDENCE, Verdict.FAILED)


def test_nothing_to_try_is_not_enough_evidence() -> None:
    gates = gates_of(measured(accuracy=None), bounds())
    assert gates[0].verdict is Verdict.NOT_ENOUGH_EVIDENCE
    assert gates[0].advice == "give [optimize] evaluation or calibration data"


def test_the_other_gates_each_refuse_by_name() -> None:
    bad = measured(
        size_bytes=1_100_000_000, speed=speed(1.0, 0.97, 1.03, p99=80.0),
        row_reason="output y of a row among 2 differs from the row alone", overflow="conv1: 255 * (127 + 127)",
    )  # fmt: skip
    found = verdicts(bad, bounds(p99_ms=50, rows_share=True))
    failed = {name for name, verdict in found.items() if verdict is Verdict.FAILED}
    assert failed == {"size", "speed", "latency", "batch independence", "overflow safety"}
    held = bounds(target_int8=True, p99_ms=50, rows_share=True)
    assert verdicts(bad, held)["overflow safety"] is Verdict.PASSED, "the box is known to have VNNI"


def test_a_noisy_machine_proves_no_speed() -> None:
    found = measured(speed=speed(1.2, 0.9, 1.5))
    assert verdicts(found, bounds())["speed"] is Verdict.NOT_ENOUGH_EVIDENCE
    assert verdicts(found, bounds(Optimize(prefer="size")))["speed"] is Verdict.PASSED


def variant(name: str, ratio: float = 2.0, size: int = 5_000_000, **changes: Any) -> Variant:
    found = measured(size_bytes=size, speed=speed(ratio, ratio * 0.95, ratio * 1.05), **changes)
    wish = Optimize(prefer="size") if changes.pop("by_size", False) else Optimize()
    return Variant(
        name=name, standing=Standing.REFUSED, files=(File(name="model.onnx", sha256="0" * 64, size=size),),
        speed=found.speed, comparisons=(found.accuracy or GOOD,), gates=gates_of(found, bounds(wish)),
    )  # fmt: skip


REFERENCE = variant("fp32", 1.0, 18_900_000)
NOT_BUILT = Variant(name="int8-nncf", standing=Standing.NOT_BUILT, reasons=("nncf is not installed",))
VAGUE = comparison("top1", 0.9, -0.2, 0.2, n=20)


def standings(chosen: Chosen) -> dict[str, str]:
    return {each.name: each.standing.value for each in chosen.variants}


def test_the_fastest_that_passes_ships() -> None:
    chosen = choose([REFERENCE, variant("a", 1.5), variant("b", 2.0), NOT_BUILT], Optimize())
    assert chosen.ships == "b"
    assert chosen.travels == ("b",)
    assert standings(chosen) == {"fp32": "passed", "a": "passed", "b": "ships", "int8-nncf": "not built"}
    assert chosen.variants[1].reasons == ("b is the fastest",)
    assert chosen.verdict.startswith("b ships: 2.00x as fast, 26 % of the size, top1 90.00 % against 90.00 %")


def test_by_size_the_smallest_ships_although_another_is_faster() -> None:
    wish = Optimize(prefer="size")
    chosen = choose([REFERENCE, variant("a", 3.0, 6_000_000), variant("b", 1.5, 4_000_000)], wish)
    assert chosen.ships == "b"
    larger = choose([REFERENCE, variant("c", 3.0, 20_000_000)], wish)
    assert larger.ships == "fp32"
    assert larger.variants[1].reasons == ("it meets every gate, and is not smaller than the reference",)


def test_several_may_travel_the_reference_last() -> None:
    chosen = choose([REFERENCE, variant("a", 1.5), variant("b", 2.0)], Optimize(travel=3))
    assert chosen.travels == ("b", "a", "fp32")
    assert standings(chosen) == {"fp32": "travels", "a": "travels", "b": "ships"}


def test_when_nothing_passes_the_reference_ships_with_the_reasons() -> None:
    slow = variant("int8-dynamic", 0.1)
    chosen = choose([REFERENCE, slow, NOT_BUILT], Optimize(travel=4))
    assert chosen.travels == ("fp32",)
    assert chosen.verdict == "fp32 ships: none of the 2 other variants is better and within every gate"
    assert chosen.variants[1].reasons[0].startswith("speed failed: 0.10x (95 % interval 0.10 to 0.11)")
    assert chosen.variants[2].reasons == ("nncf is not installed",)
    alone = choose([REFERENCE], Optimize())
    assert alone.verdict == "fp32 ships: nothing else was tried"


def test_the_project_says_whether_the_unproven_ships() -> None:
    vague = variant(
        "int8-static", accuracy=VAGUE, agreement=comparison("agreement", 0.99, -0.02, 0.0, reference=1.0)
    )
    kept = choose([REFERENCE, vague], Optimize())
    assert kept.ships == "fp32"
    assert (
        kept.variants[1].reasons[0].startswith("accuracy not enough evidence: top1 90.00 % against 90.00 %")
    )
    shipped = choose([REFERENCE, vague], Optimize(unproven="ship"))
    assert shipped.ships == "int8-static"
    assert 'it may ship because [optimize] unproven = "ship"' in shipped.variants[1].reasons[1]


def test_unproven_never_excuses_what_is_refuted() -> None:
    refuted = variant("int8-static", accuracy=comparison("top1", 0.8, -0.15, -0.05))
    assert objections(refuted, Optimize(unproven="ship"))
    assert choose([REFERENCE, refuted], Optimize(unproven="ship")).ships == "fp32"


def test_standing_and_reasons_are_all_that_choosing_changes() -> None:
    before = [REFERENCE, variant("a")]
    after = choose(before, Optimize()).variants
    plain = [msgspec.structs.replace(each, standing=Standing.REFUSED, reasons=()) for each in after]
    assert plain == before
