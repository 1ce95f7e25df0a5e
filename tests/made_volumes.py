"""Bundles cut into volumes, and media that fail: real files, and a reader that dies in the middle."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sealift.bundle import layout, tar
from sealift.bundle.read import read_bundle
from sealift.bundle.slices import _Pieces
from sealift.bundle.source import document, open_source
from sealift.bundle.volumes import stream_of
from sealift.carry.cut import Cutting


def write_volumes(folder: Path, bundle: Path, span: int, stem: str = "fraud-1.0") -> list[Path]:
    """As a medium gets them."""
    read = read_bundle(open_source(bundle))
    source = read.source
    documents = {name: document(source, name) for name in source.parts() if layout.is_document(name)}
    cutting = Cutting(source, stream_of(read.objects, span), documents)
    folder.mkdir(exist_ok=True)
    paths = []
    for number in range(1, cutting.count + 1):
        path = folder / cutting.name(stem, number)
        with path.open("wb") as stream:
            tar.write_parts(stream, cutting.parts(number), layout.volume_rank)
        assert path.stat().st_size == cutting.size(number)
        paths.append(path)
    return paths


def flip(path: Path, at: int, bit: int = 0) -> None:
    """Turn one bit of a file round; a negative place counts from its end."""
    with path.open("r+b") as stream:
        stream.seek(at, 2 if at < 0 else 0)
        byte = stream.read(1)[0]
        stream.seek(-1, 1)
        stream.write(bytes([byte ^ (1 << bit)]))


class DyingMedium:
    """Files whose name holds `name` give an input/output error after `good_bytes`, until `heal` is called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, good_bytes: int) -> None:
        self.left: float = good_bytes
        real = _Pieces.readinto

        def readinto(pieces: _Pieces, buffer: object) -> int:
            file = pieces._file
            if file is None or name not in str(file.name):
                return real(pieces, buffer)
            got = real(pieces, buffer)
            self.left -= got
            if self.left < 0:
                raise OSError(errno.EIO, "Input/output error", str(file.name))
            return got

        monkeypatch.setattr(_Pieces, "readinto", readinto)

    def heal(self) -> None:
        """Plugged in again."""
        self.left = float("inf")
