"""Attacks by name: a release key gone bad signs paths that leave the layer, collide or cannot exist."""

from __future__ import annotations

from pathlib import Path

from tests.attacks.forge import ONE, Doc, Forge
from tests.attacks.scene import Scene
from tests.attacks.table import attack

PATHS: dict[str, tuple[str, str]] = {
    "that climbs out": ("../../../bin/sealift", "empty, '.' or '..' component"),
    "that climbs out in the middle": ("models/../../../x", "empty, '.' or '..' component"),
    "with a dot": ("models/./x", "empty, '.' or '..' component"),
    "that is absolute": ("/etc/cron.d/x", "is not relative"),
    "with two slashes": ("models//x", "empty, '.' or '..' component"),
    "that ends with a slash": ("models/x/", "empty, '.' or '..' component"),
    "that is empty": ("", "is not relative"),
    "with a backslash": ("models\\..\\x", "a backslash or one of"),
    "with a NUL": ("models/x\0.onnx", "has a control character"),
    "with a line feed": ("models/x\ny", "has a control character"),
    "with an escape sequence": ("models/\x1b[2Jx", "has a control character"),
    "with a DEL": ("models/\x7fx", "has a control character"),
    "with an escape sequence of one character": ("models/\u009b2Jx", "has a control character"),
    "that reads from right to left": ("models/\u202egnp.sh", "one that turns the text around"),
    "with a line separator": ("models/x\u2028y", "has a control character"),
    "with a colon": ("C:/x", "a backslash or one of"),
    "with a wildcard": ("models/*", "a backslash or one of"),
    "that is a device on Windows": ("models/NUL.txt", "is a device on Windows"),
    "that ends with a dot": ("models/x.", "ends with a dot or a space"),
    "that ends with a space": ("models/x ", "ends with a dot or a space"),
    "with a part of 300 characters": ("models/" + "x" * 300, "component longer than 200 bytes"),
    "with a part of 201 bytes in 67 letters": ("models/" + "\u6f22" * 67, "component longer than 200 bytes"),
    "200 folders deep": ("a/" * 200 + "x", "or deeper than 32"),
    "of 1,025 bytes": ("/".join(["y" * 128] * 8)[:-1] + "zz", "is longer than 1024 bytes"),
}

COLLISIONS: dict[str, tuple[list[str], str]] = {
    "that differ in case": (["models/Weights", "models/weights"], "are one name on some file systems"),
    "in folders that differ in case": (["Models/a", "models/b"], "are one name on some file systems"),
    "that differ in their Unicode form": (["caf\u00e9", "cafe\u0301"], "are one name on some file systems"),
    "that differ in a sharp s": (["stra\u00dfe", "strasse"], "are one name on some file systems"),
    "one of which is the other's folder": (["models/m", "models/m/one.bin"], "is a file and a folder"),
}


def named(scene: Scene, paths: list[str]) -> Path:
    """A well signed bundle with these paths in its application."""

    def bend(doc: Doc) -> None:
        doc["files"] |= {path: {"executable": True, "sha256": ONE, "size": 3000} for path in paths}

    return scene.as_file(Forge(bend_manifest=bend).parts())


def _register(name: str, paths: list[str], words: str) -> None:
    @attack(name, 11, words)
    def make(scene: Scene) -> Path:
        return named(scene, paths)


for _name, (_path, _words) in PATHS.items():
    _register(f"a path {_name}", [_path], _words)
for _name, (_paths, _words) in COLLISIONS.items():
    _register(f"two names {_name}", _paths, _words)


@attack("200,001 folders above few files", 11, "more than 200000 folders")
def many_folders(scene: Scene) -> Path:
    return named(scene, [f"{number}/" + "a/" * 29 + "x" for number in range(6_700)])
