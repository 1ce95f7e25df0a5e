"""A command line that is only played: it answers as the real one does, and remembers what it was asked."""

from __future__ import annotations

import hashlib
import io
import json
import signal
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from sealift.bundle.documents import LAYERS, LayerRef, Release
from sealift.demo.commands import Background, Completed
from sealift.demo.journey import DemoOptions, Parts, run_demo
from sealift.demo.namespace import OfflineState
from sealift.demo.traffic import Answers, Report
from sealift.optimize.report import Data, File, Machine, QualityReport, Standing, Variant, encode_report

CLASSES = {"chelsea.png": 282, "coffee.png": 967, "mine.jpg": 3}
FIRST, MONTHLY, BAD = "1.0.0", "1.1.0", "1.2.0"
RELEASE = Release(
    product="lite0", version=FIRST, seq=1, floor_seq=0, min_sealift="0", created="2026-11-22T00:00:00Z",
    target={}, layers={name: LayerRef("0" * 64, 1, 1_000_000) for name in LAYERS}, checks={}, provenance={},
    total_size=3_000_000,
)  # fmt: skip

MODEL = bytes(2_000_000)
"""The file that was measured, and the only one on the box."""


def measured(chosen: str = "int8-static") -> QualityReport:
    """What `sealift optimize` leaves: a model four times as large, and `MODEL` made of it."""
    digests = {"fp32": "f" * 64, "int8-static": hashlib.sha256(MODEL).hexdigest()}
    if chosen == "fp32":
        digests["fp32"] = digests["int8-static"]
    variants = [
        Variant(
            name=name,
            standing=Standing.SHIPS if name == chosen else Standing.REFUSED,
            files=(File(name="model.onnx", sha256=digests[name], size=size),),
        )
        for name, size in (("fp32", 8_000_000), ("int8-static", 2_000_000))
    ]
    return QualityReport(
        model="lite0", project="lite0", version=FIRST, source="", created_with="", prefer="speed",
        machine=Machine(cpu="", cores=2, features=(), int8="VNNI"), chosen=chosen, verdict="",
        data=Data(calibration=1, evaluation=1, labelled=0), variants=tuple(variants),
    )  # fmt: skip


def answered(good: int, probability: float = 0.5, **more: object) -> Answers:
    """What a release answered; it knows the two photos that have a label."""
    first = {name: (CLASSES[name], probability) for name in ("chelsea.png", "coffee.png")}
    return Answers(**{"good": good, "first_s": 2e9, "last_good_s": 2e9, "first": first, **more})  # type: ignore[arg-type]


def failing(times: int) -> Answers:
    """What the bad release answered: some well, `times` not."""
    failures = {"500 handler_failed": times}
    return answered(20, failures=failures, first_failed_s=1.9e9, last_failed_s=1.9e9 + 2.5)


def reported(**releases: Answers) -> Report:
    """`v100=answered(7)`: 1.0.0 answered seven."""
    named = {f"lite0@{'.'.join(name[1:])}": answers for name, answers in releases.items()}
    sent = sum(answers.good + answers.failed for answers in named.values())
    return Report(sent=sent, connections=9, moved=5, silence_ms=61.2, releases=named)


def good_reports() -> list[Report]:
    """The update, the bad release, the rollback."""
    return [
        reported(v100=answered(100, 0.4), v110=answered(200, 0.6)),
        reported(v110=answered(300), v120=failing(10)),
        reported(v110=answered(50), v100=answered(60)),
    ]


@dataclass
class Played:
    """The command line; `stopped` counts what became of the server alone.

    `in_process`: classes that the project itself gives otherwise than the box.
    """

    folder: Path = Path()
    classes: dict[str, int] = field(default_factory=lambda: dict(CLASSES))
    fails: dict[str, Completed] = field(default_factory=dict)
    interrupt_at: str = ""
    dies_while_starting: bool = False
    traffic_dies: bool = False
    reports: list[Report] = field(default_factory=good_reports)
    report: QualityReport | None = field(default_factory=measured)
    in_process: dict[str, int] = field(default_factory=dict)
    ends_of_install: list[int] = field(default_factory=lambda: [0, 0, 61])
    ran: list[str] = field(default_factory=list)
    shown: list[list[str]] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    stopped: int = 0
    secret_mode: int = 0
    left: bool = False

    def __call__(self, folder: Path) -> Played:
        self.folder = folder
        return self

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *_: object) -> None:
        self.left = True
        if "serve" in self.ran and not self.stopped:
            self.stopped += 1

    def run(self, argv: Sequence[str], *, live: bool = False) -> Completed:
        verb = self._note(argv)
        if verb == self.interrupt_at:
            raise KeyboardInterrupt
        if verb in self.fails:
            return self.fails[verb]
        if verb == "wait":
            return Completed(1 if self.dies_while_starting else 0, "", "", 0.1)
        code = self.ends_of_install.pop(0) if verb == "install" else 0
        return Completed(code, self._output(verb, argv), f"{verb} fell back\n" if code else "", 1.5)

    def start(self, argv: Sequence[str]) -> Background:
        if "sealift.demo.traffic" in argv:
            self.ran.append("traffic")
            self.inside += ["traffic"] * (argv[0] == "inside")
            return PlayedClient(self, flowing=self.folder / argv[argv.index("sealift.demo.traffic") + 4])
        self._note(argv)
        return PlayedServer(self)

    def _note(self, argv: Sequence[str]) -> str:
        is_inside = argv[0] == "inside"
        verb: str = argv[4 if is_inside else 3]
        self.ran.append(verb)
        self.shown.append(list(argv[4 if is_inside else 3 :]))
        if is_inside:
            self.inside.append(verb)
        return verb

    def _output(self, verb: str, argv: Sequence[str]) -> str:
        photos = [word for word in argv if word.endswith((".png", ".jpg"))]
        if verb == "time":
            return json.dumps(dict.fromkeys(photos, 6.54))
        if verb == "predict" and "--json" in argv:
            known = {**self.classes, **(self.in_process if "--project" in argv else {})}
            found = [known.get(photo, known.get(Path(photo).name, 3)) for photo in photos]
            answers = [
                {"prediction": index, "label": f"label {index}", "probabilities": [{"probability": 0.75}]}
                for index in found
            ]
            return json.dumps({"schema": 1, "answers": answers})
        if verb == "optimize" and self.report is not None:
            place = self.folder / "project" / "optimized" / "lite0"
            place.mkdir(parents=True, exist_ok=True)
            (place / "report.json").write_bytes(encode_report(self.report))
        if verb == "pack":
            self._pack()
        if verb == "install" and not (self.folder / "box").exists():
            models = self.folder / "box" / "current" / "lite0" / "application" / "models"
            models.mkdir(parents=True)
            (self.folder / "box" / "one").write_bytes(MODEL)
            (models / "model.onnx").hardlink_to(self.folder / "box" / "one")
        return f"{verb} says hello\n"

    def _pack(self) -> None:
        """A full bundle of 10 MB, then deltas of half a megabyte, as folders."""
        self.secret_mode = stat.S_IMODE((self.folder / "passphrase").stat().st_mode)
        packed = self.ran.count("pack") - 1
        bundle = self.folder / "usb" / f"lite0-1.{packed}.0.sealift"
        bundle.mkdir()
        (bundle / "release.json").write_bytes(RELEASE.encode())
        (bundle / "rest").write_bytes(bytes((500_000 if packed else 10_000_000) - len(RELEASE.encode())))


@dataclass
class PlayedServer:
    """`sealift serve`."""

    of: Played

    def ended(self) -> Completed | None:
        died = self.of.dies_while_starting
        return Completed(-signal.SIGKILL, "", "worker ended", 0.5) if died else None

    def stop(self) -> Completed:
        self.of.stopped += 1
        return self.ended() or Completed(0, "", "", 3.0)


@dataclass
class PlayedClient:
    """The traffic client: photos flow at once; each one started prints the next of the reports."""

    of: Played
    flowing: Path

    def __post_init__(self) -> None:
        if not self.of.traffic_dies:
            self.flowing.touch()

    def ended(self) -> Completed | None:
        return Completed(1, "", "no photo\n", 0.1) if self.of.traffic_dies else None

    def stop(self) -> Completed:
        return self.ended() or Completed(0, json.dumps(asdict(self.of.reports.pop(0))), "", 9.0)


@dataclass
class PlayedGap:
    """Puts one word before what runs inside."""

    state: OfflineState

    def wrap(self, argv: Sequence[str]) -> list[str]:
        return ["inside", *argv] if self.state.entered else list(argv)


def demo(
    played: Played, options: DemoOptions | None = None, state: OfflineState | None = None
) -> tuple[int, str]:
    """Run the demo on it. Returns: exit code and story."""

    @contextmanager
    def gap() -> Iterator[PlayedGap]:
        yield PlayedGap(state or OfflineState(True, "network namespace"))

    out = io.StringIO()
    code = run_demo(options or DemoOptions(), out, Parts(runner=played, gap=gap))
    return code, out.getvalue()


def spaced(story: str) -> str:
    """The story in one line, words one space apart."""
    return " ".join(story.split())
