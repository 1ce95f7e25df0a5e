import hashlib
import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sealift.collect.bytecode import compile_tree
from sealift.errors import HostError

PYTHON = Path(sys.executable)


def tree(root: Path) -> Path:
    """Files that tempt a compiler to differ: set constants, shared strings, nested code."""
    for number in range(120):
        path = root / f"pkg{number % 7}" / f"mod{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        words = ", ".join(f"'word{n}'" for n in range(number % 9 + 2))
        path.write_text(
            f"def f(x, shared='shared', {'a' * (number % 3 + 1)}=1):\n"
            f"    def g():\n        return x in {{{words}}} or x in ('shared', 'word1')\n    return g\n"
        )
    (root / "template.py").write_text("print 'python 2'\n")
    (root / "nul.py").write_bytes(b"x = 1\0\n")
    (root / "latin.py").write_bytes(b"x = '\xe9'\n")
    return root


def digests(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).digest()
        for path in root.rglob("*.pyc")
    }


def test_the_bytes_depend_on_neither_place_nor_hash_seed_nor_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tree(tmp_path / "one"), tree(tmp_path / "some" / "where" / "else")
    monkeypatch.setenv("PYTHONHASHSEED", "1")
    compile_tree(one, PYTHON, processes=1)
    monkeypatch.setenv("PYTHONHASHSEED", "4242")
    compile_tree(two, PYTHON, processes=3)
    assert len(digests(one)) == 120
    assert digests(one) == digests(two)


def test_files_that_are_no_python_are_skipped_and_named(tmp_path: Path) -> None:
    compiled = compile_tree(tree(tmp_path), PYTHON)
    assert compiled.files == 120
    assert [name for name, _ in compiled.skipped] == ["latin.py", "nul.py", "template.py"]
    assert all(reason for _, reason in compiled.skipped)


def test_compiled_files_are_trusted_without_a_look_at_the_source(tmp_path: Path) -> None:
    """PEP 552: flags 0b01 is a hash that nobody checks; the name inside is relative."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "mod.py").write_text("VALUE = 1\n")
    compile_tree(tmp_path, PYTHON)
    (compiled,) = (tmp_path / "pkg" / "__pycache__").iterdir()
    content = compiled.read_bytes()
    assert int.from_bytes(content[4:8], "little") == 0b01
    assert marshal.loads(content[16:]).co_filename == "pkg/mod.py"
    (tmp_path / "pkg" / "mod.py").write_text("VALUE = 2\n")
    code = "import sys; sys.path.append(sys.argv[1]); from pkg import mod; print(mod.VALUE)"
    seen = subprocess.run([PYTHON, "-I", "-c", code, tmp_path], capture_output=True, check=True, text=True)
    assert seen.stdout == "1\n"


def test_a_folder_without_python_needs_no_interpreter(tmp_path: Path) -> None:
    assert compile_tree(tmp_path, tmp_path / "missing").files == 0


@pytest.mark.parametrize("body", [None, "#!/bin/sh\ncat > /dev/null\necho broken >&2\nexit 3\n"])
def test_an_interpreter_that_fails_is_a_host_error(tmp_path: Path, body: str | None) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "a.py").write_text("")
    python = tmp_path / "python"
    if body is not None:
        python.write_text(body)
        python.chmod(0o755)
    with pytest.raises(HostError) as caught:
        compile_tree(tmp_path / "layer", python)
    assert os.fspath(python) in caught.value.message
