"""QualityReport: what was tried on a model, what was measured, and what ships; as values and as JSON.

A report is a document: figures as they were measured, and the sentences a person reads. Nothing is decided here
(`gates.py`, `choose.py`). Times are milliseconds, sizes bytes, shares 0..1.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Final

import msgspec

from sealift.errors import StoreError

FORMAT: Final = "sealift-quality-report-1"


class Verdict(Enum):
    """What a gate says. The third is a verdict of its own: the data cannot tell."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_ENOUGH_EVIDENCE = "not enough evidence"


class Standing(Enum):
    """What becomes of a variant."""

    SHIPS = "ships"
    """It is what a box runs unless it measures another to be faster."""
    TRAVELS = "travels"
    """It passed too, and the box may choose it."""
    PASSED = "passed"
    """It meets every gate, and another is better: it stays at home."""
    REFUSED = "refused"
    NOT_BUILT = "not built"


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Interval(_Document, frozen=True, kw_only=True):
    """Both ends belong to it. `level` is its confidence, `method` the source (`Newcombe 1998, method 10`)."""

    low: float
    high: float
    level: float = 0.95
    method: str = ""


class Comparison(_Document, frozen=True, kw_only=True):
    """A variant against the reference on the same `n` items.

    `metric`: `top1`, `top5`, `auc`, `f1`, `rmse`, `cosine`, `agreement` or the user's own name.
    `reference` and `value` are the metric of either; of `agreement` and `cosine`, which compare the two with
    each other, `reference` is 1. `difference` is `value - reference`, `interval` is of the difference.
    """

    metric: str
    n: int
    reference: float
    value: float
    difference: float
    interval: Interval
    higher_is_better: bool = True


class Gate(_Document, frozen=True, kw_only=True):
    """One bound. `expected` and `found` are words with figures; `advice` what would change the verdict.

    `bound` is where the bound lies on the axis of `metric`, as a value of that metric or, for `p50_ms`, in
    milliseconds: the page draws it as a line. None: it has no place on an axis.
    """

    name: str
    verdict: Verdict
    expected: str
    found: str
    advice: str = ""
    metric: str = ""
    bound: float | None = None


class Speed(_Document, frozen=True, kw_only=True):
    """`p50_ms`, `p99_ms`: one row alone. `rows_per_s`: the best of the layouts, named in `layout`.

    `speedup`: p50 of the reference over this one's, from rounds side by side; 1 for the reference itself.
    """

    p50_ms: float
    p99_ms: float
    rows_per_s: float
    layout: str
    speedup: float
    speedup_interval: Interval
    throughput_ratio: float = 1.0
    runs: int = 0


class Layer(_Document, frozen=True, kw_only=True):
    """What quantising one node alone does: `effect` is 1 - cosine between the outputs, 0 is none.

    `excluded`: it stays in floating point because quantising it cost too much; `share`: its part of the weights.
    """

    node: str
    kind: str
    effect: float
    excluded: bool = False
    share: float = 0.0


class Difference(_Document, frozen=True, kw_only=True):
    """One item that both answer differently. `picture`: a small PNG or JPEG of a photo; `shown`: the input in words."""

    item: str
    reference: str
    variant: str
    label: str = ""
    shown: str = ""
    picture: bytes = b""


class File(_Document, frozen=True, kw_only=True):
    """A file of a variant, relative to its folder; the first of a variant is the one that is loaded."""

    name: str
    sha256: str
    size: int


class Variant(_Document, frozen=True, kw_only=True):
    """One candidate. `recipe` is how it was made, in words (`calibration method` -> `percentile 99.99`).

    `reasons` say why it ships or does not, the weightiest first. A variant that was not built has nothing but
    its name and reasons; fields that were not measured are None or empty.
    """

    name: str
    standing: Standing
    reasons: tuple[str, ...] = ()
    engine: str = ""
    precision: str = ""
    files: tuple[File, ...] = ()
    recipe: dict[str, str] = {}
    comparisons: tuple[Comparison, ...] = ()
    gates: tuple[Gate, ...] = ()
    speed: Speed | None = None
    layers: tuple[Layer, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(file.size for file in self.files)


class Machine(_Document, frozen=True, kw_only=True):
    """Where it was measured. `int8` says how this class of processor multiplies bytes: `VNNI`, `AMX`, `none`, ..."""

    cpu: str
    cores: int
    features: tuple[str, ...]
    int8: str
    engines: dict[str, str] = {}


class Data(_Document, frozen=True, kw_only=True):
    """What was measured on. `labelled` counts the evaluation items that have a label."""

    calibration: int
    evaluation: int
    labelled: int
    note: str = ""
    examples: tuple[Difference, ...] = ()
    """A few inputs with the reference's answers, whether the variants agree or not."""


class Alternative(_Document, frozen=True, kw_only=True):
    """Preprocessing that was tried instead: `change` is what to write in sealift.toml, on the same items."""

    change: str
    comparison: Comparison


class Suspicion(_Document, frozen=True, kw_only=True):
    """A likely mistake of the project. `what`: `normalisation`, `channel order`, `layout`, `interpolation`,
    `resize`, `weights not trained`, `labels shifted`. `certain`: the interval excludes chance."""

    what: str
    sentence: str
    certain: bool
    alternatives: tuple[Alternative, ...] = ()


class QualityReport(_Document, frozen=True, kw_only=True):
    """All of one model. `variants` has the reference (`fp32`) first. `chosen` is the name of the one that ships.

    `prefer`: `speed` or `size`. `verdict`: one sentence that a person can quote. `notes`: what was changed or
    could not be done. `source`: digest of the model and its declarations, as `optimized.source_digest` gives it.
    """

    format: str = FORMAT
    model: str
    project: str
    version: str
    source: str
    created_with: str
    machine: Machine
    data: Data
    prefer: str
    chosen: str
    verdict: str
    variants: tuple[Variant, ...]
    suspicions: tuple[Suspicion, ...] = ()
    notes: tuple[str, ...] = ()

    def variant(self, name: str) -> Variant:
        """Raises: KeyError: there is none of that name."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)


def without_inputs(report: QualityReport) -> QualityReport:
    """The report without anybody's data: pictures and fields of inputs stay where they were measured."""
    return msgspec.structs.replace(
        report,
        data=msgspec.structs.replace(report.data, examples=()),
        variants=tuple(
            msgspec.structs.replace(variant, differences=tuple(map(_without_input, variant.differences)))
            for variant in report.variants
        ),
    )


def _without_input(difference: Difference) -> Difference:
    return msgspec.structs.replace(difference, shown="", picture=b"")


def encode_report(report: QualityReport) -> bytes:
    """Deterministic JSON, indented for people."""
    return msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=1) + b"\n"


def decode_report(data: bytes, where: Path) -> QualityReport:
    """Raises: StoreError: not a report of this format."""
    try:
        report = msgspec.json.decode(data, type=QualityReport)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise StoreError(
            f"{where} is not a quality report: {error}", next_step="run sealift optimize again"
        ) from error
    if report.format != FORMAT:
        raise StoreError(
            f"{where} has the format {report.format}, this sealift reads {FORMAT}",
            next_step="run sealift optimize again",
        )
    return report
