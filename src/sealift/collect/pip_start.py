"""Started as a script of its own: pip, with the target's environment markers instead of this machine's.

    python -P pip_start.py ORDER        ORDER: {"runs": [[...]], "markers": {...} or null, "files": FILE}

pip takes `--platform` and `--python-version` for file names alone and evaluates markers for the interpreter that it
runs in. Here its own copy of `packaging` is told the target's values. Arguments come in a file that only the user
can read: the address of an index may hold a password, and everybody can read a command line.
`files` receives what the indexes listed, file name -> size or null, where this pip lets us see it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

END_OF_RUN = "sealift: pip ended with"
"""Said after each of several runs, with pip's exit code."""
NOT_PATCHED = "sealift: this pip keeps its own markers"
"""Said where a release of pip has moved what we patch; pip runs all the same, with its own markers."""


def patch_markers(values: Mapping[str, str]) -> bool:
    """Claims that pip's markers now have `values`: checked with a marker that only holds for them."""
    try:
        from pip._vendor.packaging import markers

        def told() -> dict[str, str]:
            return dict(values)

        markers.default_environment = told  # type: ignore[assignment]
        return all(markers.Marker(f'{name} == "{value}"').evaluate() for name, value in values.items())
    except (ImportError, AttributeError, ValueError):
        return False


def watch_pages(files: dict[str, int | None]) -> None:
    """Note every file that an index lists, with its size if it states one (PEP 700).

    A release of pip that has moved the place leaves `files` empty: it serves messages, and decides nothing.
    """
    try:
        from pip._internal.models.link import Link

        of_json: Callable[..., Any] = Link.from_json
        of_html: Callable[..., Any] = Link.from_element
    except (ImportError, AttributeError):
        return

    def from_json(file_data: dict[str, Any], page_url: str) -> Any:
        size = file_data.get("size")
        files[str(file_data.get("filename"))] = size if isinstance(size, int) else None
        return of_json(file_data, page_url)

    def from_element(*args: Any, **options: Any) -> Any:
        link = of_html(*args, **options)
        if link is not None:
            files.setdefault(link.filename, None)
        return link

    Link.from_json = staticmethod(from_json)  # type: ignore[method-assign]
    Link.from_element = staticmethod(from_element)  # type: ignore[method-assign]


def main(order: Path) -> int:
    """Run pip once for each of the order's runs. Returns: the exit code of the last."""
    told = json.loads(order.read_text(encoding="utf-8"))
    files: dict[str, int | None] = {}
    if told["markers"] is not None and not patch_markers(told["markers"]):
        _say(NOT_PATCHED)
    watch_pages(files)
    from pip._internal.cli.main import main as pip

    code = 0
    for arguments in told["runs"]:
        code = _run(pip, arguments)
        if len(told["runs"]) > 1:
            _say(f"{END_OF_RUN} {code}")
    Path(told["files"]).write_text(json.dumps(files), encoding="utf-8")
    return code


def _run(pip: Callable[[list[str]], int], arguments: list[str]) -> int:
    """pip's exit code, also where it leaves by the back door (`--version`, a wrong option)."""
    try:
        return pip(arguments)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0 if left.code is None else 2


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
