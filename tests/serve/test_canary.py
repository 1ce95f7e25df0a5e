"""Canaries run like requests, one at a time, and a stuck one shows."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tests.serve.nets import mlp, served

from sealift.engine.choose import engine_for
from sealift.engine.protocol import Session
from sealift.errors import StoreError
from sealift.meter.beat import Beat
from sealift.serve.canary import Canaries
from sealift.serve.crew import Crew
from sealift.serve.predictor import load_predictor
from sealift.serve.ticket import Ticket


class Golden:
    """Gives back what the test has put in; raises what is an exception."""

    def __init__(self, *found: str | Exception) -> None:
        self._found = iter(found)
        self.sessions: Mapping[str, Session] = {}

    def run(self, sessions: Mapping[str, Session]) -> str:
        self.sessions = sessions
        found = next(self._found, "")
        if isinstance(found, Exception):
            raise found
        return found


class Stuck:
    """Does not end before the test lets it."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.begun = 0

    def run(self, _: Mapping[str, Session]) -> str:
        self.begun += 1
        assert self.let_go.wait(20)
        return ""


def beats(canaries: Canaries, is_it: Callable[[Beat], bool]) -> Coroutine[Any, Any, Beat]:
    async def wait() -> Beat:
        async with asyncio.timeout(20):
            while not is_it(beat := canaries.add_to(Beat())):
                await asyncio.sleep(0.005)
            return beat

    return wait()


def hold(gate: threading.Event) -> None:
    assert gate.wait(20)


@contextmanager
def crew(queue_limit: int = 8) -> Iterator[Crew]:
    running = Crew(1, queue_limit, asyncio.get_running_loop())
    running.start()
    yield running
    running.stop()


def test_problems_and_errors_are_failures_and_the_last_result_is_told() -> None:
    async def scenario() -> None:
        golden = Golden("output y differs", StoreError("golden.json is gone"), ValueError("a bug"), "")
        with crew() as work:
            canaries = Canaries(golden, {}, work)
            running = asyncio.ensure_future(canaries.run())
            canaries.every(0.001)
            seen = {}
            for number in (1, 2, 3, 4):
                beat = await beats(canaries, lambda beat, number=number: beat.canaries >= number)  # type: ignore[misc]
                seen[beat.canaries] = (beat.canary_failures, beat.canary_problem)
            running.cancel()
        possible = {1: (1, "output y differs"), 2: (2, "golden.json is gone"), 3: (3, "ValueError('a bug')")}
        assert all(seen[number] == possible.get(number, (3, "")) for number in seen)

    asyncio.run(scenario())


def test_no_canary_runs_before_it_is_wanted_nor_after() -> None:
    async def scenario() -> None:
        golden = Golden()
        with crew() as work:
            canaries = Canaries(golden, {}, work)
            running = asyncio.ensure_future(canaries.run())
            await asyncio.sleep(0)
            assert canaries.add_to(Beat()) == Beat()
            canaries.every(600.0)
            assert (await beats(canaries, lambda beat: beat.canaries == 1)).canary_failures == 0
            canaries.every(0.0)
            running.cancel()

    asyncio.run(scenario())


def test_a_canary_that_does_not_end_fails_again_and_again_but_only_one_runs() -> None:
    async def scenario() -> None:
        stuck = Stuck()
        with crew() as work:
            canaries = Canaries(stuck, {}, work, patience_s=0.02)
            running = asyncio.ensure_future(canaries.run())
            canaries.every(0.001)
            beat = await beats(canaries, lambda beat: beat.canary_failures >= 3)
            assert beat.canary_problem == "not ended after 0 s"
            assert stuck.begun == 1
            stuck.let_go.set()
            await beats(canaries, lambda beat: beat.canary_problem == "")
            running.cancel()

    asyncio.run(scenario())


def test_a_full_queue_is_no_failure_of_the_canary() -> None:
    async def scenario() -> None:
        stuck, gate = Golden(), threading.Event()
        with crew(queue_limit=0) as work:
            work.begin(lambda: hold(gate), Ticket())
            canaries = Canaries(stuck, {}, work)
            await canaries._once(stuck)
            assert canaries.add_to(Beat()) == Beat()
            gate.set()

    asyncio.run(scenario())


def test_a_canary_runs_the_models_own_session(tmp_path: Path) -> None:
    model = served("net", mlp(tmp_path / "net.onnx"))
    predictor = load_predictor(model, engine_for(model.path))
    golden = Golden()

    async def scenario() -> None:
        with crew() as work:
            canaries = Canaries(golden, {"net": predictor}, work)
            await canaries._once(golden)

    asyncio.run(scenario())
    session = golden.sessions["net"]
    assert session.device == "cpu"
    assert session.run({"x": np.zeros((1, 3), np.float32)}).keys() == {"score"}
