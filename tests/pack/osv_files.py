"""OSV entries as osv.dev and the PyPA advisory database write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Event = dict[str, str]


def entry(
    name: str = "jinja2",
    events: Sequence[Event] = ({"introduced": "0"}, {"fixed": "3.1.4"}),
    *,
    id: str = "GHSA-h75v-3vvj-5mfj",  # noqa: A002 - the schema's word
    aliases: Sequence[str] = ("CVE-2024-34064",),
    kind: str = "ECOSYSTEM",
    versions: Sequence[str] = (),
    **more: Any,
) -> dict[str, Any]:
    """One entry about one package of PyPI, with everything that real ones carry besides."""
    ranges: list[dict[str, Any]] = [
        {"type": "GIT", "repo": "repo", "events": [{"introduced": "0"}, {"fixed": "a" * 40}]}
    ]
    ranges += [{"type": kind, "events": list(events)}] if events else []
    return {
        "id": id,
        "summary": "HTML attribute injection when passing user input as keys to xmlattr filter",
        "details": "The `xmlattr` filter ...\n",
        "aliases": list(aliases),
        "modified": "2026-11-20T05:32:44.871934Z",
        "published": "2024-05-06T14:20:59Z",
        "database_specific": {"severity": "MODERATE", "cwe_ids": ["CWE-79"], "nvd_published_at": None},
        "references": [{"type": "WEB", "url": "advisory"}],
        "affected": [
            {
                "package": {"name": name, "ecosystem": "PyPI", "purl": f"pkg:pypi/{name}"},
                "ranges": ranges,
                "versions": list(versions),
                "database_specific": {"source": "advisory"},
            }
        ],
        "schema_version": "1.6.0",
        "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:U/C:L/I:L/A:N"}],
        **more,
    }


def write_list(folder: Path, *entries: dict[str, Any]) -> Path:
    """A folder with one file per entry, named as osv.dev names them."""
    folder.mkdir(exist_ok=True)
    for one in entries:
        (folder / f"{one['id']}.json").write_text(json.dumps(one), encoding="utf-8")
    return folder
