"""The second act: a month later. A delta, an update under load, a bad release that undoes itself, a rollback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sealift.bundle import layout
from sealift.demo import measured, project
from sealift.demo.finetune import LABELS, fine_tune
from sealift.demo.first_act import Prepared
from sealift.demo.project import BAD_VERSION, HANDLER_MISTAKE, MONTHLY_VERSION, PROJECT_NAME, PROJECT_VERSION
from sealift.demo.stage import PREFIX, PROJECT, SIGNING, Box, Stage
from sealift.demo.traffic import Report
from sealift.demo.witness import CONNECTIONS, PER_SECOND, Witness, release_answers, require_whole, tell
from sealift.errors import FellBack, SealiftError

WATCH: Final = ("watch.window_s=5", "watch.requests=100")


def change_monthly(stage: Stage, prepared: Prepared) -> None:
    """Fine-tune, take newer packages, and pack only what changed."""
    stage.screen.step("6. A month later: the model has learned, and two packages are newer")
    with stage.timed("fine-tune the model"):
        tuned = fine_tune(prepared.model, prepared.material.photos)
    project.change_monthly(stage.folder / PROJECT, tuned.model)
    stage.screen.note(
        f"model.onnx: {tuned.steps} steps of gradient descent on {tuned.crops} crops of the photos; "
        f"{tuned.moved:,} weights moved, loss {tuned.loss_before:.2f} -> {tuned.loss_after:.2f}"
    )
    newer = project.package_versions(MONTHLY_VERSION)
    older = project.package_versions(PROJECT_VERSION)
    changed = ", ".join(f"{name} {older[name]} -> {version}" for name, version in newer.items())
    stage.screen.note(f"pylock.toml: {changed}")
    stage.screen.note(f"sealift.toml: version {PROJECT_VERSION} -> {MONTHLY_VERSION}")
    stage.screen.note("pack would refuse what was measured for another model, so it is measured again:")
    measured.optimize(stage, "optimize again")
    first = _pack_delta(stage, "pack the delta", MONTHLY_VERSION)
    stage.sealift("", ["inspect", "usb", "--against", first, "--trust", "keys/root.json"])


def update(stage: Stage, box: Box, photos: Sequence[Path]) -> None:
    """Install the delta while a client that never retries keeps sending."""
    stage.screen.step("7. Update the box, while a client that never retries keeps sending photos")
    stage.sealift("", ["config", "set", PROJECT_NAME, *WATCH, *PREFIX], box.gap)
    stage.screen.note("that is a short watch, for a demo; without it: 10 minutes and 200 requests")
    stage.screen.note(
        f"client: {PER_SECOND} photos a second over {CONNECTIONS} kept connections, some of them grey"
    )
    witness = Witness(stage, box, photos)
    stage.sealift("update, until committed", ["install", "usb", "--wait", *PREFIX], box.gap, live=True)
    report = witness.report()
    tell(stage, report)
    require_whole(report)
    took_s = release_answers(report, MONTHLY_VERSION).first_s - witness.started_s
    stage.note_within("update, until committed", "until the new release answers", took_s)
    _compare(stage, report)
    measured.require_installed(stage)


def survive(stage: Stage, box: Box, photos: Sequence[Path]) -> None:
    """A third release passes every check, goes bad under traffic, and is taken back without anybody."""
    stage.screen.step("8. A bad release: right for every golden photo, wrong for those that come by night")
    project.change_badly(stage.folder / PROJECT)
    stage.screen.note(f"sealift.toml: version {BAD_VERSION}, and a handler of the team's own")
    stage.screen.note("handler.py has one mistake, for a grey photo has no third axis:")
    stage.screen.echo(f"    {HANDLER_MISTAKE}")
    stage.screen.note("it prepares the photos now, so the model is measured with it:")
    measured.optimize(stage, "optimize with the handler")
    _pack_delta(stage, "pack the bad one", BAD_VERSION)
    witness = Witness(stage, box, photos)
    argv = ["install", "usb", "--wait", *PREFIX]
    stage.sealift("bad update, until fallen back", argv, box.gap, live=True, ends_with=FellBack.exit_code)
    stage.sealift("", ["status", PROJECT_NAME, "--why", *PREFIX], box.gap)
    report = witness.report()
    tell(stage, report)
    require_whole(report, may_fail=BAD_VERSION)
    bad, good = release_answers(report, BAD_VERSION), release_answers(report, MONTHLY_VERSION)
    if good.last_good_s <= bad.last_failed_s:
        raise SealiftError(f"{MONTHLY_VERSION} did not answer again after {BAD_VERSION} had failed")
    took_s = bad.last_failed_s - bad.first_failed_s
    stage.note_within("bad update, until fallen back", "from the first failed photo to the last", took_s)


def return_and_back(stage: Stage, box: Box, photos: Sequence[Path]) -> None:
    """The operator's own way back to the first release, and forth again."""
    stage.screen.step("9. Somebody wants the first release back, and then the second one again")
    witness = Witness(stage, box, photos)
    stage.sealift("rollback", ["rollback", PROJECT_NAME, *PREFIX], box.gap)
    stage.sealift("and forth again", ["activate", PROJECT_NAME, MONTHLY_VERSION, *PREFIX], box.gap)
    report = witness.report()
    tell(stage, report)
    require_whole(report)
    took_s = release_answers(report, PROJECT_VERSION).first_s - witness.started_s
    stage.note_within("rollback", "until the old release answers", took_s)
    stage.sealift("", ["status", PROJECT_NAME, "--history", *PREFIX], box.gap)


def _pack_delta(stage: Stage, title: str, version: str) -> str:
    """Leave on `usb` one delta from the first bundle; what lay there goes to `desk`. Returns: the first bundle."""
    desk = stage.folder / "desk"
    desk.mkdir(exist_ok=True)
    for bundle in stage.carried():
        stage.screen.command(["mv", f"usb/{bundle.name}", "desk/"])
        bundle.rename(desk / bundle.name)
    first = f"desk/{PROJECT_NAME}-{PROJECT_VERSION}{layout.SUFFIX}"
    stage.sealift(title, ["pack", PROJECT, "-o", "usb", "--from", first, *SIGNING], live=True)
    stage.weigh(f"bundle {version}, delta from {PROJECT_VERSION}")
    return first


def _compare(stage: Stage, report: Report) -> None:
    """What both releases made of the labelled photos. Raises: SealiftError: one of them was taken for another."""
    before, after = (release_answers(report, version).first for version in (PROJECT_VERSION, MONTHLY_VERSION))
    rows = []
    for photo, label in LABELS.items():
        if photo in before and photo in after:
            (old_class, old), (new_class, new) = before[photo], after[photo]
            if not old_class == new_class == label:
                raise SealiftError(f"{photo} came out as class {old_class} and {new_class}, expected {label}")
            rows.append((photo, f"{old:.1%}", f"{new:.1%}"))
    stage.screen.table([("how sure of its photos", PROJECT_VERSION, MONTHLY_VERSION), *rows])
