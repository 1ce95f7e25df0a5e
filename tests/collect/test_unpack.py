import csv
import hashlib
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sealift.collect.unpack import Unpacked, layer_clashes, unpack_wheel, unpack_wheels
from sealift.errors import UsageError

MakeWheel = Callable[..., Path]


def test_each_part_of_a_wheel_goes_to_its_place(tmp_path: Path, make_wheel: MakeWheel) -> None:
    files = {
        "a/__init__.py": "",
        "a/run.sh": "#!/bin/sh\n",
        "a-1.0.data/purelib/a/pure.py": "x = 1\n",
        "a-1.0.data/platlib/a/plat.so": b"\x7fELF",
        "a-1.0.data/data/share/a/words.txt": "one",
        "a-1.0.data/scripts/a-tool": "#!python\n",
        "a-1.0.data/headers/a.h": "",
        "a-1.0.dist-info/entry_points.txt": "[console_scripts]\na = a:main\n",
    }
    wheel = make_wheel(tmp_path, "a", files=files, modes={"a/run.sh": 0o100755})
    unpacked = unpack_wheel(wheel, tmp_path / "layer")
    assert unpacked.files == (
        "a-1.0.data/data/share/a/words.txt",
        "a-1.0.dist-info/METADATA",
        "a-1.0.dist-info/RECORD",
        "a-1.0.dist-info/WHEEL",
        "a-1.0.dist-info/entry_points.txt",
        "a/__init__.py",
        "a/plat.so",
        "a/pure.py",
        "a/run.sh",
    )
    on_disk = {
        p.relative_to(tmp_path / "layer").as_posix() for p in (tmp_path / "layer").rglob("*") if p.is_file()
    }
    assert on_disk == set(unpacked.files)
    modes = {name: stat.S_IMODE((tmp_path / "layer" / name).stat().st_mode) for name in unpacked.files}
    assert modes.pop("a/run.sh") == 0o755
    assert set(modes.values()) == {0o644}


def test_record_lists_exactly_what_is_there_in_one_order(tmp_path: Path, make_wheel: MakeWheel) -> None:
    files = {"z.py": "z", "a.py": "a", "a-1.0.data/scripts/tool": "x"}
    unpacked = unpack_wheel(make_wheel(tmp_path, "a", files=files), tmp_path / "layer")
    with (tmp_path / "layer" / "a-1.0.dist-info" / "RECORD").open(newline="") as stream:
        rows = list(csv.reader(stream))
    names = [row[0] for row in rows]
    assert set(names) == set(unpacked.files)
    assert names[:-1] == sorted(names[:-1])
    assert rows[-1] == ["a-1.0.dist-info/RECORD", "", ""]
    assert rows[-2][2] == "1"


def test_unpacking_twice_gives_the_same_bytes(tmp_path: Path, make_wheel: MakeWheel) -> None:
    wheels = [make_wheel(tmp_path, "a"), make_wheel(tmp_path, "b")]
    digests = []
    for folder, order in (("one", wheels), ("two", wheels[::-1])):
        files = unpack_wheels(order, tmp_path / folder).files
        digests.append({f: hashlib.sha256((tmp_path / folder / f).read_bytes()).digest() for f in files})
    assert digests[0] == digests[1]


def test_all_collisions_are_named_and_equal_files_are_none(tmp_path: Path, make_wheel: MakeWheel) -> None:
    one = make_wheel(tmp_path, "one", files={"same.py": "s", "x.py": "1", "y.py": "1", "f": "file"})
    two = make_wheel(tmp_path, "two", files={"same.py": "s", "x.py": "2", "y.py": "2", "f/g": "folder"})
    with pytest.raises(UsageError) as caught:
        unpack_wheels([one, two], tmp_path / "layer")
    assert caught.value.problems == (
        f"x.py: {one.name} and {two.name}",
        f"y.py: {one.name} and {two.name}",
        f"f/g: {two.name} has a folder where another wheel has a file",
    )


def test_a_file_that_is_there_already_is_not_overwritten(tmp_path: Path, make_wheel: MakeWheel) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "layer" / "a.py").write_text("mine")
    with pytest.raises(UsageError):
        unpack_wheel(make_wheel(tmp_path, "a"), tmp_path / "layer")
    assert (tmp_path / "layer" / "a.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "mode", "reason"),
    [
        ("../evil.py", 0o100644, "leaves its folder"),
        ("a/../../evil.py", 0o100644, "leaves its folder"),
        ("/etc/evil", 0o100644, "not a relative path"),
        ("a\\..\\evil.py", 0o100644, "not a relative path"),
        ("a//b.py", 0o100644, "empty part"),
        ("a/evil", 0o120777, "a link or device"),
        ("a/pipe", 0o010644, "a link or device"),
        ("bad\nname.py", 0o100644, "not a relative path"),
    ],
)
def test_a_wheel_that_reaches_outside_is_refused_before_a_byte_is_written(
    tmp_path: Path, make_wheel: MakeWheel, name: str, mode: int, reason: str
) -> None:
    wheel = make_wheel(tmp_path, "a", files={"a/__init__.py": "", name: "/etc/passwd"}, modes={name: mode})
    with pytest.raises(UsageError) as caught:
        unpack_wheel(wheel, tmp_path / "layer")
    assert len(caught.value.problems) == 1
    assert reason in caught.value.problems[0]
    assert not (tmp_path / "layer").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_twice_in_the_archive_is_refused(tmp_path: Path, make_wheel: MakeWheel) -> None:
    wheel = make_wheel(tmp_path, "a")
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("a.py", "something else")
    with pytest.raises(UsageError) as caught:
        unpack_wheel(wheel, tmp_path / "layer")
    assert caught.value.problems == ("'a.py': twice in the archive",)


@pytest.mark.parametrize("size", [0, 100, -30])
def test_a_damaged_archive_is_an_error_in_words(tmp_path: Path, make_wheel: MakeWheel, size: int) -> None:
    wheel = make_wheel(tmp_path, "a")
    wheel.write_bytes(wheel.read_bytes()[:size])
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpack_wheel(wheel, tmp_path / "layer")


def test_what_will_not_run_on_the_box_is_noted(tmp_path: Path, make_wheel: MakeWheel) -> None:
    files = {"a.py": "", "a.pth": "import a\n", "__pycache__/a.cpython-311.pyc": b"stale"}
    unpacked = unpack_wheel(make_wheel(tmp_path, "a", files=files), tmp_path / "layer")
    assert "__pycache__/a.cpython-311.pyc" not in unpacked.files
    assert "a.pth" in unpacked.files
    assert len(unpacked.notes) == 2


def test_layers_may_share_a_namespace_but_no_package() -> None:
    runtime = Unpacked(
        ("google/protobuf/__init__.py", "numpy/__init__.py", "a-1.dist-info/METADATA", "fast.so")
    )
    theirs = Unpacked(("google/cloud/x.py", "numpy/__init__.py", "a-1.dist-info/METADATA", "fast.py"))
    assert [clash.partition(":")[0] for clash in layer_clashes(runtime, theirs)] == ["fast", "numpy"]
    assert layer_clashes(runtime, Unpacked(("google/__init__.py",)))[0].startswith("google:")
