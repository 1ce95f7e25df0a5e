"""This machine -> what of it decides about speed: processor, cores, how it multiplies bytes, the engines' versions."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Final

from sealift.optimize.report import Machine
from sealift.target.host import CPUINFO, read_host

_TOLD: Final = (
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "i8mm",
)
_ENGINES: Final = ("onnxruntime", "openvino", "torch")


def this_machine(cpuinfo: Path = CPUINFO) -> Machine:
    """What stands in the report; without names of hosts or people."""
    flags = read_host(cpuinfo).cpu
    return Machine(
        cpu=_model_name(cpuinfo),
        cores=len(os.sched_getaffinity(0)),
        features=tuple(flag for flag in _TOLD if flag in flags),
        int8=int8_kind(flags),
        engines=dict(_versions()),
    )


def int8_kind(flags: Iterable[str]) -> str:
    """How a processor with these features multiplies bytes: `AMX`, `VNNI`, `dot product` (Arm), else `none`.

    `none` means AVX2's vpmaddubsw, which saturates at 16 bits (Intel SDM vol. 2, PMADDUBSW).
    """
    given = set(flags)
    if "amx_int8" in given:
        return "AMX"
    if any("vnni" in flag for flag in given):
        return "VNNI"
    return "dot product" if given & {"asimddp", "i8mm"} else "none"


def _model_name(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    named = (
        line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == "model name"
    )
    return next(named, "unknown")


def _versions() -> Iterable[tuple[str, str]]:
    for name in _ENGINES:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
