"""The switch of the tool: kept, taken back, cut off. All is real but what the command starts: a script."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.install.scene import Bundles, FakeBox, orphans
from tests.made_bundles import tree_hash
from tests.tool.small_tools import Tools

from sealift.bundle.read import VerifiedBundle
from sealift.errors import Blocked, Downgrade, FellBack, NotActivated, StoreError
from sealift.events import Silent
from sealift.install.install import Box, InstallReport, plan, stage
from sealift.install.install import activate as activate_service
from sealift.install.keeper import Keeper
from sealift.install.remove import remove
from sealift.install.tool import activate_tool, finish_tool, refuse_older
from sealift.ledger.log import append
from sealift.ledger.record import Event, Facts
from sealift.ledger.tail import latest
from sealift.store.failures import failures_of
from sealift.store.journal import Phase
from sealift.store.lock import exclusive
from sealift.store.prefix import TOOL, Prefix, choose_product, private
from sealift.store.releases import InstalledRelease, active_tree, installed_releases


@dataclass
class ToolBox:
    """One prefix; `problems` is what the probe will find after a switch, `check_fails` the self-test before it."""

    prefix: Prefix
    problems: tuple[str, ...] = ()
    check_fails: bool = False
    asked: list[str] = field(default_factory=list)

    def keeper(self) -> Keeper:
        def tell(event: Event, facts: Facts) -> None:
            append(self.prefix.ledger, event, facts, who="test", clock=lambda: 1e9)

        return Keeper(self.prefix, TOOL, tell, lambda: 1e9)

    def box(self) -> Box:
        return Box(
            prefix=self.prefix,
            keeper=self.keeper(),
            interpreter=None,
            incompatibilities=(),
            require_settings=lambda _: None,
            check=self._check,
            served=lambda _: False,
            switch=lambda *_: None,
            clock=lambda: 1e9,
        )

    def stage(self, bundle: VerifiedBundle) -> InstalledRelease:
        box = self.box()
        with exclusive(self.prefix, "install", wait_s=0.0):
            return stage(bundle, plan(bundle, box, retry=False), box, Silent())

    def install(self, bundle: VerifiedBundle) -> InstallReport:
        release = self.stage(bundle)
        with exclusive(self.prefix, "install", wait_s=0.0):
            return activate_tool(release, self.box(), self._ask)

    def finish(self) -> object:
        with exclusive(self.prefix, "install", wait_s=0.0):
            return finish_tool(self.box(), self._ask)

    @property
    def active(self) -> str | None:
        tree = active_tree(self.prefix, TOOL)
        return tree.rpartition("-")[0] if tree else None

    def says(self) -> str:
        """What the command starts, as its interpreter (a script) repeats it."""
        done = subprocess.run(
            [self.prefix.bin / "sealift", "status"], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def _check(self, release: InstalledRelease) -> dict[str, Any]:
        if self.check_fails:
            raise NotActivated("its self-test failed", problems=("modules: broken",))
        return {"golden_checked": False, "notes": ["modules: fine"]}

    def _ask(self, release: InstalledRelease) -> tuple[str, ...]:
        self.asked.append(release.version)
        return self.problems


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    (tmp_path / "made").mkdir()
    return Tools(tmp_path / "made")


@pytest.fixture
def box(tmp_path: Path) -> ToolBox:
    return ToolBox(private(tmp_path / "box"))


def test_the_command_is_the_active_tool_and_turning_the_link_is_the_switch(
    box: ToolBox, tools: Tools
) -> None:
    first = box.install(tools.bundle("1.0", 1)).release
    assert box.says() == f"-I -S -B {first.tree}/runtime/boot.py status"
    script = (box.prefix.bin / "sealift").read_bytes()
    second = box.install(tools.bundle("1.1", 2)).release
    assert box.says() == f"-I -S -B {second.tree}/runtime/boot.py status"
    assert (box.prefix.bin / "sealift").read_bytes() == script
    assert box.asked == ["1.0", "1.1"]
    assert box.keeper().journal.phase is Phase.COMMITTED
    assert [record.event for record in latest(box.prefix.ledger, TOOL)][-1] == "commit"


def test_it_is_no_service(box: ToolBox, tools: Tools) -> None:
    box.install(tools.bundle())
    assert box.prefix.services() == ()
    assert box.prefix.has_tool
    assert choose_product(box.prefix, TOOL) == TOOL


def test_a_failed_self_test_switches_nothing(box: ToolBox, tools: Tools) -> None:
    box.install(tools.bundle("1.0", 1))
    before, said = tree_hash(box.prefix.root / "releases"), box.says()
    box.check_fails = True
    with pytest.raises(NotActivated) as caught:
        box.install(tools.bundle("1.1", 2))
    assert caught.value.exit_code == 60
    assert tree_hash(box.prefix.root / "releases") == before
    assert box.says() == said


def test_a_tool_that_does_not_answer_after_the_switch_is_taken_back(box: ToolBox, tools: Tools) -> None:
    box.install(tools.bundle("1.0", 1))
    said = box.says()
    box.problems = ("status: ended with 3: it is broken",)
    with pytest.raises(FellBack, match=r"sealift 1\.1 .* did not answer as it must; sealift 1\.0 ") as caught:
        box.install(tools.bundle("1.1", 2))
    assert caught.value.exit_code == 61
    assert caught.value.problems == box.problems
    assert (box.active, box.says()) == ("1.0", said)
    assert box.keeper().journal.phase is Phase.FELL_BACK
    assert [failed.reasons for failed in failures_of(box.prefix, TOOL).values()] == [box.problems]
    assert latest(box.prefix.ledger, TOOL)[-1].facts["reasons"] == list(box.problems)


def test_after_two_failures_it_is_not_tried_again(box: ToolBox, tools: Tools) -> None:
    box.install(tools.bundle("1.0", 1))
    box.problems = ("--version: expected sealift 1.1",)
    bad = tools.bundle("1.1", 2)
    for _ in range(2):
        with pytest.raises(FellBack):
            box.install(bad)
    with pytest.raises(Blocked):
        box.install(bad)
    assert box.active == "1.0"


def test_the_first_tool_of_a_box_leaves_nothing_when_it_is_bad(box: ToolBox, tools: Tools) -> None:
    box.problems = ("--version: does not start",)
    with pytest.raises(FellBack, match="no command is active again"):
        box.install(tools.bundle())
    assert not box.prefix.has_tool
    assert not (box.prefix.bin / "sealift").exists()
    assert installed_releases(box.prefix, TOOL) == ()
    assert orphans(box.prefix) == []
    box.problems = ()
    assert box.install(tools.bundle()).release.version == "1.0"


def test_the_first_tool_of_a_box_with_a_service_gives_the_command_back(
    box: ToolBox, tools: Tools, tmp_path: Path
) -> None:
    (tmp_path / "bundles").mkdir()
    FakeBox(box.prefix).install(Bundles(tmp_path / "bundles")())
    script = (box.prefix.bin / "sealift").read_bytes()
    box.problems = ("status: broken",)
    with pytest.raises(FellBack, match="the command from before is active again"):
        box.install(tools.bundle())
    assert (box.prefix.bin / "sealift").read_bytes() == script
    box.problems = ()
    box.install(tools.bundle())
    assert (box.prefix.bin / "sealift").read_bytes() != script


def test_a_service_does_not_take_the_command_from_the_tool(
    box: ToolBox, tools: Tools, tmp_path: Path
) -> None:
    box.install(tools.bundle())
    said = box.says()
    (tmp_path / "bundles").mkdir()
    FakeBox(box.prefix).install(Bundles(tmp_path / "bundles")())
    assert box.prefix.services() == ("fraud",)
    assert box.says() == said


def test_an_older_one_is_refused_also_where_it_is_still_installed(box: ToolBox, tools: Tools) -> None:
    old = tools.bundle("1.0", 1)
    box.install(old)
    box.install(tools.bundle("1.1", 2))
    before = tree_hash(box.prefix.root)
    with pytest.raises(Downgrade, match=r"sealift 1\.0 \(sequence 1\) is older than sealift 1\.1") as caught:
        refuse_older(box.prefix, old)
    assert caught.value.next_step == "sealift rollback sealift goes back to one that was here before"
    assert tree_hash(box.prefix.root) == before
    refuse_older(box.prefix, tools.bundle("1.1", 2))
    refuse_older(box.prefix, tools.bundle("1.2", 3))


def test_a_switch_that_was_cut_off_before_it_was_asked_is_judged_by_the_next_command(
    box: ToolBox, tools: Tools
) -> None:
    box.install(tools.bundle("1.0", 1))
    cut = box.stage(tools.bundle("1.1", 2))
    box.keeper().begin(cut.tree.name, back=False)
    box.keeper().turned(cut.tree.name)
    assert box.keeper().journal.phase is Phase.WATCHED
    assert box.finish() is not None
    assert box.asked[-1] == "1.1"
    assert box.keeper().journal.phase is Phase.COMMITTED
    assert box.finish() is None


def test_a_cut_off_switch_to_a_bad_one_is_taken_back_by_the_next_command(box: ToolBox, tools: Tools) -> None:
    box.install(tools.bundle("1.0", 1))
    cut = box.stage(tools.bundle("1.1", 2))
    box.keeper().begin(cut.tree.name, back=False)
    box.keeper().turned(cut.tree.name)
    box.problems = ("status: broken",)
    with pytest.raises(FellBack):
        box.finish()
    assert box.active == "1.0"


@contextmanager
def _running(tree: Path) -> Iterator[None]:
    """A process whose program lies in the tree."""
    program = tree / "runtime/python/bin/sleeper"
    shutil.copyfile("/bin/sleep", program)
    program.chmod(0o755)
    process = subprocess.Popen([program, "600"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_a_tree_that_a_supervisor_runs_from_is_neither_pruned_nor_removed(box: ToolBox, tools: Tools) -> None:
    first = box.install(tools.bundle("1.0", 1)).release
    with _running(first.tree):
        for seq in (2, 3, 4):
            box.install(tools.bundle(f"1.{seq}", seq))
        assert [release.version for release in installed_releases(box.prefix, TOOL)][-1] == "1.0"
        with pytest.raises(StoreError, match=r"sealift 1\.0 was not removed: a process still runs from it"):
            remove(box.keeper(), first, False)
        assert first.tree.is_dir()
    assert box.install(tools.bundle("1.5", 5)).pruned.versions == ("1.2", "1.0")
    assert not first.tree.exists()


def test_the_command_of_the_box_is_not_removed(box: ToolBox, tools: Tools) -> None:
    release = box.install(tools.bundle()).release
    with pytest.raises(StoreError, match=r"sealift 1\.0 was not removed: it is the command of this box"):
        remove(box.keeper(), release, False)
    assert box.active == "1.0"


def test_a_returned_one_is_asked_too(box: ToolBox, tools: Tools) -> None:
    """1.1 was committed, the operator went back, and installs it again."""
    first = box.install(tools.bundle("1.0", 1)).release
    second = box.install(tools.bundle("1.1", 2)).release
    activate_service(first, replace(box.box()))
    assert box.active == "1.0"
    box.problems = ("status: broken",)
    with exclusive(box.prefix, "install"), pytest.raises(FellBack):
        activate_tool(second, box.box(), box._ask)
    assert box.active == "1.0"
