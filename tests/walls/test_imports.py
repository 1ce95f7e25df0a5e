"""The house stands: imports run down only, and the box side needs nothing of the connected side."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sealift
from sealift.collect.box_side import box_side_files

HOUSE = Path(sealift.__file__).parent

STOREYS = {
    "doors": {"cli", "demo"},
    "verbs": {
        "optimize",
        "migrate",
        "collect",
        "pack",
        "carry",
        "inspect",
        "install",
        "check",
        "serve",
        "bench",
        "observe",
        "doctor",
        "host",
        "scale",
        "tool",
    },
    "means": {"engine", "meter", "access", "seal", "ledger", "watermark"},
    "nouns": {"project", "model", "bundle", "trust", "store", "target", "canonical", "errors", "events"},
}
ORDER = ["doors", "verbs", "means", "nouns"]

BETWEEN_DOORS = {("cli", "demo")}
BETWEEN_MEANS: set[tuple[str, str]] = set()
BETWEEN_NOUNS = {
    ("project", "model"),
    ("project", "target"),
    ("store", "bundle"),
    ("bundle", "trust"),
    *(
        (room, noun)
        for room in STOREYS["nouns"]
        for noun in ("canonical", "errors", "events")
        if room != noun
    ),
}
ALLOWED_BESIDE = BETWEEN_DOORS | BETWEEN_MEANS | BETWEEN_NOUNS

PACK_SIDE_PACKAGES = (
    "torch", "onnx", "onnxscript", "nncf", "openvino", "uv", "pip", "installer", "packaging", "cyclonedx",
    "skl2onnx", "sklearn", "requests", "urllib3", "httpx", "aiohttp",
)  # fmt: skip

LOADED_WHEN_NEEDED = ("tokenizers", "simplejpeg", "cykooz_resizer")
"""What a release carries, in part only for some models, and no module imports before a model needs it."""


def storey_of(room: str) -> int:
    """0 is the top. Raises: KeyError: a room that stands in no storey."""
    for number, name in enumerate(ORDER):
        if room in STOREYS[name]:
            return number
    raise KeyError(room)


def room_of(module: str) -> str | None:
    """`sealift.serve.http.protocol` -> `serve`; None for sealift itself and its two entry files."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] not in ("__main__", "__version__") else None


def imports_of(path: Path) -> Iterator[str]:
    """Every sealift module that a file imports, function bodies and TYPE_CHECKING blocks included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "sealift")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the room"
            if node.module == "sealift":
                yield from (f"sealift.{alias.name}" for alias in node.names)
            elif node.module and node.module.startswith("sealift."):
                yield node.module


def arrows() -> set[tuple[str, str, str]]:
    """(room, imported room, file) for every import that crosses a wall."""
    found = set()
    for path in HOUSE.rglob("*.py"):
        here = path.relative_to(HOUSE).with_suffix("").parts[0]
        for module in imports_of(path):
            there = room_of(module)
            if there is not None and here not in ("__init__", "__main__", there):
                found.add((here, there, str(path.relative_to(HOUSE))))
    return found


def wrong_arrows(found: set[tuple[str, str, str]]) -> list[str]:
    """Arrows that run up, or sideways where the table does not allow it."""
    return sorted(
        f"{file}: {here} -> {there}"
        for here, there, file in found
        if storey_of(here) > storey_of(there)
        or (storey_of(here) == storey_of(there) and (here, there) not in ALLOWED_BESIDE)
    )


def test_imports_run_down_only() -> None:
    assert wrong_arrows(arrows()) == []


def test_an_arrow_upwards_or_between_verbs_would_be_seen() -> None:
    planted = {
        ("store", "install", "store/x.py"),
        ("serve", "observe", "serve/x.py"),
        ("cli", "store", "cli/x.py"),
    }
    assert wrong_arrows(planted) == ["serve/x.py: serve -> observe", "store/x.py: store -> install"]


def test_no_two_rooms_import_each_other() -> None:
    pairs = {(here, there) for here, there, _ in arrows()}
    assert {pair for pair in pairs if (pair[1], pair[0]) in pairs} == set()


def test_every_room_says_in_one_line_what_goes_in_and_out() -> None:
    for room in HOUSE.iterdir():
        if (room / "__init__.py").is_file():
            doc = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
            assert doc, room
            assert "\n" not in doc, room


def box_modules() -> list[str]:
    """Every module that travels, by dotted name."""
    names = []
    for name in box_side_files():
        parts = ("sealift", *Path(name).with_suffix("").parts)
        if name.endswith(".py") and parts[-1] != "__main__":
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


IMPORT_ALL = """
import importlib, sys
blocked = set(sys.argv[1].split(","))
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is of the connected side")
        return None
sys.meta_path.insert(0, Wall())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


@pytest.mark.slow
def test_the_box_side_imports_without_the_pack_side_packages() -> None:
    blocked = ",".join([*PACK_SIDE_PACKAGES, *LOADED_WHEN_NEEDED])
    command = [sys.executable, "-c", IMPORT_ALL, blocked, *box_modules()]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_tool_on_the_box_needs_cryptography_and_nothing_else() -> None:
    """`install`, `status`, `serve NAME`, `verify` and `inspect` load neither numpy nor the engine."""
    thin = [
        "install",
        "activate",
        "rollback",
        "remove",
        "config",
        "status",
        "serve",
        "verify",
        "inspect",
        "predict",
        "bench",
    ]
    thin += ["keys", "sign", "trust", "audit"]
    blocked = [*PACK_SIDE_PACKAGES, "numpy", "onnxruntime", "uvloop", "httptools", "PIL", "msgspec"]

    modules = [f"sealift.cli.{verb}" for verb in thin]
    command = [sys.executable, "-c", IMPORT_ALL, ",".join(blocked), *modules]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_importing_sealift_loads_neither_numpy_nor_onnxruntime() -> None:
    heavy = "sorted({'numpy', 'onnxruntime', 'cryptography'} & set(sys.modules))"
    code = f"import sys, sealift, sealift.__main__, sealift.cli.main; print({heavy})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
