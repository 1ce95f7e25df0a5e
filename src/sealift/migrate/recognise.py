"""Which of the four kinds of old service lies at a path, by its content."""

from __future__ import annotations

import zipfile
from pathlib import Path

from sealift.errors import UsageError
from sealift.migrate.draft import Draft
from sealift.model.words import quoted

_KINDS = (
    "a Python script of a Flask service (service.py)",
    "a TorchServe archive (NAME.mar, or its folder with MAR-INF/MANIFEST.json)",
    "a Triton model repository (a folder of NAME/config.pbtxt and NAME/1/model.onnx)",
    "an MLflow model (a folder with MLmodel)",
)


def read_old(source: Path, workspace: Path) -> Draft:
    """Read the service at `source` without running any of it.

    Args:
        workspace: where an archive is unpacked; not there yet. The draft points into it.
    Raises: UsageError: there is nothing, or none of the four kinds; ModelError: its model.
    """
    if not source.exists():
        raise UsageError(f"--from {source}: there is no such file or folder")
    if source.is_dir():
        return _read_folder(source)
    if source.suffix == ".py":
        from sealift.migrate.script import read_script

        return read_script(source)
    if zipfile.is_zipfile(source):
        from sealift.migrate.archive import unpack_archive
        from sealift.migrate.torchserve import read_torchserve

        return read_torchserve(unpack_archive(source, workspace))
    if source.name == "MLmodel" or source.name == "config.pbtxt":
        return _read_folder(source.parent)
    raise _unknown(source, f"a file {quoted(source.name)} of another kind")


def _read_folder(folder: Path) -> Draft:
    if (folder / "MLmodel").is_file():
        from sealift.migrate.mlflow import read_mlflow

        return read_mlflow(folder)
    if (folder / "MAR-INF" / "MANIFEST.json").is_file():
        from sealift.migrate.torchserve import read_torchserve

        return read_torchserve(folder)
    from sealift.migrate.triton import is_repository, read_triton

    if is_repository(folder):
        return read_triton(folder)
    names = sorted(entry.name for entry in folder.iterdir())
    raise _unknown(folder, f"a folder with {', '.join(map(quoted, names[:8])) if names else 'nothing in it'}")


def _unknown(source: Path, found: str) -> UsageError:
    return UsageError(
        f"--from {source}: expected one of the kinds below, found {found}",
        problems=_KINDS,
        next_step="start from the model itself: sealift init DIR --model F",
    )
