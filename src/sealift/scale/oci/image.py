"""Layers and a release -> the image's configuration and manifest.

Source: OCI image-spec 1.1, config.md, manifest.md, annotations.md. `Healthcheck` is Docker's addition to the
configuration: those who do not know it pass over it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sealift import __version__
from sealift.bundle.documents import Release
from sealift.scale.oci.layer import Layer
from sealift.scale.oci.layout import MANIFEST_TYPE, Blob, Descriptor, Layout, json_bytes
from sealift.scale.oci.machine import USER

TREE: Final = "opt/sealift/app"
"""Where the release lies in the image."""
PORT: Final = 8000
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_HEALTH_NS: Final = {"Interval": 10 * 10**9, "Timeout": 5 * 10**9, "StartPeriod": 60 * 10**9}
_GPU: Final = ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility")
"""Asks NVIDIA's container runtime for the driver's libraries (its user guide, "Environment variables")."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the labels say beyond the release: its `licences` as one SPDX expression (or empty), the packages of
    the C library, and the base's name and digest."""

    licences: str
    packages: tuple[str, ...] = ()
    base_name: str = ""
    base_digest: str = ""


def command_of(interpreter: str, *arguments: str) -> list[str]:
    """How the release's own sealift runs in the image (`store.releases.release_command`)."""
    return [interpreter, "-I", "-S", "-B", f"/{TREE}/runtime/boot.py", *arguments]


def write_image(
    layout: Layout, release: Release, layers: Sequence[Layer], interpreter: str, facts: Facts
) -> Descriptor:
    """Write configuration and manifest; the image's descriptor, with its platform."""
    labels = _labels(release, facts)
    architecture = ARCHITECTURES[str(release.target["platform"]).partition("-")[2]]
    platform = {"architecture": architecture, "os": "linux"}
    config = {
        **platform,
        "config": _run(interpreter, labels, gpu=bool(release.target.get("cuda"))),
        "created": release.created,
        "history": [
            {"created": release.created, "created_by": f"sealift {__version__} export oci: {layer.about}"}
            for layer in layers
        ],
        "rootfs": {"diff_ids": [layer.diff_id for layer in layers], "type": "layers"},
    }
    manifest = {
        "annotations": labels,
        "config": _blob(layout, config).as_(CONFIG_TYPE),
        "layers": [layer.descriptor for layer in layers],
        "mediaType": MANIFEST_TYPE,
        "schemaVersion": 2,
    }
    return _blob(layout, manifest).as_(MANIFEST_TYPE, platform=platform)


def _run(interpreter: str, labels: dict[str, str], *, gpu: bool) -> dict[str, Any]:
    """Address and port stand in the environment, so that `-e SEALIFT_PORT=9000` moves service and health check."""
    return {
        "Entrypoint": command_of(interpreter, "serve", f"/{TREE}"),
        "Env": ["PATH=/usr/bin:/bin", "SEALIFT_HOST=0.0.0.0", f"SEALIFT_PORT={PORT}", *(_GPU if gpu else ())],
        "ExposedPorts": {f"{PORT}/tcp": {}},
        "Healthcheck": {"Test": ["CMD", *command_of(interpreter, "_health")], "Retries": 3, **_HEALTH_NS},
        "Labels": labels,
        "StopSignal": "SIGTERM",
        "User": f"{USER}:{USER}",
        "WorkingDir": "/",
    }


def _labels(release: Release, facts: Facts) -> dict[str, str]:
    """Equal releases have equal labels: nothing of time or machine but the C library's packages."""
    image = "org.opencontainers.image"
    labels = {
        f"{image}.title": release.product,
        f"{image}.version": release.version,
        f"{image}.revision": f"sha256:{release.identity}",
        f"{image}.created": release.created,
        f"{image}.licenses": facts.licences,
        f"{image}.base.name": facts.base_name,
        f"{image}.base.digest": facts.base_digest,
        "sealift.base.packages": ", ".join(facts.packages),
        "sealift.release.seq": str(release.seq),
    }
    return {name: value for name, value in labels.items() if value}


def _blob(layout: Layout, document: object) -> Blob:
    data = json_bytes(document)
    return layout.blob(lambda sink: sink.write(data))
