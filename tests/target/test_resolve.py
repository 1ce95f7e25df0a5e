"""Which library of a release finds what, as the loader would, and what is said where it does not."""

from __future__ import annotations

import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.target.made_elf import Made

from sealift.target.elf import read_elf
from sealift.target.resolve import Resolution, resolve
from sealift.target.target import Target

TARGET = Target("linux-x86_64", python="3.11", glibc="2.31")
Write = Callable[..., Resolution]


@pytest.fixture
def release(tmp_path: Path) -> Write:
    """Write files into a tree and resolve it."""

    def write(files: dict[str, Made | bytes], target: Target = TARGET) -> Resolution:
        for name, data in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data if isinstance(data, bytes) else data.content())
        return resolve(tmp_path, target)

    return write


def test_a_made_file_says_what_it_was_made_with(tmp_path: Path) -> None:
    made = Made(
        needed=("libc.so.6", "liba.so.1"),
        soname="libb.so",
        rpath="$ORIGIN",
        versions={"libc.so.6": ("GLIBC_2.17", "GLIBC_2.38?"), "liba.so.1": ("A_1",)},
        defined=("B_1", "B_2"),
    )
    (tmp_path / "b").write_bytes(made.content())
    elf = read_elf(tmp_path / "b")
    assert elf is not None
    assert (elf.needed, elf.soname, elf.rpath) == (("libc.so.6", "liba.so.1"), "libb.so", ("$ORIGIN",))
    assert elf.versions == {"libc.so.6": {"GLIBC_2.17"}, "liba.so.1": {"A_1"}}
    assert elf.weak_versions == {"libc.so.6": {"GLIBC_2.38"}}
    assert elf.defined == {"B_1", "B_2"}


@pytest.mark.parametrize(
    "module",
    [
        Made(needed=("libz-1f.so",), rpath="$ORIGIN/../pkg.libs"),
        Made(needed=("libz-1f.so",), runpath="${ORIGIN}/../pkg.libs"),
        Made(needed=("libz-1f.so",), runpath="/usr/local/cuda/lib64:$ORIGIN/../pkg.libs"),
        Made(needed=("libc.so.6", "libstdc++.so.6", "ld-linux-x86-64.so.2")),
    ],
)
def test_what_lies_on_a_search_path_or_on_every_box_is_found(release: Write, module: Made) -> None:
    files = {"dependencies/pkg/m.so": module, "dependencies/pkg.libs/libz-1f.so": Made(soname="libz-1f.so")}
    found = release(files)
    assert (found.objects, found.problems, found.excused) == (2, (), ())


@pytest.mark.parametrize(
    "module",
    [
        Made(needed=("libfoo.so.1",)),
        Made(needed=("libfoo.so.1",), rpath="$ORIGIN/../../../outside"),
        Made(needed=("libfoo.so.1",), rpath="/usr/lib"),
        Made(needed=("libfoo.so.1",), rpath="$ORIGINAL/../other"),
    ],
)
def test_what_lies_nowhere_is_named(release: Write, module: Made) -> None:
    found = release({"dependencies/pkg/m.so": module, "dependencies/other/libfoo.so.1": Made()})
    assert [str(finding) for finding in found.problems] == [
        "dependencies/pkg/m.so: expected libfoo.so.1, found nothing of that name in the release"
    ]
    assert found.problems == found.unresolved


def test_a_library_is_also_sought_where_its_loader_looks(release: Write) -> None:
    """DT_RPATH goes down to what an object loads; DT_RUNPATH does not (ld.so(8))."""
    libs = {
        "dependencies/a/l/liba.so": Made(needed=("libb.so",)),
        "dependencies/b/libb.so": Made(),
    }
    path = "$ORIGIN/l:$ORIGIN/../b"
    assert release({"dependencies/a/m.so": Made(needed=("liba.so",), rpath=path), **libs}).problems == ()
    found = release({"dependencies/a/m.so": Made(needed=("liba.so",), runpath=path), **libs})
    assert [finding.path for finding in found.unresolved] == ["dependencies/a/l/liba.so"]


def test_a_runpath_hides_the_rpath_of_the_same_object(release: Write) -> None:
    module = Made(needed=("liba.so",), rpath="$ORIGIN/../b", runpath="$ORIGIN/lib")
    found = release({"dependencies/a/m.so": module, "dependencies/b/liba.so": Made()})
    assert [finding.expected for finding in found.unresolved] == ["liba.so"]


def test_a_library_that_its_package_has_loaded_is_there_by_its_name(release: Write) -> None:
    files = {
        "dependencies/p/one.so": Made(needed=("liba.so.1",), runpath="$ORIGIN/lib"),
        "dependencies/p/two.so": Made(needed=("liba.so.1",)),
        "dependencies/p/lib/liba.so.1": Made(soname="liba.so.1"),
    }
    found = release(files)
    assert (found.problems, found.excused) == ((), ())


def test_a_library_of_the_package_that_no_path_leads_to_is_a_note(release: Write) -> None:
    """The package may open it by its path first; that cannot be seen from outside."""
    found = release(
        {"dependencies/p/m.so": Made(needed=("liba.so.1",)), "dependencies/p/x/liba.so.1": Made()}
    )
    assert found.problems == ()
    assert [finding.reason for finding in found.excused] == [
        "dependencies/p/x/liba.so.1 is of the same package, which has to load it first"
    ]


def test_what_the_bundled_interpreter_has_loaded_is_there_for_every_module(release: Write) -> None:
    files = {
        "runtime/python/bin/python3.11": Made(
            needed=("libpython3.11.so.1.0", "libc.so.6"), rpath="$ORIGIN/../lib", kind=2
        ),
        "runtime/python/lib/libpython3.11.so.1.0": Made(),
        "dependencies/p/m.so": Made(needed=("libpython3.11.so.1.0",)),
    }
    assert release(files).problems == ()
    found = release(files, Target("linux-x86_64", python="3.12", glibc="2.31"))
    assert [finding.path for finding in found.unresolved] == ["dependencies/p/m.so"]


CUDA = {
    "dependencies/onnxruntime/capi/libonnxruntime_providers_cuda.so": Made(
        needed=("libcudnn.so.9", "libcuda.so.1")
    )
}
CUDNN: dict[str, Made | bytes] = {"dependencies/nvidia/cudnn/lib/libcudnn.so.9": Made(soname="libcudnn.so.9")}


def test_the_libraries_of_nvidias_wheels_are_found_by_name(release: Write) -> None:
    target = Target("linux-x86_64", python="3.11", glibc="2.31", cuda="12.4")
    found = release({**CUDA, **CUDNN}, target)
    assert found.problems == ()
    assert [(finding.expected, finding.reason) for finding in found.excused] == [
        ("libcuda.so.1", "comes with the NVIDIA driver of the box")
    ]


def test_a_gpu_build_without_its_libraries_is_excused_without_a_card_only(release: Write) -> None:
    assert release({**CUDA}).problems == ()
    found = release({**CUDA}, Target("linux-x86_64", python="3.11", glibc="2.31", cuda="12.4"))
    assert [finding.expected for finding in found.unresolved] == ["libcudnn.so.9"]


def test_a_library_of_desktops_names_the_package_that_brings_it(release: Write) -> None:
    found = release({"dependencies/cv2/cv2.abi3.so": Made(needed=("libGL.so.1",))})
    assert found.problems == ()
    (note,) = found.excused
    assert (
        note.reason == "a small server lacks it; the package libgl1 (Debian) or libglvnd-glx (RPM) brings it"
    )


@pytest.mark.parametrize(
    ("versions", "problem"),
    [
        ({"libc.so.6": ("GLIBC_2.17", "GLIBC_2.34")}, "at most GLIBC_2.31 of libc.so.6, found GLIBC_2.34"),
        ({"libm.so.6": ("GLIBC_2.35",)}, "at most GLIBC_2.31 of libm.so.6, found GLIBC_2.35"),
        (
            {"libc.so.6": ("GLIBC_ABI_DT_RELR",)},
            "at most GLIBC_2.31 of libc.so.6, found GLIBC_ABI_DT_RELR",
        ),
        (
            {"libstdc++.so.6": ("GLIBCXX_3.4.29", "CXXABI_1.3.9")},
            "at most GLIBCXX_3.4.28 of libstdc++.so.6, found GLIBCXX_3.4.29",
        ),
        (
            {"libstdc++.so.6": ("CXXABI_1.3.15", "CXXABI_TM_1")},
            "at most CXXABI_1.3.12 of libstdc++.so.6, found CXXABI_1.3.15",
        ),
        ({"libgcc_s.so.1": ("GCC_12.0.0",)}, "at most GCC_7.0.0 of libgcc_s.so.1, found GCC_12.0.0"),
    ],
)
def test_a_symbol_version_that_the_target_lacks_is_named(
    release: Write, versions: dict[str, tuple[str, ...]], problem: str
) -> None:
    found = release({"dependencies/p/m.so": Made(needed=tuple(versions), versions=versions)})
    assert [str(finding) for finding in found.too_new] == [f"dependencies/p/m.so: expected {problem}"]
    assert found.problems == found.too_new


@pytest.mark.parametrize(
    "versions",
    [
        {"libc.so.6": ("GLIBC_2.31", "GLIBC_2.4", "GLIBC_PRIVATE", "GLIBC_2.38?")},
        {"libstdc++.so.6": ("GLIBCXX_3.4.28", "CXXABI_FLOAT128")},
    ],
)
def test_what_the_target_just_has_is_no_problem(release: Write, versions: dict[str, tuple[str, ...]]) -> None:
    found = release({"dependencies/p/m.so": Made(needed=tuple(versions), versions=versions)})
    assert found.problems == ()


def test_a_runtime_that_travels_along_is_asked_itself(release: Write) -> None:
    """Whoever brings its own libstdc++ may need what the system's has not, and nothing that its own has not."""
    module = Made(
        needed=("libstdc++.so.6",), rpath="$ORIGIN", versions={"libstdc++.so.6": ("GLIBCXX_3.4.33",)}
    )
    own = Made(soname="libstdc++.so.6", defined=("GLIBCXX_3.4", "GLIBCXX_3.4.33"))
    assert release({"dependencies/p/m.so": module, "dependencies/p/libstdc++.so.6": own}).problems == ()
    older = Made(soname="libstdc++.so.6", defined=("GLIBCXX_3.4",))
    found = release({"dependencies/p/m.so": module, "dependencies/p/libstdc++.so.6": older})
    assert [str(finding) for finding in found.problems] == [
        "dependencies/p/m.so: expected GLIBCXX_3.4.33 of libstdc++.so.6, "
        "found dependencies/p/libstdc++.so.6 without it"
    ]


def test_an_object_for_another_processor_is_named(release: Write) -> None:
    found = release({"runtime/p/m.so": Made(machine="aarch64")})
    assert [str(finding) for finding in found.wrong_machine] == [
        "runtime/p/m.so: expected x86_64, found aarch64"
    ]
    assert found.problems == found.wrong_machine


def test_code_for_a_card_and_object_files_are_data(release: Write) -> None:
    found = release({"runtime/p/k.cubin": Made(machine="cubin", kind=2), "runtime/p/x.o": Made(kind=1)})
    assert (found.objects, found.problems) == (0, ())


def test_a_library_of_another_processor_is_not_taken(release: Write) -> None:
    files = {
        "runtime/p/m.so": Made(needed=("liba.so",), rpath="$ORIGIN"),
        "runtime/p/liba.so": Made(machine="aarch64"),
    }
    found = release(files)
    assert [finding.path for finding in found.unresolved] == ["runtime/p/m.so"]
    assert [finding.path for finding in found.wrong_machine] == ["runtime/p/liba.so"]


def test_every_problem_of_a_release_is_named_at_once(release: Write) -> None:
    found = release(
        {
            "runtime/a.so": Made(needed=("libfoo.so",)),
            "runtime/b.so": Made(needed=("libc.so.6",), versions={"libc.so.6": ("GLIBC_2.40",)}),
            "runtime/c.so": Made(machine="aarch64"),
            "runtime/d.so": Made().content()[:100],
            "runtime/readme.txt": b"no ELF",
        }
    )
    assert sorted(finding.path for finding in found.problems) == [f"runtime/{name}.so" for name in "abcd"]
    assert found.objects == 3


def test_a_ring_of_libraries_ends(release: Write) -> None:
    files = {
        "runtime/p/liba.so": Made(needed=("libb.so", "liba.so"), rpath="$ORIGIN"),
        "runtime/p/libb.so": Made(needed=("liba.so",), rpath="$ORIGIN:$ORIGIN/../q"),
    }
    assert release(files).problems == ()


@pytest.mark.slow
def test_the_libraries_of_this_environment_resolve_here() -> None:
    """All that is installed for development, torch and OpenVINO included: it runs here, so it must resolve."""
    site = Path(sysconfig.get_paths()["platlib"])
    found = resolve(site.parent, Target("linux-x86_64", python="3.11", glibc="2.36"))
    assert found.objects > 300
    assert [str(problem) for problem in found.problems] == []
