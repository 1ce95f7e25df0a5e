"""Target: the box a release was packed for, as release.json records it. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from sealift.errors import MalformedBundle

SYSTEM, BUNDLED = "system", "bundled"
"""What `interpreter` may be beside a path."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a box must offer.

    `platform` is `linux-x86_64` or `linux-aarch64`; `python` is `3.11`; `implementation` is `cpython`;
    `glibc` (`2.31`) and `kernel` (`5.4`, or None) are the oldest that will do.
    `interpreter` is `system`, `bundled` (the release brings it along), or an absolute path on the box.
    `cpu` names the flags the processor must have, as /proc/cpuinfo spells them; `cuda` is `12.4` or None.
    """

    platform: str
    python: str
    glibc: str
    implementation: str = "cpython"
    interpreter: str = "system"
    cpu: tuple[str, ...] = ()
    kernel: str | None = None
    cuda: str | None = None

    @property
    def machine(self) -> str:
        """`x86_64` or `aarch64`."""
        return self.platform.partition("-")[2]

    @property
    def brings_interpreter(self) -> bool:
        """The release runs on its own interpreter, and asks the box for none."""
        return self.interpreter == BUNDLED

    def __str__(self) -> str:
        return f"{self.platform}, Python {self.python}, glibc {self.glibc}"

    def to_json(self) -> dict[str, object]:
        """A plain document, every field present; `from_json` gives the same value back."""
        return asdict(self) | {"cpu": list(self.cpu)}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Target:
        """Raises: MalformedBundle: a field is missing, unknown or of the wrong type; all are named."""
        names = [field.name for field in fields(cls)]
        problems = [f"{name}: missing" for name in names if name not in document]
        problems += [f"{name}: unknown field" for name in sorted(document.keys() - set(names))]
        for name in names:
            if name in document and not _is_valid(name, document[name]):
                problems.append(f"{name}: expected {_EXPECTED.get(name, 'a text')}, got {document[name]!r}")
        if problems:
            raise MalformedBundle("The target of this release is not readable.", problems=problems)
        values = {name: document[name] for name in names}
        cpu = document["cpu"]
        assert isinstance(cpu, list)  # noqa: S101  _is_valid has said so
        return cls(**(values | {"cpu": tuple(cpu)}))  # type: ignore[arg-type]


_EXPECTED = {
    "cpu": "a list of texts",
    "kernel": "a version like 5.4 or null",
    "cuda": "a version like 12.4 or null",
    "python": "a version like 3.11",
    "glibc": "a version like 2.31",
    "platform": "linux-x86_64 or linux-aarch64",
}
PLATFORMS = ("linux-x86_64", "linux-aarch64")


def _is_valid(name: str, value: object) -> bool:
    if name == "cpu":
        return isinstance(value, list) and all(isinstance(flag, str) for flag in value)
    if name in ("kernel", "cuda"):
        return value is None or is_version(value)
    if name in ("python", "glibc"):
        return is_version(value)
    return isinstance(value, str) and (name != "platform" or value in PLATFORMS)


def is_version(value: object) -> bool:
    """Claims that `value` is two or more numbers joined by dots."""
    if not isinstance(value, str):
        return False
    parts = value.split(".")
    return len(parts) > 1 and all(part.isascii() and part.isdigit() for part in parts)


def version_key(text: str) -> tuple[int, ...]:
    """`2.31` -> (2, 31); stops at the first part that is no number (`5.4.0-generic` -> (5, 4, 0))."""
    key: list[int] = []
    for part in text.replace("-", ".").replace("+", ".").split("."):
        if not (part.isascii() and part.isdigit()):
            break
        key.append(int(part))
    return tuple(key)
