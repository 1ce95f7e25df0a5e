"""The site file of a service (`etc/NAME.toml`): read as it is, changed so that its comments stay."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sealift.errors import BadSettings
from sealift.store.files import remove_file, storing, write_file
from sealift.store.prefix import Prefix

if TYPE_CHECKING:
    import tomlkit

MAX_BYTES: Final = 2**16

_HEAD: Final = (
    "# What this box sets for {name}; kept over updates. All names and ranges: sealift config show {name}\n"
)

Keys = tuple[str, ...]
"""Where a value stands: the keys from the root down."""


@dataclass(frozen=True, slots=True)
class SiteFile:
    """A site file as it was read; `data` is empty where there is no file (`is_there` tells)."""

    path: Path
    data: bytes
    is_there: bool = True


def read_site(prefix: Prefix, name: str) -> SiteFile:
    """The site file of a service. Raises: BadSettings, StoreError: as `read_site_file`."""
    return read_site_file(prefix.site(name))


def read_site_file(path: Path) -> SiteFile:
    """A site file; none is an empty one.

    Raises: BadSettings: it is no regular file, or above 64 KiB. StoreError: it may not be read.
    """
    with storing(path):
        try:
            # Not blocking: a pipe of that name must not hold a worker up for ever.
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return SiteFile(path, b"", is_there=False)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadSettings(
                    f"{path} is no regular file", next_step="remove it, then sealift config set"
                )
            with os.fdopen(handle, "rb", closefd=False) as stream:
                data = stream.read(MAX_BYTES + 1)
        finally:
            os.close(handle)
    if len(data) > MAX_BYTES:
        raise BadSettings(f"{path} is larger than {MAX_BYTES // 1024} KiB, the most that is read")
    return SiteFile(path, data)


def changed(site: SiteFile, name: str, changes: Mapping[Keys, Any]) -> bytes:
    """The file's bytes with some values set, or taken out where the new value is None.

    Comments and order stay as their author wrote them; tables that become empty go.

    Args:
        site: TOML; whoever calls has read it already.
        changes: path of keys -> a TOML value, or None.
    """
    import tomlkit  # here: nothing else on the box needs it

    text = site.data.decode("utf-8-sig").replace("\r\n", "\n") or _HEAD.format(name=name)
    document = tomlkit.parse(text)
    for path, value in changes.items():
        if value is None:
            _take_out(document, path)
        else:
            _put(document, path, value)
    return (tomlkit.dumps(document).rstrip("\n") + "\n").encode()


def _put(document: tomlkit.TOMLDocument, path: Keys, value: Any) -> None:
    import tomlkit

    table: Any = document
    for key in path[:-1]:
        if not isinstance(table.get(key), dict):
            table[key] = tomlkit.table()
        table = table[key]
    table[path[-1]] = list(value) if isinstance(value, tuple) else value


def _take_out(document: tomlkit.TOMLDocument, path: Keys) -> None:
    tables: list[Any] = [document]
    for key in path[:-1]:
        inner = tables[-1].get(key)
        if not isinstance(inner, dict):
            return
        tables.append(inner)
    tables[-1].pop(path[-1], None)
    for above, key, table in zip(
        reversed(tables[:-1]), reversed(path[:-1]), reversed(tables[1:]), strict=True
    ):
        if not table:
            above.pop(key)


def write_site(path: Path, data: bytes) -> None:
    """Replace the file, durably. Raises: StoreError, NoSpace: the old one stands."""
    write_file(path, data)


def put_back(site: SiteFile) -> None:
    """Make the file what it was when it was read, also if it was not there."""
    if site.is_there:
        write_file(site.path, site.data)
    else:
        remove_file(site.path)
