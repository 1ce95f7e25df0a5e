"""What stays at home is what no box needs: looked at in the real packages of this environment."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import pytest

from sealift.collect.leave_out import EVERY, LEAVE_OUT, in_words, left_out
from sealift.collect.unpack import unpack_wheel

MB = 1_000_000
AT_LEAST_MB = {
    "numpy": 8,
    "onnxruntime": 37,
    "openvino": 75,
    "pandas": 14,
    "scikit-learn": 5,
    "scipy": 15,
    "zstandard": 11,
}
"""What the list spares of each package; less would mean that its files have moved."""
STAYS = {
    ("openvino", "openvino.tools"): "guarded by `except ImportError`, as its own comment says",
    ("scipy", "scipy.special.tests"): "in scipy/special/_precompute, which nothing imports",
    ("onnxruntime", "onnxruntime.transformers"): "in a function that reports about the machine",
}


def files_of(package: str) -> Iterator[tuple[str, Path]]:
    """(path below site-packages, file) of every file that the wheel brought."""
    for entry in metadata.distribution(package).files or ():
        name = str(entry)
        if (
            not name.startswith("..")
            and "__pycache__" not in name
            and (path := Path(str(entry.locate()))).is_file()
        ):
            yield name, path


@pytest.mark.parametrize(
    "package", sorted({entry.package for entry in LEAVE_OUT} - {EVERY, "onnxruntime-gpu"})
)
def test_every_entry_meets_files_of_the_real_package_and_spares_what_it_says(package: str) -> None:
    left = [
        (entry, path.stat().st_size) for name, path in files_of(package) if (entry := left_out(package, name))
    ]
    met = {entry for entry, _ in left}
    unmet = [entry for entry in LEAVE_OUT if entry.package == package and entry not in met]
    assert [entry.what for entry in unmet if entry.what != "unused providers"] == []
    assert sum(size for _, size in left) >= AT_LEAST_MB.get(package, 0) * MB


IMPORT = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import|import[ \t]+([\w.]+))", re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "package", ["numpy", "onnxruntime", "openvino", "pandas", "scikit-learn", "scipy", "networkx"]
)
def test_no_module_that_travels_imports_one_that_does_not(package: str) -> None:
    files = dict(files_of(package))
    gone = {folder for name in files if left_out(package, name) for folder in modules(name)}
    here = {folder for name in files if not left_out(package, name) for folder in modules(name)}
    found = set()
    for name, path in files.items():
        if not name.endswith(".py") or left_out(package, name):
            continue
        for match in IMPORT.finditer(path.read_text(encoding="utf-8", errors="replace")):
            module = absolute(match[1] or match[2], name)
            if module in gone - here:
                found.add((package, ".".join(module.split(".")[: 3 if ".tests" in module else 2])))
    assert found == {key for key in STAYS if key[0] == package}


def modules(name: str) -> Iterator[str]:
    """`a/b/c.py` -> a.b.c, a.b (the folders that it makes importable)."""
    if name.endswith(".py"):
        parts = Path(name).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        yield from (".".join(parts[:count]) for count in range(2, len(parts) + 1))


def absolute(module: str, name: str) -> str:
    dots = len(module) - len(module.lstrip("."))
    base = Path(name).parent.parts[: len(Path(name).parent.parts) - dots + 1] if dots else ()
    return ".".join([*base, *filter(None, module.lstrip(".").split("."))])


RUN = """
import json, sys
sys.path.append(sys.argv[1])
import numpy, onnxruntime, openvino, zstandard, numpy.testing, numpy.f2py, scipy.stats, sklearn.linear_model, pandas
import io, networkx, torch
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
data = numpy.ones([d if isinstance(d, int) else 1 for d in session.get_inputs()[0].shape], numpy.float32)
answer = session.run(None, {session.get_inputs()[0].name: data})[0]
core = openvino.Core()
again = core.compile_model(core.read_model(sys.argv[2]), "CPU")([data])[0]
openvino.save_model(core.read_model(sys.argv[2]), sys.argv[3], compress_to_fp16=False)
ir = core.compile_model(core.read_model(sys.argv[3]), "CPU")([data])[0]
assert zstandard.backend == "cext" and zstandard.decompress(zstandard.compress(b"x" * 99)) == b"x" * 99
numpy.testing.assert_allclose(answer, again, rtol=1e-4)
numpy.testing.assert_allclose(answer, ir, rtol=1e-4)
net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())
kept = io.BytesIO()
torch.jit.save(torch.jit.trace(net, torch.ones(1, 3)), kept)
kept.seek(0)
assert torch.equal(torch.jit.load(kept)(torch.ones(1, 3)), net(torch.ones(1, 3)))
print(json.dumps({"devices": core.available_devices, "from": [m.__file__ for m in (numpy, onnxruntime, openvino)]}))
"""
NEEDED = {
    "numpy", "onnxruntime", "openvino", "zstandard", "scipy", "scikit-learn", "pandas",
    "python-dateutil", "six", "joblib", "threadpoolctl", "flatbuffers", "protobuf", "openvino-telemetry", "packaging",
    "narwhals",
    "cloudpickle", "torch", "sympy", "mpmath", "networkx", "jinja2", "markupsafe", "fsspec", "filelock",
    "typing-extensions",
}  # fmt: skip


@pytest.mark.slow
def test_engines_and_packages_work_without_what_stays_at_home(
    tmp_path: Path, zoo: dict[str, Callable[[Path], Path]]
) -> None:
    tree = tmp_path / "tree"
    for package in sorted(NEEDED):
        for name, path in files_of(package) if is_here(package) else ():
            if left_out(package, name) is None:
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                (tree / name).symlink_to(path)
    model = zoo["float_image"](tmp_path)
    command = [
        sys.executable,
        "-I",
        "-S",
        "-B",
        "-W",
        "ignore",
        "-c",
        RUN,
        str(tree),
        str(model),
        str(tmp_path / "m.xml"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["devices"] == ["CPU"]
    assert all(file.startswith(str(tree)) for file in said["from"])


def is_here(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def test_a_wheel_is_unpacked_without_and_its_record_stays_true(
    tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    files = {
        "numpy/__init__.py": "",
        "numpy/_core/tests/test_x.py": "x",
        "numpy/_core/include/numpy/x.h": "int x;",
        "numpy/tests/LICENSE.txt": "MIT",
        "numpy/lib.a": "archive",
        "other/tests/test_x.py": "x",
        "other/__init__.pyi": "x",
    }
    wheel = make_wheel(tmp_path / "wheels", "numpy", "1.0", files=files)
    done = unpack_wheel(wheel, tmp_path / "layer")
    there = {
        p.relative_to(tmp_path / "layer").as_posix() for p in (tmp_path / "layer").rglob("*") if p.is_file()
    }
    stays = {"numpy/__init__.py", "numpy/tests/LICENSE.txt", "other/tests/test_x.py", "other/__init__.pyi"}
    assert {name for name in there if ".dist-info" not in name} == stays
    record = (tmp_path / "layer" / "numpy-1.0.dist-info" / "RECORD").read_text()
    assert {line.partition(",")[0] for line in record.splitlines()} == there
    assert in_words(done.left) == (
        "left out: 3 file(s), 0.0 MB that no box needs (static libraries, headers, tests)",
    )


def test_an_application_s_own_wheel_loses_what_nothing_can_load_and_no_more(
    tmp_path: Path, make_wheel: Callable[..., Path]
) -> None:
    files = {f"mine/{name}": "x" for name in ("a.pyx", "b.pyi", "tests/c.py", "include/d.h", "lib.so", "e.a")}
    done = unpack_wheel(make_wheel(tmp_path / "wheels", "mine", files=files), tmp_path / "layer")
    assert sorted(entry.what for entry, _ in done.left) == ["Cython sources", "static libraries"]
    assert in_words(()) == ()


def test_every_entry_has_a_reason_and_none_says_the_same_twice() -> None:
    assert all(entry.reason and entry.what and entry.patterns for entry in LEAVE_OUT)
    pairs = [(entry.package, pattern) for entry in LEAVE_OUT for pattern in entry.patterns]
    assert len(pairs) == len(set(pairs))
