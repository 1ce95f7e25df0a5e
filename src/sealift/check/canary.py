"""The goldens of a release as canaries: one of them at a time through the sessions of a running worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from sealift.check.golden import Golden, differences, golden_file, read_set
from sealift.engine.protocol import Arrays, Session
from sealift.model.payload import read_payload
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel, Service


@dataclass(slots=True)
class GoldenCanary:
    """Each call runs the next golden input, models in turn; on one thread at a time.

    A payload goes through the pre-processing that requests go through, where the session has it (`pipeline`);
    else through one of its own, so that a handler is loaded a second time.
    """

    turns: Sequence[tuple[ServedModel, Golden]]
    folder: Path
    _next: int = 0
    _pipelines: dict[str, Pipeline] = field(default_factory=dict)

    def run(self, sessions: Mapping[str, Session]) -> str:
        """As `serve.canary.Canary.run`: what is not as recorded, with the model's name, or an empty string.

        Raises: SealiftError: it does not run at all.
        """
        model, golden = self.turns[self._next]
        self._next = (self._next + 1) % len(self.turns)
        session = sessions[model.name]
        outputs = session.run(self._inputs(model, golden, session))
        found = differences(golden, outputs)
        return f"model {model.name}: {'; '.join(found)}" if found else ""

    def _inputs(self, model: ServedModel, golden: Golden, session: Session) -> Arrays:
        if golden.payload is None:
            return golden.tensors()
        return self._pipeline(model, session).prepare(read_payload(self.folder / golden.payload)).inputs

    def _pipeline(self, model: ServedModel, session: Session) -> Pipeline:
        theirs = getattr(session, "pipeline", None)
        if isinstance(theirs, Pipeline):
            return theirs
        if model.name not in self._pipelines:
            self._pipelines[model.name] = build_pipeline(model)
        return self._pipelines[model.name]


def load_canary(service: Service, goldens: Path) -> GoldenCanary | None:
    """The canary of a release; None where nothing of it could be recorded.

    Args:
        goldens: the folder of recorded inputs, as for `check_service`.
    Raises: StoreError: the recorded inputs are missing or damaged.
    """
    recorded = [read_set(golden_file(goldens, model)).goldens for model in service.models]
    turns = [
        (model, found)
        for column in zip_longest(*recorded)
        for model, found in zip(service.models, column, strict=True)
        if found is not None
    ]
    return GoldenCanary(turns, goldens) if turns else None
