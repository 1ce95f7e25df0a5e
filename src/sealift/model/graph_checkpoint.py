"""A file of weights alone -> its tensors, or a refusal that says what it really is. Connected side only."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from sealift.errors import ModelError
from sealift.model.graph_unpickle import PLAIN_WEIGHTS, names_of
from sealift.model.graph_weights import read_tensors

_NEEDS_EXPORT: Final = (
    'name the Python that builds its module, [model] architecture = "net.py:Net", '
    "then sealift optimize DIR makes ONNX of both"
)
_PLAIN: Final = re.compile(
    r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|parameter)|torch\.\w+Storage"
)
"""What tensors and dicts of them need."""
_SHOWN: Final = 5


def read_weights(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a `.pth`, read without PyTorch and without running its pickle.

    Raises: ModelError: as `graph_weights.read_tensors`, or it is a whole model under the name of weights. What the
        file would run is named, and the ways out.
    """
    _refuse_script(path)
    try:
        return read_tensors(path)
    except ModelError as error:
        raise ModelError(
            f"{path.name}: {error.message}",
            problems=error.problems,
            next_step=error.next_step or PLAIN_WEIGHTS,
        ) from error


def weights_alone(path: Path) -> ModelError:
    """The refusal of weights where a whole model is wanted; what could run as code is refused first.

    Raises: ModelError: as `read_weights`; a `.safetensors` is not looked into.
    """
    if path.suffix != ".safetensors":
        read_weights(path)
    return ModelError(
        f"{path.name} holds weights and no graph, so no engine loads it alone", next_step=_NEEDS_EXPORT
    )


def refuse_checkpoint(path: Path) -> None:
    """Refuse what bears the name of a whole PyTorch model and is `torch.save`'s: weights, or a pickled module.

    Raises: ModelError: it is; with what its pickle would import, and the ways out. Anything else passes.
    """
    names = _names_in_checkpoint(path)
    if names is None:
        return
    strange = [name for name in names if not _PLAIN.fullmatch(name)]
    if strange:
        more = " and more" if len(strange) > _SHOWN else ""
        raise ModelError(
            f"{path.name} is a PyTorch checkpoint, a pickle that sealift never executes "
            f"(it asks for {', '.join(strange[:_SHOWN])}{more})",
            next_step=PLAIN_WEIGHTS,
        )
    raise ModelError(
        f"{path.name} is a PyTorch checkpoint, weights without a graph",
        next_step=f"let its name end in .pth, and {_NEEDS_EXPORT}",
    )


def _names_in_checkpoint(path: Path) -> tuple[str, ...] | None:
    """None: no checkpoint, or not readable."""
    try:
        with zipfile.ZipFile(path) as archive:
            inside = archive.namelist()
            pickles = [name for name in inside if name.endswith("data.pkl")]
            if len(pickles) != 1 or any(
                "/code/" in name or name.endswith("/archive_format") for name in inside
            ):
                return None
            with archive.open(pickles[0]) as stream:
                return names_of(stream)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return None


def _refuse_script(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            is_script = any("/code/" in f"/{name}" for name in archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return
    if is_script:
        raise ModelError(
            f"{path.name} is a TorchScript archive, a whole model",
            next_step="let its name end in .pt, then it is served as it is; it needs no [model] architecture",
        )
