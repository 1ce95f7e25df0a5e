"""What the box has already -> a dpkg status for a resolver that shall leave it out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from sealift.errors import UsageError

_QUERY: Final = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9-]+))?\t(\S+)")
_RPM: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9+._-]*)-[^-\s]+-[^-\s]+")
_OF_THE_FILE: Final = (
    "Filename",
    "Size",
    "MD5sum",
    "SHA1",
    "SHA256",
    "SHA512",
    "Description",
    "Description-md5",
)

Show = Callable[[Iterable[str]], str]
"""Names of packages -> their stanzas, as `apt-cache show` prints them; unknown ones are left out."""


def status_text(installed: Path, architecture: str, show: Show) -> str:
    """The box's packages as a dpkg status file.

    Args:
        installed: such a file already, or what `dpkg-query -W` prints (a name and a version on each line): then
            what a package provides is taken from the repositories.
    Raises: UsageError: neither of the two.
    """
    text = installed.read_text(encoding="utf-8", errors="replace")
    if re.search(r"^Package: ", text, re.MULTILINE):
        return text
    lines = [line for line in text.splitlines() if line.strip()]
    found = [_QUERY.fullmatch(line) for line in lines]
    wrong = [line for line, match in zip(lines, found, strict=True) if match is None]
    if wrong or not lines:
        raise UsageError(
            f"{installed.name} does not say what is installed on the box.",
            problems=[f"line {wrong[0]!r}: expected a package and its version"] if wrong else ["it is empty"],
            next_step=f"on the box: dpkg-query -W > {installed.name}   (or copy its /var/lib/dpkg/status)",
        )
    versions = {match[1]: (match[3], match[2] or architecture) for match in found if match}
    provides = {entry["Package"]: entry.get("Provides", "") for entry in stanzas(show(versions))}
    return installed_stanzas(
        _entry(name, *versions[name], provides.get(name, "")) for name in sorted(versions)
    )


def _entry(name: str, version: str, architecture: str, provides: str) -> Mapping[str, str]:
    """One package of the box. Its own demands are met there: a list of names says nothing of them."""
    entry = {"Package": name, "Version": version, "Architecture": architecture}
    return entry | ({"Provides": provides} if provides else {})


def stanzas(text: str) -> list[dict[str, str]]:
    """The paragraphs of a control file, fields that go on over lines joined."""
    found = []
    for paragraph in text.split("\n\n"):
        fields = re.findall(r"^([A-Za-z0-9-]+):(.*(?:\n[ \t].*)*)", paragraph, re.MULTILINE)
        if fields:
            found.append({name: " ".join(value.split()) for name, value in fields})
    return found


def installed_stanzas(entries: Iterable[Mapping[str, str]]) -> str:
    """Stanzas of a repository, as if these packages were installed."""
    written = []
    for entry in entries:
        lines = [f"{name}: {value}" for name, value in entry.items() if name not in _OF_THE_FILE]
        written.append("\n".join([*lines, "Status: install ok installed", ""]))
    return "\n".join(written)


def rpm_names(installed: Path) -> frozenset[str]:
    """The names of packages in what `rpm -qa` printed.

    Raises: UsageError: something else.
    """
    lines = installed.read_text(encoding="utf-8", errors="replace").split()
    found = [_RPM.fullmatch(line) for line in lines]
    if not lines or None in found:
        raise UsageError(
            f"{installed.name} does not say what is installed on the box.",
            problems=[f"line {next(n for n, f in zip(lines, found, strict=True) if not f)!r}"]
            if lines
            else [],
            next_step=f"on the box: rpm -qa > {installed.name}",
        )
    return frozenset(match[1] for match in found if match)
