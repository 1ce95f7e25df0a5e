"""A lane in the event loop's turn, and for coroutines: one run a turn, windows, demotion, cancellation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.serve.simulated_runs import BAD, Asker, Works, rows_of

from sealift.engine.protocol import Arrays
from sealift.errors import ModelFailed, RequestError, Unavailable
from sealift.model.row_form import row_form
from sealift.serve.admission import Admission
from sealift.serve.lane import LOOP_BYTES, Job
from sealift.serve.ticket import Ticket

MakeWorks = Callable[..., Works]


@pytest.fixture
def works() -> Iterator[MakeWorks]:
    """Makes lanes; each is stopped, and none may have reported anything."""
    made: list[Works] = []

    def make(*arguments: int, **options: object) -> Works:
        made.append(Works(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def add(one: Works, *requests: float | tuple[float, ...], ticket: Ticket | None = None) -> list[Asker]:
    """Requests that arrive in one turn of the loop."""
    made = [one.job(*(each if isinstance(each, tuple) else (each,)), ticket=ticket) for each in requests]
    for job, _ in made:
        job.since = time.perf_counter()
    add_all(one, [job for job, _ in made])
    return [asker for _, asker in made]


def add_all(one: Works, jobs: Sequence[Job]) -> None:
    """In one turn of the loop."""

    def turn() -> None:
        for job in jobs:
            one.lane.add(job)

    one.loop.call(turn)


def answers(askers: Sequence[Asker]) -> list[Any]:
    return [asker.wait() for asker in askers]


# ---------------------------------------------------------------------- in the loop's turn


def test_everything_of_one_turn_is_one_run(works: MakeWorks) -> None:
    one = works(quick=True)
    assert answers(add(one, 1.0, 2.0, 3.0)) == [[2.0], [4.0], [6.0]]
    assert answers(add(one, 4.0)) == [[8.0]]
    assert one.session.runs == [[1.0, 2.0, 3.0], [4.0]]
    assert one.tally.rows == [3, 1]


def test_a_turn_with_more_than_fits_is_several_runs_in_order(works: MakeWorks) -> None:
    one = works(max_rows=4, quick=True)
    askers = add(one, *[float(number) for number in range(10)], (10.0, 11.0, 12.0))
    assert answers(askers)[-1] == [20.0, 22.0, 24.0]
    assert [len(run) for run in one.session.runs] == [4, 4, 2, 3]
    assert [value for run in one.session.runs for value in run] == [float(number) for number in range(13)]


def test_where_rows_may_not_share_a_run_each_has_its_own(works: MakeWorks) -> None:
    one = works(max_rows=1, quick=True)
    assert answers(add(one, 1.0, 2.0)) == [[2.0], [4.0]]
    assert one.session.runs == [[1.0], [2.0]]


def test_rows_that_came_the_short_way_are_stacked(works: MakeWorks) -> None:
    one = works(quick=True)
    form = row_form(one.predictors[0].model.signature)
    assert form is not None
    askers = [Asker() for _ in range(3)]
    jobs = [Job([number, 0.5], Ticket(), asker, None, form) for number, asker in enumerate(askers)]
    add_all(one, jobs)
    assert answers(askers) == [[0.0], [2.0], [4.0]]
    assert one.session.runs == [[0.0, 1.0, 2.0]]


def test_a_value_out_of_range_fails_its_own_row_only(works: MakeWorks) -> None:
    one = works(quick=True)
    form = row_form(one.predictors[0].model.signature)
    askers = [Asker() for _ in range(3)]
    for value, asker in zip((1.0, 1e300, 3.0), askers, strict=True):
        one.loop.call(
            lambda value=value, asker=asker: one.lane.add(Job([value, 0.0], Ticket(), asker, None, form))  # type: ignore[misc]
        )
    assert answers(askers) == [[2.0], "invalid_element", [6.0]]


def test_one_bad_row_fails_alone_in_the_turn(works: MakeWorks) -> None:
    one = works(quick=True)
    assert answers(add(one, 1.0, BAD, 3.0)) == [[2.0], "model_failed", [6.0]]


def test_late_and_abandoned_ones_of_a_turn_are_not_run(works: MakeWorks) -> None:
    one = works(quick=True)
    gone = Ticket()
    gone.abandoned = True
    late = Ticket(time.perf_counter() - 1.0)
    jobs = [one.job(1.0, ticket=gone), one.job(2.0, ticket=late), one.job(3.0)]
    add_all(one, [job for job, _ in jobs])
    assert answers([asker for _, asker in jobs]) == ["abandoned", "deadline_passed", [6.0]]
    assert one.session.runs == [[3.0]]
    assert one.tally.dropped == ["deadline"]  # who has gone is counted when he goes


def test_a_full_batch_ends_the_window_at_once(works: MakeWorks) -> None:
    """The window is a minute: who waits for its end never sees an answer here."""
    one = works(max_rows=3, wait_s=60.0, quick=True)
    askers = add(one, 1.0)
    askers += add(one, 2.0)
    assert one.session.runs == []
    askers += add(one, 3.0)
    assert answers(askers) == [[2.0], [4.0], [6.0]]
    askers = add(one, 4.0)
    askers += add(one, 5.0, 6.0, 7.0)
    assert answers(askers[:3]) == [[8.0], [10.0], [12.0]]
    assert one.session.runs == [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    one.lane.hurry()
    one.loop.call(one.lane.flush)
    assert answers(askers[3:]) == [[14.0]]


def test_a_window_in_the_turn_ends_by_itself_and_before_a_deadline(works: MakeWorks) -> None:
    one = works(max_rows=3, wait_s=0.002, quick=True)
    assert answers(add(one, 1.0)) == [[2.0]]
    patient = works(max_rows=3, wait_s=60.0, quick=True)
    job, asker = half_spent(patient)
    add_all(patient, [job])
    assert asker.wait() == [2.0]


def half_spent(one: Works) -> tuple[Job, Asker]:
    """A request whose time is half over in a moment: then it runs."""
    now = time.perf_counter()
    job, asker = one.job(1.0, ticket=Ticket(now + 20.0))
    job.since = now - 19.9
    return job, asker


def test_a_newcomer_with_a_deadline_shortens_the_window_of_all(works: MakeWorks) -> None:
    one = works(max_rows=3, wait_s=60.0, quick=True)
    askers = add(one, 3.0)
    job, asker = half_spent(one)
    add_all(one, [job])
    assert answers([*askers, asker]) == [[6.0], [2.0]]
    assert one.session.runs == [[3.0, 1.0]]


def test_a_model_that_turns_slow_leaves_the_loop(works: MakeWorks, caplog: pytest.LogCaptureFixture) -> None:
    one = works(quick=True)
    quick, slow = one.predictors[0].options, replace(one.predictors[0].options, quick_s=-1.0)
    for options, expected in ((slow, True), (slow, True), (quick, True), (slow, True), (slow, True)):
        one.predictors[0].options = options
        answers(add(one, 1.0))
        assert one.loop.call(lambda: one.lane.in_turn) is expected
    one.predictors[0].options = slow
    answers(add(one, 1.0))
    assert one.loop.call(lambda: one.lane.in_turn) is False, "three slow runs in a row"
    assert "so they leave the event loop" in caplog.text
    one.start()
    assert one.loop.run(one.lane.infer(rows_of(5.0), None, Ticket()))["y"][0, 0] == 10.0


def test_what_a_request_waited_and_ran_adds_up_even_after_a_neighbours_failure(works: MakeWorks) -> None:
    one = works(quick=True)
    tickets = [Ticket() for _ in range(8)]
    began = time.perf_counter()
    made = [one.job(BAD if not number else 1.0, ticket=ticket) for number, ticket in enumerate(tickets)]
    for job, _ in made:
        job.since = began
    add_all(one, [job for job, _ in made])
    answers([asker for _, asker in made])
    took = time.perf_counter() - began
    for ticket in tickets:
        assert ticket.inference_s > 0
        assert ticket.queue_s + ticket.inference_s <= took


@pytest.mark.parametrize("bad", [False, True], ids=["good", "one bad"])
def test_items_of_one_list_that_share_a_run_count_it_once(works: MakeWorks, bad: bool) -> None:
    one = works(1).start()
    one.occupy()
    listed, single = Ticket(), Ticket()
    askers = [one.put(float(number), ticket=listed) for number in range(6)]
    askers.append(one.put(BAD if bad else 7.0, ticket=single))
    began = time.perf_counter()
    one.session.gate.set()
    answers(askers)
    took = time.perf_counter() - began
    assert single.inference_s > 0
    assert listed.inference_s <= took
    if not bad:
        assert listed.inference_s == single.inference_s


# ---------------------------------------------------------------------- for coroutines


def test_coroutines_of_one_turn_share_a_run(works: MakeWorks) -> None:
    one = works(quick=True)

    async def both() -> tuple[Arrays, Arrays]:
        infer = one.lane.infer
        return await asyncio.gather(
            infer(rows_of(1.0), None, Ticket()), infer(rows_of(2.0, 3.0), ["y"], Ticket())
        )

    first, second = one.loop.run(both())
    np.testing.assert_array_equal(first["y"], [[2.0, 0.0]])
    np.testing.assert_array_equal(second["y"], [[4.0, 0.0], [6.0, 0.0]])
    assert one.session.runs == [[1.0, 2.0, 3.0]]
    assert one.lane.admission.inside == 0


def test_a_failure_is_raised_where_it_was_asked(works: MakeWorks) -> None:
    one = works(1).start()

    async def both() -> tuple[Arrays | BaseException, Arrays | BaseException]:
        infer = one.lane.infer
        return await asyncio.gather(
            infer(rows_of(BAD), None, Ticket()), infer(rows_of(1.0), None, Ticket()), return_exceptions=True
        )

    failed, answered = one.loop.run(both())
    assert isinstance(failed, ModelFailed)
    assert not isinstance(answered, BaseException)
    assert one.lane.admission.inside == 0


def test_a_cancelled_coroutine_abandons_its_work(works: MakeWorks) -> None:
    one = works(1).start()
    one.occupy()
    ticket = Ticket()

    async def give_up() -> None:
        asking = asyncio.ensure_future(one.lane.infer(rows_of(1.0), None, ticket))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    one.loop.run(give_up())
    assert ticket.abandoned
    last = one.put(2.0)
    one.session.gate.set()
    assert last.wait() == [4.0]
    assert one.session.runs == [[0.0], [2.0]]
    assert one.tally.dropped == ["abandoned"]
    assert one.lane.admission.inside == 0


def failure(one: Works, arrays: Arrays) -> RequestError:
    with pytest.raises(RequestError) as caught:
        one.loop.run(one.lane.infer(arrays, None, Ticket()))
    return caught.value


def test_who_could_not_be_answered_in_time_is_refused_and_counted(works: MakeWorks) -> None:
    one = works(1).start()
    one.lane.admission = Admission(0.05)
    first = asyncio.run_coroutine_threadsafe(one.lane.infer(rows_of(1.0), None, Ticket()), one.loop.loop)
    one.loop.call(lambda: None)
    first.result(10)
    now = time.perf_counter()
    for number in range(20):  # runs that are far too slow for the promise
        one.lane.admission.enter(now + number)
        one.lane.admission.left(now + number + 1, 1.0, counts=True)
    assert one.lane.admission.enter(time.perf_counter())
    error = failure(one, rows_of(1.0))
    assert isinstance(error, Unavailable)
    assert (error.status, error.code) == (503, "overloaded")
    assert one.tally.dropped == ["overload"]
    assert one.lane.admission.inside == 1


@pytest.mark.parametrize("quick", [False, True])
def test_a_full_queue_refuses_coroutines_and_lets_nobody_in(works: MakeWorks, quick: bool) -> None:
    """Also for a quick model whose input is too large for the loop: that goes to the threads."""
    one = works(1, 1, max_rows=1, quick=quick).start()
    one.occupy()
    one.put(1.0)
    large = {"x": np.zeros((LOOP_BYTES // 8 + 1, 2), np.float32)}
    error = failure(one, large)
    assert (error.status, error.code) == (503, "queue_full")
    assert one.tally.dropped == ["queue_full"]
    assert one.lane.admission.inside == 0


def test_a_large_input_of_a_quick_model_runs_on_a_thread(works: MakeWorks) -> None:
    one = works(1, quick=True).start()
    large = {"x": np.ones((LOOP_BYTES // 8 + 1, 2), np.float32)}
    one.session.gate.clear()
    asking = asyncio.run_coroutine_threadsafe(one.lane.infer(large, None, Ticket()), one.loop.loop)
    assert one.session.begun.acquire(timeout=10)
    one.loop.call(lambda: None)  # the loop goes on meanwhile
    one.session.gate.set()
    assert asking.result(10)["y"].shape == large["x"].shape


def test_arrays_that_do_not_share_a_first_axis_run_alone(works: MakeWorks) -> None:
    one = works(quick=True)
    keys = {one.lane.key_of({"a": np.zeros(2), "b": np.zeros(3)})[0] for _ in range(3)}
    keys |= {one.lane.key_of({"a": np.zeros(())})[0], one.lane.key_of({"a": np.zeros((0, 2))})[0]}
    assert len(keys) == 5, "each is alone"
    same = one.lane.key_of({"a": np.zeros((2, 3)), "b": np.zeros((2, 1))})
    assert same == (one.lane.key_of({"a": np.ones((4, 3)), "b": np.ones((4, 1))})[0], 2)
    others: list[Arrays] = [
        {"a": np.zeros((2, 4)), "b": np.zeros((2, 1))},
        {"a": np.zeros((2, 3), np.float32), "b": np.zeros((2, 1))},
        {"a": np.zeros((2, 3)), "c": np.zeros((2, 1))},
    ]
    assert all(one.lane.key_of(other)[0] != same[0] for other in others)
