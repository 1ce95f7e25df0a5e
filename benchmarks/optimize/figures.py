"""One benchmark alone: its figures on the screen or in a file, as JSON with the machine."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quiet import description


def main_of(measure: Callable[[], dict[str, Any]], words: str | None) -> int:
    """The command line of `resnet18.py`, `lite0.py` and `memory.py`."""
    parser = argparse.ArgumentParser(description=words, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="F", help="write the figures there, not to the screen")
    args = parser.parse_args()
    began = time.perf_counter()
    found = {"machine": description(), **measure(), "seconds": round(time.perf_counter() - began, 1)}
    text = json.dumps(found, indent=1) + "\n"
    if args.json is None:
        print(text, end="")
    else:
        args.json.write_text(text, encoding="utf-8")
    return 0
