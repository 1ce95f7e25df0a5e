"""`service.json` and the goldens -> what each model takes, gives and brings along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sealift import canonical
from sealift.bundle.documents import FileEntry
from sealift.errors import MalformedBundle
from sealift.inspect.bill import NOT_STATED
from sealift.inspect.contents import Contents
from sealift.inspect.node import Node, compact, parse
from sealift.inspect.quality import Quality, read_quality

SERVICE: Final = "service.json"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output; `shape` is None where even the rank is open."""

    name: str
    datatype: str
    shape: tuple[int | str, ...] | None

    @property
    def type_words(self) -> str:
        """`FP32  [rows, 5]`."""
        shape = "any shape" if self.shape is None else f"[{', '.join(str(axis) for axis in self.shape)}]"
        return f"{self.datatype}  {shape}"

    @property
    def words(self) -> str:
        """`x  FP32  [rows, 5]`."""
        return f"{self.name}  {self.type_words}"


@dataclass(frozen=True, slots=True)
class Goldens:
    """Recorded inputs of one model; `reason` says why there are none, `batch_reason` why it is not batched."""

    names: tuple[str, ...]
    reason: str
    batch_reason: str

    @property
    def batch_words(self) -> str:
        """Whether rows of several requests share a run, as it was proven when the release was packed."""
        if self.batch_reason:
            return f"off: {self.batch_reason}"
        return "rows of several requests may share a run; how many is measured on the box"


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the release. `takes` and `gives` are the declarations as the project wrote them.

    `files` are the files beside the model (external data, its tokenizer), `code` those of its handler: paths
    in the application layer. `variants` are those that travel, the one to begin with first; `quality` is what was
    measured of them.
    """

    name: str
    path: str
    sha256: str
    size: int
    licence: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    takes: Mapping[str, Any]
    gives: Mapping[str, Any]
    device: tuple[str, ...]
    files: tuple[str, ...]
    code: tuple[str, ...]
    goldens: Goldens | None
    quality: Quality | None = None
    variants: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the project declares."""
        return tuple(self.gives.get("labels") or ())


def read_models(contents: Contents, licences: Mapping[str, str]) -> tuple[Model, ...] | None:
    """Every model, in the order of service.json; None where service.json is not at hand.

    Raises: MalformedBundle: service.json is not what sealift writes, or names a file that is not there.
    """
    data = contents.read(SERVICE)
    if data is None:
        return None
    files = contents.bundle.manifests["application"]
    models = parse(data, f"application/{SERVICE}").get("models").items()
    return tuple(_model(node, files, licences, contents) for node in models)


def _model(
    node: Node, files: Mapping[str, FileEntry], licences: Mapping[str, str], contents: Contents
) -> Model:
    name, path = node.get("name").text(), node.get("path").text()
    entry = files.get(path)
    if entry is None:
        raise MalformedBundle(f"{node.where}: names the file {path!r}, which the application layer lacks")
    signature = node.get("signature")
    handler, tokenizer = node.get("handler").text(""), node.get("tokenizer").text("")
    variants = node.get("variants").items()
    beside = [other for variant in variants for other in _below(files, variant.get("path").text())]
    beside += [*_below(files, path), *([tokenizer] if tokenizer else [])]
    return Model(
        name=name,
        path=path,
        sha256=entry.sha256,
        size=entry.size,
        licence=licences.get(name, NOT_STATED),
        inputs=tuple(map(_tensor, signature.get("inputs").items())),
        outputs=tuple(map(_tensor, signature.get("outputs").items())),
        takes=_declaration(node.get("input")),
        gives=_declaration(node.get("output")),
        device=node.get("device").texts(),
        files=tuple(sorted(set(beside) - {path})),
        code=tuple(sorted(_below(files, handler))) if handler else (),
        goldens=_goldens(contents, name),
        quality=read_quality(contents, name),
        variants=tuple(variant.get("name").text() for variant in variants),
    )


def _below(files: Mapping[str, FileEntry], path: str) -> list[str]:
    """Everything in the folder of `path`."""
    folder = path.rpartition("/")[0] + "/"
    return [other for other in files if other.startswith(folder)]


def _tensor(node: Node) -> Tensor:
    shape = node.get("shape")
    axes = None if shape.value is None else tuple(map(_axis, shape.items()))
    return Tensor(node.get("name").text(), node.get("datatype").text(), axes)


def _axis(node: Node) -> int | str:
    return node.value if isinstance(node.value, int) else node.text()


def _declaration(node: Node) -> dict[str, Any]:
    if node.value is None:
        return {"kind": "tensor"}
    node.get("kind").text()
    node.get("labels").texts()
    node.get("size").items()
    for column in node.get("columns").items():
        column.get("name").text()
        column.get("kind").text()
    return dict(node.value)


def _goldens(contents: Contents, name: str) -> Goldens | None:
    data = contents.read(f"goldens/{name}.json")
    if data is None:
        return None
    node = parse(data, f"application/goldens/{name}.json")
    names = tuple(item.get("name").text() for item in node.get("goldens").items())
    return Goldens(names, node.get("reason").text(""), node.get("batch_reason").text(""))


def takes_in_words(takes: Mapping[str, Any]) -> str:
    """What a caller sends: `image, 224 x 224 RGB, shorter side to 256 first`, `table of 20 columns`."""
    kind = str(takes["kind"])
    if kind == "image":
        size = " x ".join(str(side) for side in takes.get("size") or ()) or "?"
        first = f", shorter side to {compact(takes['resize'])} first" if takes.get("resize") else ""
        return f"image, {size} {compact(takes.get('channels', 'RGB'))}{first}"
    if kind == "tabular":
        kinds = [column["kind"] for column in takes.get("columns") or ()]
        parts = ", ".join(f"{kinds.count(one)} {one}" for one in sorted(set(kinds)))
        return f"table of {len(kinds)} columns ({parts})" if kinds else "table without columns"
    return {"tensor": "tensors as they are"}.get(kind, kind)


def gives_in_words(gives: Mapping[str, Any]) -> str:
    """What a caller gets: `classes, 1000 labels, top 5`, `score for "fraud", threshold 0.83`."""
    kind = str(gives["kind"])
    if kind == "classes":
        return f"classes, {len(gives.get('labels') or ())} labels, top {compact(gives.get('top', 5))}"
    if kind == "scores":
        return f"score for {compact(gives.get('positive'))}, threshold {compact(gives.get('threshold', 0.5))}"
    return {"tensor": "tensors as they are"}.get(kind, kind)


def labels_digest(model: Model) -> str:
    """Which labels, in which order; empty where there are none."""
    return (
        canonical.digest("\0".join(model.labels).encode("utf-8", "backslashreplace")) if model.labels else ""
    )
