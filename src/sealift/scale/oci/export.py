"""VerifiedBundle -> an OCI layout with the image and, beside it, its model as a ModelPack artifact.

Layers from what seldom changes to what often does: C library (or the user's base), runtime with the
interpreter, dependencies, models, the rest of the application with release.json. A new version shares the blobs
of all that stayed the same.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from sealift.bundle.documents import LAYERS, FileEntry
from sealift.bundle.read import VerifiedBundle, read_object
from sealift.errors import DigestMismatch, IncompatibleHost, MalformedBundle, MissingPart, UsageError
from sealift.events import Progress
from sealift.scale.oci.base import Base
from sealift.scale.oci.image import TREE, Facts, write_image
from sealift.scale.oci.layer import ImageFile, Layer, write_layer
from sealift.scale.oci.layout import INDEX_TYPE, REF_NAME, Descriptor, Layout, json_bytes
from sealift.scale.oci.machine import FOLDERS, CLibrary
from sealift.scale.oci.modelpack import MODELS, write_model
from sealift.target.interpreter import SYSTEM_FOLDERS, bundled_interpreter
from sealift.target.system_packages import packages_in_bundle
from sealift.target.target import Target, version_key

Below = CLibrary | Base | None
"""What lies below the release; None: nothing, the image does not run by itself."""
_SERVICE: Final = "service.json"
_PER_FILE_BYTES: Final = 2048


@dataclass(frozen=True, slots=True)
class Exported:
    """`name` is the image's in the layout; `layers` from the lowest up; `model` is None without models."""

    name: str
    image: Descriptor
    model: Descriptor | None
    layers: tuple[Layer, ...]


def require_exportable(bundle: VerifiedBundle, below: Below) -> str:
    """Everything that can be refused before anything is written; the interpreter's path in the image.

    Raises: MissingPart: a delta. UsageError: no service, system packages and no base that could have them, or an
        interpreter that is not in the image. IncompatibleHost: the C library below is too old, or none.
    """
    require_whole(bundle)
    if _SERVICE not in bundle.bundle.manifests["application"]:
        raise UsageError(
            f"{bundle.release.product} {bundle.release.version} holds no service that an image could run"
        )
    target = Target.from_json(bundle.release.target)
    interpreter = _interpreter(bundle, target, below)
    packages = system_packages(bundle)
    if packages and not isinstance(below, Base):
        raise UsageError(
            "this release carries system packages, which an image built from nothing does not install",
            problems=packages,
            next_step="name an image that has them: --base LAYOUT",
        )
    if below is not None and (not below.glibc or version_key(below.glibc) < version_key(target.glibc)):
        found = f"glibc {below.glibc}" if below.glibc else "no glibc"
        raise IncompatibleHost(
            f"the base has {found}, this release needs {target.glibc} or newer",
            next_step="name a newer base: --base LAYOUT",
        )
    return interpreter


def system_packages(bundle: VerifiedBundle) -> list[str]:
    """`libgl1 1.6.0-1` for each package of the system that travels along."""
    carried = packages_in_bundle(bundle, lambda sha256: read_object(bundle.bundle, sha256))
    return [str(package) for package in carried.packages] if carried is not None else []


def require_whole(bundle: VerifiedBundle) -> None:
    """Raises: MissingPart: files of the release do not travel in this bundle."""
    if bundle.bases or bundle.bundle.absent:
        raise MissingPart(
            f"this is a delta, {bundle.bundle.made_for}: an image needs every file of the release",
            next_step="export the full bundle, as `sealift pack` without --from writes it",
        )


def room_needed(bundle: VerifiedBundle, below: Below) -> int:
    """Bytes at most: every layer as plain as it can be."""
    base = 0
    if isinstance(below, CLibrary):
        base = sum(file.size + _PER_FILE_BYTES for file in below.files)
    elif below is not None:
        base = sum(descriptor["size"] for descriptor, _ in below.layers)
    return base + sum(entry.size + _PER_FILE_BYTES for _, entry in bundle.files())


def write_export(
    bundle: VerifiedBundle, below: Below, interpreter: str, licences: str, layout: Layout, progress: Progress
) -> Exported:
    """Write the image into `layout`; equal arguments give equal bytes.

    Args:
        interpreter: as `require_exportable` gives it.
        licences: an SPDX expression of what is in the bundle, or empty.
    Raises: DigestMismatch, MalformedBundle, MissingPart: the bundle or the base is damaged; MissingPart also as
        `require_whole`.
    """
    require_whole(bundle)
    progress.start("write layers", bundle.release.total_size)
    layers = [*_below(below, layout)]
    models: Layer | None = None
    for about, files in _layers(bundle, progress.advance):
        if files:
            layer = write_layer(layout, files, about, compress=about != "models")
            models = layer if about == "models" else models
            layers.append(layer)
    image = write_image(layout, bundle.release, layers, interpreter, _facts(below, licences))
    paths = [f"{TREE}/{path}" for path, _ in bundle.files() if f"{TREE}/{path}".startswith(f"{MODELS}/")]
    model = write_model(layout, bundle.release, models, paths, licences) if models is not None else None
    name = image_name(bundle)
    layout.finish(name, _named(layout, name, [image, *([model] if model is not None else [])]))
    return Exported(name, image, model, tuple(layers))


def image_name(bundle: VerifiedBundle) -> str:
    """`fraud:2026.11.0`; a tag has no `+` (OCI distribution-spec 1.1, "Pulling manifests")."""
    return f"{bundle.release.product}:{bundle.release.version.replace('+', '_')}"


def _named(layout: Layout, name: str, inner: list[Descriptor]) -> Descriptor:
    """One entry that names both: with two, `podman load` would ask which of them is meant."""
    data = json_bytes({"manifests": inner, "mediaType": INDEX_TYPE, "schemaVersion": 2})
    return layout.blob(lambda sink: sink.write(data)).as_(INDEX_TYPE, annotations={REF_NAME: name})


def _interpreter(bundle: VerifiedBundle, target: Target, below: Below) -> str:
    if target.interpreter == "bundled":
        own = bundled_interpreter(Path(), target.python).relative_to("runtime")
        if str(own) not in bundle.bundle.manifests["runtime"]:
            raise MalformedBundle(
                f"the release says that it brings its interpreter, and runtime/{own} is not there"
            )
        return f"/{TREE}/runtime/{own}"
    system = [str(folder / f"python{target.python}") for folder in SYSTEM_FOLDERS]
    wanted = system if target.interpreter == "system" else [target.interpreter]
    inside = below.paths if isinstance(below, Base) else frozenset()
    found = next((path for path in wanted if path.lstrip("/") in inside), None)
    if found is None:
        raise UsageError(
            f"this release does not bring its interpreter (it runs on {' or '.join(wanted)}), and the base has none",
            next_step='pack it with [target] interpreter = "bundled", or name an image that has it: --base LAYOUT',
        )
    return found


def _below(below: Below, layout: Layout) -> Iterator[Layer]:
    if isinstance(below, CLibrary):
        yield write_layer(layout, below.files, f"C library ({', '.join(below.packages)})", folders=FOLDERS)
    elif below is not None:
        for descriptor, diff_id in below.layers:
            yield _copied(below, descriptor, diff_id, layout)


def _copied(base: Base, descriptor: Descriptor, diff_id: str, layout: Layout) -> Layer:
    path = base.blob(descriptor)

    def copy(sink: IO[bytes]) -> None:
        with path.open("rb") as stream:
            shutil.copyfileobj(stream, sink, 1 << 20)

    blob = layout.blob(copy)
    if blob.digest != descriptor["digest"]:
        raise DigestMismatch(f"{path}: its bytes are not those of its name")
    return Layer(descriptor, diff_id, f"base {base.name}".rstrip())


def _facts(below: Below, licences: str) -> Facts:
    if isinstance(below, Base):
        return Facts(licences, base_name=below.name, base_digest=below.digest)
    return Facts(licences, packages=below.packages if below is not None else ())


def _layers(bundle: VerifiedBundle, advance: Callable[[int], None]) -> Iterator[tuple[str, list[ImageFile]]]:
    """The release's layers; the application's in two: models alone, and the rest with release.json."""
    for layer in LAYERS[:-1]:
        yield layer, list(_files(bundle, layer, advance))
    application = list(_files(bundle, LAYERS[-1], advance))
    models = [file for file in application if file.path.startswith(f"{MODELS}/")]
    document = bundle.release.encode()
    release = ImageFile(
        f"{TREE}/release.json", len(document), executable=False, copy=lambda sink: sink.write(document)
    )
    yield "models", models
    yield LAYERS[-1], [*(file for file in application if file not in models), release]


def _files(bundle: VerifiedBundle, layer: str, advance: Callable[[int], None]) -> Iterator[ImageFile]:
    for path, entry in bundle.bundle.manifests[layer].items():
        yield ImageFile(f"{TREE}/{layer}/{path}", entry.size, entry.executable, _copy(bundle, entry, advance))


def _copy(
    bundle: VerifiedBundle, entry: FileEntry, advance: Callable[[int], None]
) -> Callable[[IO[bytes]], None]:
    def copy(sink: IO[bytes]) -> None:
        bundle.copy_object(entry.sha256, sink)
        advance(entry.size)

    return copy


def spdx(licences: list[str]) -> str:
    """Licence names as one expression; one that is no SPDX name stands as LicenseRef (SPDX 2.3, annex D)."""
    terms = sorted(
        {
            licence if re.fullmatch(r"[A-Za-z0-9.+-]+", licence) else _reference(licence)
            for licence in licences
        }
    )
    return " AND ".join(terms)


def _reference(licence: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9.+()\- ]+", licence) and re.search(r" (AND|OR|WITH) ", licence):
        return f"({licence})"
    return f"LicenseRef-{re.sub(r'[^A-Za-z0-9.-]+', '-', licence).strip('-')[:60]}"
