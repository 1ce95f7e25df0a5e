"""What a packed bundle carries, in words, in tables and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sealift.bundle.read import made_for
from sealift.cli.screen import megabytes, table
from sealift.inspect.visible import size_in_words
from sealift.pack.explain import Explanation, LayerCost, Part
from sealift.pack.pack import Packed

COSTLIEST: Final = 20


def carried(packed: Packed) -> str:
    """`3.2 MB to carry`, and for a delta of how much and for which boxes."""
    cost = packed.explanation
    if not packed.bases:
        return f"{megabytes(cost.stored_size)} to carry"
    share = 100 * cost.stored_size / cost.full_size
    return (
        f"{megabytes(cost.stored_size)} to carry, {share:.1f} % of the full bundle's {megabytes(cost.full_size)}\n"
        f"  {made_for(packed.release.product, packed.bases)}"
    )


def delta_notes(packed: Packed) -> list[str]:
    """What to know about a delta that is none to speak of."""
    cost = packed.explanation
    if not packed.bases:
        return []
    if cost.stored_size >= cost.full_size:
        return ["the bases have nothing that this release needs: carry a full bundle, it fits every box"]
    if 2 * cost.stored_size > cost.full_size:
        return [
            "most of this release is new to the bases: a full bundle costs little more, and fits every box"
        ]
    return []


def as_text(cost: Explanation) -> str:
    """A table of the layers, and one of the objects that cost most."""
    parts = cost.parts[:COSTLIEST]
    blocks = [_layers(cost)]
    if parts:
        shown = "" if len(parts) == len(cost.parts) else f", the {len(parts)} costliest of {len(cost.parts)}"
        blocks.append(f"objects that travel{shown}\n{_parts(parts)}")
    return "\n\n".join(blocks)


def _layers(cost: Explanation) -> str:
    rows: list[tuple[str, ...]] = [("layer", "files", "size", "the box has", "travels", "manifest", "as")]
    rows += [_layer(layer) for layer in cost.layers]
    rows.append(
        ("documents", "", "", "", size_in_words(cost.documents_size), "", "release, transport, signatures")
    )
    return table(rows, right=(1, 2, 3, 4, 5))


def _layer(layer: LayerCost) -> tuple[str, ...]:
    codecs = ", ".join(f"{count} {codec}" for codec, count in layer.codecs.items())
    return (
        layer.name,
        str(layer.files),
        size_in_words(layer.size),
        size_in_words(layer.left_out_size),
        size_in_words(layer.stored_size),
        size_in_words(layer.manifest_size),
        codecs or "nothing travels",
    )


def _parts(parts: Sequence[Part]) -> str:
    rows = [("bytes", "of", "codec", "path", "made from, or why it travels whole")]
    rows += [
        (
            size_in_words(part.stored_size),
            size_in_words(part.size),
            part.codec,
            part.path,
            f"from {part.source}" if part.source is not None else part.why,
        )
        for part in parts
    ]
    return table(rows, right=(0, 1))


def as_json(cost: Explanation) -> dict[str, Any]:
    """Everything, every object."""
    return {
        "documents_size": cost.documents_size,
        "layers": {layer.name: _layer_json(layer) for layer in cost.layers},
        "objects": [
            {
                "codec": part.codec,
                "from": part.source,
                "path": part.path,
                "size": part.size,
                "stored_size": part.stored_size,
                "why": part.why,
            }
            for part in cost.parts
        ],
    }


def _layer_json(layer: LayerCost) -> dict[str, Any]:
    return {
        "codecs": dict(layer.codecs),
        "files": layer.files,
        "left_out_files": layer.left_out_files,
        "left_out_size": layer.left_out_size,
        "manifest_size": layer.manifest_size,
        "size": layer.size,
        "stored_size": layer.stored_size,
    }
