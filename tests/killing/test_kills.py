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

from sealift.bundle.read import read_bundle
from sealift.bundle.source import open_source
from sealift.bundle.transport import PATCH
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
        signer = make_signer()
        bundles = tiny.bundles(folder, signer, 7)
        bundles["5"] = tiny.bundle(folder / "weak", signer, "5", tiny.files("5", "weak"))
        bundles["6"] = bundles["7"]
        (folder / "delta").mkdir()
        bundles["delta"] = tiny.bundle(folder / "delta", signer, "2", tiny.files("2"), [bundles["1"]])
        travelling = read_bundle(open_source(bundles["delta"]), may_lack=True).objects.values()
        assert PATCH in {stored.codec for stored in travelling}
        yield Range(folder, forks, bundles)


CASES = {
    "first install": ([], "1", "install 1"),
    "delta": (["install 1"], "2", "install delta"),
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


SUPERVISED = {
    "switch and commit": ("2", "2", "committed"),
    "fall back": ("5", "1", "fell back"),
}
"""Name -> what is installed while a supervisor serves 1, what is active in the end, and how that is called."""


@pytest.mark.parametrize("name", SUPERVISED)
def test_a_kill_of_the_supervisor_after_any_durable_step_loses_nothing(
    name: str, field_of_fire: Range
) -> None:
    """The supervisor turns, commits and takes back; it is killed instead of the command that asked it."""
    here = field_of_fire
    wanted, after, phase = SUPERVISED[name]
    template = here.template(here.install("1"))
    (template / "etc").mkdir(exist_ok=True)
    (template / "etc" / "fraud.toml").write_text(WATCH)
    steps = supervised(here, template, wanted, phase)
    assert len(steps) > 15
    for number in range(1, len(steps) + 1):
        prefix = tiny.copy_prefix(template, here.box)
        where = f"{name}, supervisor killed after step {number}: {steps[number - 1]}"
        served = tiny.serve_or_die(here.forks, prefix, here.folder / "serve.log", kill_at=number)
        if served is not None:
            here.run(here.install(wanted))
            assert here.forks.wait(served.pid) == KILLED, where
        found = tiny.wholeness(prefix)
        assert found in {"1", wanted}, where
        again = tiny.serve(here.forks, prefix, here.folder / "serve.log")
        if name != "fall back":  # the weak one ends by itself, whoever asks
            assert again.ask() in {"1", wanted}, where
        here.run(here.install(wanted))
        ended = tiny.until(prefix, phase, "not activated" if name == "fall back" else phase)
        assert tiny.wholeness(prefix) == after, f"{where}: {ended}"
        assert again.ask() == after, where
        assert again.stop() == 0, where
        leaves_no_orphan(here, prefix, where)


WATCH = "[watch]\nwindow_s = 1\nquiet_s = 1\ncanary_s = 1\n"


def supervised(here: Range, template: Path, wanted: str, phase: str) -> tuple[str, ...]:
    """The durable steps of a supervisor's life through one switch and its verdict, nobody killed."""
    prefix = tiny.copy_prefix(template, here.box)
    out = here.folder / "serve.log"
    served = tiny.serve(here.forks, prefix, out)
    ran = here.run(here.install(wanted))
    assert ran.code == 0, ran.said
    tiny.until(prefix, phase)
    assert served.stop() == 0
    return tuple(Path(f"{out}.steps").read_text().splitlines())
