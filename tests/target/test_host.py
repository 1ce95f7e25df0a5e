import platform
from pathlib import Path

import pytest

from sealift.target.host import glibc_version, own_python, read_host

X86 = "processor : 0\nflags\t\t: fpu avx avx2\n\nprocessor : 1\nflags\t\t: fpu avx\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd crc32\nCPU part\t: 0xd0c\n"


@pytest.mark.parametrize(
    ("text", "flags"), [(X86, ("avx", "fpu")), (ARM, ("asimd", "crc32", "fp")), ("", ())]
)
def test_only_flags_that_every_processor_has_count(tmp_path: Path, text: str, flags: tuple[str, ...]) -> None:
    (tmp_path / "cpuinfo").write_text(text)
    assert read_host(tmp_path / "cpuinfo").cpu == flags


def test_a_machine_without_cpuinfo_has_no_known_flags(tmp_path: Path) -> None:
    assert read_host(tmp_path / "missing").cpu == ()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.57.02  Tue Jul 13 16:14:05 UTC 2021\n"
            "GCC version:  gcc version 9.3.0 (Ubuntu 9.3.0-17ubuntu1~20.04)\n",
            "470.57.02",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build\n", "575.57.08"),
        ("NVRM version: NVIDIA UNIX aarch64 Kernel Module  535.54  Mon Jan 1 00:00:00 UTC 2024\n", "535.54"),
        ("GCC version:  gcc version 9.3.0\n", None),
        ("", None),
    ],
)
def test_the_nvidia_driver_says_its_version(tmp_path: Path, text: str, version: str | None) -> None:
    (tmp_path / "version").write_text(text)
    assert read_host(driver=tmp_path / "version").driver == version


def test_a_machine_without_the_driver_has_none(tmp_path: Path) -> None:
    assert read_host(driver=tmp_path / "missing").driver is None


def test_this_machine_is_read_as_the_standard_library_reads_it() -> None:
    host = read_host()
    assert host.platform == f"linux-{platform.machine()}"
    assert host.kernel == platform.release()
    assert host.glibc == glibc_version() == platform.libc_ver()[1]
    assert own_python() == ".".join(platform.python_version().split(".")[:2])


def test_the_c_library_is_asked_itself_where_confstr_knows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some builds of Python leave confstr out."""
    expected = glibc_version()

    def nothing(name: str) -> None:
        raise ValueError(name)

    monkeypatch.setattr("os.confstr", nothing)
    assert glibc_version() == expected
