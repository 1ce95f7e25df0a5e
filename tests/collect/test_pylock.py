from pathlib import Path

import pytest

from sealift.collect.pylock import read_pins
from sealift.errors import UsageError
from sealift.target.target import Target

TARGET = Target(platform="linux-x86_64", python="3.11", glibc="2.28")
HEAD = 'lock-version = "1.0"\ncreated-by = "test"\n'


def package(name: str, *wheels: str, extra: str = "") -> str:
    listed = ", ".join(
        f'{{url = "https://index.example/{wheel}", hashes = {{sha256 = "{number:064x}"}}}}'
        for number, wheel in enumerate(wheels)
    )
    return f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{extra}wheels = [{listed}]\n'


def locked(tmp_path: Path, text: str) -> Path:
    (tmp_path / "pylock.toml").write_text(text)
    return tmp_path / "pylock.toml"


def test_the_best_wheel_that_the_target_takes_is_chosen(tmp_path: Path) -> None:
    wheels = (
        "a-1.0-cp311-cp311-manylinux_2_34_x86_64.whl",
        "a-1.0-py3-none-any.whl",
        "a-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "a-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "a-1.0-cp311-cp311-manylinux_2_28_aarch64.whl",
    )
    (pin,) = read_pins(locked(tmp_path, HEAD + package("a", *wheels)), TARGET)
    assert pin.line() == f"a==1.0 --hash=sha256:{3:064x}"


def test_packages_for_other_machines_are_passed_over(tmp_path: Path) -> None:
    text = HEAD + package("a", "a-1.0-py3-none-any.whl", extra="marker = \"sys_platform == 'win32'\"\n")
    text += package("b", "b-1.0-py3-none-any.whl", extra="marker = \"python_version >= '3.11'\"\n")
    assert [pin.name for pin in read_pins(locked(tmp_path, text), TARGET)] == ["b"]


def test_everything_that_cannot_travel_is_named_at_once(tmp_path: Path) -> None:
    text = HEAD + package("a", "a-1.0-cp312-cp312-linux_x86_64.whl")
    text += '[[packages]]\nname = "b"\nversion = "2"\n'
    text += 'vcs = {type = "git", url = "https://x.example", commit-id = "1"}\n'
    text += (
        '[[packages]]\nname = "c"\nversion = "3"\n'
        'sdist = {url = "https://x.example/c-3.tar.gz", hashes = {sha256 = "00"}}\n'
    )
    text += package("d", "d-1.0-py3-none-any.whl", extra='requires-python = ">=3.13"\n')
    text += '[[packages]]\nname = "e"\nversion = "1"\n'
    text += 'wheels = [{path = "e-1-py3-none-any.whl", hashes = {md5 = "0"}}]\n'
    with pytest.raises(UsageError) as caught:
        read_pins(locked(tmp_path, text), TARGET)
    assert caught.value.problems == (
        "a 1.0: none of its 1 wheels is for this target",
        "b 2: locked as source, not as a wheel",
        "c 3: the lock lists no wheel",
        "d 1.0: needs Python >=3.13",
        "e 1: e-1-py3-none-any.whl has no sha256",
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not toml", "is not a readable lock file"),
        ('lock-version = "9.0"\ncreated-by = "t"\npackages = []\n', "is not a readable lock file"),
        (HEAD + 'requires-python = ">=3.12"\npackages = []\n', "is for Python >=3.12; the target has 3.11."),
        (
            HEAD + "environments = [\"sys_platform == 'win32'\"]\npackages = []\n",
            "was locked for other environments",
        ),
        (HEAD + package("a", "a-1.0-py3-none-any.whl") * 2, "selects several entries for: a."),
    ],
)
def test_a_lock_that_is_for_something_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_pins(locked(tmp_path, text), TARGET)
    assert said in caught.value.message
