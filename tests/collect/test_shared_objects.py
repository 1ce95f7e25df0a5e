"""A tree whose shared objects do not load on the target ends the pack, with every one of them named."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from tests.target.made_elf import Made

from sealift.collect.shared_objects import check_shared_objects, glibc_floor_of
from sealift.errors import UsageError
from sealift.target.target import Target

TARGET = Target("linux-x86_64", python="3.11", glibc="2.17")


def write(tree: Path, files: dict[str, Made]) -> Path:
    for name, made in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(made.content())
    return tree


def libc(*versions: str) -> Made:
    return Made(needed=("libc.so.6",), versions={"libc.so.6": versions})


def test_a_tree_that_loads_on_the_target_says_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"runtime/a.so": libc("GLIBC_2.2.5", "GLIBC_2.17")})
    (tmp_path / "application").mkdir()
    assert check_shared_objects(tmp_path, TARGET) == ()


def test_every_object_that_does_not_load_is_named_and_nothing_else(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "runtime/a.so": libc("GLIBC_2.34"),
            "dependencies/p/b.so": Made(needed=("libfoo.so.1", "libbar.so.2")),
            "dependencies/p/c.so": Made(machine="aarch64"),
            "dependencies/p/good.so": libc("GLIBC_2.4"),
        },
    )
    with pytest.raises(UsageError) as caught:
        check_shared_objects(tmp_path, TARGET)
    assert caught.value.message == (
        "3 of 4 shared objects do not load on the target (linux-x86_64, Python 3.11, glibc 2.17)."
    )
    assert set(caught.value.problems) == {
        "runtime/a.so: expected at most GLIBC_2.17 of libc.so.6, found GLIBC_2.34",
        "dependencies/p/b.so: expected libfoo.so.1, found nothing of that name in the release",
        "dependencies/p/b.so: expected libbar.so.2, found nothing of that name in the release",
        "dependencies/p/c.so: expected x86_64, found aarch64",
    }
    assert caught.value.next_step is not None
    assert "[target.packages]" in caught.value.next_step


def test_what_may_stay_unresolved_is_noted_once_for_each_reason(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "dependencies/cv2/cv2.so": Made(needed=("libGL.so.1",)),
            "dependencies/vtk/v.so": Made(needed=("libGL.so.1",)),
            "runtime/openvino/libs/libopenvino_intel_gpu_plugin.so": Made(needed=("libOpenCL.so.1",)),
        },
    )
    assert check_shared_objects(tmp_path, TARGET) == (
        "dependencies/cv2/cv2.so and 1 more: without libGL.so.1: a small server lacks it; the package libgl1 "
        "(Debian) or libglvnd-glx (RPM) brings it",
        "runtime/openvino/libs/libopenvino_intel_gpu_plugin.so: without libOpenCL.so.1: OpenVINO's plug-in for "
        "Intel graphics, loaded only where a model asks for that device",
    )


def test_what_the_project_says_is_never_loaded_is_noted_and_raises_no_floor(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "dependencies/p/plugins/a.so": libc("GLIBC_2.34"),
            "dependencies/p/plugins/b.so": Made(needed=("libfoo.so.1",)),
            "dependencies/p/plugins/c.so": Made(machine="aarch64"),
            "dependencies/p/m.so": libc("GLIBC_2.4"),
        },
    )
    (tmp_path / "dependencies/p/plugins/d.so").write_bytes(Made().content()[:100])
    notes = check_shared_objects(tmp_path, TARGET, ("p/plugins/*",))
    assert len(notes) == 3
    assert all(note.endswith(": the project says that it is never loaded") for note in notes)
    assert glibc_floor_of(tmp_path, ("p/plugins/*",)) == "2.17"
    with pytest.raises(UsageError, match="4 of 4 shared objects"):
        check_shared_objects(tmp_path, TARGET, ("p/m", "p/plugins"))


def test_a_helper_that_no_service_loads_does_not_raise_the_floor(tmp_path: Path) -> None:
    name = "dependencies/debugpy/_vendored/pydevd/pydevd_attach_to_process/attach_linux_amd64.so"
    write(tmp_path, {name: libc("GLIBC_2.34")})
    assert glibc_floor_of(tmp_path) == "2.17"
    (note,) = check_shared_objects(tmp_path, TARGET)
    assert note.endswith("debugpy's helper to get into a running process, which no service loads")


def test_a_library_that_a_carried_package_brings_is_there(tmp_path: Path) -> None:
    """A real .deb, made here: what it installs counts as found, what it does not install does not."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg is not installed")
    write(tmp_path / "tree", {"dependencies/p/m.so": Made(needed=("libfoo.so.1", "libfoo.so"))})
    content = tmp_path / "content"
    write(content, {"usr/lib/x86_64-linux-gnu/libfoo.so.1.2": Made(soname="libfoo.so.1")})
    (content / "usr/lib/x86_64-linux-gnu/libfoo.so.1").symlink_to("libfoo.so.1.2")
    (content / "DEBIAN").mkdir()
    (content / "DEBIAN/control").write_text(
        "Package: libfoo1\nVersion: 1.2\nArchitecture: amd64\nMaintainer: A <a@b.example>\nDescription: foo\n"
    )
    packages = tmp_path / "tree/application/system-packages/deb"
    packages.mkdir(parents=True)
    build = [
        "dpkg-deb",
        "--build",
        "--root-owner-group",
        str(content),
        str(packages / "libfoo1_1.2_amd64.deb"),
    ]
    subprocess.run(build, check=True, capture_output=True)
    with pytest.raises(UsageError) as caught:
        check_shared_objects(tmp_path / "tree", TARGET)
    assert caught.value.problems == (
        "dependencies/p/m.so: expected libfoo.so, found nothing of that name in the release",
    )


@pytest.mark.parametrize(
    ("versions", "floor"),
    [
        ([("GLIBC_2.9",), ("GLIBC_2.28", "GLIBC_2.4")], "2.28"),
        ([("GLIBC_2.17", "GLIBC_ABI_DT_RELR")], "2.36"),
        ([("GLIBC_2.2.5", "GLIBC_2.40?")], "2.17"),
        ([], "2.17"),
    ],
)
def test_the_floor_is_what_the_objects_need_and_not_what_a_tag_says(
    tmp_path: Path, versions: list[tuple[str, ...]], floor: str
) -> None:
    write(tmp_path, {f"dependencies/{index}.so": libc(*names) for index, names in enumerate(versions)})
    assert glibc_floor_of(tmp_path) == floor


@pytest.mark.parametrize(
    ("versions", "floor"),
    [
        (("GLIBCXX_3.4.19",), "2.17"),
        (("GLIBCXX_3.4.24", "CXXABI_TM_1"), "2.28"),
        (("GLIBCXX_3.4.25",), "2.31"),
        (("CXXABI_1.3.13",), "2.35"),
        (("GLIBCXX_3.4.99",), "2.17"),
    ],
)
def test_the_floor_has_what_is_asked_of_libstdcxx(
    tmp_path: Path, versions: tuple[str, ...], floor: str
) -> None:
    """RHEL 8 has 3.4.25 with glibc 2.28, Kylin V10 has not: a release for 2.28 must run on both."""
    name = "libstdc++.so.6"
    write(tmp_path, {"dependencies/p/m.so": Made(needed=(name,), versions={name: versions})})
    assert glibc_floor_of(tmp_path) == floor


def test_a_libstdcxx_that_travels_along_does_not_raise_the_floor(tmp_path: Path) -> None:
    name = "libstdc++.so.6"
    module = Made(needed=(name,), rpath="$ORIGIN", versions={name: ("GLIBCXX_3.4.33",)})
    write(tmp_path, {"dependencies/p/m.so": module, f"dependencies/p/{name}": Made(soname=name)})
    assert glibc_floor_of(tmp_path) == "2.17"
