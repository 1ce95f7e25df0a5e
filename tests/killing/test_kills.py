"""kill -9 after every durable step of every command: the box holds the old release or the new one, whole.

kill -9 is not a power cut: what was written but not synced survives it (docs/explanation/transaction.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.install.scene import orphans
from tests.killing import tiny
from tests.killing.forks import Forks, Ran
from tests.made_bundles import make_signer

from sealift.store.prefix import Prefix, private
from sealift.store.steps import Step

pytestmark = pytest.mark.slow

KILLED = -9


@dataclass
class Range:
    """Where the kills happen: bundles, templates of boxes in known states, and what was killed so far."""

    folder: Path
    forks: Forks
    bundles: dict[str, Path]

    @property
    def box(self) -> Path:
        return self.folder / "box"

    def install(self, version: str) -> list[str | Path]:
        trust = ("--trust", self.folder / "root.json")
        return ["install", self.bundles[version], *trust, "--prefix", self.box, "--no-input"]

    def on(self, verb: str, *more: str) -> list[str | Path]:
        return [verb, *more, "--prefix", self.box]

    def run(self, argv: list[str | Path], kill_at: int = 0) -> Ran:
        return self.forks.run(*argv, kill_at=kill_at)

    def template(self, *commands: list[str | Path]) -> Path:
        """A box after these commands."""
        kept = self.folder / "template"
        tiny.copy_prefix(self.folder / "empty", self.box)
        for argv in commands:
            ran = self.run(argv)
            assert ran.code == 0, ran.said
        tiny.copy_prefix(self.box, kept)
        return kept


@pytest.fixture(scope="module")
def field_of_fire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    folder = tmp_path_factory.mktemp("killing")
    (folder / "empty" / "state").mkdir(parents=True)
    with Forks(folder) as forks:
        yield Range(folder, forks, tiny.bundles(folder, make_signer(), 6))


CASES = {
    "first install": ([], "1", "install 1"),
    "update": (["install 1"], "2", "install 2"),
    "stage": (["install 1"], "1", "stage 2"),
    "activate": (["install 1", "stage 2"], "2", "activate 2"),
    "rollback": (["install 1", "install 2"], "1", "rollback"),
    "commit and prune": (["install 1", "install 2", "install 3"], "4", "install 4"),
    "remove": (["install 1", "install 2"], "2", "remove 1"),
}


def command(here: Range, words: str) -> list[str | Path]:
    verb, _, version = words.partition(" ")
    match verb:
        case "install":
            return here.install(version)
        case "stage":
            return [*here.install(version), "--stage"]
        case "rollback":
            return here.on("rollback", "fraud")
        case _:
            return here.on(verb, "fraud", version)


@pytest.mark.parametrize("name", CASES)
def test_a_kill_after_any_durable_step_loses_nothing(name: str, field_of_fire: Range) -> None:
    here = field_of_fire
    before, after, words = CASES[name]
    template = here.template(*[command(here, each) for each in before])
    argv = command(here, words)
    old = tiny.wholeness(private(template))
    whole = here.run(argv)
    assert whole.code == 0, whole.said
    assert whole.steps
    for number in range(1, len(whole.steps) + 1):
        prefix = tiny.copy_prefix(template, here.box)
        ran = here.run(argv, kill_at=number)
        where = f"{name}, killed after step {number}: {ran.steps[-1] if ran.steps else ran.said}"
        assert ran.code == KILLED, where
        holds_one_whole_and_serves_it(here, prefix, {old, after}, where)
        finishes(here, prefix, argv, after, where)
        leaves_no_orphan(here, prefix, where)


def holds_one_whole_and_serves_it(here: Range, prefix: Prefix, either: set[str], where: str) -> None:
    found = tiny.wholeness(prefix)
    assert found in either, where
    if found:
        served = tiny.serve(here.forks, prefix, here.folder / "serve.log")
        try:
            assert served.ask() == found, where
        finally:
            assert served.stop() == 0, where


def finishes(here: Range, prefix: Prefix, argv: list[str | Path], after: str, where: str) -> None:
    """The same command again; a rollback or a removal that was done already is not done twice."""
    is_done = tiny.wholeness(prefix) == after and argv[0] == "rollback"
    ran = here.run(argv) if not is_done else None
    if ran is not None and not (argv[0] == "remove" and ran.code == 42):
        assert ran.code == 0, f"{where}: {ran.said}"
    assert tiny.wholeness(prefix) == after, where
    assert here.run(here.on("status", "fraud")).code == 50, where  # all is well, only nobody serves


def leaves_no_orphan(here: Range, prefix: Prefix, where: str) -> None:
    """The next commit prunes."""
    ran = here.run(here.install("6"))
    assert ran.code == 0, f"{where}: {ran.said}"
    assert orphans(prefix) == [], where
    assert not prefix.staging.exists(), where


def test_the_kills_cover_every_kind_of_step_and_are_many(field_of_fire: Range) -> None:
    """The test above kills at each of these; the reserve is spent on full disks only (test_full_disk.py)."""
    here = field_of_fire
    steps: list[str] = []
    for before, _, words in CASES.values():
        here.template(*[command(here, each) for each in before])
        steps += here.run(command(here, words)).steps
    kinds = {step.partition(" ")[0] for step in steps}
    assert {step.name for step in Step} - kinds == {"RESERVE_SPENT"}
    assert len(steps) >= 200
