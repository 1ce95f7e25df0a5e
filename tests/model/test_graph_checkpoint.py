"""Weights alone, and pickles under any name: refused before anything of theirs runs, with the way out."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sealift.errors import ModelError
from sealift.model.graph_checkpoint import read_weights
from sealift.model.graph_formats import ModelFile, adapt_file, files_of, size_of
from sealift.model.graph_unpickle import names_in


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (str(self._witness), "w")


def checkpoint(path: Path, pickled: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/data/0", np.arange(4, dtype="<f4").tobytes())
    return path


def tensor(kind: str = "FloatStorage", numel: int = 4) -> bytes:
    """A tensor of four numbers, as torch pickles it."""
    storage = b"(X\x07\0\0\0storagectorch\n" + kind.encode() + b"\nX\x01\0\0\x000X\x03\0\0\0cpuK"
    storage += bytes([numel]) + b"tQ"
    shape = b"K" + bytes([numel]) + b"\x85K\x01\x85"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + shape + b"\x89}tR"


def keyed(name: str, value: bytes) -> bytes:
    """A dict of one entry."""
    return b"}X" + len(name).to_bytes(4, "little") + name.encode() + value + b"s"


def adapted(path: Path, out: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        adapt_file(ModelFile(path), out)
    assert not out.exists()
    return caught.value


def test_a_checkpoint_that_wants_to_run_code_is_refused_and_nothing_ran(tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    path = checkpoint(tmp_path / "weights.pth", pickle.dumps({"w": Touch(witness)}, 2))
    error = adapted(path, tmp_path / "out")
    assert "weights.pth: the weights file asks for io.open, no part of a state dict" in error.message
    assert "nothing was run" in error.message
    for way_out in (
        "state_dict()",
        "[model] architecture",
        "safetensors.torch.save_file",
        "ONNX or TorchScript",
    ):
        assert way_out in (error.next_step or "")
    assert not witness.exists()


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.pth", "model.onnx"])
def test_a_bare_pickle_is_refused_under_any_name_and_nothing_ran(name: str, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Touch(witness), 4))
    error = adapted(path, tmp_path / "out")
    assert "io.open" in error.message
    assert "[model] architecture" in (error.next_step or "")
    assert not witness.exists()


def test_a_compressed_joblib_file_is_known_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_bytes(b"x\x9c" + bytes(40))
    error = adapted(path, tmp_path / "out")
    assert "is a joblib file, a Python pickle, which sealift never executes" in error.message
    assert "skl2onnx" in (error.next_step or "")


def test_a_torchserve_archive_is_taken_over_by_init(tmp_path: Path) -> None:
    path = tmp_path / "resnet.mar"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", "{}")
    error = adapted(path, tmp_path / "out")
    assert "is a TorchServe archive" in error.message
    assert error.next_step == "sealift init NEW --from resnet.mar"


def test_plain_weights_are_no_model_and_the_way_to_one_is_named(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "weights.pth", b"\x80\x02" + keyed("w", tensor()) + b".")
    error = adapted(path, tmp_path / "out")
    assert error.message == "weights.pth holds weights and no graph, so no engine loads it alone"
    assert 'architecture = "net.py:Net"' in (error.next_step or "")
    assert "sealift optimize" in (error.next_step or "")
    assert files_of(path) == (path,)
    assert size_of(path) == path.stat().st_size


def test_torchscript_under_the_name_of_weights_is_sent_to_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/code/net.py", "")
    error = adapted(path, tmp_path / "out")
    assert "TorchScript archive" in error.message
    assert "end in .pt" in (error.next_step or "")


def test_weights_that_a_training_script_keeps_beside_plain_values_are_found(tmp_path: Path) -> None:
    inner = keyed("w", tensor())
    pickled = b"\x80\x02" + keyed("state_dict", inner) + b"X\x05\0\0\0epochK\x03s."
    weights = read_weights(checkpoint(tmp_path / "weights.pth", pickled))
    assert {name: values.tolist() for name, values in weights.items()} == {"w": [0, 1, 2, 3]}


def test_bfloat16_is_read_as_float32(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    wanted = np.array([1.0, -2.5, 0.0, 3e38], dtype=np.float32)
    halves = (wanted.view(np.uint32) >> 16).astype("<u2")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + keyed("w", tensor("BFloat16Storage")) + b".")
        archive.writestr("a/data/0", halves.tobytes())
    read = read_weights(path)["w"]
    assert read.dtype == np.float32
    assert np.array_equal(read, (halves.astype(np.uint32) << 16).view(np.float32))


def test_the_optimizers_state_is_refused_with_what_to_save_instead(tmp_path: Path) -> None:
    pickled = pickle.dumps({"optimizer": {"state": {0: 1.0}}}, 2)
    error = adapted(checkpoint(tmp_path / "weights.pth", pickled), tmp_path / "out")
    assert "a key in the weights file is a int, expected text" in error.message
    assert "torch.save(model.state_dict()" in (error.next_step or "")


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_the_names_in_a_pickle_are_found_without_running_it(protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps([OrderedDict(), Touch(tmp_path / "ran")], protocol))
    assert names_in(path) == ("collections.OrderedDict", "io.open")
    assert not (tmp_path / "ran").exists()


def test_a_damaged_pickle_tells_the_names_before_the_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02cos\nsystem\n\xff\xff")
    assert names_in(path) == ("os.system",)


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_pickled_module_under_the_name_of_a_model_is_told_with_what_it_asks_for(
    suffix: str, tmp_path: Path
) -> None:
    witness = tmp_path / "ran"
    path = checkpoint(tmp_path / f"model{suffix}", pickle.dumps([OrderedDict(), Touch(witness)], 2))
    error = adapted(path, tmp_path / "out")
    assert error.message == (
        f"model{suffix} is a PyTorch checkpoint, a pickle that sealift never executes (it asks for io.open)"
    )
    assert "state_dict()" in (error.next_step or "")
    assert not witness.exists()


def test_a_state_dict_under_the_name_of_torchscript_is_sent_to_its_own_name(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "model.pt", b"\x80\x02" + keyed("w", tensor()) + b".")
    error = adapted(path, tmp_path / "out")
    assert error.message == "model.pt is a PyTorch checkpoint, weights without a graph"
    assert (error.next_step or "").startswith(
        "let its name end in .pth, and name the Python that builds its module"
    )
