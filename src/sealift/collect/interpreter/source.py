"""Where a bundled interpreter comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Source:
    """A CPython as it lies on this machine, before it is copied.

    `version` is `3.11.7`; `platlibdir` is `lib`, or `lib64` where its builder chose so: the interpreter looks for
    its standard library below that name. `extensions` is what `lib-dynload` holds. `built_for` are the
    folders of the building machine that were compiled into it, the longest first. `libraries` are folders of its own
    to look for shared libraries in; `borrows` claims that the rest may come from this machine. `licences` are
    texts that came along.
    """

    label: str
    version: str
    platlibdir: str
    executable: Path
    stdlib: Path
    extensions: Path
    built_for: tuple[str, ...] = ()
    libraries: tuple[Path, ...] = ()
    borrows: bool = False
    licences: tuple[Path, ...] = ()

    @property
    def python(self) -> str:
        """`3.11`."""
        return ".".join(self.version.split(".")[:2])
