"""`POST /v2/models/NAME/infer`: requests of the Open Inference Protocol to jobs, runs to answers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from sealift.errors import InvalidInput, RequestError
from sealift.model.datatypes import datatype_of
from sealift.model.row_form import RowForm, row_form
from sealift.serve.codings import decoded, encoded
from sealift.serve.http.message import Reply, Request, encode_json, error_reply
from sealift.serve.lane import FOREIGN, Job, Lane, Ran, internal
from sealift.serve.oip import HEADER_LENGTH, InferRequest, OipModel
from sealift.serve.predict import deliver

_MOST_TEMPLATES: Final = 64
_GIVES_UP: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class InferFace:
    """The protocol's face of one model in front of its lane.

    Args:
        body_bytes: what a body may grow to when it is decompressed.
    """

    def __init__(self, lane: Lane, oip: OipModel, body_bytes: int) -> None:
        self._lane = lane
        self._oip = oip
        self._body_bytes = body_bytes
        self._form = row_form(oip.model.signature)
        self._decode_row = None if self._form is None else _row_decoder(self._form, oip)
        self._opening = b'{"model_name":%b,"model_version":%b' % (
            encode_json(oip.model.name), encode_json(oip.version),
        )  # fmt: skip
        self._templates: dict[
            tuple[tuple[str, str, tuple[int, ...]], ...], tuple[tuple[bytes, str], ...]
        ] = {}

    def row_job(self, request: Request) -> Job | None:
        """The short way, for one row of numbers in JSON; None: take `job`."""
        if self._form is None or self._decode_row is None or HEADER_LENGTH in request.headers:
            return None
        try:
            found = self._decode_row(request.body)
        except _GIVES_UP:
            return None
        values = found.inputs[0].data
        if len(values) != self._form.size:
            return None
        job = Job(values, request, self if not found.id else _Row(self, found.id), None, self._form)
        job.since = now = time.perf_counter()
        request.decode_s = now - request.arrived
        return job

    def job(self, request: Request) -> Job:
        """The job of a request. Raises: RequestError: it cannot be read, or does not fit the model."""
        coding = request.headers.get(b"content-encoding")
        body = request.body if coding is None else decoded(request.body, coding, self._body_bytes)
        parsed = self._oip.parse(body, request.headers.get(HEADER_LENGTH))
        if parsed.timeout_s is not None:
            deadline = request.arrived + parsed.timeout_s
            request.deadline = deadline if request.deadline is None else min(request.deadline, deadline)
        key, rows = self._lane.key_of(parsed.arrays)
        names = [output.name for output in parsed.outputs]
        return Job(parsed.arrays, request, _Parsed(self, parsed), names, key, rows)

    def in_full(self, parsed: InferRequest, job: Job, ran: Ran, start: int) -> Reply:
        """Any answer that was asked for: some outputs, in binary, compressed."""
        reply = self._oip.render(parsed, ran.part(start, job.rows))
        accepted = job.claim.headers.get(b"accept-encoding") if isinstance(job.claim, Request) else None
        return encoded(reply, accepted)

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> Reply:
        """As `lane.Face.render`, for a row that came the short way."""
        return self.row_reply(job, ran, start, b"")

    def row_reply(self, job: Job, ran: Ran | RequestError, start: int, name: bytes) -> Reply:
        """All outputs of one row as JSON; `name` is the request's id as JSON, if it has one."""
        if isinstance(ran, RequestError):
            return error_reply(self._explained(job, ran))
        try:
            parts = [self._opening + name]
            for opening, output in self._template(ran):
                parts += (opening, encode_json(ran.flat[output][start]))
            return Reply(200, b"".join(parts) + b"}]}")
        except FOREIGN:
            return internal(job.claim)

    def _explained(self, job: Job, error: RequestError) -> RequestError:
        """The short way says only that a row is wrong: what the long way says of it."""
        if isinstance(error, InvalidInput) and isinstance(job.claim, Request):
            try:
                self._oip.parse(job.claim.body, None)
            except RequestError as found:
                return found
        return error

    def _template(self, ran: Ran) -> Sequence[tuple[bytes, str]]:
        """What stands in front of each output's values."""
        kinds = tuple([(name, array.dtype.str, array.shape[1:]) for name, array in ran.outputs.items()])
        found = self._templates.get(kinds)
        if found is None:
            if len(self._templates) > _MOST_TEMPLATES:
                self._templates.clear()
            openings = []
            for number, (name, array) in enumerate(ran.outputs.items()):
                said = {"name": name, "datatype": datatype_of(array.dtype), "shape": (1, *array.shape[1:])}
                text = encode_json(said)[:-1] + b',"data":'
                openings.append(((b"}," if number else b',"outputs":[') + text, name))
            found = self._templates[kinds] = tuple(openings)
        return found

    deliver = staticmethod(deliver)


class _Row:
    """A row that came the short way in a request with an id."""

    __slots__ = ("_face", "_id")

    def __init__(self, face: InferFace, name: str) -> None:
        self._face = face
        self._id = b',"id":' + encode_json(name)

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> Reply:
        return self._face.row_reply(job, ran, start, self._id)

    deliver = staticmethod(deliver)


class _Parsed:
    """A request that came the long way."""

    __slots__ = ("_face", "_parsed")

    def __init__(self, face: InferFace, parsed: InferRequest) -> None:
        self._face = face
        self._parsed = parsed

    def render(self, job: Job, ran: Ran | RequestError, start: int) -> Reply:
        if isinstance(ran, RequestError):
            return error_reply(ran)
        try:
            return self._face.in_full(self._parsed, job, ran, start)
        except RequestError as error:
            return error_reply(error)
        except FOREIGN:
            return internal(job.claim)

    deliver = staticmethod(deliver)


def _row_decoder(form: RowForm, oip: OipModel) -> Any:
    """Decodes exactly `{"inputs": [{name, shape: [1, ...], datatype, data: flat floats}], "id"?}` of that model."""
    spec = oip.model.signature.inputs[0]
    # msgspec reads these at run time: a decoder made for this one model checks all of it in C.
    sizes: Any = tuple.__class_getitem__(tuple(Literal.__getitem__(size) for size in (1, *form.shape)))
    fields: list[tuple[str, Any]] = [
        ("name", Literal.__getitem__(spec.name)),
        ("shape", sizes),
        ("datatype", Literal.__getitem__(spec.datatype)),
        ("data", list[float]),
    ]
    tensor: Any = msgspec.defstruct("Tensor", fields, forbid_unknown_fields=True, gc=False)
    only: Any = tuple.__class_getitem__((tensor,))
    whole: list[Any] = [("inputs", only), ("id", str, "")]
    return msgspec.json.Decoder(
        msgspec.defstruct("Request", whole, forbid_unknown_fields=True, gc=False)
    ).decode
