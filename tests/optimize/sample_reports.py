"""Three reports as optimize writes them: a good one on photos, a refusal on a table, and a suspicious project."""

from __future__ import annotations

import importlib.util
import io
import struct
import zlib
from functools import cache
from pathlib import Path

import msgspec

from sealift.optimize.report import (
    Alternative,
    Comparison,
    Data,
    Difference,
    File,
    Gate,
    Interval,
    Layer,
    Machine,
    QualityReport,
    Speed,
    Standing,
    Suspicion,
    Variant,
    Verdict,
)

NEWCOMBE = "Newcombe 1998, method 10"
VNNI = Machine(
    cpu="Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
    cores=2,
    features=("avx2", "avx512f", "avx512_vnni", "amx_int8", "amx_bf16"),
    int8="VNNI",
    engines={"onnxruntime": "1.32.0", "openvino": "2026.4.1"},
)
PLAIN = Machine(
    cpu="Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz",
    cores=8,
    features=("avx2",),
    int8="none",
    engines={"onnxruntime": "1.32.0"},
)


def picture(seed: int, side: int = 24) -> bytes:
    """A small PNG of colour gradients (RFC 2083, one IDAT, no filter)."""
    rows = b"".join(
        b"\0" + bytes((x * seed * 7 + channel * y * 5) % 256 for x in range(side) for channel in (1, 2, 3))
        for y in range(side)
    )

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@cache
def photo(number: int) -> bytes:
    """A thumbnail of a labelled photo of foolbox, or gradients where foolbox is not installed."""
    spec = importlib.util.find_spec("foolbox")
    found = (
        sorted(Path(spec.origin).parent.glob(f"data/imagenet_{number:02d}_*")) if spec and spec.origin else []
    )
    if not found:
        return picture(number + 1)
    from PIL import Image

    out = io.BytesIO()
    with Image.open(found[0]) as image:
        image.thumbnail((160, 160))
        image.convert("RGB").save(out, "JPEG", quality=80)
    return out.getvalue()


def compared(metric: str, n: int, reference: float, value: float, low: float, high: float) -> Comparison:
    between = Interval(low=low, high=high, method=NEWCOMBE)
    return Comparison(
        metric=metric, n=n, reference=reference, value=value, difference=value - reference, interval=between
    )


def speed(
    p50: float, p99: float, rows: float, faster: float, ratio: float = 1.0, layout: str = "1 x 2 threads"
) -> Speed:
    between = Interval(low=faster * 0.98, high=faster * 1.03, method="bootstrap of rounds side by side")
    return Speed(
        p50_ms=p50,
        p99_ms=p99,
        rows_per_s=rows,
        layout=layout,
        speedup=faster,
        speedup_interval=between,
        throughput_ratio=ratio,
        runs=600,
    )


def passed(name: str, expected: str, found: str, metric: str = "", bound: float | None = None) -> Gate:
    return Gate(name=name, verdict=Verdict.PASSED, expected=expected, found=found, metric=metric, bound=bound)


def failed(name: str, expected: str, found: str, advice: str = "") -> Gate:
    return Gate(name=name, verdict=Verdict.FAILED, expected=expected, found=found, advice=advice)


def unclear(name: str, expected: str, found: str, advice: str) -> Gate:
    return Gate(name=name, verdict=Verdict.NOT_ENOUGH_EVIDENCE, expected=expected, found=found, advice=advice)


def model(name: str, size: int, digit: str = "a") -> tuple[File, ...]:
    return (File(name=name, sha256=digit * 64, size=size),)


def _layers() -> tuple[Layer, ...]:
    kinds = ("Conv", "Conv (depthwise)", "Add", "Gemm")
    return tuple(
        Layer(
            node=f"/blocks/blocks.{number}/depthwise/Conv",
            kind=kinds[number % 4],
            effect=0.04 * 0.72**number,
            excluded=number < 2,
            share=(number % 5) * 0.011,
        )
        for number in range(49)
    )


_DIFFER = (
    ("imagenet/03.jpg", "buckeye 0.41", "acorn 0.38", "buckeye"),
    ("imagenet/07.jpg", "jeep 0.52", "pickup 0.47", "jeep"),
    ("imagenet/09.jpg", "gondola 0.33", "sandbar 0.35", "gazelle"),
    ("imagenet/11.jpg", "studio couch 0.61", "pillow 0.44", "studio couch"),
    ("imagenet/18.jpg", "leafhopper 0.48", "grasshopper 0.40", "leafhopper"),
)


def _photo_int8() -> Variant:
    return Variant(
        name="int8-static",
        standing=Standing.SHIPS,
        engine="onnxruntime",
        precision="int8",
        reasons=(
            "It meets every gate, and none that does is faster.",
            "2.30 times as fast as fp32 (2.25 to 2.37), measured in rounds side by side.",
        ),
        files=model("model.onnx", 5_180_412, "b"),
        recipe={
            "method": "static QDQ, per channel, symmetric weights",
            "calibration method": "percentile 99.99",
            "calibration items": "200",
            "graph fusion": "batch normalisation folded, activations fused",
            "kept in floating point": "2 of 49 layers",
        },
        comparisons=(
            compared("agreement", 600, 1.0, 0.975, -0.039, -0.016),
            compared("top1", 20, 0.9, 0.9, -0.111, 0.111),
        ),
        gates=(
            passed(
                "agreement", "at least 95 % with fp32", "97.5 % (96.1 to 98.4, n = 600)", "agreement", 0.95
            ),
            unclear(
                "accuracy",
                "at most 1 point below fp32",
                "0 points (-11.1 to +11.1, n = 20)",
                'label about 900 items; unproven = "keep" would keep fp32, agreement decides here',
            ),
            passed("size", "at most 1024 MB", "5.18 MB"),
            passed("speed", "at least 1.05 times as fast", "2.30 (2.25 to 2.37)"),
            passed("rows", "a row's answer does not depend on its batch", "equal in 1, 2, 5 and 8 rows"),
            passed("overflow", "no saturation without VNNI", "not at risk: this processor has VNNI"),
        ),
        speed=speed(2.07, 2.31, 512.0, 2.30, 2.11, "2 x 1 thread"),
        layers=_layers(),
        differences=tuple(
            Difference(item=item, reference=ours, variant=theirs, label=label, picture=photo(int(item[9:11])))
            for item, ours, theirs, label in _DIFFER
        ),
    )


def _photo_others() -> tuple[Variant, ...]:
    return (
        Variant(
            name="int8-nncf",
            standing=Standing.TRAVELS,
            engine="openvino",
            precision="int8",
            reasons=("It meets every gate, and a box may find it the faster one.",),
            files=(
                File(name="model.xml", sha256="c" * 64, size=412_033),
                File(name="model.bin", sha256="d" * 64, size=4_934_120),
            ),
            recipe={"method": "NNCF post-training quantisation, mixed preset", "calibration items": "200"},
            comparisons=(compared("agreement", 600, 1.0, 0.968, -0.048, -0.021),),
            gates=(
                passed(
                    "agreement",
                    "at least 95 % with fp32",
                    "96.8 % (95.2 to 97.9, n = 600)",
                    "agreement",
                    0.95,
                ),
            ),
            speed=speed(2.42, 2.90, 468.0, 1.95, 1.92, "2 x 1 thread"),
        ),
        Variant(
            name="bf16",
            standing=Standing.TRAVELS,
            engine="openvino",
            precision="bf16",
            reasons=("It meets every gate; int8-static is faster.",),
            files=model("model.onnx", 18_900_121, "e"),
            recipe={"method": "the engine computes in bfloat16; the file is the reference's"},
            comparisons=(compared("agreement", 600, 1.0, 0.995, -0.0146, -0.0018),),
            gates=(
                passed(
                    "agreement",
                    "at least 95 % with fp32",
                    "99.5 % (98.5 to 99.8, n = 600)",
                    "agreement",
                    0.95,
                ),
            ),
            speed=speed(2.61, 3.02, 401.0, 1.81, 1.64),
        ),
        Variant(
            name="int8-dynamic",
            standing=Standing.REFUSED,
            engine="onnxruntime",
            precision="int8",
            reasons=(
                "It is slower: 0.0809 times as fast as fp32. Dynamic INT8 of convolutions has no fast kernel.",
            ),
            files=model("model.onnx", 5_301_877, "f"),
            recipe={"method": "dynamic, per channel"},
            comparisons=(compared("agreement", 600, 1.0, 0.942, -0.079, -0.042),),
            gates=(
                failed("agreement", "at least 95 % with fp32", "94.2 % (92.1 to 95.8, n = 600)"),
                failed(
                    "speed", "at least 1.05 times as fast", "0.0809 (0.0793 to 0.0833)", "try int8-static"
                ),
            ),
            speed=speed(58.6, 63.2, 17.4, 0.0809, 0.07),
        ),
        Variant(
            name="fp16", standing=Standing.NOT_BUILT, reasons=("No engine of the target gains from fp16.",)
        ),
    )


def photos() -> QualityReport:
    """EfficientNet-Lite0 on photos: static INT8 wins."""
    reference = Variant(
        name="fp32",
        standing=Standing.TRAVELS,
        engine="onnxruntime",
        precision="fp32",
        files=model("model.onnx", 18_901_554),
        speed=speed(4.75, 5.12, 243.0, 1.0),
    )
    seen = (
        ("imagenet/00.jpg", 0, "hen 0.88"),
        ("imagenet/01.jpg", 1, "tabby 0.71"),
        ("imagenet/02.jpg", 2, "espresso 0.93"),
    )
    return QualityReport(
        model="inspection",
        project="line-3-camera",
        version="2.4.0",
        source="sha256:" + "5" * 64,
        created_with="sealift 0.1",
        machine=VNNI,
        data=Data(
            calibration=200,
            evaluation=600,
            labelled=20,
            note="Views with fixed seeds of 20 labelled photos.",
            examples=tuple(
                Difference(
                    item=item, reference=answer, variant=answer, label=answer[:-5], picture=photo(number)
                )
                for item, number, answer in seen
            ),
        ),
        prefer="speed",
        chosen="int8-static",
        verdict="int8-static ships: 2.3x faster, 27 % of the size, agreement 97.5 % (96.1 to 98.4, n = 600)",
        variants=(reference, _photo_int8(), *_photo_others()),
        notes=("Opset 11 was raised to 17.", "The softmax at the end was left out of the quantised part."),
    )


def table() -> QualityReport:
    """A small MLP of a bank: fp32 ships, everything else is refused."""
    rows = "age 41, amount 3,600, purpose car, savings none"
    return QualityReport(
        model="credit-risk",
        project="bank",
        version="1.0.3",
        source="sha256:" + "6" * 64,
        created_with="sealift 0.1",
        machine=PLAIN,
        data=Data(calibration=300, evaluation=300, labelled=300),
        prefer="speed",
        chosen="fp32",
        verdict="fp32 ships: no candidate is at least 1.05 times as fast and proven within 1 point of its AUC",
        variants=(
            Variant(
                name="fp32",
                standing=Standing.SHIPS,
                engine="onnxruntime",
                precision="fp32",
                reasons=("No candidate passed.",),
                files=model("model.onnx", 21_377),
                speed=speed(0.0113, 0.0184, 412_300.0, 1.0, 1.0, "1 thread, batch 256"),
            ),
            Variant(
                name="int8-static",
                standing=Standing.REFUSED,
                engine="onnxruntime",
                precision="int8",
                reasons=(
                    "It is slower: a model this small is all overhead.",
                    "300 rows cannot tell a loss of 1 point.",
                ),
                files=model("model.onnx", 14_120),
                recipe={"method": "static QDQ, per channel", "calibration method": "minmax"},
                comparisons=(compared("auc", 300, 0.7912, 0.7833, -0.0211, 0.0052),),
                gates=(
                    unclear(
                        "accuracy",
                        "at most 1 point of AUC below fp32",
                        "-0.0079 (-0.0211 to +0.0052, n = 300)",
                        "label about 1,400 rows",
                    ),
                    failed(
                        "speed",
                        "at least 1.05 times as fast",
                        "0.84 (0.823 to 0.865)",
                        "keep fp32 for a model of 21 kB",
                    ),
                ),
                speed=speed(0.0135, 0.0221, 377_000.0, 0.84, 0.91, "1 thread, batch 256"),
                layers=(
                    Layer(node="/net/0/Gemm", kind="Gemm", effect=0.0021, share=0.62),
                    Layer(node="/net/2/Gemm", kind="Gemm", effect=0.0009, share=0.37),
                ),
                differences=(
                    Difference(
                        item="row 17", reference="good 0.52", variant="bad 0.51", label="good", shown=rows
                    ),
                    Difference(
                        item="row 203", reference="bad 0.50", variant="good 0.53", label="bad", shown=rows
                    ),
                ),
            ),
            Variant(
                name="int8-dynamic",
                standing=Standing.REFUSED,
                engine="onnxruntime",
                precision="int8",
                reasons=("It is below the accuracy gate.",),
                files=model("model.onnx", 13_001),
                comparisons=(compared("auc", 300, 0.7912, 0.7512, -0.0622, -0.0188),),
                gates=(
                    failed(
                        "accuracy",
                        "at most 1 point of AUC below fp32",
                        "-0.0400 (-0.0622 to -0.0188, n = 300)",
                    ),
                ),
                speed=speed(0.0128, 0.0200, 391_000.0, 0.88, 0.95, "1 thread, batch 256"),
            ),
        ),
    )


def suspicious() -> QualityReport:
    """Photos with the wrong normalisation: the guard names it, with what the likely alternatives measure."""
    good = photos()

    def tried(change: str, value: float, low: float, high: float) -> Alternative:
        return Alternative(change=change, comparison=compared("top1", 20, 0.75, value, low, high))

    normalisation = Suspicion(
        what="normalisation",
        sentence="Top-1 accuracy is 75 % as declared, and 90 % with (x - 127) / 128 on the same 20 photos.",
        certain=False,
        alternatives=(
            tried("mean = [127, 127, 127]\nstd = [128, 128, 128]", 0.9, -0.02, 0.36),
            tried("mean = [0, 0, 0]\nstd = [255, 255, 255]", 0.65, -0.31, 0.13),
        ),
    )
    shifted = Suspicion(
        what="labels shifted",
        sentence="Labels and answers agree after a shift by one: the label file may lack the background class.",
        certain=True,
        alternatives=(tried('labels = "imagenet-1001.txt"', 0.95, 0.03, 0.39),),
    )
    return QualityReport(
        model="inspection",
        project="line-3-camera",
        version="2.4.1",
        source=good.source,
        created_with=good.created_with,
        machine=VNNI,
        data=Data(calibration=200, evaluation=20, labelled=20),
        prefer="size",
        chosen="fp32",
        verdict="fp32 ships: check the project first, its normalisation looks wrong",
        variants=(
            msgspec.structs.replace(good.variants[0], standing=Standing.SHIPS),
            Variant(
                name="int8-static",
                standing=Standing.REFUSED,
                reasons=("Nothing is decided while the project looks wrong.",),
            ),
        ),
        suspicions=(normalisation, shifted),
    )


SAMPLES = {"photos": photos, "table": table, "suspicious": suspicious}
