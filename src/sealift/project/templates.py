"""A first `sealift.toml`, from what is known of the model; every line that is a guess says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from sealift.model.signature import Axis, Signature, TensorSpec

Template = Literal["image", "tabular", "tensor"]
TEMPLATES: Final[tuple[Template, ...]] = ("image", "tabular", "tensor")

_FLOATS: Final = ("FP16", "FP32", "FP64")
_WIDEST_TABLE: Final = 256
"""Columns above this are not written out: such a width is rarely a table of named fields."""


def template_for(signature: Signature) -> Template:
    """`image` for one float photo input, `tabular` for several inputs of one value a row, else `tensor`."""
    if len(signature.inputs) == 1 and signature.inputs[0].datatype in _FLOATS and _photo(signature.inputs[0]):
        return "image"
    if len(signature.inputs) > 1 and all(_is_column(spec) for spec in signature.inputs):
        return "tabular"
    return "tensor"


def project_text(
    name: str,
    path: str,
    template: Template,
    signature: Signature | None,
    arguments: Sequence[str] = (),
    architecture: str = "",
) -> str:
    """The whole file. Without a signature (no model yet) the shapes in it are examples.

    Args:
        arguments: of a TorchScript model or of weights, which have no signature until somebody says its shapes.
        architecture: `net.py:Net`, of weights.
    """
    write_input = {"image": _image_input, "tabular": _tabular_input, "tensor": _tensor_input}[template]
    parts = [
        _HEAD.format(name=_toml(name), path=_toml(path), architecture=_architecture(architecture)),
        *([_edges(signature)] if signature else []),
        *(
            [_untold_inputs(arguments, architecture)]
            if arguments and _says_no_shape(template, architecture)
            else []
        ),
        write_input(signature),
        _output(template, signature),
        _TAIL,
    ]
    return "\n".join(parts)


def _toml(value: object) -> str:
    """A string, number or array as TOML; JSON's escapes are TOML's too, DEL aside."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_HEAD: Final = """\
# The project file of sealift. Every key: docs/reference/project-file.md
# Try it:  sealift predict INPUT --project .    Pack it:  sealift pack .

[project]
name = {name}
version = "0.1.0"

[model]
path = {path}
{architecture}# license = "Apache-2.0"          # stands in the bundle's list of parts
# device = ["cuda", "cpu"]        # tried strictly in this order; default ["cpu"]
"""

_ARCHITECTURE: Final = """\
architecture = {architecture}     # class or function that builds the module of these weights
# arguments = {{ classes = 10 }}    # what it is called with, by name
"""

_TAIL: Final = """\
# [handler]                       # Python of your own around the model
# module = "handler.py"           # preprocess(raw bytes or JSON object), postprocess(arrays)

# [target]                        # the box; left out: like this machine
# preset = "ubuntu-20.04"
# python = "3.11"

# [python]                        # what the handler imports
# requirements = "requirements.txt"

# [slo]                           # left out: measured and recorded, nothing refused
# latency_p99_ms = 50
# availability = 0.9995

# [checks]
# golden = "data/golden"          # inputs; the outputs are recorded at pack time
"""


def _edges(signature: Signature) -> str:
    lines = ["# Read from the model, for you to look at; sealift reads the file itself:"]
    for title, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        lines += [f"# {title} = [", *(f"#   {_edge(spec)}," for spec in specs), "# ]"]
    return "\n".join(lines) + "\n"


def _edge(spec: TensorSpec) -> str:
    shape = _toml("any rank") if spec.shape is None else _toml(list(spec.shape))
    return f"{{ name = {_toml(spec.name)}, datatype = {_toml(spec.datatype)}, shape = {shape} }}"


def _architecture(architecture: str) -> str:
    return _ARCHITECTURE.format(architecture=_toml(architecture)) if architecture else ""


def _says_no_shape(template: Template, architecture: str) -> bool:
    """A photo's size is the shape of its tensor; a table's is too, where a TorchScript file is not asked for more."""
    return template == "tensor" or (bool(architecture) and template == "tabular")


def _untold_inputs(arguments: Sequence[str], architecture: str) -> str:
    tables = (
        f'[[model.inputs]]\nname = {_toml(name)}\ndatatype = "FP32"\nshape = ["batch", 1]\n'
        for name in arguments
    )
    told = "Weights tell" if architecture else "TorchScript tells"
    check = f"# {told} no shapes. CHECK datatype and shape of each argument of forward().\n"
    return check + "\n".join(tables)


@dataclass(frozen=True, slots=True)
class _Photo:
    layout: str = "NCHW"
    planes: int = 3
    height: Axis = 224
    width: Axis = 224
    integers: bool = False

    @property
    def size(self) -> list[int]:
        return [side if isinstance(side, int) and side > 0 else 224 for side in (self.height, self.width)]


def _photo(spec: TensorSpec) -> _Photo | None:
    """How a rank-4 input holds photos; None when no axis can be the channels."""
    if spec.shape is None or len(spec.shape) != 4 or not _takes_one_row(spec):
        return None
    _, second, third, fourth = spec.shape
    integers = spec.datatype not in _FLOATS
    if isinstance(second, int) and second in (1, 3):
        return _Photo("NCHW", second, third, fourth, integers)
    if isinstance(fourth, int) and fourth in (1, 3):
        return _Photo("NHWC", fourth, second, third, integers)
    return None


def _image_input(signature: Signature | None) -> str:
    photos = [photo for spec in (signature.inputs if signature else ()) if (photo := _photo(spec))]
    photo = photos[0] if photos else _Photo()
    size = photo.size
    mean, std = [0] * photo.planes, [1 if photo.integers else 255] * photo.planes
    known = all(isinstance(side, int) for side in (photo.height, photo.width))
    return f"""\
[model.input]
kind = "image"
size = {size}                 # height, width{"" if known else "; CHECK: the model leaves them open"}
# resize = {round(max(size) / 0.875)}                    # shorter side, then centre crop
interpolation = "bilinear"        # nearest | bilinear | bicubic | lanczos
# CHECK: mean and std must be those of the training, on pixels from 0 to 255. Common ones:
#   pixels from 0 to 1   mean = [0, 0, 0]                  std = [255, 255, 255]
#   pixels from -1 to 1  mean = [127.5, 127.5, 127.5]      std = [127.5, 127.5, 127.5]
#   ImageNet (torch)     mean = [123.675, 116.28, 103.53]  std = [58.395, 57.12, 57.375]
mean = {mean}
std = {std}
layout = "{photo.layout}"
channels = "{"GRAY" if photo.planes == 1 else "RGB"}"                  # RGB | BGR | GRAY
"""


def _is_column(spec: TensorSpec) -> bool:
    """One value a row: shape (rows,) or (rows, 1)."""
    return _takes_one_row(spec) and (spec.shape or ())[1:] in ((), (1,))


def _takes_one_row(spec: TensorSpec) -> bool:
    """The first axis is open, or exactly one."""
    first = spec.shape[0] if spec.shape else 0
    return first == 1 or isinstance(first, str)


def _tabular_input(signature: Signature | None) -> str:
    columns = "\n".join(_column(name, datatype) for name, datatype in _columns(signature))
    return f"""\
[model.input]
kind = "tabular"                  # /predict takes these columns as named fields
# numeric:      (x - mean) / std; missing = 0.0 stands in for a field that is left out
# categorical:  vocabulary = ["card", "transfer"], encoding = "index" | "onehot" | "string"
#               missing and unknown = words of the vocabulary that stand in
# input = "NAME" sends a column to another model input than the one of its own name

{columns}"""


def _columns(signature: Signature | None) -> list[tuple[str, str]]:
    """(name, datatype of its input) of every column, as far as the model tells."""
    inputs = signature.inputs if signature else ()
    if len(inputs) > 1 and all(_is_column(spec) for spec in inputs):
        return [(spec.name, spec.datatype) for spec in inputs]
    if len(inputs) == 1 and inputs[0].shape is not None and len(inputs[0].shape) == 2:
        width = inputs[0].shape[1]
        if isinstance(width, int) and 1 <= width <= _WIDEST_TABLE:
            return [(f"column_{number}", inputs[0].datatype) for number in range(1, width + 1)]
    return [("amount", "FP32"), ("channel", "BYTES")]


def _column(name: str, datatype: str) -> str:
    head = f"[[model.input.columns]]\nname = {_toml(name)}\n"
    if datatype == "BOOL":
        return f'{head}kind = "categorical"\nvocabulary = ["false", "true"]\n'
    if datatype == "BYTES":
        return f"""{head}kind = "categorical"
vocabulary = ["card", "transfer"] # CHECK: the words of the training, in its order
encoding = "string"
"""
    return f'{head}kind = "numeric"\n'


def _tensor_input(_: Signature | None) -> str:
    return """\
[model.input]
kind = "tensor"                   # arrays as they are; or image | tabular | text
"""


def _output(template: Template, signature: Signature | None) -> str:
    classes = _has_classes(signature) if signature else True
    if template == "image" and classes:
        return """\
[model.output]
kind = "classes"                  # or scores | embedding | tensor
# labels = "labels.txt"           # one a line; or an array of strings
top = 5
"""
    return """\
[model.output]
kind = "tensor"                   # all outputs as they are; or one of:
# kind = "classes"                # labels = "labels.txt", top = 5
# kind = "scores"                 # positive = "fraud", threshold = 0.83
# kind = "embedding"              # normalize = true
"""


def _has_classes(signature: Signature) -> bool:
    """The first floating-point output holds several values a row."""
    floats = [spec for spec in signature.outputs if spec.datatype in _FLOATS]
    if not floats or floats[0].shape is None or len(floats[0].shape) != 2:
        return False
    last = floats[0].shape[1]
    return not isinstance(last, int) or last > 1
