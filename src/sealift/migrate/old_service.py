"""How the old service is asked: `old-service.toml`, written by `init --from` and read by `predict --against`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

from sealift.errors import UsageError
from sealift.model.toml_text import NotToml, read_toml
from sealift.model.words import listed, named, shown

FILE_NAME: Final = "old-service.toml"
_FORMS: Final = ("raw", "json", "v2", "mlflow")
_FIELD_FORMS: Final = ("base64", "file")
FORMS: Final = (*_FORMS, *(f"{form}:FIELD" for form in _FIELD_FORMS))
"""How an input becomes a request:

`raw` the file as the body, `json` likewise with the type of JSON; `base64:FIELD` as `{"FIELD": base64}`; `file:FIELD`
as a form's file; `v2` tensors of the Open Inference Protocol; `mlflow` as MLflow's `/invocations` takes it.
"""


@dataclass(frozen=True, slots=True)
class OldService:
    """One service that runs today.

    `path`: where it is asked, `{model}` stands for the model's name. `prediction` and `score`: the fields of its
    answer, with dots between levels; empty: found by the usual names.
    """

    form: str = "raw"
    path: str = "/predict"
    prediction: str = ""
    score: str = ""


def check_form(form: str, where: str) -> str:
    """The form itself. Raises: UsageError: there is no such form."""
    kind, _, field = form.partition(":")
    if form in _FORMS or (kind in _FIELD_FORMS and field):
        return form
    raise UsageError(f"{where}: expected {listed(FORMS)}, got {shown(form)}")


def to_toml(service: OldService) -> str:
    """The file's text."""
    lines = [
        "# How the old service is asked. `sealift predict INPUT... --project . --against http://HOST:PORT` reads this,",
        "# and nothing else does: it does not travel. Delete it with the old service.",
        *(f"{field.name} = {_toml(getattr(service, field.name))}" for field in fields(service)),
    ]
    return "\n".join(lines) + "\n"


def read_old_service(directory: Path) -> OldService:
    """What stands in the project folder; without a file a service with sealift's own `/predict`.

    Raises: UsageError: the file is no TOML, or holds other keys or values than `OldService`; all problems at once.
    """
    path = directory / FILE_NAME
    if not path.exists():
        return OldService()
    try:
        table = read_toml(path.read_bytes()).table
    except (OSError, NotToml) as error:
        raise UsageError(f"{path}: {error}") from error
    known = [field.name for field in fields(OldService)]
    problems = [
        f"{named(key)} is not a key; there are {', '.join(known)}" for key in table if key not in known
    ]
    problems += [
        f"{key}: expected a string, got {shown(value)}"
        for key, value in table.items()
        if key in known and not isinstance(value, str)
    ]
    if problems:
        raise UsageError(f"{path} cannot be read", problems=problems)
    service = OldService(**table)
    check_form(service.form, f"{path}: form")
    return service


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
