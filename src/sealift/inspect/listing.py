"""The files of a release, one line each: for a whitelist tool, or for `sha256sum -c`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sealift.bundle.documents import LAYERS, FileEntry
from sealift.bundle.read import UnverifiedBundle
from sealift.inspect.difference import Difference
from sealift.inspect.visible import visible


def listed(bundle: UnverifiedBundle) -> list[tuple[str, FileEntry]]:
    """(`layer/path`, entry) of every file, by the bytes of the path: the same order everywhere."""
    found = [
        (f"{layer}/{path}", entry) for layer in LAYERS for path, entry in bundle.manifests[layer].items()
    ]
    return sorted(found, key=lambda item: item[0].encode())


def mode_of(entry: FileEntry) -> str:
    """The mode that the file gets on the box."""
    return "0555" if entry.executable else "0444"


def allow_list(bundle: UnverifiedBundle) -> str:
    """`sha256  size  mode  layer/path`, a line each; the path last, for it may hold spaces."""
    return "".join(
        f"{entry.sha256}  {entry.size}  {mode_of(entry)}  {path}\n" for path, entry in listed(bundle)
    )


def checksums(bundle: UnverifiedBundle) -> str:
    """`sha256  layer/path`, a line each: what `sha256sum -c` reads beside an installed or extracted release.

    No path can hold a backslash or a line feed (clause 3.2), so none needs the escapes of that format.
    """
    return "".join(f"{entry.sha256}  {path}\n" for path, entry in listed(bundle))


def as_json(bundle: UnverifiedBundle) -> list[dict[str, Any]]:
    """The allow-list for programs."""
    return [
        {"mode": mode_of(entry), "path": path, "sha256": entry.sha256, "size": entry.size}
        for path, entry in listed(bundle)
    ]


def changed_files(difference: Difference) -> Iterator[str]:
    """`+ layer/path  size`, `- ...`, `~ ...`, for a screen."""
    for layer in difference.layers:
        for change in layer.files:
            entry = change.after or change.before
            size = entry.size if entry is not None else 0
            yield f"{change.sign} {visible(f'{layer.name}/{change.path}', 1100)}  {size}"


def for_screen(text: str) -> str:
    """The same lines for a terminal: names of files may hold what turns a line round."""
    return "".join(visible(line, 1300) + "\n" for line in text.split("\n")[:-1])
