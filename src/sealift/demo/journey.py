"""`sealift demo`: the whole way with a real model, through the same command line that a person types."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from sealift.bundle import layout
from sealift.bundle.documents import Release, decode_release
from sealift.bundle.source import document, open_source
from sealift.demo import first_act, material, measured, project, second_act
from sealift.demo.commands import Runner, Subprocesses
from sealift.demo.namespace import AirGap
from sealift.demo.screen import Screen
from sealift.demo.stage import PROJECT, CommandFailed, Gap, Stage, megabytes
from sealift.demo.workplace import sigterm_as_interrupt, tree_size, work_folder
from sealift.errors import UsageError
from sealift.optimize.report import QualityReport


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`photos`: the caller's own, classified with the rest. `keep`: an empty folder to leave everything in.
    `cache`: where the wheels are kept (default: `material.default_cache()`)."""

    photos: tuple[Path, ...] = ()
    keep: Path | None = None
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The two doors to the machine, so that a test can put its own in."""

    runner: Callable[[Path], AbstractContextManager[Runner]] = Subprocesses
    gap: Callable[[], AbstractContextManager[Gap]] = AirGap


def run_demo(options: DemoOptions, out: TextIO, parts: Parts | None = None) -> int:
    """Optimise, pack, carry and serve EfficientNet-Lite0; a month later update it, survive a bad one, roll back.

    Downloads 44 MB the first time. Leaves nothing behind but that cache, unless `keep` is given; ends
    what it started, also on failure, Ctrl-C and SIGTERM.

    Args:
        out: gets the story, at most 100 columns wide.
    Returns: 0; the exit code of a command that failed; 130 after Ctrl-C or SIGTERM.
    Raises: UsageError: a photo or `keep` is unusable; HostError: no material, no room;
        SealiftError: a photo with a known answer came out as something else, or a request failed that must not.
    """
    parts = parts or Parts()
    screen = Screen(out)
    problems = [f"{photo}: no such file" for photo in options.photos if not photo.is_file()]
    if problems:
        raise UsageError("--photo names files that cannot be read", problems=problems)
    with sigterm_as_interrupt(), work_folder(options.keep) as folder:
        return play(screen, folder, lambda stage: _travel(options, stage, parts.gap), parts.runner)


def play(
    screen: Screen,
    folder: Path,
    story: Callable[[Stage], None],
    start: Callable[[Path], AbstractContextManager[Runner]] = Subprocesses,
) -> int:
    """Tell a story in `folder`, and end whatever it started.

    Returns: 0; the exit code of a command that failed; 130 after Ctrl-C.
    """
    try:
        with start(folder) as runner:
            story(Stage(screen, folder, runner))
    except CommandFailed as failed:
        return failed.code
    except KeyboardInterrupt:
        screen.failure("\nstopped; everything that the demo started has been ended")
        return 130
    return 0


def _travel(options: DemoOptions, stage: Stage, open_gap: Callable[[], AbstractContextManager[Gap]]) -> None:
    stage.screen.title("sealift demo: one real model, from the engineer's desk to a box without a network")
    prepared = first_act.prepare(stage, options.cache or material.default_cache(), options.photos)
    quality = first_act.optimize(stage)
    first_act.pack(stage)
    [bundle] = stage.carried()
    release = decode_release(document(open_source(bundle), layout.RELEASE))
    with open_gap() as gap, first_act.serving(stage, gap, prepared.photos) as box:
        first_act.ask(stage, box)
        sent = [Path(PROJECT, "data", "golden", name) for name in prepared.material.photos]
        sent += project.write_grey_photos(stage.folder, prepared.material)
        second_act.change_monthly(stage, prepared)
        second_act.update(stage, box, sent)
        second_act.survive(stage, box, sent)
        second_act.return_and_back(stage, box, sent)
    stage.screen.step("Sizes")
    _sizes(stage, release, quality)
    stage.screen.step("Times")
    stage.screen.table([("step", "seconds"), *((name, f"{took:.1f}") for name, took in stage.times)])
    _farewell(stage, options.keep)


def _sizes(stage: Stage, release: Release, quality: QualityReport) -> None:
    rows = [("what", "files", "MB", "of the full bundle")]
    rows += [
        (title, str(len(variant.files)), megabytes(variant.size), "")
        for title, variant in measured.sizes(quality)
    ]
    rows += [
        (f"layer {name}", f"{layer.files:,}", megabytes(layer.size), "")
        for name, layer in release.layers.items()
    ]
    full = stage.bundles[0][1]
    rows += [(title, "1", megabytes(size), f"{size / full:.1%}") for title, size in stage.bundles]
    files, size = tree_size(stage.folder / "box")
    rows.append(("the box's prefix, hard links once", f"{files:,}", megabytes(size), ""))
    stage.screen.table(rows)


def _farewell(stage: Stage, kept: Path | None) -> None:
    stage.screen.note(f"kept in {kept}" if kept else "nothing is left behind but the downloaded wheels")
    stage.screen.note("your own model: sealift init my-service --model my.onnx")
