"""One gRPC call from its headers to its answer, as the service sees it; no sockets here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sealift.errors import RequestError
from sealift.serve.grpc.status import PREFIX_BYTES
from sealift.serve.grpc.stream import Buffer
from sealift.serve.metrics import Account
from sealift.serve.ticket import Ticket


@dataclass(slots=True)
class Answer:
    """How a call ends: `status` as REST would say it, and the message in pieces or, unless 200, why."""

    status: int = 200
    parts: tuple[Buffer, ...] = ()
    error: str = ""

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return sum(map(len, self.parts))


Handler = Callable[["Call", memoryview], Answer | Awaitable[Answer]]
"""Answers a message. Raises: RequestError: the answer is this error."""


@dataclass(frozen=True, slots=True)
class Method:
    """One of the service's calls and where it is counted."""

    handler: Handler
    account: Account


class Call(Ticket):
    """A call; it is the ticket of its own inference.

    `buffer` is the request as it came, its prefix included; `size` the length that the prefix states, -1 before.
    `is_counted`: it was answered or given up. `account` may be changed by the handler, which knows the model.
    """

    __slots__ = (
        "account",
        "began",
        "buffer",
        "headers",
        "is_compressed",
        "is_counted",
        "method",
        "request_id",
        "size",
        "task",
    )

    def __init__(
        self, headers: Mapping[bytes, bytes], method: Method, request_id: bytes, began: float
    ) -> None:
        super().__init__()
        self.headers = headers
        self.method = method
        self.account = method.account
        self.request_id = request_id
        self.began = began
        self.buffer = bytearray()
        self.size = -1
        self.is_compressed = self.is_counted = False
        self.task: Any = None

    @property
    def is_whole(self) -> bool:
        """Claims that exactly one message has come."""
        return self.size >= 0 and len(self.buffer) == PREFIX_BYTES + self.size


def refused(error: RequestError) -> Answer:
    """The answer for an error that a handler raised."""
    return Answer(error.status, error=error.message)
