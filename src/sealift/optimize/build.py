"""Name of a candidate -> its files. One function each; what makes no sense for a model is told, not tried."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sealift.events import Progress
from sealift.model.arrays import Arrays
from sealift.optimize.candidates import Built, NotApt
from sealift.optimize.gates import Bounds
from sealift.optimize.quantise.calibrate import CalibrationWish, calibrate
from sealift.optimize.quantise.dynamic_int8 import (
    DynamicRecipe,
    is_apt_for_dynamic,
    is_apt_for_static,
    quantise_dynamic,
)
from sealift.optimize.quantise.fuse import Fused, FuseWish, fuse
from sealift.optimize.quantise.half import convert_to_half
from sealift.optimize.quantise.overflow import overflow_risk
from sealift.optimize.quantise.static_int8 import StaticRecipe
from sealift.optimize.quantise.static_search import Found, search
from sealift.optimize.subject import REFERENCE, Subject, engine_name


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where and from what candidates are built. `hopeless`: why none is worth building, whatever it is.
    `fused` holds the reference's fused graph once it was asked for."""

    subject: Subject
    work: Path
    bounds: Bounds
    progress: Progress
    hopeless: str = ""
    fused: list[Fused] = field(default_factory=list)

    def empty(self, name: str) -> Path:
        """A new folder for a candidate's files."""
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder


class CalibrationInputs:
    """The calibration items as the engine gets them, one at a time, as often as they are gone through."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    def __len__(self) -> int:
        return len(self._subject.material.calibration)

    def __iter__(self) -> Iterator[tuple[str, Arrays]]:
        for item in self._subject.material.calibration:
            yield item.name, item.prepare(self._subject.pipeline).inputs


def names_of(subject: Subject) -> tuple[str, ...]:
    """The candidates that the project names, else those that suit the model's engine; never the reference itself."""
    wanted = subject.project.optimize.candidates or _USUAL.get(served_by(subject), ())
    return tuple(name for name in wanted if name != REFERENCE)


def served_by(subject: Subject) -> str:
    """The engine that serves the reference."""
    return engine_name(subject.reference)


def build(name: str, shop: Workshop) -> tuple[Built, ...]:
    """Write the files of a candidate, of static INT8 also those with some layers in floating point (`int8-mixed`).

    Raises: NotApt: it cannot be made of this model, or makes no sense for it. SealiftError: it failed.
    """
    if shop.hopeless:
        raise NotApt(shop.hopeless)
    if "cpu" not in shop.subject.reference.device:
        raise NotApt("candidates are measured on the cpu, and this model is declared for another device only")
    if name == "int8-static":
        return _int8_static(shop)
    return (_BUILDERS[name](shop),)


def _int8_static(shop: Workshop) -> tuple[Built, ...]:
    subject, model = shop.subject, _onnx(shop)
    apt, why = is_apt_for_static(model)
    if not apt:
        raise NotApt(why)
    if not subject.material.calibration:
        raise NotApt("static INT8 needs inputs to calibrate on; give [optimize] calibration")
    observed = calibrate(
        model, CalibrationInputs(subject), CalibrationWish(), shop.work / "calibration.npz", shop.progress
    )
    recipe = StaticRecipe(overflow_safe=not shop.bounds.target_int8)
    found = search(subject, model, observed, recipe, shop.empty("search"), shop.progress)
    return tuple(_static(shop, each, observed.items) for each in found)


def _static(shop: Workshop, found: Found, items: int) -> Built:
    recipe = found.recipe
    name = "int8-mixed" if recipe.exclude else "int8-static"
    path = shop.empty(name) / "model.onnx"
    found.path.rename(path)
    served = replace(shop.subject.reference, path=path, engine="", precision="int8")
    told = {
        "ranges": f"{recipe.method}, from {items} calibration inputs",
        "weights": f"per channel, {_SAFE if recipe.overflow_safe else '8 bits'}",
        "in floating point": ", ".join(recipe.exclude) or "no layer with weights",
    }
    return Built(name, served, path.parent, told, found.layers, overflow_risk(path).in_words())


def _int8_dynamic(shop: Workshop) -> Built:
    """What somebody names is built and measured; by itself it is tried only where linear layers weigh."""
    model = _onnx(shop)
    apt, why = is_apt_for_dynamic(model)
    named = "int8-dynamic" in shop.subject.project.optimize.candidates
    if not apt and not named:
        raise NotApt(why)
    recipe = DynamicRecipe(reduce_range=not shop.bounds.target_int8)
    if not apt:
        recipe = replace(recipe, kinds=(*recipe.kinds, "Conv"))
    folder = shop.empty("int8-dynamic")
    path = quantise_dynamic(model, recipe, folder / "model.onnx")
    served = replace(shop.subject.reference, path=path, engine="", precision="int8")
    told = {"weights": f"{', '.join(recipe.kinds)} in {'7' if recipe.reduce_range else '8'} bits",
            "activations": "ranges are taken at every run"}  # fmt: skip
    return Built("int8-dynamic", served, folder, told, overflow=overflow_risk(path).in_words())


def _fp16(shop: Workshop) -> Built:
    model, folder = _onnx(shop), shop.empty("fp16")
    path = convert_to_half(model, folder / "model.onnx")
    served = replace(shop.subject.reference, path=path, engine="", precision="fp16")
    return Built("fp16", served, folder, {"weights": "16 bits; inputs and outputs stay in 32"})


def _bf16(shop: Workshop) -> Built:
    """The reference's own file: OpenVINO calculates in bf16 where the processor can."""
    _needs_openvino(shop)
    folder = _copied(shop, "bf16")
    path = folder / shop.subject.reference.path.name
    served = replace(shop.subject.reference, path=path, engine="openvino", precision="bf16")
    return Built("bf16", served, folder, {"engine": "openvino, calculating in bf16"})


def _int8_nncf(shop: Workshop) -> Built:
    _needs_openvino(shop)
    if not shop.subject.material.calibration:
        raise NotApt("static INT8 needs inputs to calibrate on; give [optimize] calibration")
    from sealift.optimize.quantise.nncf_int8 import NncfRecipe, quantise_nncf

    folder = shop.empty("int8-nncf")
    source = shop.subject.reference.path
    recipe = NncfRecipe(overflow_fix=not shop.bounds.target_int8)
    inputs = CalibrationInputs(shop.subject)
    path = quantise_nncf(source, inputs, recipe, folder / "model.xml", shop.progress)
    served = replace(shop.subject.reference, path=path, engine="openvino", precision="int8")
    return Built("int8-nncf", served, folder, {"made by": "NNCF, for OpenVINO"})


def _as_onnx(shop: Workshop) -> Built:
    """TorchScript and torch.export archives, for onnxruntime."""
    if served_by(shop.subject) != "torch":
        raise NotApt("only a model that PyTorch serves can gain by becoming ONNX")
    from sealift.optimize.export.model import export_model

    folder = shop.empty("onnx")
    exported = export_model(shop.subject.entry, folder)
    if exported.signature.batch_axis is None and shop.subject.reference.signature.batch_axis is not None:
        raise NotApt("the ONNX that is made of it takes one row at a time")
    served = replace(shop.subject.reference, path=exported.path, engine="")
    return Built(
        "onnx", served, folder, {"made by": "torch.onnx", "notes": "; ".join(exported.notes) or "none"}
    )


def _onnx(shop: Workshop) -> Path:
    """The reference as ONNX, its graph fused where that changes no answer; made once.

    Raises: NotApt: there is no ONNX of it.
    """
    if not shop.fused:
        shop.progress.start("fuse the graph")
        place = shop.empty("fused") / "model.onnx"
        shop.fused.append(fuse(_graph(shop), place, FuseWish(examples=shop.subject.examples)))
    return shop.fused[0].path


def _graph(shop: Workshop) -> Path:
    """The reference itself where it is ONNX; what PyTorch serves is exported. Raises: NotApt. ModelError."""
    served = served_by(shop.subject)
    if served == "torch":
        from sealift.optimize.export.model import export_model

        return export_model(shop.subject.entry, shop.empty("exported")).path
    if served != "onnxruntime":
        raise NotApt(f"it is made of ONNX, and this model is served by {served}")
    return shop.subject.reference.path


def _copied(shop: Workshop, name: str) -> Path:
    folder = shop.empty(name)
    shutil.copytree(shop.subject.reference.path.parent, folder, dirs_exist_ok=True)
    return folder


def _needs_openvino(shop: Workshop) -> None:
    if served_by(shop.subject) not in ("onnxruntime", "openvino"):
        raise NotApt(f"OpenVINO does not load what {served_by(shop.subject)} serves")
    if find_spec("openvino") is None:
        raise NotApt("openvino is not installed here; pip install 'sealift[openvino]'")


_SAFE: Final = "scaled so that no sum overflows without VNNI"

_BUILDERS: Final[Mapping[str, Callable[[Workshop], Built]]] = {
    "bf16": _bf16,
    "fp16": _fp16,
    "int8-dynamic": _int8_dynamic,
    "int8-nncf": _int8_nncf,
    "onnx": _as_onnx,
}
_USUAL: Final[Mapping[str, tuple[str, ...]]] = {
    "onnxruntime": ("int8-static", "int8-dynamic"),
    "openvino": ("bf16", "int8-nncf"),
    "torch": ("onnx", "int8-static", "int8-dynamic"),
}
"""Engine -> what is tried where a project names nothing."""
