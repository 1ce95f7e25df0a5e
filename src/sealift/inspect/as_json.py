"""Facts and differences -> plain JSON for programs (`--json`, schema 1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sealift.bundle.transport import bases_json
from sealift.inspect.bill import Package
from sealift.inspect.difference import Change, Difference, FileChange
from sealift.inspect.facts import Facts, LayerFacts
from sealift.inspect.heaviest import heaviest_json
from sealift.inspect.listing import mode_of
from sealift.inspect.models import Model, Tensor, labels_digest
from sealift.inspect.quality import quality_json
from sealift.inspect.standing import Signer, Standing


def facts_json(facts: Facts) -> dict[str, Any]:
    """Everything on the page; values are as the bundle has them, escaped by JSON alone."""
    release = facts.release
    return {
        "bases": bases_json(facts.bases),
        "checks": dict(release.checks),
        "codecs": dict(facts.codecs),
        "created": release.created,
        "floor_seq": release.floor_seq,
        "heaviest": heaviest_json(facts.parts),
        "identity": facts.identity,
        "layers": {layer.name: _layer(layer) for layer in facts.layers},
        "min_sealift": release.min_sealift,
        "models": [_model(model) for model in facts.models or ()],
        "name": release.product,
        "objects": facts.objects,
        "packages": [_package(package) for package in facts.packages or ()],
        "provenance": dict(release.provenance),
        "seq": release.seq,
        "stored_size": facts.stored_size,
        "target": dict(release.target),
        "total_size": release.total_size,
        "version": release.version,
        "warnings": list(facts.warnings),
        **_standing(facts.standing),
    }


def difference_json(difference: Difference, *, files: bool) -> dict[str, Any]:
    """What changed; the changed files by name where `files` asks for them."""
    older = difference.older
    layers = {}
    for layer in difference.layers:
        counts = {word: dict(zip(("files", "size"), layer.of(sign), strict=True)) for sign, word in _WORDS}
        layers[layer.name] = {**counts, **({"names": [_file(c) for c in layer.files]} if files else {})}
    return {
        "changes": {title: [_change(change) for change in changes] for title, changes in difference.groups},
        "layers": layers,
        "older": {
            "identity": older.identity,
            "name": older.release.product,
            "seq": older.release.seq,
            "verified": older.standing.verified,
            "version": older.release.version,
        },
        "same": difference.same,
        "warnings": list(difference.warnings),
    }


_WORDS = (("+", "added"), ("-", "removed"), ("~", "changed"))


def _standing(standing: Standing) -> dict[str, Any]:
    return {
        "approved_by": [signer.key_id for signer in standing.approvers],
        "missing": list(standing.missing),
        "not_counted": _objections([*standing.signers, *standing.approvers]),
        "officer_threshold": standing.officer_threshold,
        "release_threshold": standing.release_threshold,
        "root": None
        if standing.fingerprint is None
        else {"fingerprint": standing.fingerprint, "version": standing.root_version},
        "signed_by": [signer.key_id for signer in standing.signers],
        "verified": standing.verified,
        "verified_by": _counting(standing.signers) if standing.verified else [],
    }


def _objections(signers: Sequence[Signer]) -> dict[str, str]:
    return {signer.key_id: signer.objection for signer in signers if signer.objection}


def _counting(signers: Sequence[Signer]) -> list[str]:
    return [signer.key_id for signer in signers if not signer.objection]


def _layer(layer: LayerFacts) -> dict[str, Any]:
    return {
        "files": layer.files,
        "manifest": layer.manifest,
        "manifest_travels": layer.manifest_travels,
        "size": layer.size,
        "travelling_files": layer.travelling,
        "travelling_size": layer.travelling_size,
    }


def _package(package: Package) -> dict[str, str]:
    return {
        "layer": package.layer,
        "licence": package.licence,
        "name": package.name,
        "sha256": package.sha256,
        "version": package.version,
    }


def _model(model: Model) -> dict[str, Any]:
    goldens = model.goldens
    return {
        "batch_reason": goldens.batch_reason if goldens else None,
        "batched": not goldens.batch_reason if goldens else None,
        "device": list(model.device),
        "files": list(model.files),
        "gives": model.gives["kind"],
        "goldens": list(goldens.names) if goldens else [],
        "handler": list(model.code),
        "inputs": [_tensor(tensor) for tensor in model.inputs],
        "labels": len(model.labels),
        "labels_sha256": labels_digest(model) or None,
        "licence": model.licence,
        "name": model.name,
        "outputs": [_tensor(tensor) for tensor in model.outputs],
        "path": model.path,
        "quality": quality_json(model.quality),
        "sha256": model.sha256,
        "size": model.size,
        "variants": list(model.variants),
        "takes": model.takes["kind"],
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    shape = None if tensor.shape is None else list(tensor.shape)
    return {"datatype": tensor.datatype, "name": tensor.name, "shape": shape}


def _change(change: Change) -> dict[str, Any]:
    return {"after": change.after, "before": change.before, "what": change.what}


def _file(change: FileChange) -> dict[str, Any]:
    return {
        "path": change.path,
        **{
            word: None
            if entry is None
            else {"mode": mode_of(entry), "sha256": entry.sha256, "size": entry.size}
            for word, entry in (("before", change.before), ("after", change.after))
        },
    }
