"""The model layer of an image -> a ModelPack artifact that names the same blob.

Source: CNCF ModelPack model-spec v1 (spec.md, config.md, annotations.md; media types
`application/vnd.cncf.model.*`). It asks for weights that are not compressed, so the image's own layer of the
models is a plain tar, and no byte of them is there twice.
"""

from __future__ import annotations

from typing import Final

from sealift.bundle.documents import Release
from sealift.scale.oci.image import TREE
from sealift.scale.oci.layer import Layer
from sealift.scale.oci.layout import MANIFEST_TYPE, Descriptor, Layout, json_bytes

ARTIFACT_TYPE: Final = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE: Final = "application/vnd.cncf.model.config.v1+json"
WEIGHT_TYPE: Final = "application/vnd.cncf.model.weight.v1.tar"
FILE_PATH: Final = "org.cncf.model.filepath"
MODELS: Final = f"{TREE}/application/models"
_FORMATS: Final = {".onnx": "onnx", ".xml": "openvino", ".pt": "pytorch", ".pt2": "pytorch"}


def write_model(
    layout: Layout, release: Release, models: Layer, paths: list[str], licences: str
) -> Descriptor:
    """Write the artifact; its descriptor stands beside the image's in one index.

    Args:
        models: the image's layer that holds `paths` and nothing else; a plain tar.
        licences: one SPDX expression, or empty.
    """
    formats = sorted({kind for path in paths if (kind := _FORMATS.get(f".{path.rpartition('.')[2]}"))})
    descriptor = {
        "createdAt": release.created,
        "name": release.product,
        "revision": f"sha256:{release.identity}",
        "version": release.version,
        **({"licenses": [licences]} if licences else {}),
    }
    config = json_bytes(
        {
            "config": {"format": "+".join(formats)} if formats else {},
            "descriptor": descriptor,
            "modelfs": {"diffIds": [models.diff_id], "type": "layers"},
        }
    )
    manifest = json_bytes(
        {
            "artifactType": ARTIFACT_TYPE,
            "config": layout.blob(lambda sink: sink.write(config)).as_(CONFIG_TYPE),
            "layers": [
                {**models.descriptor, "mediaType": WEIGHT_TYPE, "annotations": {FILE_PATH: _place(paths)}}
            ],
            "mediaType": MANIFEST_TYPE,
            "schemaVersion": 2,
        }
    )
    return layout.blob(lambda sink: sink.write(manifest)).as_(
        MANIFEST_TYPE,
        artifactType=ARTIFACT_TYPE,
        # As attestations do: whoever looks for an image of a platform passes over it.
        platform={"architecture": "unknown", "os": "unknown"},
    )


def _place(paths: list[str]) -> str:
    """The model's file, or the folder of several."""
    return paths[0] if len(paths) == 1 else MODELS
