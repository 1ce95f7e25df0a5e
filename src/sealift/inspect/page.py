"""Facts and differences -> one page, told once for the terminal and for paper.

Nothing here escapes: the two that draw the page (`text`, `html`) escape every string, so none can be forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sealift import canonical
from sealift.bundle.read import made_for
from sealift.bundle.transport import PATCH
from sealift.inspect.bill import NOT_STATED
from sealift.inspect.difference import Change, Difference, LayerDifference
from sealift.inspect.facts import Facts, LayerFacts
from sealift.inspect.heaviest import shown
from sealift.inspect.models import Model, gives_in_words, takes_in_words
from sealift.inspect.node import compact
from sealift.inspect.standing import Signer, Standing, shorten
from sealift.inspect.visible import counted, size_in_words, visible_name


@dataclass(frozen=True, slots=True)
class Section:
    """A title and rows. `header` names the columns of a table; `right` are the columns of figures.

    Rows without a header are label and value, or single sentences.
    """

    title: str
    rows: tuple[tuple[str, ...], ...]
    header: tuple[str, ...] = ()
    right: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Everything a reader sees, in order; `head` are label and value."""

    verified: bool
    product: str
    version: str
    identity: str
    fingerprint: str | None
    head: tuple[tuple[str, str], ...]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]


def page_of(facts: Facts, difference: Difference | None, *, inventory: bool) -> Page:
    """The page of a bundle.

    Args:
        difference: from an older bundle, told first.
        inventory: also everything that is in the release, changed or not.
    """
    sections: list[Section] = [] if difference is None else _difference(difference)
    if inventory:
        sections += [_layers(facts), _heaviest(facts), *_models(facts), *_checks(facts), *_packages(facts)]
    warnings = facts.warnings + (difference.warnings if difference else ())
    release = facts.release
    return Page(
        verified=facts.standing.verified,
        product=release.product,
        version=release.version,
        identity=facts.identity,
        fingerprint=facts.standing.fingerprint,
        head=_head(facts),
        missing=facts.standing.missing,
        warnings=warnings,
        sections=tuple(sections),
    )


def _head(facts: Facts) -> tuple[tuple[str, str], ...]:
    release, standing = facts.release, facts.standing
    head = [
        ("created", release.created),
        ("sequence", f"{release.seq}" + (f" (floor {release.floor_seq})" if release.floor_seq else "")),
        ("for", _target(release.target)),
        ("needs", f"sealift {release.min_sealift} or newer"),
        ("signed by", _of(standing.signers, standing.release_threshold)),
        ("approved by", _of(standing.approvers, standing.officer_threshold)),
        ("trust root", _root(standing)),
        ("size", _size(facts)),
    ]
    if facts.bases:
        head.insert(0, ("delta", _delta(facts)))
    return tuple(head)


def _delta(facts: Facts) -> str:
    codecs = ", ".join(f"{count} {codec}" for codec, count in facts.codecs.items())
    text = f"{made_for(facts.release.product, facts.bases)}; objects that travel: {codecs or 'none'}"
    return f"{text} (patches of what that box has)" if PATCH in facts.codecs else text


def _of(signers: Sequence[Signer], threshold: int | None) -> str:
    who = shorten(signers)
    if threshold is None:
        return who
    counting = sum(1 for signer in signers if not signer.objection)
    return f"{who} ({counting} of {threshold})" if threshold else f"{who} (none needed)"


def _root(standing: Standing) -> str:
    if standing.fingerprint is None:
        return "none named or pinned here"
    return f"{canonical.short(standing.fingerprint)} version {standing.root_version}"


def _size(facts: Facts) -> str:
    files = sum(layer.files for layer in facts.layers)
    absent = [layer.absent for layer in facts.layers]
    text = (
        f"{size_in_words(facts.release.total_size)} in {counted(files, 'file')}; "
        f"on the medium {size_in_words(facts.stored_size)} in {counted(facts.objects, 'object')}"
    )
    if any(count for count, _ in absent):
        count, size = sum(item[0] for item in absent), sum(item[1] for item in absent)
        text += f"; the box must have {counted(count, 'file')}, {size_in_words(size)}"
    return text


def _target(target: Any) -> str:
    words = [
        compact(target.get("platform")),
        f"glibc {compact(target.get('glibc'))} or newer",
        f"{compact(target.get('implementation'))} {compact(target.get('python'))} "
        f"({compact(target.get('interpreter'))} interpreter)",
    ]
    words += [f"{key} {compact(target[key])}" for key in ("kernel", "cpu", "cuda") if target.get(key)]
    return ", ".join(words)


def _layers(facts: Facts) -> Section:
    rows = tuple(
        (
            layer.name,
            counted(layer.files, "file"),
            size_in_words(layer.size),
            canonical.short(layer.manifest),
            _travel(layer),
        )
        for layer in facts.layers
    )
    return Section("layers", rows, ("layer", "files", "size", "manifest", "travels"), right=(1, 2))


def _heaviest(facts: Facts) -> Section:
    rows = tuple(
        (part.name, part.layer, counted(part.files, "file"), size_in_words(part.size))
        for part in shown(facts.parts)
    )
    return Section("heaviest parts", rows, ("part", "layer", "files", "unpacked"), right=(2, 3))


def _travel(layer: LayerFacts) -> str:
    count, size = layer.absent
    if not count:
        return "all" if layer.manifest_travels else "all but its manifest, which the box must have"
    here = f"{counted(layer.travelling, 'file')}, {size_in_words(layer.travelling_size)}"
    there = f"the box must have {counted(count, 'file')}, {size_in_words(size)}"
    return f"{here if layer.travelling else 'nothing'}; {there}"


def _models(facts: Facts) -> list[Section]:
    return [_model(model) for model in facts.models or ()]


def _model(model: Model) -> Section:
    licence = model.licence if model.licence != NOT_STATED else f"licence {NOT_STATED}"
    title = f"model {model.name}  {canonical.short(model.sha256)}  {size_in_words(model.size)}  {licence}"
    rows = [("input", tensor.words) for tensor in model.inputs]
    rows += [("output", tensor.words) for tensor in model.outputs]
    rows += [("takes", takes_in_words(model.takes)), ("gives", gives_in_words(model.gives))]
    rows += [("device", ", ".join(model.device))] if model.device else []
    rows += _quality(model)
    rows += [("beside", path) for path in model.files] + [("code", path) for path in model.code]
    if model.goldens is not None:
        names = ", ".join(model.goldens.names)
        rows.append(("golden", names or f"none: {model.goldens.reason or 'no reason given'}"))
        rows.append(("batch", model.goldens.batch_words))
    return Section(title, tuple(rows))


def _quality(model: Model) -> list[tuple[str, str]]:
    """What was measured before it shipped; the box runs the quickest of what travels."""
    quality = model.quality
    if quality is None:
        return []
    rows = [("quality", quality.verdict)]
    rows += (
        [("travel", f"{', '.join(model.variants)}; the box runs the quickest")]
        if len(model.variants) > 1
        else []
    )
    rows += [("tried", tried.words) for tried in quality.tried]
    digest = canonical.short(quality.report.removeprefix("sha256:"))
    return [*rows, ("report", f"application/reports/{model.name}.json {digest}")]


def _checks(facts: Facts) -> list[Section]:
    groups = (("checks", facts.checks), ("gates", facts.gates), ("provenance", facts.release.provenance))
    return [Section(title, _lines(value)) for title, value in groups if value is not None]


def _lines(value: Any) -> tuple[tuple[str, ...], ...]:
    if isinstance(value, dict):
        return tuple((f"{name}: {compact(inner)}",) for name, inner in sorted(value.items())) or (("none",),)
    if isinstance(value, list):
        return tuple((compact(inner),) for inner in value) or (("none",),)
    return ((compact(value),),)


def _packages(facts: Facts) -> list[Section]:
    if facts.packages is None:
        return []
    rows = tuple(
        (visible_name(item.name), visible_name(item.version), item.layer, item.licence)
        for item in facts.packages
    )
    return [Section(f"packages ({len(rows)})", rows, ("package", "version", "layer", "licence"))]


def _difference(difference: Difference) -> list[Section]:
    older = difference.older
    name = f"{older.release.product} {older.release.version} {canonical.short(older.identity)}"
    if difference.same:
        sections = [Section(f"the same release as {name}", (("no file, package or check differs",),))]
    else:
        rows = tuple(map(_layer_row, difference.layers))
        header = ("layer", "added", "removed", "changed")
        sections = [Section(f"changes since {name}", rows, header)]
    for title, changes in difference.groups:
        rows = tuple((change.sign, change.what, _change(change)) for change in changes)
        sections.append(Section(f"{title} ({len(changes)})", rows, ("", "what", "before -> after")))
    return sections


def _layer_row(layer: LayerDifference) -> tuple[str, ...]:
    if not layer.files:
        return (layer.name, "the same", "", "")
    words = []
    for sign, word in (("+", "added"), ("-", "removed"), ("~", "changed")):
        count, size = layer.of(sign)
        words.append(f"{counted(count, 'file')} {word}, {size_in_words(size)}" if count else f"none {word}")
    return (layer.name, *words)


def _change(change: Change) -> str:
    """What is new or gone, or `before -> after`."""
    return " -> ".join(value for value in (change.before, change.after) if value is not None)
