"""`init --from`: what it says of anything else, and a disk that stays as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sealift.cli.main import run
from sealift.errors import UsageError
from sealift.migrate.old_service import OldService, read_old_service, to_toml
from sealift.migrate.take_over import take_over
from sealift.project.file import load_project


@pytest.fixture
def repository(tmp_path: Path, row_net: Callable[..., Path]) -> Path:
    """The smallest old service: a Triton model without a configuration."""
    return row_net(tmp_path / "old" / "risk" / "1" / "model.onnx").parents[2]


def test_anything_else_is_refused_with_the_four_kinds(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "file.txt").write_text("x")
    for source, found in (
        ("some", 'a folder with "file.txt"'),
        ("some/file.txt", 'a file "file.txt" of another kind'),
    ):
        with pytest.raises(UsageError) as caught:
            take_over(tmp_path / "new", tmp_path / source)
        assert caught.value.message.endswith(f"expected one of the kinds below, found {found}")
        assert [problem.partition(" (")[0] for problem in caught.value.problems] == [
            "a Python script of a Flask service",
            "a TorchServe archive",
            "a Triton model repository",
            "an MLflow model",
        ]
    assert not (tmp_path / "new").exists()


def test_a_path_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such file or folder"):
        take_over(tmp_path / "new", tmp_path / "gone.mar")


@pytest.mark.parametrize(("flag", "value"), [("--model", "net.onnx"), ("--template", "image")])
def test_from_stands_alone(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    assert run(["init", str(tmp_path / "new"), "--from", str(repository), flag, value]) == 2
    assert f"leave {flag} out" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_project_that_is_there_is_never_overwritten(
    tmp_path: Path, repository: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    take_over(tmp_path / "new", repository)
    before = contents(tmp_path)
    with pytest.raises(UsageError) as caught:
        take_over(tmp_path / "new", repository)
    assert caught.value.problems == (
        f"{tmp_path}/new/sealift.toml is already there; it is never overwritten",
    )
    assert contents(tmp_path) == before


def test_no_file_of_the_folder_is_overwritten_either(
    tmp_path: Path, repository: Path, contents: Callable[[Path], dict[str, bytes]]
) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "old-service.toml").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(UsageError) as caught:
        take_over(tmp_path / "new", repository)
    assert caught.value.problems == (f"{tmp_path}/new/old-service.toml is already there",)
    assert contents(tmp_path) == before


def test_a_name_of_ones_own_and_json(
    tmp_path: Path, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["init", str(tmp_path / "new"), "--from", str(repository), "--name", "teller", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "a Triton model repository"
    assert said["understood"] == ["risk: version 1, model.onnx (onnxruntime)"]
    assert said["check"] == []
    assert [Path(path).name for path in said["files"]] == ["sealift.toml", "model.onnx", "old-service.toml"]
    assert load_project(tmp_path / "new").name == "teller"


def test_a_wrong_name_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        take_over(tmp_path / "new", tmp_path / "gone", name="No Name")
    assert caught.value.problems[0].startswith("name: expected")


def test_external_data_of_a_model_comes_along(tmp_path: Path, repository: Path) -> None:
    import onnx

    path = repository / "risk" / "1" / "model.onnx"
    model = onnx.load(path)
    path.unlink()
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    take_over(tmp_path / "new", repository)
    assert (tmp_path / "new" / "risk" / "weights.bin").is_file()


@pytest.mark.slow
def test_an_onnx_model_is_taken_over_without_torch(tmp_path: Path, repository: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sealift.migrate.take_over import take_over; "
        "take_over(Path(sys.argv[1]), Path(sys.argv[2])); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "new"), str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_what_does_not_run_yet_is_a_thing_to_check(tmp_path: Path, repository: Path) -> None:
    (repository / "risk" / "config.pbtxt").write_text(
        'output [{ name: "z" label_filename: "words.txt" data_type: TYPE_FP32 }]'
    )
    (repository / "risk" / "words.txt").write_text("a\n")
    taken = take_over(tmp_path / "new", repository)
    (text,) = taken.draft.check
    assert text.startswith("it does not run yet: model risk: ")
    assert f"# CHECK: {text}" in (tmp_path / "new" / "sealift.toml").read_text()


def test_old_service_toml_is_read_as_it_is_written(tmp_path: Path) -> None:
    service = OldService(form='base64:ph"o\to', path="/x", prediction="a.b", score="c")
    (tmp_path / "old-service.toml").write_text(to_toml(service))
    assert read_old_service(tmp_path) == service
    assert read_old_service(tmp_path / "elsewhere") == OldService()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("form = ", "not TOML"),
        ('from = "raw"\nscore = 1\n', "cannot be read"),
        (
            'form = "base64"\n',
            'form: expected "raw", "json", "v2", "mlflow", "base64:FIELD" or "file:FIELD", got "base64"',
        ),
    ],
)
def test_a_wrong_old_service_toml_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "old-service.toml").write_text(text)
    with pytest.raises(UsageError, match=r"old-service\.toml") as caught:
        read_old_service(tmp_path)
    assert said in caught.value.message
    if not text.startswith("form"):
        assert caught.value.problems == (
            "'from' is not a key; there are form, path, prediction, score",
            "score: expected a string, got 1",
        )
