"""All three benchmarks of `sealift optimize`, one after the other, and the tables of what was found.

python benchmarks/optimize/run.py                       tables on the screen
python benchmarks/optimize/run.py --json results.json   and every figure in a file
python benchmarks/optimize/run.py --page                and the tables into docs/explanation/optimizing.md
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from report import generated, write_page
from verdicts import verdicts

HERE = Path(__file__).resolve().parent
PARTS = ("resnet18", "lite0", "memory")


def main() -> int:
    """Returns the number of promises that do not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="leave out the others")
    parser.add_argument("--json", type=Path, metavar="F", help="write every figure there")
    parser.add_argument("--page", action="store_true", help="write the tables into the page")
    args = parser.parse_args()
    results: dict[str, Any] = {}
    for name in args.only or PARTS:
        print(f"{name} ...", file=sys.stderr, flush=True)
        found = _measured(name)
        results |= {"machine": found.pop("machine"), name: found}
    if args.json is not None:
        args.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = generated(results)
    print(text)
    if args.page:
        write_page(text)
    return sum(not line.holds for line in verdicts(results))


def _measured(name: str) -> dict[str, Any]:
    """In a process of its own: what one leaves behind in memory or threads does not meet the next."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figures.json")
        subprocess.run([sys.executable, HERE / f"{name}.py", "--json", path], check=True)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    sys.exit(main())
