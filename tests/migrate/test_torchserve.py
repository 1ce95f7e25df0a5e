"""TorchServe archives: one made by torch-model-archiver, and those that nobody should have made."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sealift.errors import ModelError, UsageError
from sealift.migrate.archive import unpack_archive
from sealift.migrate.take_over import take_over
from sealift.migrate.torchserve import IMAGE_NET, read_torchserve
from sealift.migrate.torchserve_handler import read_handler
from sealift.model.declaration import ClassesOutput, ImageInput
from sealift.project.file import load_project

OWN_HANDLER = """
import io

import numpy as np
import torch
from PIL import Image
from ts.torch_handler.base_handler import BaseHandler


class Letters(BaseHandler):
    SIDE = 8

    def initialize(self, context):
        super().initialize(context)
        self.threshold = 0.5

    def preprocess(self, data):
        return torch.stack([self.one(each.get("data") or each.get("body")) for each in data])

    def one(self, body):
        image = Image.open(io.BytesIO(body)).convert("L").resize((self.SIDE, self.SIDE))
        return torch.from_numpy(np.asarray(image, np.float32) / 255).reshape(-1)

    def postprocess(self, output):
        return [{"prediction": int(row.argmax())} for row in output]
"""


def archive(folder: Path, model: dict[str, Any], files: dict[str, bytes]) -> Path:
    """A folder as TorchServe unpacks it."""
    (folder / "MAR-INF").mkdir(parents=True)
    (folder / "MAR-INF" / "MANIFEST.json").write_text(json.dumps({"runtime": "python", "model": model}))
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def archived(folder: Path, handler: str, *more: str) -> Path:
    """What torch-model-archiver makes of `folder/net.pt`."""
    program = Path(sys.executable).with_name("torch-model-archiver")
    command = [str(program), "--model-name", "letters", "--version", "1.0", "--serialized-file", "net.pt"]
    subprocess.run([*command, "--handler", handler, *more], cwd=folder, check=True, capture_output=True)
    return folder / "letters.mar"


@pytest.mark.slow
def test_the_image_classifier_of_an_archive_becomes_what_it_does(
    tmp_path: Path, script_net: Callable[[Path, int], Path]
) -> None:
    script_net(tmp_path / "net.pt", 3)
    (tmp_path / "index_to_name.json").write_text(
        json.dumps({str(n): [f"n{n}", w] for n, w in enumerate("abcd")})
    )
    (tmp_path / "notes.txt").write_text("x")
    mar = archived(tmp_path, "image_classifier", "--extra-files", "index_to_name.json,notes.txt")
    taken = take_over(tmp_path / "new", mar)
    entry = load_project(tmp_path / "new").models[0]
    assert entry.input == IMAGE_NET
    assert entry.output == ClassesOutput(labels=("a", "b", "c", "d"), activation="softmax")
    assert taken.draft.service.path == "/predictions/letters"
    assert "files that are left behind: notes.txt" in taken.draft.check
    assert not any("does not run" in text for text in taken.draft.check)


@pytest.mark.slow
def test_a_handler_of_ones_own_runs_without_torchserve(
    tmp_path: Path, photos: Path, script_net: Callable[[Path, int], Path]
) -> None:
    script_net(tmp_path / "net.pt", 64)
    (tmp_path / "letters.py").write_text(OWN_HANDLER)
    taken = take_over(tmp_path / "new", archived(tmp_path, "letters.py", "--archive-format", "zip-store"))
    assert "TorchScript tells no shapes: complete datatype and shape of [[model.inputs]]" in taken.draft.check
    project = tmp_path / "new" / "sealift.toml"
    project.write_text(project.read_text().replace('shape = ["batch", 1]', 'shape = ["batch", 64]'))
    command = [
        sys.executable,
        "-m",
        "sealift",
        "predict",
        str(photos / "0.png"),
        "--project",
        str(tmp_path / "new"),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["prediction"] in range(4)


@pytest.mark.slow
def test_weights_that_are_a_pickle_are_refused(tmp_path: Path) -> None:
    import torch

    torch.save(torch.nn.Linear(3, 4).state_dict(), tmp_path / "net.pt")
    mar = archived(tmp_path, "image_classifier")
    with pytest.raises(ModelError, match="is a PyTorch checkpoint, a pickle that sealift never executes"):
        take_over(tmp_path / "new", mar)
    assert not (tmp_path / "new").exists()


def test_eager_mode_is_refused_with_the_way_out(tmp_path: Path) -> None:
    said = {
        "modelName": "m",
        "serializedFile": "w.pth",
        "modelFile": "model.py",
        "handler": "image_classifier",
    }
    with pytest.raises(ModelError, match="eager mode") as caught:
        read_torchserve(archive(tmp_path / "old", said, {"w.pth": b"", "model.py": b""}))
    assert caught.value.next_step is not None
    assert "torch.jit.trace" in caught.value.next_step


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({"serializedFile": "gone.pt"}, 'serializedFile "gone.pt" is missing'),
        ({"serializedFile": "../net.pt"}, 'serializedFile "../net.pt" is missing'),
        ({}, 'serializedFile "" is missing'),
    ],
)
def test_a_manifest_without_its_model_is_refused(tmp_path: Path, model: dict[str, Any], said: str) -> None:
    (tmp_path / "net.pt").write_bytes(b"")
    with pytest.raises(UsageError, match=said):
        read_torchserve(archive(tmp_path / "old", model, {}))


def test_an_onnx_model_in_an_archive_needs_no_torch(tmp_path: Path, photo_net: Callable[..., Path]) -> None:
    photo_net(tmp_path / "net.onnx", 224, 224)
    said = {"modelName": "m", "serializedFile": "net.onnx", "handler": "image_classifier"}
    folder = archive(tmp_path / "old", said, {"net.onnx": (tmp_path / "net.onnx").read_bytes()})
    taken = take_over(tmp_path / "new", folder)
    assert load_project(tmp_path / "new").models[0].input == IMAGE_NET
    assert "requirements.txt" not in taken.draft.files


@pytest.mark.parametrize("handler", ["object_detector", "text_classifier", "something"])
def test_a_handler_that_no_declaration_says_is_left_to_check(
    tmp_path: Path, photo_net: Callable[..., Path], handler: str
) -> None:
    photo_net(tmp_path / "net.onnx")
    said = {"modelName": "m", "serializedFile": "net.onnx", "handler": handler}
    draft = read_torchserve(
        archive(tmp_path / "old", said, {"net.onnx": (tmp_path / "net.onnx").read_bytes()})
    )
    assert any(f'handler "{handler}" is not taken over' in text for text in draft.check)


def test_transforms_of_a_vision_handler_become_a_declaration(tmp_path: Path) -> None:
    (tmp_path / "h.py").write_text(
        "from torchvision import transforms\nfrom ts.torch_handler.image_classifier import ImageClassifier\n"
        "class Mine(ImageClassifier):\n    image_processing = transforms.Compose([transforms.Resize(32), "
        "transforms.CenterCrop(28), transforms.ToTensor()])\n"
    )
    assert read_handler(tmp_path / "h.py").declared == ImageInput(
        size=(28, 28), resize=32, std=(255.0,), decode="exact"
    )


def test_what_a_handler_has_of_torchserve_is_named(tmp_path: Path) -> None:
    (tmp_path / "h.py").write_text(OWN_HANDLER.replace("row.argmax()", "row[0] > self.threshold"))
    own = read_handler(tmp_path / "h.py")
    assert (
        "handler.py: self.threshold came from TorchServe or initialize(); give it in the class" in own.check
    )
    assert "ts.torch_handler" not in own.text
    assert own.imports == ("PIL", "io", "numpy", "torch")


def zipped(path: Path, *entries: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in entries:
            opened.writestr(name, data)
    return path


def link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def test_an_archive_that_would_write_elsewhere_is_refused_as_a_whole(tmp_path: Path) -> None:
    mar = zipped(
        tmp_path / "m.mar", ("ok", b""), ("../up", b""), ("/etc/x", b""), ("a\\..\\b", b""), (link("l"), b"/")
    )
    with pytest.raises(UsageError, match="is refused; nothing was unpacked") as caught:
        take_over(tmp_path / "new", mar)
    assert caught.value.problems == (
        "'../up': its path leads out of the archive",
        "'/etc/x': its path leads out of the archive",
        "'a\\\\..\\\\b': its path leads out of the archive",
        "'l': it is a link",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.mar"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    mar = zipped(tmp_path / "m.mar", ("zeros", bytes(80_000_000)))
    with pytest.raises(UsageError) as caught:
        unpack_archive(mar, tmp_path / "out")
    assert caught.value.problems == ("it would grow from 0.1 to 80.0 MB (a zip bomb?)",)
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    mar = zipped(tmp_path / "m.mar", ("a", b"some bytes" * 10))
    data = bytearray(mar.read_bytes())
    data[35] ^= 0xFF
    mar.write_bytes(data)
    with pytest.raises(UsageError, match="cannot be unpacked"):
        take_over(tmp_path / "new", mar)


def test_a_zip_that_is_no_archive_of_torchserve_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no MAR-INF/MANIFEST\.json"):
        take_over(tmp_path / "new", zipped(tmp_path / "m.mar", ("a", b"")))
