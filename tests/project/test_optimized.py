"""What `sealift optimize` left, as everybody else reads it: whole, of this very project, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest
from tests.optimize.projects import linear_net

from sealift.errors import ProjectError
from sealift.model.onnx_graph import read_signature
from sealift.project.file import load_project
from sealift.project.optimized import (
    ShippedFile,
    ShippedVariant,
    Shipping,
    encode_shipping,
    folder_of,
    read_shipping,
    source_digest,
)
from sealift.project.project import Project
from sealift.project.served import prepare_models

REPORT = b"{}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    linear_net(tmp_path / "net.onnx", (4, 3, 2))
    (tmp_path / "sealift.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\n[model]\npath = "net.onnx"\n[handler]\nmodule = "handler.py"\n'
    )
    (tmp_path / "handler.py").write_text("def postprocess(outputs):\n    return {'prediction': 1}\n")
    return load_project(tmp_path)


def ship(project: Project, **changes: object) -> Shipping:
    """As `optimize` writes it: two variants of one file each, and a report."""
    folder = folder_of(project, "p")
    data = (project.root / "net.onnx").read_bytes()
    variants = []
    for name in ("int8-static", "fp32"):
        (folder / f"{name}-00000000").mkdir(parents=True, exist_ok=True)
        (folder / f"{name}-00000000" / "model.onnx").write_bytes(data)
        files = (ShippedFile(name="model.onnx", sha256=sha256(data)),)
        variants.append(
            ShippedVariant(name=name, folder=f"{name}-00000000", engine="", precision="", files=files)
        )
    (folder / "report.json").write_bytes(REPORT)
    shipping = Shipping(
        source=source_digest(project, project.models[0]),
        report=f"sha256:{sha256(REPORT)}",
        verdict="int8-static ships",
        signature=read_signature(project.root / "net.onnx"),
        variants=tuple(variants),
    )
    shipping = msgspec.structs.replace(shipping, **changes)
    (folder / "shipping.json").write_bytes(encode_shipping(shipping))
    return shipping


def test_nothing_was_optimised_and_nothing_is_claimed(project: Project) -> None:
    assert read_shipping(project, project.models[0]) is None


def test_what_was_kept_serves_with_its_variants_in_order(project: Project, tmp_path: Path) -> None:
    shipping = ship(project)
    assert read_shipping(project, project.models[0]) == shipping
    prepared = prepare_models(project, tmp_path / "served")
    (model,) = prepared.models
    assert [each.name for each in model.variants] == ["int8-static", "fp32"]
    assert model.path == tmp_path / "served" / "p" / "int8-static" / "model.onnx"
    assert model.path.is_file()
    assert prepared.shipped == {"p": shipping}


def test_a_project_may_be_moved_as_a_whole(
    project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ship(project)
    moved = project.root.rename(tmp_path_factory.mktemp("elsewhere") / "moved")
    again = load_project(moved)
    assert read_shipping(again, again.models[0]) is not None


@pytest.mark.parametrize("what", ["net.onnx", "handler.py", "sealift.toml"])
def test_another_model_handler_or_declaration_makes_it_stale(project: Project, what: str) -> None:
    ship(project)
    path = project.root / what
    if what == "sealift.toml":
        path.write_text(path.read_text() + '[optimize]\nprefer = "size"\n')
    elif what == "handler.py":
        path.write_text(path.read_text() + "# changed\n")
    else:
        linear_net(path, (4, 3, 2), seed=99)
    again = load_project(project.root)
    with pytest.raises(ProjectError, match="measured for another state of the model") as refused:
        read_shipping(again, again.models[0])
    assert refused.value.next_step is not None
    assert refused.value.next_step.startswith(f"sealift optimize {project.root}, or delete ")


def test_every_file_that_is_not_what_was_measured_is_named(project: Project) -> None:
    ship(project)
    folder = folder_of(project, "p")
    (folder / "fp32-00000000" / "model.onnx").write_bytes(b"other")
    (folder / "int8-static-00000000" / "model.onnx").unlink()
    (folder / "report.json").write_bytes(b"[]")
    with pytest.raises(ProjectError) as refused:
        read_shipping(project, project.models[0])
    assert [problem.split(":")[0] for problem in refused.value.problems] == [
        "report.json",
        "int8-static-00000000/model.onnx",
        "fp32-00000000/model.onnx",
    ]


@pytest.mark.parametrize("data", [b"", b"[]", b'{"format": 1}', b'{"nonsense": true}'])
def test_a_damaged_document_is_refused(project: Project, data: bytes) -> None:
    ship(project)
    (folder_of(project, "p") / "shipping.json").write_bytes(data)
    with pytest.raises(ProjectError, match=r"shipping\.json cannot be read"):
        read_shipping(project, project.models[0])


def test_another_format_is_refused(project: Project) -> None:
    ship(project, format=2)
    with pytest.raises(ProjectError, match="written by another sealift"):
        read_shipping(project, project.models[0])


@pytest.mark.parametrize("folder", ["..", "/tmp", "a/../../b"])
def test_a_document_that_points_elsewhere_is_refused(project: Project, folder: str, tmp_path: Path) -> None:
    kept = ship(project)
    variant = msgspec.structs.replace(kept.variants[0], folder=folder)
    ship(project, variants=(variant,))
    with pytest.raises(ProjectError, match="1 problem") as refused:
        prepare_models(project, tmp_path / "served")
    assert "which is no plain path in its folder" in refused.value.problems[0]


def test_weights_alone_are_served_only_after_optimize_made_a_model_of_them(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("class Net: ...\n")
    (tmp_path / "weights.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    (tmp_path / "sealift.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\n[model]\npath = "weights.safetensors"\narchitecture = "net.py:Net"\n'
        '[[model.inputs]]\nname = "x"\ndatatype = "FP32"\nshape = ["batch", 4]\n'
    )
    with pytest.raises(ProjectError) as refused:
        prepare_models(load_project(tmp_path), tmp_path / "served")
    (problem,) = refused.value.problems
    assert "weights.safetensors holds weights, and nobody has made a model of them" in problem
    assert problem.endswith(f"sealift optimize {tmp_path.resolve()}")
