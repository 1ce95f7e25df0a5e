"""Whole collections through the real pip, from a folder that stands for the index."""

import hashlib
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from packaging.pylock import Pylock
from packaging.specifiers import SpecifierSet

from sealift.collect.lock import Collected, collect_wheels, lock_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import BoxSide
from sealift.collect.write_pylock import write_pylock
from sealift.errors import DigestMismatch, UsageError
from sealift.events import Silent
from sealift.project.project import PythonSources
from sealift.target.target import Target

pytestmark = pytest.mark.slow
MakeWheel = Callable[..., Path]


class Collector:
    """`collect_wheels` for this test's target, box side and shelf."""

    def __init__(self, folder: Path, target: Target, options: CollectOptions, box: BoxSide) -> None:
        self.folder, self.target, self.options, self.box = folder, target, options, box
        assert box.lock is not None
        self.box_lock = box.lock

    def __call__(self, sources: PythonSources) -> Collected:
        return collect_wheels(sources, self.target, self.options, box=self.box)

    def lock(self, sources: PythonSources) -> Path:
        locked = lock_wheels(sources, self.target, self.options, box=self.box)
        return self.file("pylock.toml", write_pylock(locked, self.target))

    def requirements(self, text: str) -> PythonSources:
        return PythonSources(requirements=self.file("requirements.txt", text))

    def file(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name


@pytest.fixture
def collect(tmp_path: Path, target: Target, options: CollectOptions, box: BoxSide) -> Collector:
    return Collector(tmp_path, target, options, box)


def named(wheels: tuple[object, ...]) -> list[str]:
    return [f"{wheel.name} {wheel.version}" for wheel in wheels]  # type: ignore[attr-defined]


BOX = ["boxflat 1.5", "boxnum 2.0", "boxrun 1.0"]


def test_a_project_without_dependencies_gets_the_locked_box_side(collect: Collector) -> None:
    collected = collect(PythonSources())
    assert named(collected.runtime) == BOX
    assert collected.dependencies == ()
    assert collected.application == frozenset()
    assert collected.notes == ()
    assert sorted(path.name for path in collect.options.folder.iterdir()) == sorted(
        wheel.filename for wheel in collected.wheels
    )
    for wheel in collected.wheels:
        content = wheel.path.read_bytes()
        assert wheel.sha256 == hashlib.sha256(content).hexdigest()
        assert wheel.size == len(content)


def test_requirements_are_resolved_around_sealifts_own_versions(collect: Collector) -> None:
    collected = collect(collect.requirements("app-web\nboxnum\n"))
    assert named(collected.runtime) == BOX
    assert named(collected.dependencies) == ["app-core 1.2", "app-web 3.0"]
    assert collected.application == {"app-core", "app-web", "boxnum"}


@pytest.mark.parametrize("text", ["boxnum<2\nboxflat\n", "needs-old\nboxflat\n"])
def test_an_application_moves_sealifts_version_within_the_permitted_range(
    collect: Collector, text: str
) -> None:
    """Said directly, or by a package that pip looks into: only the package in the way gives way."""
    collected = collect(collect.requirements(text))
    assert named(collected.runtime) == ["boxflat 1.5", "boxnum 1.0", "boxrun 1.0"]
    assert collected.notes == ("boxnum 1.0 instead of sealift's own 2.0: the application asks for it",)


def test_demands_outside_the_permitted_range_name_both_sides(
    collect: Collector, shelf: Path, make_wheel: MakeWheel
) -> None:
    make_wheel(shelf, "boxnum", "0.5")
    with pytest.raises(UsageError) as caught:
        collect(collect.requirements("# head\nneeds-ancient\n"))
    said = "\n".join(caught.value.problems)
    assert "sealift's box side runs with boxnum<3,>=1" in said
    assert "needs-ancient 1.0 depends on boxnum<1" in said
    assert not any(collect.options.folder.iterdir())


def test_a_lock_outside_the_permitted_range_names_both_sides(
    collect: Collector, shelf: Path, make_wheel: MakeWheel
) -> None:
    wheel = make_wheel(shelf, "boxnum", "0.5")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    lock = collect.file("lock.txt", f"boxnum==0.5 --hash=sha256:{digest}\n")
    with pytest.raises(UsageError) as caught:
        collect(PythonSources(lock=lock))
    assert caught.value.problems == (
        "boxnum: the application brings 0.5, sealift's box side runs with <3,>=1",
    )


def test_requirements_that_exclude_each_other_name_their_lines(
    collect: Collector, shelf: Path, make_wheel: MakeWheel
) -> None:
    make_wheel(shelf, "app-core", "0.9")
    with pytest.raises(UsageError) as caught:
        collect(collect.requirements("app-core>=1\n\napp-core<1\n"))
    assert caught.value.message == "The application's requirements exclude each other."
    assert caught.value.problems == (
        "requirements.txt line 1 asks for app-core>=1",
        "requirements.txt line 3 asks for app-core<1",
    )
    assert "requirements.txt line 1: app-core>=1 -> app-core==0.9" in str(caught.value.next_step)


def test_constraints_of_the_project_hold(collect: Collector, shelf: Path, make_wheel: MakeWheel) -> None:
    make_wheel(shelf, "app-core", "1.9")
    collect.file("limits.txt", "app-core<1.5\n")
    collected = collect(collect.requirements("app-web\n-c limits.txt\n"))
    assert named(collected.dependencies) == ["app-core 1.2", "app-web 3.0"]


def test_a_written_lock_gives_the_same_wheels_again(collect: Collector) -> None:
    sources = collect.requirements("app-web\nneeds-old\n")
    lock = collect.lock(sources)
    text = lock.read_text()
    assert Pylock.from_dict(tomllib.loads(text)).packages
    assert "boxrun" not in text
    assert "://" not in text
    assert not any(collect.options.folder.iterdir())
    again = collect(PythonSources(lock=lock))
    assert named(again.dependencies) == ["app-core 1.2", "app-web 3.0", "needs-old 1.0"]
    assert named(again.runtime) == ["boxflat 1.5", "boxnum 1.0", "boxrun 1.0"]
    assert again.application == {"app-core", "app-web", "boxnum", "needs-old"}
    assert collect.lock(sources).read_text() == text


def test_a_lock_that_its_requirements_have_outgrown_is_refused(collect: Collector) -> None:
    lock = collect.lock(collect.requirements("app-core\n"))
    sources = replace(collect.requirements("app-core>=2\nneeds-old\n"), lock=lock)
    with pytest.raises(UsageError) as caught:
        collect(sources)
    assert caught.value.message == "pylock.toml is older than the requirements beside it."
    assert caught.value.problems == (
        "requirements.txt line 1: app-core>=2; locked: 1.2",
        "requirements.txt line 2: needs-old; locked: nothing of that name",
    )
    assert not any(collect.options.folder.iterdir())


def test_a_lock_for_another_target_is_refused_by_name(collect: Collector) -> None:
    lock = collect.lock(collect.requirements("app-core\n"))
    collect.target = replace(collect.target, platform="linux-aarch64", glibc="2.17")
    with pytest.raises(
        UsageError, match=r"pylock.toml was locked for linux-x86_64, Python 3.11, glibc"
    ) as caught:
        collect(PythonSources(lock=lock))
    assert caught.value.problems[0] == "platform: locked for linux-x86_64, packing for linux-aarch64"
    assert caught.value.problems[1].startswith("C library: locked for glibc")


def test_a_wheel_that_differs_from_the_lock_is_refused(collect: Collector) -> None:
    lock = collect.file("lock.txt", f"app-core==1.2 --hash=sha256:{'0' * 64}\n")
    with pytest.raises(DigestMismatch) as caught:
        collect(PythonSources(lock=lock))
    assert "0" * 64 in "\n".join(caught.value.problems)
    assert not any(collect.options.folder.iterdir())


def test_a_box_wheel_that_was_swapped_on_the_index_is_refused_even_through_requirements(
    collect: Collector, shelf: Path, make_wheel: MakeWheel
) -> None:
    make_wheel(shelf, "boxnum", "2.0", files={"boxnum.py": "evil = True\n"})
    with pytest.raises(DigestMismatch, match="not the one that was locked") as caught:
        collect(collect.requirements("boxnum\n"))
    assert "boxnum-2.0-py3-none-any.whl: expected sha256" in caught.value.problems[0]


def test_a_lock_without_what_its_packages_need_is_refused(collect: Collector, shelf: Path) -> None:
    digest = hashlib.sha256((shelf / "app_web-3.0-py3-none-any.whl").read_bytes()).hexdigest()
    with pytest.raises(UsageError) as caught:
        collect(PythonSources(lock=collect.file("lock.txt", f"app-web==3.0 --hash=sha256:{digest}\n")))
    assert caught.value.problems == ("app-core>=1 is needed, but no wheel of that name was given",)


def test_a_lock_with_a_loose_line_names_it(collect: Collector) -> None:
    with pytest.raises(UsageError) as caught:
        collect(PythonSources(lock=collect.file("lock.txt", "app-core>=1\n")))
    assert caught.value.problems == ("lock.txt line 1: app-core>=1",)


def test_pylock_is_taken_as_it_is(collect: Collector, shelf: Path) -> None:
    wheel = shelf / "app_core-1.2-py3-none-any.whl"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    text = 'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\nname = "app-core"\nversion = "1.2"\n'
    text += f'wheels = [{{path = "{wheel.name}", hashes = {{sha256 = "{digest}"}}}}]\n'
    collected = collect(PythonSources(lock=collect.file("pylock.toml", text)))
    assert named(collected.dependencies) == ["app-core 1.2"]


def test_local_wheels_satisfy_their_names_first(
    collect: Collector, tmp_path: Path, make_wheel: MakeWheel
) -> None:
    wheel = make_wheel(tmp_path / "vendor", "app-core", "1.2+mine", requires=["app-extra"])
    make_wheel(Path(collect.options.find_links[0]), "app-extra")
    sources = replace(collect.requirements("app-web\napp-core==9.9\n"), wheels=(wheel,))
    collected = collect(sources)
    assert named(collected.dependencies) == ["app-core 1.2+mine", "app-extra 1.0", "app-web 3.0"]
    assert wheel.exists()


def test_local_wheels_alone_need_no_requirements_file(collect: Collector, shelf: Path) -> None:
    collected = collect(PythonSources(wheels=(shelf / "app_core-1.2-py3-none-any.whl",)))
    assert named(collected.dependencies) == ["app-core 1.2"]
    assert collected.application == {"app-core"}


def test_local_wheels_must_leave_exactly_one_choice(
    collect: Collector, tmp_path: Path, make_wheel: MakeWheel
) -> None:
    vendor = tmp_path / "vendor"
    wheels = [
        make_wheel(vendor, "a", "1"),
        make_wheel(vendor, "a", "2"),
        make_wheel(vendor, "b", tag="cp38-cp38-win32"),
    ]
    with pytest.raises(UsageError) as caught:
        collect(PythonSources(wheels=tuple(wheels)))
    assert caught.value.problems == (
        f"b: none of its wheels is for {collect.target}",
        "a: a-1-py3-none-any.whl, a-2-py3-none-any.whl: keep one",
    )


def test_a_freeze_that_contradicts_itself_is_taken_as_it_worked(collect: Collector) -> None:
    """`pip install --no-deps` and conda leave such environments behind, and they run."""
    freeze = collect.file("freeze.txt", "needs-old==1.0\nboxnum==2.0\napp-web==3.0\n")
    collected = collect(PythonSources(freeze=freeze))
    assert named(collected.runtime) == BOX
    assert named(collected.dependencies) == ["app-core 1.2", "app-web 3.0", "needs-old 1.0"]
    assert "needs-old needs boxnum<2, found 2.0" in collected.notes


def test_a_freeze_that_contradicts_itself_and_cannot_be_had_is_explained_whole(collect: Collector) -> None:
    freeze = collect.file("freeze.txt", "needs-old==1.0\nboxnum==2.0\napp-web==9.9\nnobody-has-this==1.0\n")
    with pytest.raises(UsageError) as caught:
        collect(PythonSources(freeze=freeze))
    said = "\n".join(caught.value.problems)
    assert "freeze.txt line 3: app-web==9.9: no wheel for the target; the newest that has one is 3.0" in said
    assert (
        "freeze.txt line 4: nobody-has-this==1.0: no package is called nobody-has-this where pip looks"
        in said
    )
    assert caught.value.next_step is not None
    assert "freeze.txt line 3: app-web==9.9 -> app-web==3.0" in caught.value.next_step


def test_markers_of_another_python_bring_what_this_one_would_not_need(
    collect: Collector, shelf: Path, make_wheel: MakeWheel
) -> None:
    """pip decides markers by the interpreter it runs in; the target's own decide here."""
    other = "3.12" if collect.target.python != "3.12" else "3.13"
    make_wheel(
        shelf,
        "marked",
        requires=[
            f'only-there; python_version=="{other}"',
            f'only-here; python_version=="{collect.target.python}"',
        ],
    )
    make_wheel(shelf, "only-there")
    make_wheel(shelf, "only-here")
    collect.target = replace(collect.target, python=other)
    collected = collect(collect.requirements("marked\n"))
    assert named(collected.dependencies) == ["marked 1.0", "only-there 1.0"]


def test_a_package_without_a_wheel_says_how_to_build_one(collect: Collector, shelf: Path) -> None:
    (shelf / "only-source-1.0.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError) as caught:
        collect(collect.requirements("only-source\n"))
    where = "(requirements.txt line 1)"
    assert caught.value.message == f"only-source {where} is offered, but not as a wheel for {collect.target}."
    assert f"python{collect.target.python} -m pip wheel --no-deps only-source -w vendor/" in str(
        caught.value.next_step
    )


def test_an_unknown_package_is_named(collect: Collector) -> None:
    with pytest.raises(UsageError) as caught:
        collect(collect.requirements("no-such-thing>=2\n"))
    assert (
        caught.value.message
        == "No package is called no-such-thing where pip looks (requirements.txt line 1)."
    )


def test_a_version_that_nobody_offers_lists_those_on_offer(collect: Collector) -> None:
    with pytest.raises(UsageError) as caught:
        collect(collect.requirements("app-core>=7\n"))
    line = "app-core>=7 (requirements.txt line 1)"
    assert caught.value.message == f"No wheel satisfies {line} for {collect.target}."
    assert caught.value.problems == ("the newest that has a wheel is 1.2",)
    assert "requirements.txt line 1: app-core>=7 -> app-core==1.2" in str(caught.value.next_step)


def test_locked_wheels_come_from_the_cache_when_the_index_is_gone(collect: Collector, tmp_path: Path) -> None:
    collect.options = replace(collect.options, cache=tmp_path / "cache")
    lock = collect.lock(collect.requirements("app-core\n"))
    first = collect(PythonSources(lock=lock))
    collect.options = replace(collect.options, find_links=())
    again = collect(PythonSources(lock=lock))
    assert [wheel.sha256 for wheel in again.wheels] == [wheel.sha256 for wheel in first.wheels]


def test_a_damaged_cache_is_not_believed(collect: Collector, tmp_path: Path) -> None:
    collect.options = replace(collect.options, cache=tmp_path / "cache")
    first = collect(PythonSources())
    for wheel in (tmp_path / "cache").rglob("*.whl"):
        wheel.write_bytes(wheel.read_bytes() + b"!")
    again = collect(PythonSources())
    assert [wheel.sha256 for wheel in again.wheels] == [wheel.sha256 for wheel in first.wheels]


class Watcher(Silent):
    """Remembers the steps and how far each went."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, int]] = []

    def start(self, title: str, total: int | None = None) -> None:
        self.steps.append((title, 0))

    def advance(self, amount: int = 1) -> None:
        title, done = self.steps.pop()
        self.steps.append((title, done + amount))


def test_progress_moves_with_every_package(collect: Collector) -> None:
    watcher = Watcher()
    collect.options = replace(collect.options, progress=watcher)
    collect(collect.requirements("app-web\n"))
    assert watcher.steps == [("resolve", 2), ("download locked wheels", 3)]


def test_a_target_that_the_box_side_has_no_wheels_for_is_refused(collect: Collector) -> None:
    lock = collect.box_lock.read_text().replace("boxnum-2.0-py3-none-any", "boxnum-2.0-cp38-cp38-win32")
    collect.box = replace(collect.box, lock=collect.file("other.lock", lock))
    with pytest.raises(UsageError) as caught:
        collect(PythonSources())
    assert caught.value.message == f"sealift's own box side cannot run on {collect.target}."
    assert caught.value.problems == ("boxnum 2.0: none of its 1 wheels is for this target",)


def test_what_a_part_asks_for_and_does_not_need_stays_behind(collect: Collector, box: BoxSide) -> None:
    """`unneeded` counts for sealift's own demand: an application that asks for it gets it, in its own layer."""
    text = collect.box_lock.read_text()
    head, *packages = text.split("[[packages]]")
    collect.box_lock.write_text(
        "[[packages]]".join([head, *(each for each in packages if '"boxflat"' not in each)])
    )
    with pytest.raises(UsageError, match="do not work together"):
        collect(PythonSources())
    collect.box = replace(box, unneeded={"boxrun": frozenset({"boxflat"})})
    assert named(collect(PythonSources()).runtime) == ["boxnum 2.0", "boxrun 1.0"]
    asked = collect(collect.requirements("boxflat\n"))
    assert named(asked.runtime) == ["boxnum 2.0", "boxrun 1.0"]
    assert named(asked.dependencies) == ["boxflat 1.9"]
    moved = collect(collect.requirements("boxnum<2\n"))
    assert named(moved.runtime) == ["boxnum 1.0", "boxrun 1.0"]


def test_a_part_is_collected_where_it_is_wanted(collect: Collector, box: BoxSide) -> None:
    text = collect.box_lock.read_text().replace(
        'name = "boxflat"', 'name = "boxflat"\nmarker = "\'flat\' in extras"'
    )
    collect.box_lock.write_text(text.replace("[[packages]]", 'extras = ["flat"]\n[[packages]]', 1))
    plain = replace(box, unneeded={"boxrun": frozenset({"boxflat"})})
    collect.box = plain
    assert named(collect(PythonSources()).runtime) == ["boxnum 2.0", "boxrun 1.0"]
    collect.box = replace(
        plain, permitted={**plain.permitted, "boxflat": SpecifierSet(">=1")}, parts=frozenset({"flat"})
    )
    assert named(collect(PythonSources()).runtime) == BOX
