"""A trust root as `keys` and `trust` show it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from sealift import canonical
from sealift.trust.root import Root


def root_facts(root: Root) -> dict[str, Any]:
    """For `--json`: key ids by role, whole."""
    return {
        "fingerprint": root.fingerprint,
        "officer_threshold": root.officer_threshold,
        "officers": list(root.officers),
        "release_keys": {key_id: list(patterns) for key_id, patterns in root.release_keys.items()},
        "release_threshold": root.release_threshold,
        "revoked": list(root.revoked),
        "root_keys": list(root.root_keys),
        "root_threshold": root.root_threshold,
        "version": root.version,
    }


def root_text(root: Root, note: Callable[[str], str] = lambda _: "") -> str:
    """One line a key in the short form; `note` adds to a key's line (where it lies, ...)."""

    def row(word: str, key_id: str, more: str = "") -> str:
        return f"  {word:<12} {canonical.short(key_id)}{more}{note(key_id)}"

    lines = [f"root version {root.version}", f"  fingerprint  {root.fingerprint}"]
    lines += [row("root key", key_id) for key_id in root.root_keys]
    lines += [
        row("release key", key_id, f"  may sign {', '.join(patterns)}")
        for key_id, patterns in sorted(root.release_keys.items())
    ]
    lines += [row("officer", key_id) for key_id in root.officers]
    lines += [row("revoked", key_id) for key_id in root.revoked]
    lines.append(f"  needed       {_of(root.root_threshold, root.root_keys)} root keys for the next root")
    approvals = f" and {_of(root.officer_threshold, root.officers)} officers" if root.officers else ""
    lines.append(
        f"  needed       {_of(root.release_threshold, root.release_keys)} release keys{approvals} for a bundle"
    )
    return "\n".join(lines)


def _of(threshold: int, keys: Collection[str]) -> str:
    return f"{threshold} of {len(keys)}"
