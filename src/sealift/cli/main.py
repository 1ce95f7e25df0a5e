"""Parse the verb, import only that verb's module, turn errors into words and exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from sealift import __version__
from sealift.errors import SealiftError

GROUPS: Final[dict[str, dict[str, str]]] = {
    "Project (the connected machine)": {
        "init": "start a project from a model",
        "optimize": "smaller and faster variants that meet every gate, or a measured no",
        "serve": "serve a project on loopback, or an installed release",
        "predict": "send inputs to a service, or through a project in process",
        "lock": "resolve the project's dependencies and write them with hashes",
        "pack": "project -> one signed bundle",
        "sign": "add a signature or an approval to a bundle",
    },
    "Look": {
        "inspect": "what a bundle holds, and who signed it",
        "verify": "check every signature and every byte of a bundle",
    },
    "Box (no network)": {
        "install": "verify, stage, check and switch to a bundle",
        "activate": "switch to a release that is staged already",
        "rollback": "go back to the release before, in a second",
        "remove": "give up an installed release",
        "status": "what is installed and how it serves",
        "config": "show, set and compare this box's settings",
    },
    "Keep": {
        "keys": "make, show, rotate and revoke signing keys",
        "trust": "show and change whom this box believes",
        "audit": "show and verify the log of what was done",
    },
    "More": {
        "export": "a bundle as a container image or on a medium; sealift itself as one file",
        "bench": "how much a service takes: latency against rate, and the knee",
        "demo": "the whole journey with a real model, in about two minutes",
    },
}
HIDDEN: Final = {
    "_worker": "worker",
    "_check": "check",
    "_record": "record",
    "_health": "health",
    "_bootstrap": "bootstrap",
    "_selftest": "selftest",
}
"""Run by sealift itself, in a release's own interpreter."""

USAGE_EXAMPLES: Final = """\
day one, in five commands:
  engineer$ sealift init fraud --model fraud.onnx
  engineer$ sealift predict case.json --project fraud/
  engineer$ sealift pack fraud -o /media/usb/ --keys keys/
  operator$ sudo sealift install /media/usb --trust root.json
  operator$ sealift status

no model at hand?  sealift demo
help on a verb:    sealift VERB --help
"""


class Verb(Protocol):
    """What every module of `cli/` that stands for a verb offers."""

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments, description and examples."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it; returns the exit code, raises SealiftError."""
        ...


def run(argv: Sequence[str]) -> int:
    """Run one command line; returns the exit code, never a traceback."""
    if not argv or (argv[0] in ("-h", "--help", "help") and len(argv) < 2):
        print(overview())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"sealift {__version__}")
        return 0
    if argv[0] == "help":
        argv = [argv[1], "--help"]
    return _run_verb(argv[0], argv[1:])


def overview() -> str:
    """The top page of help, without importing any verb."""
    lines = [
        f"sealift {__version__}: carry a deep-learning service across an air gap, and keep it alive there.",
        "",
        "usage: sealift VERB [OPTIONS]",
    ]
    for group, verbs in GROUPS.items():
        lines += ["", group, *(f"  {name:<9} {text}" for name, text in verbs.items())]
    return "\n".join([*lines, "", USAGE_EXAMPLES.rstrip()])


def load_verb(name: str) -> Verb | None:
    """The module of a verb, or None when there is no such verb in this installation."""
    known = name in HIDDEN or any(name in verbs for verbs in GROUPS.values())
    if not known:
        return None
    module = f"sealift.cli.{HIDDEN.get(name, name)}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module:
            raise SealiftError(
                f"{name} is a verb of the connected side; a box's own sealift does not carry it"
            ) from error
        raise _missing_part(name, error) from error


def parser_of(name: str, verb: Verb) -> argparse.ArgumentParser:
    """The verb's argument parser."""
    parser = argparse.ArgumentParser(
        prog=f"sealift {name}", formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    verb.configure(parser)
    return parser


def _run_verb(name: str, argv: Sequence[str]) -> int:
    try:
        verb = load_verb(name)
        if verb is None:
            return _unknown_verb(name)
        return verb.run(parser_of(name, verb).parse_args(argv))
    except SealiftError as error:
        _tell(name, error)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"sealift {name}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no more words, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except ModuleNotFoundError as error:
        _tell(name, _missing_part(name, error))
        return 2
    except ImportError as error:
        unloadable = _unloadable(name, error)
        _tell(name, unloadable)
        return unloadable.exit_code
    except Exception:  # noqa: BLE001 - the outermost door: a bug becomes a report, not a traceback
        return _tell_bug(name)


def _unknown_verb(name: str) -> int:
    import difflib

    verbs = [verb for group in GROUPS.values() for verb in group]
    close = difflib.get_close_matches(name, verbs, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    print(f"sealift: {name!r} is not a verb{hint}\n  next: sealift --help", file=sys.stderr)
    return 2


def _tell(name: str, error: SealiftError) -> None:
    from sealift.inspect.visible import visible  # names in a bundle are a stranger's words

    lines = [f"sealift {name}: {error.message}", *(f"  - {problem}" for problem in error.problems)]
    if error.next_step:
        lines.append(f"  next: {error.next_step}")
    print("\n".join(visible(line, 4000) for text in lines for line in text.split("\n")), file=sys.stderr)


def _tell_bug(name: str) -> int:
    with tempfile.NamedTemporaryFile("w", prefix="sealift-bug-", suffix=".txt", delete=False) as report:
        report.write(f"sealift {__version__} {name}, Python {sys.version}\n{traceback.format_exc()}")
    print(
        f"sealift {name}: this is a bug in sealift, nothing you did.\n"
        f"  next: send {Path(report.name)} to its maintainers (it holds the traceback)",
        file=sys.stderr,
    )
    return 1


def _unloadable(name: str, error: ImportError) -> SealiftError:
    """A compiled module that this system cannot load: a library is missing, or older than it was built for."""
    import re

    from sealift.errors import IncompatibleHost

    said = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given"]
    lacks = re.search(r"(\S+\.so[.\w]*): cannot open shared object file", str(error))
    if lacks is None:
        return IncompatibleHost(
            f"{name}: a package of the release cannot be loaded here: {said[-1]}",
            next_step="pack it for this system: [target] preset in sealift.toml",
        )
    return IncompatibleHost(
        f"{name}: this system lacks {lacks[1]}, which a package of the release needs",
        next_step="install the system's package that has it (libstdc++.so.6 is in libstdc++6 or libstdc++), or carry "
        "it along: [target.packages] in sealift.toml",
    )


def _missing_part(name: str, error: ModuleNotFoundError) -> SealiftError:
    from sealift.errors import UsageError

    return UsageError(
        f"{name} needs the Python package {error.name!r}, which is not installed here",
        next_step="python -m pip install 'sealift[pack]'",
    )
