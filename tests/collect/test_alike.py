"""The same packages for another processor: from where, and whether they are the ones that were locked."""

from pathlib import Path

import pytest
from tests.collect.conftest import write_wheel

from sealift.collect.alike import collect_alike
from sealift.collect.lock import Collected
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import BoxSide
from sealift.collect.wheel import read_wheel
from sealift.errors import DigestMismatch, UsageError
from sealift.target.target import Target

pytestmark = pytest.mark.slow
HERE = Target(platform="linux-x86_64", python="3.11", glibc="2.36")
THERE, NEAR = "cp311-cp311-manylinux_2_17_aarch64", "cp311-cp311-manylinux_2_17_x86_64"


def collected(folder: Path, name: str, version: str) -> Collected:
    compiled = read_wheel(write_wheel(folder / "there", name, version, tag=THERE)).wheel
    plain = read_wheel(write_wheel(folder / "there", "plain", "1.0")).wheel
    return Collected(runtime=(compiled,), dependencies=(plain,), application=frozenset(), glibc="2.17")


def options(folder: Path) -> CollectOptions:
    return CollectOptions(folder / "wheels", find_links=(str(folder / "near"),), no_index=True)


def test_compiled_wheels_are_those_of_this_machine_and_plain_ones_stay(tmp_path: Path) -> None:
    there = collected(tmp_path, "fast", "1.0")
    write_wheel(tmp_path / "near", "fast", "1.0", tag=NEAR)
    write_wheel(tmp_path / "near", "fast", "2.0", tag=NEAR)
    found = collect_alike(there, HERE, options(tmp_path))
    assert [wheel.filename for wheel in found.wheels] == [
        f"fast-1.0-{NEAR}.whl",
        "plain-1.0-py3-none-any.whl",
    ]
    assert found.dependencies == there.dependencies


def test_a_version_that_is_not_to_be_had_is_refused(tmp_path: Path) -> None:
    write_wheel(tmp_path / "near", "fast", "2.0", tag=NEAR)
    with pytest.raises(UsageError):
        collect_alike(collected(tmp_path, "fast", "1.0"), HERE, options(tmp_path))


def test_a_wheel_that_is_not_the_locked_one_never_runs_here(tmp_path: Path) -> None:
    pin = next(pin for pin in BoxSide().pins(HERE) if pin.name == "msgspec")
    there = collected(tmp_path, pin.name, pin.version)
    write_wheel(tmp_path / "near", pin.name, pin.version, tag=NEAR)
    with pytest.raises(DigestMismatch, match="not the one that sealift has locked") as caught:
        collect_alike(there, HERE, options(tmp_path))
    assert caught.value.problems[0].startswith(
        f"msgspec-{pin.version}-{NEAR}.whl: expected sha256 {pin.hashes[0]}"
    )
