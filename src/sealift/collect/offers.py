"""What the indexes have of a package: wheels for the target, or only something else."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from sealift.collect.pip_download import CollectOptions, index_arguments
from sealift.collect.pip_run import Said, run_pips, target_arguments
from sealift.collect.pip_words import is_offline
from sealift.collect.wheel import normalised
from sealift.target.target import Target

_AT_ONCE = 4
_TIMEOUT_S = 60.0
_TO_LOOK = (
    "-i",
    "--index-url",
    "--extra-index-url",
    "--no-index",
    "-f",
    "--find-links",
    "--trusted-host",
    "--pre",
)


@dataclass(frozen=True, slots=True)
class Offer:
    """`wheels`: versions with a wheel for the target, newest first. `others`: what else there is of that name, by kind
    (`source archive`, `wheels for win_amd64`). `known`: the name exists. `answered`: no index failed to answer."""

    name: str
    wheels: tuple[Version, ...] = ()
    others: tuple[str, ...] = ()
    known: bool = False
    answered: bool = True


def offers_of(
    names: Iterable[str], target: Target, options: CollectOptions, lines: Sequence[str] = ()
) -> dict[str, Offer]:
    """Ask for all names, a few at a time.

    Args:
        names: normalised.
        lines: option lines of the project's requirements file; those that say where to look are followed.
    Returns: by name, in the order of `names`.
    """
    unique = list(dict.fromkeys(names))
    where = [*index_arguments(options), *(word for line in lines for word in _looks(line))]
    shares = [share for share in (unique[at::_AT_ONCE] for at in range(_AT_ONCE)) if share]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = [offer for part in pool.map(lambda s: _ask(s, target, where), shares) for offer in part]
    by_name = {offer.name: offer for offer in found}
    return {name: by_name[name] for name in unique}


def _looks(line: str) -> list[str]:
    words = shlex.split(line)
    return words if words and words[0].partition("=")[0] in _TO_LOOK else []


def _ask(names: Sequence[str], target: Target, where: Sequence[str]) -> list[Offer]:
    """One process for all of `names`, and another for those without a wheel."""
    fitting = ["--only-binary", ":all:", *target_arguments(target)]
    runs = [["index", "versions", name, "--json", "--pre", *where] for name in names]
    said = run_pips([[*run, *fitting] for run in runs], target, timeout_s=_TIMEOUT_S)
    bare = [run for run, answer in zip(runs, said, strict=True) if answer.code != 0]
    # A folder lists nothing by itself: what fits this machine, or is a source archive, shows that the name exists.
    plain = iter(run_pips(bare, timeout_s=_TIMEOUT_S) if bare else [])
    return [
        Offer(name, _versions(answer), known=True)
        if answer.code == 0
        else _without(name, answer, next(plain))
        for name, answer in zip(names, said, strict=True)
    ]


def _without(name: str, said: Said, plain: Said) -> Offer:
    others = _others(name, said)
    if not others and plain.code == 0:
        others = ("source archives, or wheels for another machine",)
    return Offer(name, (), others, bool(others), answered=said.code > 0 and not is_offline(said.lines))


def _versions(said: Said) -> tuple[Version, ...]:
    line = next(line for line in said.lines if line.startswith("{"))
    return tuple(Version(text) for text in json.loads(line)["versions"])


def _others(name: str, said: Said) -> tuple[str, ...]:
    """The kinds of files that the indexes list for `name`."""
    kinds: dict[str, None] = {}
    for filename in said.files:
        try:
            if filename.endswith(".whl"):
                found, _, _, tags = parse_wheel_filename(filename)
                kind = f"wheels for {', '.join(sorted({tag.platform for tag in tags}))}"
            else:
                found, kind = parse_sdist_filename(filename)[0], "source archives"
        except (InvalidWheelFilename, InvalidSdistFilename):
            continue
        if normalised(found) == name:
            kinds[kind] = None
    return tuple(sorted(kinds))
