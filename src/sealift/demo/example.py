"""A project folder -> optimised, packed, carried, installed, served and asked: the way that the examples share."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, TextIO

from sealift.demo import first_act
from sealift.demo.journey import play
from sealift.demo.namespace import AirGap
from sealift.demo.screen import Screen
from sealift.demo.stage import PREFIX, PROJECT, SEALIFT, SIGNING, Box, Stage
from sealift.demo.workplace import make_secret, sigterm_as_interrupt, work_folder
from sealift.errors import SealiftError

REPORT: Final = "report.html"
_SHOWN_BLOCKS: Final = ("VERIFIED", "model ")
_SAME_SCORE: Final = 1e-5
"""The box runs the same engine on the same processor; its number of threads may move the last digits."""


@dataclass(frozen=True, slots=True)
class Example:
    """`name` is the service's. `prepare` makes the project in the folder `project` and shows it working; `ask` asks
    the running service; `next_steps` are what a reader may look at then."""

    title: str
    name: str
    prepare: Callable[[Stage], None]
    ask: Callable[[Stage, Box], None]
    next_steps: tuple[str, ...] = ()


def main(example: Example, home: Path) -> int:
    """The command line of an example whose files lie in `home`: what it made there last time goes, nothing else."""
    parser = argparse.ArgumentParser(description=example.title)
    parser.add_argument(
        "--work",
        type=Path,
        metavar="DIR",
        help=f"an empty folder to work in (default: {home / 'work'}, made anew)",
    )
    given: Path | None = parser.parse_args().work
    if given is None:
        shutil.rmtree(home / "work", ignore_errors=True)
    return run_example(example, (given or home / "work").absolute(), sys.stdout)


def run_example(example: Example, folder: Path, out: TextIO) -> int:
    """Tell the example's story in `folder`, which must be empty or not there, and is kept.

    Returns: 0, or the exit code of what failed; the reason was shown.
    """
    screen = Screen(out)
    screen.title(example.title)
    try:
        with sigterm_as_interrupt(), work_folder(folder, "--work") as place:
            return play(screen, place, lambda stage: _travel(example, stage))
    except SealiftError as error:
        problems = [f"  - {problem}" for problem in error.problems]
        next_step = [f"  next: {error.next_step}"] if error.next_step else []
        screen.failure("\n".join([error.message, *problems, *next_step]))
        return error.exit_code


def _travel(example: Example, stage: Stage) -> None:
    example.prepare(stage)
    stage.screen.step("3. Smaller and faster, or a measured no")
    stage.sealift("optimize", ["optimize", PROJECT, "--html", REPORT], live=True)
    stage.screen.step("4. Keys, and one signed bundle")
    secret = ("--passphrase-file", make_secret(stage.folder / "passphrase").name, "--no-input")
    stage.sealift("make keys", ["keys", "init", "keys", *secret])
    (stage.folder / "usb").mkdir()
    stage.sealift("pack", ["pack", PROJECT, "-o", "usb", *SIGNING], live=True)
    _show_officer(stage)
    stage.screen.step("5. The box: install, serve and answer where there is no network")
    with AirGap() as gap:
        first_act.install(stage, gap)
        with first_act.running(stage, gap, example.name) as box:
            example.ask(stage, box)
            stage.sealift("status", ["status", *PREFIX], gap)
    stage.screen.step("Times")
    stage.screen.table([("step", "seconds"), *((name, f"{took:.1f}") for name, took in stage.times)])
    stage.screen.step(f"Look at next, in {stage.folder}")
    pages = ", ".join(path.name for path in sorted(stage.folder.glob("report*.html")))
    for line in (f"{pages}: what was measured, to read and to print", *example.next_steps):
        stage.screen.note(line)


def _show_officer(stage: Stage) -> None:
    """Of what `inspect` shows: the identity, and the models with the verdict of `optimize`."""
    argv = ["inspect", "usb", "--trust", "keys/root.json"]
    stage.screen.command(["sealift", *argv])
    done = stage.runner.run([*SEALIFT, *argv])
    if done.code != 0:
        stage.fail(done)
    for shown, blocks in groupby(done.output.split("\n\n"), lambda block: block.startswith(_SHOWN_BLOCKS)):
        stage.screen.echo("\n".join(blocks) if shown else "...")


def answers_of(stage: Stage, box: Box, cases: Sequence[str], model: str = "") -> list[dict[str, Any]]:
    """What the service answers to files; shown too, as a person sees it.

    Args:
        model: one of several; empty: the only one.
    Raises: CommandFailed: one was refused.
    """
    named = ("--model", model) if model else ()
    argv = ["predict", *cases, "--url", box.url, *named]
    stage.sealift("", argv, box.gap)
    return _listed(stage.quiet(box.gap.wrap([*SEALIFT, *argv, "--json", "-q"])))


def answers_in_process(stage: Stage, cases: Sequence[str], model: str = "") -> list[dict[str, Any]]:
    """What the project itself answers; nothing is served. Raises: CommandFailed."""
    named = ("--model", model) if model else ()
    return _listed(stage.quiet([*SEALIFT, "predict", *cases, "--project", PROJECT, *named, "--json", "-q"]))


def refused(stage: Stage, box: Box, case: str, model: str = "") -> None:
    """Show that the service refuses a file, and how. Raises: CommandFailed: it took it."""
    named = ("--model", model) if model else ()
    stage.sealift("", ["predict", case, "--url", box.url, *named], box.gap, ends_with=2)


def require_same(stage: Stage, served: Sequence[dict[str, Any]], own: Sequence[dict[str, Any]]) -> None:
    """Hold what was served to what the project answered in process. Raises: SealiftError: they differ."""
    different = [
        f"{one['input']}: {one.get('prediction')} on the box, {other.get('prediction')} in process"
        for one, other in zip(served, own, strict=True)
        if one.get("prediction") != other.get("prediction") or abs(_score(one) - _score(other)) > _SAME_SCORE
    ]
    if different:
        raise SealiftError("the box answers other than the project", problems=different)
    stage.screen.note(f"{len(served)} of {len(served)} answers are those of the project in process")


def _score(answer: dict[str, Any]) -> float:
    """A score as it is; of classes the first one's probability."""
    best = answer.get("probabilities") or [{}]
    return float(answer.get("score", best[0].get("probability", 0.0)))


def _listed(document: dict[str, Any]) -> list[dict[str, Any]]:
    return list(document.get("answers", [document]))
