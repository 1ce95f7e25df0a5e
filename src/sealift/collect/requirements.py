"""Requirement files, hashed locks and `pip freeze` output -> plain lines for one target.

What pip accepts and a box cannot (editable installs, version control, folders, wheels for another CUDA)
is collected with its line number instead of failing one at a time.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from sealift.collect.pylock import Pin
from sealift.collect.wheel import normalised
from sealift.errors import UsageError

# Options of a requirements file that only say where to look; `--no-binary` and friends are not among them.
_KEPT_OPTIONS = {
    "-i",
    "--index-url",
    "--pypi-url",
    "--extra-index-url",
    "--no-index",
    "--pre",
    "--trusted-host",
}
_KEPT_OPTIONS |= {"--prefer-binary", "--require-hashes"}
_LINKS = {"-f", "--find-links"}
_NESTED = {
    "-r": "requirement",
    "--requirement": "requirement",
    "-c": "constraint",
    "--constraint": "constraint",
}
_BUILD_WHEEL = "build a wheel with `pip wheel --no-deps {} -w vendor/`; it is found there"


@dataclass(frozen=True, slots=True)
class Demand:
    """One requirement that applies to the target. `origin` is `FILE line N`; `hashes` are `sha256:...`."""

    requirement: Requirement
    origin: str
    hashes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Normalised."""
        return normalised(self.requirement.name)

    def line(self) -> str:
        """As pip reads it; the marker is gone because it was evaluated for the target."""
        bare = Requirement(str(self.requirement))
        bare.marker = None
        return " ".join([str(bare), *(f"--hash={digest}" for digest in self.hashes)])


@dataclass(slots=True)
class Demands:
    """What a file and the files it names ask for. `options` are whole option lines for pip;
    `wheels` are local wheel files named directly; `notes` are lines left out on purpose."""

    demands: list[Demand] = field(default_factory=list)
    constraints: list[Demand] = field(default_factory=list)
    options: list[str] = field(default_factory=list)
    wheels: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pins(self) -> tuple[Pin, ...] | None:
        """The demands as pins if every one is exact and hashed, as in a lock; else None."""
        pins = []
        for demand in self.demands:
            version = _exact(demand.requirement)
            digests = tuple(
                d.removeprefix("sha256:").lower() for d in demand.hashes if d.startswith("sha256:")
            )
            if version is None or not digests:
                return None
            pins.append(Pin(demand.name, version, digests))
        return tuple(pins)


def _exact(requirement: Requirement) -> str | None:
    specifiers = list(requirement.specifier)
    exact = len(specifiers) == 1 and specifiers[0].operator == "==" and "*" not in specifiers[0].version
    return specifiers[0].version if exact and requirement.url is None else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """How a file is read: markers of the target, names that local wheels provide, what the file is, and which
    versions lie in folders of wheels."""

    markers: Mapping[str, str]
    provided: frozenset[str]
    frozen: bool
    shelved: frozenset[str]
    kind: str = "requirement"
    stack: tuple[Path, ...] = ()


def shelved(find_links: Iterable[str]) -> frozenset[str]:
    """`NAME==VERSION` of every wheel in those of `find_links` that are folders of this machine."""
    found = set()
    for folder in map(Path, find_links):
        for path in folder.glob("*.whl") if folder.is_dir() else ():
            try:
                name, version, _, _ = parse_wheel_filename(path.name)
            except InvalidWheelFilename:
                continue
            found.add(f"{name}=={version}")
    return frozenset(found)


def read_requirements(
    file: Path,
    markers: Mapping[str, str],
    *,
    provided: frozenset[str],
    frozen: bool,
    shelved: frozenset[str] = frozenset(),
) -> Demands:
    """Read a requirements file, a hashed lock or (`frozen`) the output of `pip freeze`.

    Args:
        markers: of the target; requirements whose marker does not hold are left out.
        provided: normalised names that local wheels satisfy; their lines are left out.
        shelved: as `shelved` gives them: local versions (`2.5.0+cpu`) that can be had.
    Raises: UsageError: lines that cannot travel, all at once, each with file, line number and what to do.
    """
    demands = Demands()
    problems: list[str] = []
    _read(file, _Reading(markers, provided, frozen, shelved), demands, problems)
    if problems:
        raise UsageError(
            f"{file.name} holds lines that cannot travel to a box.",
            next_step='change these lines, or give local wheels: [python] wheels = ["vendor/*.whl"]',
            problems=problems,
        )
    return demands


def _read(file: Path, reading: _Reading, demands: Demands, problems: list[str]) -> None:
    file = file.resolve()
    if file in reading.stack:
        return
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        came_from = f" (named in {reading.stack[-1].name})" if reading.stack else ""
        problems.append(f"{file}{came_from}: not readable: {error}")
        return
    inside = replace(reading, stack=(*reading.stack, file))
    for number, line in _logical_lines(text):
        problem = _take(line, f"{file.name} line {number}", inside, demands, problems)
        if problem:
            problems.append(f"{file.name} line {number}: {line.split(' --hash')[0]}: {problem}")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines without comments, joined at backslashes, with the number of their first physical line."""
    joined, first = "", 0
    for number, physical in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(^|\s+)#.*$", "", physical).strip()
        first = first or number
        if line.endswith("\\"):
            joined += line[:-1].strip() + " "
            continue
        joined += line
        if joined.strip():
            yield first, joined.strip()
        joined, first = "", 0
    if joined.strip():
        yield first, joined.strip()


def _take(line: str, origin: str, reading: _Reading, demands: Demands, problems: list[str]) -> str | None:
    """Sort one line into `demands`; a returned sentence says why it cannot."""
    if line.startswith("-"):
        return _take_option(line, reading, demands, problems)
    file = reading.stack[-1]
    if _names_a_file(line):
        return _take_path(file.parent / _unfile(line.split(" --hash")[0]), demands)
    try:
        body, *digests = re.split(r"\s--hash[= ]", line)
        requirement = Requirement(body.strip())
    except InvalidRequirement as error:
        return f"not a requirement ({str(error).splitlines()[0]})"
    demand = Demand(requirement, origin, tuple(digest.strip() for digest in digests))
    if requirement.marker is not None and not requirement.marker.evaluate({**reading.markers, "extra": ""}):
        return None
    if demand.name == "sealift":
        demands.notes.append(f"{origin}: sealift is left out; its box side always travels")
        return None
    if demand.name in reading.provided:
        return None
    return _take_demand(demand, reading, demands)


def _take_demand(demand: Demand, reading: _Reading, demands: Demands) -> str | None:
    url = demand.requirement.url
    if url is not None and url.startswith("file:"):
        return _take_path(Path(_unfile(url)), demands, name=demand.name)
    if url is not None and not (url.startswith("https://") and urlsplit(url).path.endswith(".whl")):
        return f"comes from {url.partition(':')[0]}, not from an index; {_BUILD_WHEEL.format(repr(url))}"
    local = [f"{demand.name}=={each.version}" for each in demand.requirement.specifier if "+" in each.version]
    if reading.frozen and not reading.shelved.issuperset(local):
        return (
            "a local version, which no index serves; put that wheel into vendor/ beside sealift.toml, "
            "or write the version without what follows the +"
        )
    (demands.constraints if reading.kind == "constraint" else demands.demands).append(demand)
    return None


def _names_a_file(line: str) -> bool:
    first = line.split(" ")[0]
    return "@" not in line and (
        first.startswith(("./", "../", "/", "file:"))
        or first == "."
        or (first.endswith(".whl") and "://" not in first)
    )


def _unfile(text: str) -> str:
    text = text.strip()
    return unquote(urlsplit(text).path) if text.startswith("file:") else text


def _take_path(path: Path, demands: Demands, name: str | None = None) -> str | None:
    if path.suffix == ".whl" and path.is_file():
        demands.wheels.append(path)
        return None
    if not path.exists() and name is not None:
        return f"{path} is not on this machine (conda writes such lines); write {name}==VERSION"
    if not path.exists():
        return f"{path} does not exist"
    return f"a source folder or archive; {_BUILD_WHEEL.format(path)}"


def _take_option(line: str, reading: _Reading, demands: Demands, problems: list[str]) -> str | None:
    option, value = _split_option(line)
    value = re.sub(r"\$\{([A-Z0-9_]+)\}", lambda m: os.environ.get(m[1], m[0]), value)
    folder = reading.stack[-1].parent
    if option in _NESTED:
        _read(folder / value, replace(reading, kind=_NESTED[option]), demands, problems)
    elif option in ("-e", "--editable"):
        return f"an editable install exists on this machine only; {_BUILD_WHEEL.format(value)}"
    elif option in _LINKS:
        local = folder / _unfile(value)
        demands.options.append(f"--find-links {local if local.exists() else value}")
    elif option in _KEPT_OPTIONS:
        demands.options.append(f"{option} {value}".strip())
    elif option == "--only-binary":
        pass  # always so
    else:
        return f"the option {option} is not supported here; only wheels travel"
    return None


def _split_option(line: str) -> tuple[str, str]:
    words = shlex.split(line, comments=True)
    option, _, value = words[0].partition("=")
    if not option.startswith("--") and len(option) > 2:  # -rbase.txt
        return option[:2], option[2:]
    return option, value or " ".join(words[1:])
