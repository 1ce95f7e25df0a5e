"""The licence texts of what travels with an interpreter: OpenSSL and others ask that theirs goes along."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from sealift.collect.interpreter.source import Source

FOLDER: Final = "licences"
_DOCUMENTS: Final = Path("/usr/share/doc")


def licence_texts(source: Source, libraries: Mapping[str, Path]) -> tuple[dict[str, Path], tuple[str, ...]]:
    """The texts that there are for a source and the libraries gathered for it.

    Those of the standard library travel inside it (`LICENSE.txt`).

    Args:
        libraries: name -> file, as gathered.
    Returns: file name below `licences/` -> the text; and the libraries of this machine without one.
    """
    texts = {path.name: path for path in source.licences}
    if not source.borrows:
        return texts, ()
    foreign = {name: path for name, path in libraries.items() if not name.startswith("libpython")}
    packages = _packages(foreign.values())
    lacking = []
    for name, path in foreign.items():
        text = _DOCUMENTS / packages.get(path.name, "") / "copyright"
        if path.name in packages and text.is_file():
            texts[f"{packages[path.name]}.txt"] = text
        else:
            lacking.append(name)
    return dict(sorted(texts.items())), tuple(sorted(lacking))


def _packages(files: Iterable[Path]) -> dict[str, str]:
    """File name -> the Debian package that it came with; empty on another system."""
    program = shutil.which("dpkg-query")
    places = [str(path) for path in files]
    if program is None or not places:
        return {}
    # A merged /usr: the package's list may say /lib where the file is in /usr/lib.
    older = [place.removeprefix("/usr") for place in places if place.startswith("/usr/lib")]
    done = subprocess.run([program, "-S", *places, *older], capture_output=True, text=True, check=False)
    lines = (line.partition(": ") for line in done.stdout.splitlines())
    return {Path(place).name: package.partition(":")[0] for package, _, place in lines if place}
