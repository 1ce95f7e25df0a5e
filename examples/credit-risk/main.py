"""The bank: two credit risk models of the same cases, from a table to scores on a box without a network.

`sh examples/credit-risk/run.sh` runs it. Everything it makes lies in `work/` beside this file, or where `--work` says.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import models
from judging import cost
from models import Trained
from table import FIELDS, Case, Part, read_parts

import project
from sealift.demo.example import Example, answers_in_process, answers_of, main, refused, require_same
from sealift.demo.stage import PROJECT, Box, Stage
from sealift.errors import SealiftError

_SAME: Final = 1e-5
_SHOWN_LINES: Final = 46


def prepare(stage: Stage) -> None:
    """The table, two trained models, and the project around them."""
    stage.screen.step("1. The table, and two models of it")
    with stage.timed("get the table"):
        parts = read_parts()
    sizes = [len(part.cases) for part in (parts.training, parts.validation, parts.held_out)]
    stage.screen.note(
        f"German credit: 1,000 real cases, {len(FIELDS)} named fields. The table has no blank cells, so 6 in 100 of "
        f"three fields are blanked here. {sizes[0]} cases train, {sizes[1]} choose the threshold, {sizes[2]} judge"
    )
    with stage.timed("train"):
        trained = (models.train_network(parts), models.train_trees(parts))
    _tell(stage, trained, parts.held_out)
    stage.screen.step("2. A project around both")
    project.write_project(stage.folder / PROJECT, trained, parts)
    lines = (stage.folder / PROJECT / "sealift.toml").read_text().splitlines()
    stage.screen.note(f"{PROJECT}/sealift.toml, the first of its {len(lines)} lines:")
    stage.screen.echo("\n".join(lines[:_SHOWN_LINES]))
    _write_cases(stage, parts.held_out)
    for model in trained:
        _require_own_scores(stage, model, parts.held_out)


def _tell(stage: Stage, trained: tuple[Trained, ...], held_out: Part) -> None:
    rows = [(each.name, str(each.auc), f"{each.threshold}", f"{each.cost:.0f}") for each in trained]
    stage.screen.table([("model", "AUC on the held-out cases", "threshold", "cost of 100 cases"), *rows])
    every = [cost(trained[0].scores(held_out.cases), held_out.bad, threshold) for threshold in (2.0, 0.0)]
    stage.screen.note(
        "a bad case accepted costs 5, a good one refused 1, as the table's authors say; the threshold is the one that "
        f"costs least on the validation cases. Accepting everybody costs {every[0]:.0f}, nobody {every[1]:.0f}"
    )


def _write_cases(stage: Stage, held_out: Part) -> None:
    """Held-out cases for the box: one that went well, one that went bad, one with blank fields; and a wrong one."""
    whole = [number for number, case in enumerate(held_out.cases) if len(case) == len(FIELDS)]
    good = held_out.cases[next(number for number in whole if not held_out.bad[number])]
    bad = held_out.cases[next(number for number in whole if held_out.bad[number])]
    blank = next(case for case in held_out.cases if "age" not in case)
    wrong: Case = {**good, "amount": "12.500,00"}
    del wrong["months"]
    for name, case in (("good", good), ("bad", bad), ("blank", blank), ("wrong", wrong)):
        project.write_case(stage.folder / f"{name}.json", case)


CASES: Final = ("good.json", "bad.json", "blank.json")


def _require_own_scores(stage: Stage, model: Trained, held_out: Part) -> None:
    """Raises: SealiftError: the project scores other than scikit-learn, so columns and training disagree."""
    files = [f"held-out/{model.name}-{number}.json" for number in range(20)]
    for file, case in zip(files, held_out.cases, strict=False):
        project.write_case(stage.folder / file, case)
    answers = answers_in_process(stage, files, model.name)
    own = model.scores(held_out.cases[: len(files)])
    furthest = max(abs(answer["score"] - score) for answer, score in zip(answers, own, strict=True))
    if furthest > _SAME:
        raise SealiftError(f"{model.name}: the project scores {furthest:.1e} off what scikit-learn scores")
    stage.screen.note(
        f"{model.name}: {len(files)} held-out cases through the project, named fields in: scikit-learn's own scores, "
        f"to {furthest:.0e}"
    )


def ask(stage: Stage, box: Box) -> None:
    """Held-out cases to both models; a blank field is stood in for, a wrong one is named."""
    for model in ("network", "trees"):
        require_same(stage, answers_of(stage, box, CASES, model), answers_in_process(stage, CASES, model))
    stage.screen.note(
        "a case without its age was among them; one without months, and with words for a number:"
    )
    refused(stage, box, "wrong.json", "network")


EXAMPLE: Final = Example(
    title="Credit risk: two models of a bank, from a table to a box without a network",
    name=project.NAME,
    prepare=prepare,
    ask=ask,
    next_steps=(
        f"{PROJECT}/sealift.toml: fields, vocabularies and thresholds, as the training wrote them",
        f"sealift predict blank.json --project {PROJECT} --model trees",
    ),
)

if __name__ == "__main__":
    sys.exit(main(EXAMPLE, Path(__file__).parent))
