"""`sealift export WHAT`: hand a bundle, or sealift itself, to what knows nothing of bundles."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class _Export:
    """A line of help, and the rest of an example's line after `sealift export NAME`."""

    help: str
    example: str


EXPORTS: Final[dict[str, _Export]] = {
    "bootstrap": _Export(
        "sealift itself, with an interpreter: for a box that has neither, or an update of the tool",
        "-o sealift-1.0.run --keys keys",
    ),
    "medium": _Export(
        "a bundle that was signed or approved after packing -> a medium with its papers, whole or in volumes",
        "fraud-1.0.sealift -o /media/usb --volumes fat32",
    ),
    "oci": _Export(
        "a verified bundle -> an OCI image that podman, docker and Kubernetes run; no daemon, no network",
        "fraud-1.0.sealift -o fraud.tar --trust root.json",
    ),
}
"""What can be exported; each is a verb of its own in `cli/export_NAME.py`, imported when it is named."""


def configure(parser: argparse.ArgumentParser) -> None:
    """One subparser for each of `EXPORTS`."""
    parser.description = "Write what other tools take. Each takes --json, --quiet and --no-input."
    examples = [f"  sealift export {name} {export.example}" for name, export in EXPORTS.items()]
    parser.epilog = "\n".join(["examples:", *examples, "help on one of them:  --help after its name"])
    named = parser.add_subparsers(dest="what", metavar="WHAT", required=True, parser_class=_Parser)
    for name, export in EXPORTS.items():
        named.add_parser(
            name, help=export.help, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
        )


def run(args: argparse.Namespace) -> int:
    """Run the export that was named."""
    code: int = _module(args.what).run(args)
    return code


def helps() -> Iterator[tuple[str, str]]:
    """(`export oci`, its help) of each, for the page of the command line."""
    for name in EXPORTS:
        parser = argparse.ArgumentParser(
            prog=f"sealift export {name}", formatter_class=argparse.RawDescriptionHelpFormatter
        )
        _module(name).configure(parser)
        yield f"export {name}", parser.format_help()


class _Parser(argparse.ArgumentParser):
    """The parser of one export, which imports its module when it has something to parse."""

    _configured = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's own, with the arguments of the export."""
        if not self._configured:
            self._configured = True
            _module(self.prog.rpartition(" ")[2]).configure(self)
        return super().parse_known_args(args, namespace)


def _module(name: str) -> Any:
    return importlib.import_module(f"sealift.cli.export_{name}")
