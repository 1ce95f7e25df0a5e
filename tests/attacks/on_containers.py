"""Attacks on the container: links, devices and strange names in a folder; headers and padding of the one file."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Callable
from pathlib import Path

from tests.attacks.forge import ONE, Forge, container, write_folder
from tests.attacks.scene import Scene
from tests.attacks.table import attack

from sealift.bundle import layout, tar

Bend = Callable[[Path], object]


def _in_folder(name: str, words: str, bend: Bend, code: int = 11) -> None:
    @attack(name, code, words)
    def make(scene: Scene) -> Path:
        folder = write_folder(scene.folder / "bundle", Forge().parts())
        bend(folder)
        return folder


def _replace(folder: Path, name: str, make: Callable[[Path], object]) -> None:
    path = folder / name
    path.rename(folder.parent / "kept")
    make(path)


def _link_folder(folder: Path) -> None:
    (folder / "objects").rename(folder.parent / "elsewhere")
    (folder / "objects").symlink_to(folder.parent / "elsewhere")


def _listen(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def _deep(folder: Path) -> None:
    here = os.open(folder, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


OBJECT = layout.object_(ONE)
NO_BUNDLE_NAME = "a link, a special file or a name that no bundle has"
_in_folder(
    "an object that is a link",
    NO_BUNDLE_NAME,
    lambda folder: _replace(folder, OBJECT, lambda path: path.symlink_to(folder.parent / "kept")),
)
_in_folder(
    "a release.json that is a link",
    "release.json: a link",
    lambda folder: _replace(folder, layout.RELEASE, lambda path: path.symlink_to(folder.parent / "kept")),
)
_in_folder("a folder that is a link", NO_BUNDLE_NAME, _link_folder)
_in_folder(
    "a link to nowhere beside the parts", NO_BUNDLE_NAME, lambda folder: (folder / "x").symlink_to("/nowhere")
)
_in_folder("an object that is a pipe", NO_BUNDLE_NAME, lambda folder: _replace(folder, OBJECT, os.mkfifo))
_in_folder("an object that is a socket", NO_BUNDLE_NAME, lambda folder: _replace(folder, OBJECT, _listen))
_in_folder("an object that is a folder", NO_BUNDLE_NAME, lambda folder: _replace(folder, OBJECT, os.mkdir))
_in_folder(
    "a file that no bundle has", NO_BUNDLE_NAME, lambda folder: (folder / "autorun.inf").write_text("x")
)
_in_folder(
    "a file in a folder that no bundle has", NO_BUNDLE_NAME,
    lambda folder: write_folder(folder, {"x/release.json": b"x"}),
)  # fmt: skip
_in_folder(
    "a file whose name clears the screen",
    NO_BUNDLE_NAME,
    lambda folder: (folder / "\x1b[2Jx").write_text("x"),
)
_in_folder("folders 200 deep", NO_BUNDLE_NAME, _deep)


def _in_file(name: str, words: str, bend: Callable[[bytes], bytes], code: int = 11) -> None:
    @attack(name, code, words)
    def make(scene: Scene) -> Path:
        path = scene.folder / "x.sealift"
        path.write_bytes(bend(container(Forge().parts())))
        return path


def _header(data: bytes, change: Callable[[bytearray], None]) -> bytes:
    """The first header changed, its checksum made right again."""
    block = bytearray(data[:512])
    change(block)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data[512:]


def _put(data: bytes, start: int, value: bytes) -> bytes:
    def change(block: bytearray) -> None:
        block[start : start + len(value)] = value

    return _header(data, change)


NO_HEADER = "byte 0: not a tar header in its one permitted form"
_KINDS = {
    "hard link": b"1",
    "link": b"2",
    "character device": b"3",
    "block device": b"4",
    "pipe": b"6",
    "pax header": b"x",
}


def _register_kind(kind: str, mark: bytes) -> None:
    _in_file(f"a {kind} in the file", NO_HEADER, lambda data: _put(data, 156, mark))


for _kind, _mark in _KINDS.items():
    _register_kind(_kind, _mark)

_in_file("a header with the wrong size", "", lambda data: _put(data, 124, b"00000000777"))
_in_file(
    "a header with a size beyond the file",
    "the file ends before",
    lambda data: _put(data, 124, b"00007777777"),
)
_in_file("a header with a negative size", NO_HEADER, lambda data: _put(data, 124, b"-0000000001"))
_in_file(
    "a header with a binary size", NO_HEADER, lambda data: _put(data, 124, b"\x80" + bytes(10) + b"\x01")
)
_in_file("a header with another mode", NO_HEADER, lambda data: _put(data, 100, b"0006755"))
_in_file("a header with an owner", NO_HEADER, lambda data: _put(data, 108, b"0001750"))
_in_file("a header with a time", NO_HEADER, lambda data: _put(data, 136, b"14712345670"))
_in_file("a header with a prefix", NO_HEADER, lambda data: _put(data, 345, b"etc"))
_in_file("a header with a user name", NO_HEADER, lambda data: _put(data, 265, b"root"))
_in_file("a wrong checksum", NO_HEADER, lambda data: data[:150] + b"7" + data[151:])
_in_file("a byte behind the end", "expected the end of the container", lambda data: data + b"\0")
_in_file("another archive behind the end", "expected the end of the container", lambda data: data + data)
_in_file("a cut-off end", "the container ends at byte|expected the end", lambda data: data[:-512])
_in_file(
    "half a container", "the container ends at byte|the file ends before", lambda data: data[: len(data) // 2]
)
_in_file("an empty file", "the container ends at byte 0", lambda _: b"")
_in_file("a compressed container", NO_HEADER, gzip.compress)
_in_file("a file of zeros", "expected the end of the container", lambda data: bytes(len(data)))


def _padding(data: bytes) -> bytes:
    size = int(data[124:135], 8)
    position = 512 + size
    assert size % 512
    return data[:position] + b"x" + data[position + 1 :]


_in_file("a byte in the padding", "its padding is not zero", _padding)


def _named_in_file(title: str, name: str) -> None:
    @attack(f"a part named {title} in the file", 11, "not a part of a bundle, or out of order")
    def make(scene: Scene) -> Path:
        return scene.as_file(Forge().parts() | {name: b"x"})


for _title, _name in {
    "../x": "../x",
    "/etc/passwd": "/etc/passwd",
    "objects/..": "objects/../release.json",
    "release.json/": "release.json/",
    "like an object in another folder": "objects/00/" + ONE,
    "roots/01.json": "roots/01.json",
}.items():
    _named_in_file(_title, _name)


@attack("one part twice in the file", 11, "not a part of a bundle, or out of order")
def twice(scene: Scene) -> Path:
    parts = Forge().parts()
    name = layout.TRANSPORT_SIGNATURES
    path = scene.as_file(parts)
    block = tar.header(name, len(parts[name])) + parts[name] + bytes(-len(parts[name]) % 512)
    path.write_bytes(path.read_bytes().replace(block, block * 2))
    return path


@attack("parts out of order in the file", 11, "not a part of a bundle, or out of order")
def out_of_order(scene: Scene) -> Path:
    return scene.as_file(dict(sorted(Forge().parts().items(), reverse=True)), in_order=False)


@attack("a sparse container of 1 TiB", 11, "expected the end of the container", about_bytes=False)
def giant(scene: Scene) -> Path:
    path = scene.as_file(Forge().parts())
    with path.open("r+b") as stream:
        stream.truncate(1 << 40)
    return path


@attack("a sparse object of 1 TiB in the file", 11, NO_HEADER, about_bytes=False)
def giant_object(scene: Scene) -> Path:
    path = scene.folder / "x.sealift"
    block = bytearray(tar.header(OBJECT, 0))
    block[124:136] = b"\x80" + (1 << 40).to_bytes(
        11, "big"
    )  # as GNU tar writes what eleven digits cannot say
    with path.open("wb") as stream:
        stream.write(_header(bytes(block), lambda _: None))
        stream.truncate(1 << 40)
    return path


@attack("a bundle that this user may not read", 10, "cannot be read: Permission denied", about_bytes=False)
def unreadable(scene: Scene) -> Path:
    path = scene.as_file(Forge().parts())

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    path.chmod(0)
    if os.geteuid() == 0:  # root reads everything
        scene.patch.setattr(tar, "read_index", refuse)
    return path
