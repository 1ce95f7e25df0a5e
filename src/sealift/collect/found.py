"""A wheel that pip chose, before anybody has its body."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.utils import parse_wheel_filename

from sealift.collect.pylock import Pin
from sealift.collect.wheel import WheelFile, normalised


@dataclass(frozen=True, slots=True)
class Found:
    """`name` is normalised; `sha256` (hex) is what the index or the file says; `requires` is its Requires-Dist.

    `path` is where it lies on this machine, None for a wheel of an index; `url` is empty but for a wheel that the
    project names by its own address; `size` is in bytes, None where nobody has said.
    """

    name: str
    version: str
    filename: str
    sha256: str
    requires: tuple[Requirement, ...] = ()
    path: Path | None = None
    url: str = ""
    size: int | None = None

    def pin(self) -> Pin:
        """Exactly this wheel."""
        return Pin(self.name, self.version, (self.sha256,), self.url)

    @classmethod
    def from_file(cls, file: WheelFile) -> Found:
        """A wheel that is here."""
        wheel = file.wheel
        return cls(
            name=wheel.name,
            version=wheel.version,
            filename=wheel.filename,
            sha256=wheel.sha256,
            requires=file.requires,
            path=wheel.path,
            size=wheel.size,
        )


def read_report(report: Path, sizes: Mapping[str, int | None]) -> tuple[Found, ...]:
    """What `pip install --report` chose, sorted by name.

    Source: pip's installation report, version 1 (the format that pip keeps stable).
    """
    document = json.loads(report.read_text(encoding="utf-8"))
    return tuple(sorted((_found(item, sizes) for item in document["install"]), key=lambda found: found.name))


def _found(item: Mapping[str, Any], sizes: Mapping[str, int | None]) -> Found:
    address = urlsplit(item["download_info"]["url"])
    filename = unquote(address.path.rpartition("/")[2])
    path = Path(unquote(address.path)) if address.scheme == "file" else None
    metadata = item["metadata"]
    return Found(
        name=normalised(metadata["name"]),
        version=str(parse_wheel_filename(filename)[1]),
        filename=filename,
        sha256=item["download_info"]["archive_info"].get("hashes", {}).get("sha256", ""),
        requires=tuple(Requirement(text) for text in metadata.get("requires_dist", [])),
        path=path,
        url=item["download_info"]["url"] if item["is_direct"] and path is None else "",
        size=path.stat().st_size if path else sizes.get(filename),
    )
