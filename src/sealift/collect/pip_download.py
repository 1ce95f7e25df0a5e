"""pip for a target: choose wheels without downloading them, or download those that were chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from sealift.collect.found import Found, read_report
from sealift.collect.pip_run import run_pip, target_arguments
from sealift.collect.pip_words import Conflict, Unclear, failure
from sealift.collect.wheel import sha256_of
from sealift.errors import UsageError
from sealift.events import Progress, Silent
from sealift.target.target import Target

__all__ = ["CollectOptions", "Conflict", "Request", "download", "index_arguments", "resolve"]


@dataclass(frozen=True, slots=True)
class CollectOptions:
    """Where wheels go and come from.

    `folder` receives the wheels (created; other files in it are left alone). `cache` keeps locked wheels
    between runs. `find_links`, `no_index` and `index_arguments` go to pip beside its own configuration.
    """

    folder: Path
    cache: Path | None = None
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    index_arguments: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True, slots=True)
class Request:
    """One pip run: whole lines of a requirements file, and of a constraints file.

    `timeout_s` ends the run as a `UsageError`; None waits as long as it takes.
    """

    lines: Sequence[str]
    constraints: Sequence[str] = ()
    dependencies: bool = True
    timeout_s: float | None = None


def resolve(request: Request, target: Target, options: CollectOptions, folder: Path) -> tuple[Found, ...]:
    """Choose wheels for `target` from their metadata alone, with `folder` for what pip writes.

    pip takes the metadata that an index serves beside a wheel (PEP 658), or reads it out of the wheel with range
    requests; only an index that has neither makes it download bodies.

    Returns: the wheels, sorted by name, each with its sha256.
    Raises:
        Conflict: the demands exclude each other.
        NotFound: a package is unknown, or has no wheel for the target.
        UsageError: the index cannot be reached, or pip failed otherwise.
    """
    report = folder / "report.json"
    arguments = ["install", "--dry-run", "--ignore-installed", "--report", str(report)]
    arguments += ["--target", str(folder / "nowhere")]
    options.progress.start("resolve")
    try:
        sizes = _run([*arguments, "--use-feature", "fast-deps"], request, target, options, folder)
    except Unclear:  # an index may fail at a request for a part of a file, where the whole file is to be had
        sizes = _run(arguments, request, target, options, folder)
    found = read_report(report, sizes)
    bare = [each for each in found if not each.sha256]
    return found if not bare else tuple(_hashed(found, bare, target, options, folder))


def _hashed(
    found: Sequence[Found], bare: Sequence[Found], target: Target, options: CollectOptions, folder: Path
) -> list[Found]:
    """Wheels of an index that states no sha256 are downloaded to find it: a lock without digests locks nothing."""
    lines = [f"{each.name} @ {each.url}" if each.url else f"{each.name}=={each.version}" for each in bare]
    paths = download(Request(lines, dependencies=False), target, options, folder / "unhashed")
    digests = {path.name: sha256_of(path) for path in paths}
    return [each if each.sha256 else replace(each, sha256=digests[each.filename]) for each in found]


def download(request: Request, target: Target, options: CollectOptions, folder: Path) -> tuple[Path, ...]:
    """Download wheels for `target` into the empty `folder`.

    Returns: the wheels, sorted by name.
    Raises:
        Conflict: the demands exclude each other.
        DigestMismatch: a file is not the one its line's hash names.
        UsageError: a package is unknown, has no wheel for the target, or the index cannot be reached.
    """
    options.progress.start("resolve and download" if request.dependencies else "download locked wheels")
    _run(["download", "--dest", str(folder)], request, target, options, folder)
    return tuple(sorted(folder.glob("*.whl")))


def _run(
    arguments: Sequence[str], request: Request, target: Target, options: CollectOptions, folder: Path
) -> dict[str, int | None]:
    """Run pip on the request's lines. Returns: what the indexes listed, with sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted, bounds = folder / "requirements.txt", folder / "constraints.txt"
    wanted.write_text("".join(f"{line}\n" for line in request.lines), encoding="utf-8")
    bounds.write_text("".join(f"{line}\n" for line in request.constraints), encoding="utf-8")
    words = [
        *arguments,
        "--progress-bar",
        "off",
        "--only-binary",
        ":all:",
        "-r",
        str(wanted),
        "-c",
        str(bounds),
    ]
    words += [] if request.dependencies else ["--no-deps"]
    words += [*target_arguments(target), *index_arguments(options)]
    said = run_pip(words, target, progress=options.progress, timeout_s=request.timeout_s)
    wanted.unlink()
    bounds.unlink()
    if said.code < 0 and request.timeout_s is not None:
        raise UsageError(f"pip did not come to an end within {request.timeout_s:.0f} s.")
    if said.code != 0:
        raise failure(said.lines, target, options.folder)
    return said.files


def index_arguments(options: CollectOptions) -> list[str]:
    """Where pip looks, beside its own configuration."""
    words = ["--no-index"] if options.no_index else []
    words += [word for place in options.find_links for word in ("--find-links", place)]
    return words + list(options.index_arguments)
