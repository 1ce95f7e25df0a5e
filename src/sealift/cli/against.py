"""`sealift predict INPUT... --project DIR --against URL`: the project beside the old service. Connected side only."""

from __future__ import annotations

import argparse
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sealift.cli.screen import print_result, progress_of, table
from sealift.errors import AnswersDiffer, RequestError, UsageError
from sealift.migrate.asking import OldClient
from sealift.migrate.compare import Asking, Comparison, Pair, compare
from sealift.migrate.inputs import expand_inputs
from sealift.migrate.old_service import OldService, check_form, read_old_service
from sealift.migrate.own import Input, Own, Run
from sealift.model.declaration import TabularInput
from sealift.serve.predictor import Predictor
from sealift.serve.ticket import Ticket

_MOST_ROWS = 50


@dataclass(frozen=True, slots=True)
class Parts:
    """What the verb brings along.

    `load`: the project's model, its adapted files below the folder it is given. `read`: an input's bytes and content
    type, by its name. `parse`: JSON. `context`: for https.
    """

    load: Callable[[Path], Predictor]
    read: Callable[[str], tuple[bytes, str]]
    parse: Callable[[bytes], Any]
    context: ssl.SSLContext | None


def compare_with(args: argparse.Namespace, parts: Parts) -> int:
    """Compare, print, and say by the exit code whether all are equal."""
    if args.project is None:
        raise UsageError("--against needs --project DIR, the project that shall answer alike")
    service = _service(args)
    inputs = [Input(name, *parts.read(name)) for name in expand_inputs(args.inputs)]
    with tempfile.TemporaryDirectory() as workspace, progress_of(args) as progress:
        predictor = parts.load(Path(workspace))
        client = OldClient(args.against, service, predictor.model.name, context=parts.context)
        try:
            found = compare(
                inputs, _run(predictor, parts.parse), Asking(client, service, args.tolerance), progress
            )
        finally:
            client.close()
    print_result(args, _as_json(found), _as_text(found))
    return AnswersDiffer.exit_code if found.differing else 0


def _service(args: argparse.Namespace) -> OldService:
    service = read_old_service(args.project)
    if args.against_form is None:
        return service
    return replace(service, form=check_form(args.against_form, "--against-form"))


def _run(predictor: Predictor, parse: Callable[[bytes], Any]) -> Run:
    has_fields = isinstance(predictor.model.input, TabularInput)

    def run(given: Input) -> Own:
        payload = parse(given.body) if given.media == "application/json" else given.body
        try:
            prepared = predictor.pipeline.prepare(payload)
            outputs = predictor.run(prepared.inputs, None, Ticket())
            answer = predictor.pipeline.answer(outputs, prepared)
        except RequestError as error:
            return Own(refusal=error.message, has_fields=has_fields)
        return Own(prepared.inputs, outputs, answer, has_fields=has_fields)

    return run


def _as_json(found: Comparison) -> dict[str, Any]:
    return {
        "compared": len(found.pairs),
        "equal": len(found.pairs) - len(found.differing),
        "tolerance": found.tolerance,
        "largest_difference": found.largest_difference,
        "answers": [
            {
                "input": pair.input,
                "old": pair.old,
                "new": pair.new,
                "equal": pair.is_equal,
                "difference": pair.difference,
                "why": pair.why,
            }
            for pair in found.pairs
        ],
    }


def _as_text(found: Comparison) -> str:
    total, differing = len(found.pairs), found.differing
    largest = found.largest_difference
    apart = (
        "" if largest is None else f", numbers at most {largest:.2g} apart (tolerance {found.tolerance:g})"
    )
    first = f"{total - len(differing)} of {total} equal{apart}"
    if not differing:
        return first
    rows = [("input", "old", "new", "difference"), *(_row(pair) for pair in differing[:_MOST_ROWS])]
    rest = len(differing) - _MOST_ROWS
    return "\n".join([first, table(rows), *([f"... and {rest} more (--json shows all)"] if rest > 0 else [])])


def _row(pair: Pair) -> tuple[str, ...]:
    figure = f"{pair.difference:.2g}; " if pair.difference is not None else ""
    return pair.input, pair.old[:40], pair.new[:40], f"{figure}{pair.why}"
