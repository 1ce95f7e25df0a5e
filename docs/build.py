"""Write the generated parts of docs/: `python docs/build.py`; with `--check` only say what is out of date.

`reference/cli.md` is written whole, from the parsers of the verbs. `reference/exit-codes.md`,
`reference/http-api.md`, `reference/targets.md` and `explanation/transaction.md` keep their text; only what stands
between `<!-- generated -->` and `<!-- end -->` is replaced, from `sealift.errors`, `sealift.target` and
`sealift.install.watch`.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from sealift import errors
from sealift.cli.export import helps
from sealift.cli.main import GROUPS, load_verb, overview, parser_of
from sealift.install import watch
from sealift.target.base import base_libraries, beside, excuses
from sealift.target.cuda import cuda_releases, gpu_builds
from sealift.target.known_bad import all_known_bad
from sealift.target.presets import presets

DOCS: Final = Path(__file__).resolve().parent
_GENERATED: Final = re.compile(r"(?<=<!-- generated -->\n).*?(?=<!-- end -->)", re.DOTALL)
_NUMBER: Final = re.compile(r"^(\d0s|\d{3}): ")

Kind = TypeVar("Kind", bound=errors.SealiftError)


def main() -> int:
    """Bring every generated part up to date; with `--check`, 1 when one is not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail where something is out of date"
    )
    args = parser.parse_args()
    stale = {path: text for path, text in generated() if not path.is_file() or path.read_text() != text}
    for path, text in stale.items():
        sys.stdout.write(f"{'out of date' if args.check else 'wrote'}: {path.relative_to(DOCS.parent)}\n")
        if not args.check:
            path.write_text(text)
    return 1 if args.check and stale else 0


def generated() -> Iterator[tuple[Path, str]]:
    """Every file with a generated part, and the whole text that it should have."""
    yield DOCS / "reference" / "cli.md", cli_page()
    tables = {
        "reference/exit-codes.md": exit_codes(),
        "reference/http-api.md": http_errors(),
        "reference/targets.md": known_targets(),
        "explanation/transaction.md": watch_table(),
    }
    for name, table in tables.items():
        yield DOCS / name, with_table((DOCS / name).read_text(), table)


def with_table(text: str, table: str) -> str:
    """The page with its generated part replaced. Raises: ValueError: it has not exactly one."""
    if len(_GENERATED.findall(text)) != 1:
        raise ValueError("expected one <!-- generated --> ... <!-- end -->")
    return _GENERATED.sub(lambda _: f"{table}\n", text)


def cli_page() -> str:
    """`reference/cli.md`: the overview, then every verb's own help, 100 columns wide."""
    os.environ["COLUMNS"] = "100"
    parts = [
        "# Command line",
        "<!-- Written by docs/build.py from the parsers: `make docs`. Do not edit. -->",
        "Exit codes: [exit-codes.md](exit-codes.md). Environment variables: [settings.md](settings.md). "
        'With `--json` every verb prints one JSON object with `"schema": 1`; results go to stdout, messages '
        "and progress to stderr.",
        _fence(overview()),
    ]
    for group, verbs in GROUPS.items():
        parts.append(f"## {group}")
        for name in verbs:
            verb = load_verb(name)
            if verb is not None:
                parts += [f"### sealift {name}", _fence(parser_of(name, verb).format_help())]
            if name == "export":
                for inner, text in helps():
                    parts += [f"#### sealift {inner}", _fence(text)]
    return "\n\n".join(parts) + "\n"


def _fence(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def exit_codes() -> str:
    """The table of every error class that ends a command, by exit code."""
    rows = ["| code | error | meaning |", "|---:|---|---|"]
    kinds = [kind for kind in _family(errors.SealiftError) if not issubclass(kind, errors.RequestError)]
    for kind in sorted(kinds, key=lambda kind: (kind.exit_code, _depth(kind), kind.__name__)):
        if kind is not errors.SealiftError:
            rows.append(f"| {kind.exit_code} | `{kind.__name__}` | {_promise(kind)} |")
    return "\n".join(rows)


def http_errors() -> str:
    """The table of every error class that a client may get, by status."""
    rows = ["| status | error | meaning |", "|---:|---|---|"]
    kinds = [kind for kind in _family(errors.RequestError) if kind is not errors.RequestError]
    for kind in sorted(kinds, key=lambda kind: (kind.status, kind.__name__)):
        rows.append(f"| {kind.status} | `{kind.__name__}` | {_promise(kind)} |")
    return "\n".join(rows)


def watch_table() -> str:
    """What takes a watched release back, and what commits it, with the figures of the policy."""
    bounds = watch.Bounds()
    figures = {name: value for name, value in vars(watch).items() if isinstance(value, int | float)}
    return _WATCH.format(
        **figures,
        percent=watch.ERROR_SHARE * 100,
        slower_ms=watch.SLOWER_S * 1000,
        growth_mb=watch.GROWTH_BYTES / 1e6,
        minutes=bounds.window_s / 60,
        hours=bounds.quiet_s / 3600,
        bounds=bounds,
    )


_WATCH: Final = """\
| seen | bad when |
|---|---|
| 5xx, time-outs (504), refusals (503) | at least {FEW_ERRORS} (or {LEAST_ERRORS}, where half of all fail), more than \
{percent:g} % of the well-formed requests, and more than twice the share that the release before had |
| latency, with `slo.latency_p99_ms` | the p99 of at least {ENOUGH_FOR_P99} answers is above {_BUCKET:g} times that; \
or half of at least {ENOUGH_FOR_HALF} answers are |
| latency, without | the same, above {SLOWER:g} times the p99 of the release before and at least {slower_ms:g} ms more |
| memory, with `limits.max_memory_mb` | the worker holds more than that |
| memory, without | it holds more than {GROWTH:g} times what the check measured, and {growth_mb:g} MB |
| workers that crash, hang, or do not get ready again | {CRASHES} of them, counted over restarts |
| golden inputs | {CANARIES_IN_A_ROW} in a row fail |

Errors and latency are judged over the whole watch and over its last {RECENT_S:g} seconds. If nothing is bad:

| seen | committed |
|---|---|
| traffic | after {minutes:g} minutes and {bounds.requests} requests, both |
| a quiet box | after {hours:g} hours, on a golden input every {bounds.canary_s:g} seconds, *on golden inputs only* |\
"""


def known_targets() -> str:
    """The tables of `known.toml`: systems, CUDA, builds of engines, pairs that fail, libraries."""
    systems = [
        (p.name, p.glibc, p.kernel, p.systemd, p.python, p.gcc_runtime.glibcxx, _arch(p.platforms))
        for p in presets().values()
    ]
    releases = [
        (c.release, c.driver, c.driver_of_release or "not known", " to ".join(c.compute))
        for c in cuda_releases().values()
    ]
    builds = [
        (b.engine, f"`{b.requirement}`", f"{b.cuda}.x", b.cudnn, b.glibc, _arch(b.platforms))
        for b in gpu_builds()
    ]
    pairs = [
        (
            " with ".join(f"`{name}{_span(span)}`" for name, span in bad.packages.items()),
            bad.reason,
            bad.remedy,
        )
        for bad in all_known_bad()
    ]
    excused = [(f"`{x.object}`", ", ".join(f"`{name}`" for name in x.libraries), x.reason) for x in excuses()]
    return "\n\n".join(
        (
            "## Systems",
            _table(
                "preset", "glibc", "kernel", "systemd", "its Python", "GLIBCXX", "processors", rows=systems
            ),
            "## CUDA",
            _table("CUDA", "oldest driver", "driver of the release", "compute capability", rows=releases),
            "## Engines for CUDA",
            _table("engine", "releases", "CUDA", "cuDNN", "glibc", "processors", rows=builds),
            "## Pairs that install and then fail",
            _table("pair", "what happens", "way out", rows=pairs),
            "## Libraries",
            "On every box: " + ", ".join(f"`{name}`" for name in sorted(base_libraries())) + ".",
            "Allowed to wheels, and missing on a small server; carry the package:",
            _table(
                "library", "Debian", "RPM", rows=[(f"`{b.library}`", b.deb, b.rpm) for b in beside().values()]
            ),
            "Objects that may lack a library:",
            _table("object", "library", "why", rows=excused),
        )
    )


def _table(*heads: str, rows: Sequence[tuple[str, ...]]) -> str:
    lines = (heads, ("---",) * len(heads), *rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _arch(platforms: tuple[str, ...]) -> str:
    return ", ".join(platform.removeprefix("linux-") for platform in platforms)


def _span(span: tuple[str, str]) -> str:
    return ",".join([f">={span[0]}"] * bool(span[0]) + [f"<{span[1]}"] * bool(span[1]))


def _family(kind: type[Kind]) -> Iterator[type[Kind]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _family(child)


def _depth(kind: type) -> int:
    return len(kind.__mro__)


def _promise(kind: type) -> str:
    """The first paragraph of the docstring, on one line, without the number that the table has already."""
    text = _NUMBER.sub("", " ".join((kind.__doc__ or "").strip().split("\n\n")[0].split()))
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    sys.exit(main())
