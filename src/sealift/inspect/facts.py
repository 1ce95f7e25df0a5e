"""A bundle -> everything that its pages say, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sealift.bundle.documents import LAYERS, Release
from sealift.bundle.transport import Base
from sealift.errors import MalformedBundle
from sealift.inspect.bill import BILL, Bill, Package, read_bill
from sealift.inspect.contents import Contents
from sealift.inspect.heaviest import Part, heaviest
from sealift.inspect.models import SERVICE, Model, read_models
from sealift.inspect.node import parse
from sealift.inspect.quality import CHECK
from sealift.inspect.standing import Standing
from sealift.store.prefix import TOOL

MAX_AGE_DAYS: Final = 400
_CLOCKS_DIFFER_S: Final = 86_400
_NO_BILL: Final = Bill((), {})


@dataclass(frozen=True, slots=True)
class LayerFacts:
    """One layer. `travelling` counts the files whose bytes are in the bundle; the box must have the rest."""

    name: str
    manifest: str
    manifest_travels: bool
    files: int
    size: int
    travelling: int
    travelling_size: int

    @property
    def absent(self) -> tuple[int, int]:
        """Files that the box must have already, and their bytes."""
        return self.files - self.travelling, self.size - self.travelling_size


@dataclass(frozen=True, slots=True)
class Facts:
    """What a person should know before the bundle crosses; nothing in it has been escaped for a screen.

    `packages` and `models` are None where the document that lists them is not at hand. `bases` are the releases
    that a delta builds on, `codecs` counts the objects that travel by how they are stored; `parts` are all parts
    of the release, the heaviest first.
    """

    release: Release
    identity: str
    standing: Standing
    warnings: tuple[str, ...]
    layers: tuple[LayerFacts, ...]
    packages: tuple[Package, ...] | None
    models: tuple[Model, ...] | None
    objects: int
    stored_size: int
    bases: tuple[Base, ...]
    codecs: Mapping[str, int]
    parts: tuple[Part, ...]

    @property
    def checks(self) -> dict[str, Any]:
        """What was found at pack time, without the gates and what stands with each model."""
        return {name: value for name, value in self.release.checks.items() if name not in ("gates", CHECK)}

    @property
    def gates(self) -> Any:
        """The bounds that the packing side held the release to, as it recorded them; None without any."""
        return self.release.checks.get("gates")


def facts_of(contents: Contents, standing: Standing, now: float) -> Facts:
    """Read what the page needs; of the application layer only its small documents are opened.

    Args:
        now: seconds since the epoch; a strange age is a warning, never a refusal (no expiry, DESIGN 2).
    Raises: MalformedBundle: the bill, service.json or a golden set is not what sealift writes.
        DigestMismatch, MissingPart.
    """
    bundle = contents.bundle
    bill, models, problems = _documents(contents)
    if len(problems) > 1:
        raise MalformedBundle(
            f"{len(problems)} documents of the application layer cannot be read", problems=problems
        )
    if problems:
        raise MalformedBundle(problems[0])
    return Facts(
        release=bundle.release,
        identity=bundle.identity,
        standing=standing,
        warnings=_warnings(contents, bill is None, models is None, now),
        layers=tuple(_layer(contents, name) for name in LAYERS),
        packages=None if bill is None else bill.packages,
        models=models,
        objects=len(bundle.objects),
        stored_size=sum(stored.stored_size for stored in bundle.objects.values()),
        bases=bundle.bases,
        codecs=dict(sorted(Counter(stored.codec for stored in bundle.objects.values()).items())),
        parts=heaviest(bundle.manifests),
    )


def _documents(contents: Contents) -> tuple[Bill | None, tuple[Model, ...] | None, list[str]]:
    """The two lists, None each where its document is not at hand or is one of the problems."""
    problems: list[str] = []
    bill: Bill | None = None
    models: tuple[Model, ...] | None = None
    try:
        data = contents.read(BILL)
        bill = None if data is None else read_bill(parse(data, f"application/{BILL}"))
    except MalformedBundle as error:
        problems.append(error.message)
    try:
        models = read_models(contents, (bill or _NO_BILL).model_licences)
    except MalformedBundle as error:
        problems.append(error.message)
    return bill, models, problems


def _layer(contents: Contents, name: str) -> LayerFacts:
    ref = contents.bundle.release.layers[name]
    here = [entry for entry in contents.bundle.manifests[name].values() if contents.travels(entry)]
    return LayerFacts(
        name=name,
        manifest=ref.manifest,
        manifest_travels=name in contents.bundle.carried,
        files=ref.files,
        size=ref.size,
        travelling=len(here),
        travelling_size=sum(entry.size for entry in here),
    )


def _warnings(contents: Contents, no_bill: bool, no_service: bool, now: float) -> tuple[str, ...]:
    found = [*_age(contents.bundle.release.created, now)]
    if no_bill:
        found.append(_absent(contents, BILL, "packages and licences are not listed"))
    if no_service and contents.bundle.release.product != TOOL:
        found.append(_absent(contents, SERVICE, "models are not listed"))
    return tuple(found)


def _absent(contents: Contents, path: str, consequence: str) -> str:
    entry = contents.entry(path)
    if entry is None:
        return f"application/{path} is not in the release: {consequence}"
    travels = "travels as a patch of what" if contents.travels(entry) else "does not travel and"
    return (
        f"application/{path} {travels} is not on this machine: {consequence}; "
        "name the bundle that the box has with --against OLD"
    )


def _age(created: str, now: float) -> list[str]:
    try:
        then = datetime.strptime(created, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return [f"created {created} is no date"]
    days = int((now - then) // 86_400)
    if now + _CLOCKS_DIFFER_S < then:
        return [f"created {-days} days in the future: check this machine's clock, or ask who packed it"]
    if days > MAX_AGE_DAYS:
        return [f"created {days} days ago: ask whether a newer release exists"]
    return []
