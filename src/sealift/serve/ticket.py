"""Ticket: one request's claim to the engine, and what its stages took."""

from __future__ import annotations

import time

from sealift.errors import DeadlinePassed


class Ticket:
    """Until when an answer is worth having, whether somebody still waits, and where its time went.

    `deadline` is on the clock of `time.perf_counter`, None for no deadline. `abandoned`: nobody waits any more.
    `arrived`: when its last byte came, 0 where it came from nowhere. `decode_s`, `queue_s` and
    `inference_s`: seconds in the stage so far; 0: it never got there.
    """

    __slots__ = ("abandoned", "arrived", "deadline", "decode_s", "inference_s", "queue_s")

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self.abandoned = False
        self.arrived = 0.0
        self.decode_s = self.queue_s = self.inference_s = 0.0

    def check(self) -> None:
        """Call before anything costly.

        Raises: DeadlinePassed: nobody waits for the answer any more, or its time is over.
        """
        if self.abandoned:
            raise DeadlinePassed("the client has gone", code="abandoned")
        if self.deadline is not None and time.perf_counter() >= self.deadline:
            raise deadline_passed()


def deadline_passed() -> DeadlinePassed:
    """What a request is told whose time was over before its run began."""
    return DeadlinePassed("the deadline of the request passed before its run", code="deadline_passed")
