"""What sealift's own release has beside interpreter and box side: its help, its licence, its facts."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift import canonical
from sealift.errors import UsageError
from sealift.store.prefix import TOOL
from sealift.trust.root import Root

OLDEST: Final = "0.1.0"
"""The oldest sealift that can bring a newer one in: what reads this form of a tool's release."""
FACTS_FORMAT: Final = "sealift-tool/1"
LICENCE: Final = "licences/sealift.txt"


@dataclass(frozen=True, slots=True)
class ToolFacts:
    """What `application/tool.json` states. `packages`: name -> version of what travels beside sealift."""

    version: str
    python: str
    packages: Mapping[str, str]

    def encode(self) -> bytes:
        """Canonical JSON."""
        return canonical.encode(
            {
                "format": FACTS_FORMAT,
                "packages": dict(self.packages),
                "python": self.python,
                "version": self.version,
            }
        )


def write_application(folder: Path, facts: ToolFacts, pages: Mapping[str, str]) -> None:
    """Write the application layer: `tool.json`, `help/NAME.txt` and the licence.

    Args:
        pages: name -> text, for who reads without a terminal of the box.
    """
    files = {"tool.json": facts.encode(), LICENCE: licence()}
    files |= {f"help/{name}.txt": text.encode() for name, text in pages.items()}
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def licence() -> bytes:
    """sealift's own licence text, as it was installed here. Raises: UsageError: it is not there."""
    for path in importlib.metadata.files("sealift") or ():
        if path.name == "LICENSE":
            return path.read_binary()
    beside = Path(__file__).parents[3] / "LICENSE"  # a checkout that was installed without its metadata
    if beside.is_file():
        return beside.read_bytes()
    raise UsageError("sealift's own licence text is not installed here", next_step="install sealift again")


def require_may_sign(root: Root, key_id: str) -> None:
    """Raises: UsageError: the root does not let this key sign sealift itself."""
    if key_id in root.may_sign(TOOL):
        return
    patterns = ", ".join(_patterns(root)) or "nothing"
    raise UsageError(
        f"the release key may not sign {TOOL!r} itself: root version {root.version} permits {patterns}",
        next_step=f"sealift keys rotate KEYS --add-release --product {TOOL}, or name other --keys",
    )


def _patterns(root: Root) -> tuple[str, ...]:
    return tuple(sorted({pattern for patterns in root.release_keys.values() for pattern in patterns}))
