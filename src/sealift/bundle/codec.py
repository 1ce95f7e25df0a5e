"""How a stored object becomes the object again: `raw`, `zstd`, or a patch of what the box has (clause 4.4).

Decoding trusts nothing: the stored bytes are compared with their signed digest first, and still the window,
the content size and the output are bounded before memory is given.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final, cast

import zstandard

from sealift import canonical
from sealift.bundle.frames import BASE_WINDOW, MAX_WINDOW, PLACE, Frame, read_frames
from sealift.bundle.source import reading
from sealift.bundle.transport import RAW, StoredObject
from sealift.errors import DigestMismatch, MalformedBundle, MissingPart

CHUNK: Final = 1 << 20

Opener = Callable[[], IO[bytes]]


def copy_object(
    open_stored: Opener, stored: StoredObject, sha256: str, sink: IO[bytes] | None, base: Path | None = None
) -> None:
    """Write the object to `sink` (None: only check), in pieces of at most 1 MiB.

    Stored bytes are hashed before they are decoded, the output is held to its exact size and digest.
    A sink that got bytes before a refusal must be discarded. Memory stays below 150 MB, whatever the size.

    Args:
        base: for a patch, the file with the object that it was made from; the caller has checked its digest.
    Raises: DigestMismatch: stored or decoded bytes differ from what was signed. MalformedBundle: a frame
        that asks for more than clauses 4.5 and 4.7 permit. MissingPart: a patch, and no `base`.
    """
    output = _Output(sha256, stored.size, sink)
    if stored.codec == RAW:
        with open_stored() as source:
            output.take(source.read, stored.size)
        output.finish()
        return
    frames = check_stored(open_stored, stored, sha256)
    if stored.source is not None and base is None:
        raise MissingPart(f"{output.what}: the object that it was made from is not at hand")
    with open_stored() as source:
        for frame in frames:
            _decode(source, frame, base, output)
    output.finish()


def check_stored(open_stored: Opener, stored: StoredObject, sha256: str) -> tuple[Frame, ...]:
    """Hold the stored bytes to what was signed, and their frames to what is permitted; nothing is decoded.

    Returns: the frames; none of a raw object.
    Raises: DigestMismatch, MalformedBundle.
    """
    with open_stored() as source:
        as_stored = _Output(stored.stored_sha256, stored.stored_size, None, named=sha256)
        as_stored.take(source.read, stored.stored_size)
        as_stored.finish()
    if stored.codec == RAW:
        return ()
    with open_stored() as source:
        return read_frames(source, stored, sha256)


def _decode(source: IO[bytes], frame: Frame, base: Path | None, output: _Output) -> None:
    dictionary = None
    if base is not None and frame.place is not None:
        source.read(PLACE)
        window = base_window(base, frame.place, output.what)
        dictionary = zstandard.ZstdCompressionDict(window, zstandard.DICT_TYPE_RAWCONTENT) if window else None
        del window  # the dictionary has a copy of its own
    decoder = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=MAX_WINDOW)
    stored = cast(IO[bytes], _Span(source, frame.stored_size))
    try:
        with decoder.stream_reader(stored, read_size=CHUNK, read_across_frames=False) as decoded:
            output.take(decoded.read, frame.size)
    except zstandard.ZstdError as error:
        raise MalformedBundle(f"{output.what}: zstd: {error}") from error


def base_window(base: Path, place: int, what: str) -> bytes:
    """The 16 MiB of a base that one block may refer to; all of a smaller one.

    Raises: MalformedBundle: a place from which less than that is left. BundleError: it cannot be read.
    """
    with reading(str(base)), base.open("rb", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        if place > max(0, size - BASE_WINDOW):
            raise MalformedBundle(f"{what}: a block of the patch refers to byte {place} of a base of {size}")
        stream.seek(place)
        return stream.read(BASE_WINDOW)


class _Span(io.RawIOBase):
    """The next bytes of a stream, as a stream of its own: a decoder reads ahead."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source = source
        self._left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


class _Output:
    """Bytes on their way to `sink`, held to one size and one digest."""

    def __init__(self, sha256: str, size: int, sink: IO[bytes] | None, named: str | None = None) -> None:
        self.what = f"object {canonical.short(named or sha256)}"
        self._sha256, self._size, self._sink = sha256, size, sink
        self._hasher = hashlib.sha256()

    def take(self, read: Callable[[int], bytes], size: int) -> None:
        """Take `size` bytes, which must be all that there are. Raises: DigestMismatch."""
        left = size
        while chunk := self._piece(read, min(CHUNK, left + 1)):
            left -= len(chunk)
            if left < 0:
                break
            self._hasher.update(chunk)
            if self._sink is not None:
                self._sink.write(chunk)
        if left:
            raise self._refusal()

    def finish(self) -> None:
        """Everything was taken. Raises: DigestMismatch."""
        if self._hasher.hexdigest() != self._sha256:
            raise self._refusal()

    def _piece(self, read: Callable[[int], bytes], size: int) -> bytes:
        with reading(self.what):  # the sink's own OSError is another matter
            return read(size)

    def _refusal(self) -> DigestMismatch:
        return DigestMismatch(
            f"{self.what}: expected {self._size} bytes of that digest, found others",
            next_step="carry the bundle again; if it happens again, the medium or the sender is at fault",
        )
