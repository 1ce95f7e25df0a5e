"""`init` with weights and the Python of their module: a project that loads, and folders that stay as they were."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from sealift.cli.main import run
from sealift.errors import SealiftError, UsageError
from sealift.project.file import load_project
from sealift.project.forward import UNKNOWN, forward_arguments
from sealift.project.project import Architecture
from sealift.project.scaffold import init_project
from sealift.project.templates import TEMPLATES

NET = """
import sizes
from elsewhere import Imported

raise SystemExit("it was run")

class Net(Base):
    def __init__(self, classes): ...
    def forward(self, image, mask, *, scale=1.0, extra=None): ...

class Short(Base):
    def forward(self, x, y=None): ...

class Inherits(Net): ...

def build(classes): ...

alias = build
"""


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Empty weights, with `net.py` and what it imports beside them."""
    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "net.py").write_text(NET)
    (folder / "sizes.py").write_text("WIDTH = 8\n")
    (folder / "other.py").write_text("")
    path = folder / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    return path


def net(weights: Path, name: str = "Net") -> str:
    return f"{weights.parent / 'net.py'}:{name}"


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_project_of_weights_loads_at_once(template: str, weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "marks"
    written = init_project(out, model=weights, architecture=net(weights), template=template)
    assert written[0] == out / "sealift.toml"
    assert {path.name for path in out.iterdir()} == {
        "sealift.toml",
        "weights.safetensors",
        "net.py",
        "sizes.py",
    }
    (model,) = load_project(out).models
    assert model.needs_export
    assert model.architecture == Architecture(out.resolve() / "net.py", "Net")
    assert model.inputs


def test_the_arguments_of_forward_become_inputs_to_check(weights: Path, tmp_path: Path) -> None:
    init_project(tmp_path / "p", model=weights, architecture=net(weights))
    assert [spec.name for spec in load_project(tmp_path / "p").models[0].inputs] == ["image", "mask"]
    text = (tmp_path / "p/sealift.toml").read_text()
    assert "# Weights tell no shapes. CHECK datatype and shape of each argument of forward()." in text
    assert "# arguments = { classes = 10 }" in text


def test_what_lies_in_the_project_folder_already_is_used_where_it_is(weights: Path) -> None:
    folder = weights.parent
    assert init_project(folder, model=weights, architecture=net(weights)) == (folder / "sealift.toml",)
    assert load_project(folder).models[0].architecture == Architecture(folder.resolve() / "net.py", "Net")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Net", ("image", "mask")),
        ("Short", ("x",)),
        ("Inherits", UNKNOWN),
        ("build", UNKNOWN),
        ("alias", UNKNOWN),
        ("Imported", UNKNOWN),
    ],
)
def test_forward_is_read_and_not_run(name: str, arguments: tuple[str, ...], weights: Path) -> None:
    assert forward_arguments(weights.parent / "net.py", name) == arguments


def refused(tmp_path: Path, model: Path | None, architecture: str | None) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        init_project(tmp_path / "new", model=model, architecture=architecture)
    assert not (tmp_path / "new").exists()
    return caught.value


def test_weights_without_an_architecture_are_asked_for_it(weights: Path, tmp_path: Path) -> None:
    error = refused(tmp_path, weights, None)
    assert error.problems == (
        "model: weights.safetensors holds weights; name the Python that builds their module: --architecture net.py:Net",
    )


@pytest.mark.parametrize(
    ("architecture", "problem"),
    [
        ("net.py", 'architecture: expected "FILE.py:NAME" such as "net.py:Net", got "net.py"'),
        ("net:Net", 'architecture: expected "FILE.py:NAME" such as "net.py:Net", got "net:Net"'),
        ("none.py:Net", "architecture: none.py is not there"),
    ],
)
def test_an_architecture_that_leads_nowhere_is_refused(
    architecture: str, problem: str, weights: Path, tmp_path: Path
) -> None:
    assert refused(tmp_path, weights, architecture).problems == (problem,)


def test_an_architecture_of_a_whole_model_is_refused(weights: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"")
    (problem,) = refused(tmp_path, model, net(weights)).problems
    assert problem == 'architecture: it belongs to weights (".safetensors" or ".pth"), given with model.onnx'
    assert "given with no model" in refused(tmp_path, None, net(weights)).problems[0]


def test_a_name_that_the_python_lacks_is_refused_with_the_likely_one(weights: Path, tmp_path: Path) -> None:
    assert (
        refused(tmp_path, weights, net(weights, "Nett")).message == 'net.py has no Nett; did you mean "Net"?'
    )


def test_python_that_is_none_is_refused(weights: Path, tmp_path: Path) -> None:
    (weights.parent / "net.py").write_text("class Net(:\n")
    assert "net.py is not valid Python" in refused(tmp_path, weights, net(weights)).message


def test_weights_that_want_to_run_code_are_refused_and_nothing_ran(weights: Path, tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
            return open, (str(tmp_path / "ran"), "w")

    hostile = weights.with_name("hostile.pth")
    with zipfile.ZipFile(hostile, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(Touch(), 2))
    error = refused(tmp_path, hostile, net(weights))
    assert "hostile.pth: the weights file asks for io.open" in error.message
    assert not (tmp_path / "ran").exists()


def test_weights_with_the_name_of_the_python_are_refused(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        init_project(tmp_path / "new", model=weights.with_name("net.py"), architecture=net(weights))
    assert not (tmp_path / "new").exists()


def test_the_command_names_optimize_as_the_next_one(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "marks"
    assert run(["init", str(new), "--model", str(weights), "--architecture", net(weights)]) == 0
    told = capsys.readouterr()
    assert f"sealift optimize {new}/" in told.out + told.err
