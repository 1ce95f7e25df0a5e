"""A new file finds the one that it came from: by its path without versions, then by its size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.pack.pairing import LARGE_BYTES, Shelf, without_versions


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("pkg/a.py", "pkg/a.py"),
        ("libfoo.so.1.32", "libfoo.so.1.30"),
        ("libfoo.so.1", "libfoo.so.1.30"),
        ("pkg-1.3.dist-info/METADATA", "pkg-1.2.dist-info/METADATA"),
        ("pkg-2.0rc1.dist-info/RECORD", "pkg-1.2.dist-info/RECORD"),
        ("pkg-1.2.post1.dist-info/RECORD", "pkg-1.2.dist-info/RECORD"),
        ("numpy.libs/libopenblas64_p-r0-15028c96.3.24.so", "numpy.libs/libopenblas64_p-r0-0cf96a72.3.23.dev.so"),
        ("pkg/core/a.py", "pkg/a.py"),
    ],
)  # fmt: skip
def test_the_predecessor_is_found(new: str, old: str) -> None:
    others = {"other/b.py": 10, "libbar.so.1.32": 10, "qkg-1.3.dist-info/METADATA": 10, "x/RECORD.txt": 10}
    assert Shelf({old: 100, **others}).predecessor(new, 100) == old


def test_the_same_path_wins_whatever_its_size() -> None:
    shelf = Shelf({"lib/libfoo.so.2": 1, "lib/libfoo.so.1": 100_000})
    assert shelf.predecessor("lib/libfoo.so.2", 100_000) == "lib/libfoo.so.2"


def test_among_several_the_nearest_in_size_wins_then_the_first_by_name() -> None:
    shelf = Shelf({"libfoo.so.1": 1000, "libfoo.so.2": 2000, "libfoo.so.3": 2000})
    assert shelf.predecessor("libfoo.so.4", 1100) == "libfoo.so.1"
    assert shelf.predecessor("libfoo.so.4", 1900) == "libfoo.so.2"


def test_more_folders_in_common_go_before_size() -> None:
    shelf = Shelf({"a/b/x.py": 10, "c/x.py": 100})
    assert shelf.predecessor("a/b/new/x.py", 100) == "a/b/x.py"


def test_a_large_file_of_another_name_is_tried_where_kind_and_size_fit() -> None:
    shelf = Shelf(
        {"models/m/old.onnx": LARGE_BYTES, "models/m/huge.onnx": LARGE_BYTES * 9, "x.bin": LARGE_BYTES}
    )
    assert shelf.predecessor("models/m/new.onnx", LARGE_BYTES) == "models/m/old.onnx"
    assert shelf.predecessor("models/m/new.onnx", LARGE_BYTES * 3) is None
    assert shelf.predecessor("models/m/new.onnx", LARGE_BYTES - 1) is None
    assert shelf.predecessor("models/m/new.xml", LARGE_BYTES) is None


def test_thousands_of_one_name_are_no_burden_and_the_nearest_is_among_the_found() -> None:
    shelf = Shelf({f"pkg{chr(97 + n % 26)}{'x' * (n // 26)}/__init__.py": n for n in range(5000)})
    found = shelf.predecessor("new/__init__.py", 2500)
    assert found is not None
    assert len(found) == len("pkga/__init__.py") + 2500 // 26


def test_an_empty_shelf_has_nothing() -> None:
    assert Shelf({}).predecessor("a", 10) is None


@given(
    st.text(max_size=30),
    st.dictionaries(st.text(max_size=20), st.integers(0, 2**33), max_size=20),
    st.integers(0, 2**33),
)
def test_what_is_found_is_on_the_shelf(path: str, files: dict[str, int], size: int) -> None:
    found = Shelf(files).predecessor(path, size)
    assert found is None or found in files
    assert found == Shelf(dict(reversed(files.items()))).predecessor(path, size)


def test_versions_and_digests_are_taken_out() -> None:
    assert without_versions("libfoo-0cf96a72.so.1.30") == "libfoo-#.so.#"
    assert without_versions("x/cpython-311-x86_64/y") == "x/cpython-#-x#/y"
