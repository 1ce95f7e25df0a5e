"""Resolving against an index on loopback: what is asked of it, and what never leaves it."""

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from tests.local_index import LocalIndex, serving

from sealift.collect.index_settings import index_settings
from sealift.collect.lock import Locked, collect_wheels, lock_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.pip_run import run_pip
from sealift.collect.pylock import read_pins
from sealift.collect.runtime import BoxSide
from sealift.collect.write_pylock import size_of, write_pylock
from sealift.errors import UsageError
from sealift.project.project import PythonSources
from sealift.target.target import Target

pytestmark = pytest.mark.slow
MakeWheel = Callable[..., Path]


@pytest.fixture
def requirements(tmp_path: Path) -> Path:
    return tmp_path / "requirements.txt"


def locked_from(index: LocalIndex, tmp_path: Path, text: str, target: Target, box: BoxSide) -> Locked:
    """`text` locked from the index alone."""
    (tmp_path / "requirements.txt").write_text(text)
    options = CollectOptions(tmp_path / "wheels", index_arguments=("--index-url", index.url))
    return lock_wheels(PythonSources(requirements=tmp_path / "requirements.txt"), target, options, box=box)


def test_a_lock_takes_no_wheel_from_an_index_that_serves_metadata(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide
) -> None:
    """And a marker decides for the target, here one that this machine is not."""
    foreign = replace(target, platform="linux-aarch64", python="3.13" if target.python != "3.13" else "3.12")
    with serving(LocalIndex(shelf)) as index:
        text = f'app-web\nneeds-old; platform_machine == "aarch64" and python_version == "{foreign.python}"\n'
        locked = locked_from(index, tmp_path, text, foreign, box)
    assert index.bodies == []
    assert [package.name for package in locked.packages] == ["app-core", "app-web", "boxnum", "needs-old"]
    lock = write_pylock(locked, foreign)
    assert index.host not in lock
    assert size_of(locked.packages) == sum((shelf / p.filename).stat().st_size for p in locked.packages)
    document = Pylock.from_dict(tomllib.loads(lock))
    assert [str(package.name) for package in document.packages] == [p.name for p in locked.packages]
    assert document.tool == {
        "sealift": {
            "target": {"platform": "linux-aarch64", "python": foreign.python, "glibc": target.glibc},
            "layers": {"runtime": ["boxnum"], "dependencies": ["app-core", "app-web", "needs-old"]},
        }
    }


@pytest.mark.parametrize("hashes", [True, False])
def test_an_index_with_plain_pages_is_locked_with_digests_too(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide, hashes: bool
) -> None:
    with serving(LocalIndex(shelf, json=False, metadata=False, hashes=hashes)) as index:
        locked = locked_from(index, tmp_path, "app-core\n", target, box)
    wheel = shelf / "app_core-1.2-py3-none-any.whl"
    assert [package.sha256 for package in locked.packages] == [hashlib.sha256(wheel.read_bytes()).hexdigest()]


def test_a_password_reaches_the_index_and_nobody_else(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide, requirements: Path
) -> None:
    requirements.write_text("app-core\nnothing-like-it==1\n")
    with serving(LocalIndex(shelf, user="me", password="s3cret")) as index:
        environ = {
            "UV_DEFAULT_INDEX": f"inside=http://{index.host}/simple",
            "UV_INDEX_INSIDE_USERNAME": "me",
            "UV_INDEX_INSIDE_PASSWORD": "s3cret",
        }
        arguments = index_settings(tmp_path, environ).arguments
        options = CollectOptions(tmp_path / "wheels", index_arguments=arguments)
        said = run_pip(["index", "versions", "app-core", "-v", *arguments])
        with pytest.raises(UsageError) as caught:
            lock_wheels(PythonSources(requirements=requirements), target, options, box=box)
        requirements.write_text("app-core\n")
        locked = lock_wheels(PythonSources(requirements=requirements), target, options, box=box)
    assert "nothing-like-it" in caught.value.message
    told = [caught.value.message, str(caught.value.next_step), *caught.value.problems, *said.lines]
    assert not any("s3cret" in text for text in (*told, write_pylock(locked, target)))
    assert said.code == 0
    assert "/simple/app-core/" in index.asked


def test_an_explicit_index_hears_of_its_own_package_alone(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide, make_wheel: MakeWheel
) -> None:
    make_wheel(tmp_path / "cpu", "app-core", "1.2+cpu")
    make_wheel(tmp_path / "cpu", "app-web", "9.9")
    (tmp_path / "requirements.txt").write_text("app-web\n")
    with serving(LocalIndex(tmp_path / "cpu")) as index:
        (tmp_path / "uv.toml").write_text(
            f'[[index]]\nname = "cpu"\nurl = "http://{index.host}/simple"\nexplicit = true\n'
            '[sources]\napp-core = { index = "cpu" }\n'
        )
        options = CollectOptions(
            tmp_path / "wheels",
            find_links=(str(shelf),),
            no_index=True,
            index_arguments=index_settings(tmp_path, {}).arguments,
        )
        sources = PythonSources(requirements=tmp_path / "requirements.txt")
        locked = lock_wheels(sources, target, options, box=box)
    found = {package.name: package.version for package in locked.packages}
    assert found == {"app-core": "1.2+cpu", "app-web": "3.0"}
    assert {path for path in index.asked if path.startswith("/simple/")} == {"/simple/app-core/"}


def test_a_wheel_named_by_its_address_keeps_it_in_the_lock(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide, make_wheel: MakeWheel
) -> None:
    """Of an https address only the lock is tested here; loopback has no certificate."""
    wheel = make_wheel(tmp_path / "away", "app-far", "4.0")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    with serving(LocalIndex(tmp_path / "away")) as index:
        address = f"http://{index.host}/files/{wheel.name}"
        (tmp_path / "pylock.toml").write_text(
            'lock-version = "1.0"\ncreated-by = "sealift"\n[[packages]]\nname = "app-far"\nversion = "4.0"\n'
            f'wheels = [{{url = "{address}", hashes = {{sha256 = "{digest}"}}}}]\n'
            '[tool.sealift]\naddressed = ["app-far"]\n'
        )
        assert read_pins(tmp_path / "pylock.toml", target)[0].url == address
        options = CollectOptions(tmp_path / "wheels", find_links=(str(shelf),), no_index=True)
        collected = collect_wheels(PythonSources(lock=tmp_path / "pylock.toml"), target, options, box=box)
    assert [each.filename for each in collected.dependencies] == [wheel.name]


def test_everything_in_the_way_is_said_at_once_with_the_smallest_change(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide, make_wheel: MakeWheel
) -> None:
    """Two conflicts of which pip shows one at a time, and three lines that no wheel can meet."""
    for name in ("app-core", "left-low"):
        make_wheel(shelf, name, "1.6")
        make_wheel(shelf, name, "2.0")
    make_wheel(shelf, "left-low", "1.0")
    make_wheel(shelf, "app-top", "5.0", requires=["app-core>=1.5,<2"])
    make_wheel(shelf, "left-high", "1.0", requires=["left-low>=1.5"])
    make_wheel(shelf, "app-gone", "2.0")
    make_wheel(shelf, "app-win", "3.0", tag="cp311-cp311-win_amd64")
    lines = ["app-top==5.0", "app-core==1.2", "left-high==1.0", "left-low==1.0", "needs-old==1.0"]
    lines += ["app-gone==1.0", "app_win==3.0", "no-such-thing"]
    with serving(LocalIndex(shelf)) as index, pytest.raises(UsageError) as caught:
        locked_from(index, tmp_path, "\n".join(lines), target, box)
    error = caught.value
    assert error.message == f"The application's requirements cannot be met for {target}."
    assert error.problems[:3] == (
        "requirements.txt line 6: app-gone==1.0: no wheel for the target; the newest that has one is 2.0",
        "requirements.txt line 7: app_win==3.0: no wheel for the target, only wheels for win_amd64",
        "requirements.txt line 8: no-such-thing: no package is called no-such-thing where pip looks",
    )
    assert sorted(error.problems[3:]) == [
        "app-top 5.0 depends on app-core<2 and >=1.5",
        "left-high 1.0 depends on left-low>=1.5",
        "requirements.txt line 2 asks for app-core==1.2",
        "requirements.txt line 4 asks for left-low==1.0",
    ]
    changes = [line.strip() for line in str(error.next_step).split("\n") if " -> " in line]
    assert changes == [
        "requirements.txt line 2: app-core==1.2 -> app-core==1.6",
        "requirements.txt line 4: left-low==1.0 -> left-low==1.6",
        "requirements.txt line 6: app-gone==1.0 -> app-gone==2.0",
    ]
    assert f"python{target.python} -m pip wheel --no-deps app-win==3.0 -w vendor/" in str(error.next_step)
    assert "requirements.txt line 8: correct the name" in str(error.next_step)


def test_what_no_change_solves_says_that_it_gave_up(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide, make_wheel: MakeWheel
) -> None:
    make_wheel(shelf, "stuck", "1.0", requires=["app-core>=9"])
    with serving(LocalIndex(shelf)) as index, pytest.raises(UsageError) as caught:
        locked_from(index, tmp_path, "stuck\n", target, box)
    assert "app-core>=9, which stuck needs" in "\n".join(caught.value.problems)
    assert "no small change was found in" in str(caught.value.next_step)


def test_a_combination_that_is_known_to_fail_is_solved_around(
    tmp_path: Path, shelf: Path, target: Target, box: BoxSide, make_wheel: MakeWheel
) -> None:
    for version in ("1.26.4", "2.2.6"):
        make_wheel(shelf, "numpy", version)
    make_wheel(shelf, "onnxruntime", "1.16.3", requires=["numpy"])
    with serving(LocalIndex(shelf)) as index:
        locked = locked_from(index, tmp_path, "onnxruntime\n", target, box)
        assert [f"{p.name} {p.version}" for p in locked.packages] == ["numpy 1.26.4", "onnxruntime 1.16.3"]
        assert any(note.startswith("numpy<2 was asked for: onnxruntime before 1.19") for note in locked.notes)
        with pytest.raises(UsageError) as caught:
            locked_from(index, tmp_path, "onnxruntime\nnumpy>=2\n", target, box)
    assert "onnxruntime 1.16.3 with numpy 2.2.6" in "\n".join(caught.value.problems)
