"""The engineer's own code: what it gets, what it may return, what happens when it fails."""

from __future__ import annotations

import base64
import io
import logging
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sealift.errors import InvalidInput, ModelError, ModelFailed, TooLarge
from sealift.model.arrays import Prepared
from sealift.model.declaration import ClassesOutput, ImageInput, TensorInput, TensorOutput
from sealift.model.pipeline import Pipeline, build_pipeline
from sealift.model.service import ServedModel
from sealift.model.signature import Signature, TensorSpec

ONE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=("n", 2)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=("n", 2)),),
)
TWO = Signature(
    inputs=(
        TensorSpec(name="ids", datatype="INT64", shape=("n", 2)),
        TensorSpec(name="words", datatype="BYTES", shape=("n",)),
    ),
    outputs=ONE.outputs,
)
ENDS: dict[str, Any] = {"y": np.array([[0.25, 0.75]], np.float32)}


def write(folder: Path, code: str, name: str = "handler.py") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(dedent(code))
    return path


def pipeline(folder: Path, code: str, signature: Signature = ONE, **declared: Any) -> Pipeline:
    parts = {"input": TensorInput(), "output": TensorOutput(), **declared}
    handler = write(folder, code)
    return build_pipeline(ServedModel("m", folder / "m.onnx", signature, handler=handler, **parts))


PROBE = """
    import io, typing
    import numpy as np
    from typing import BinaryIO
    seen = []
    def preprocess(body{annotation}):
        kind = type(body).__name__
        content = body.read() if hasattr(body, "read") else body
        seen.append((kind, content))
        return np.zeros((1, 2), np.float32)
    def postprocess(outputs):
        return {{"prediction": seen[-1][0], "content": repr(seen[-1][1])}}
"""


@pytest.mark.parametrize(
    ("annotation", "payload", "kind", "content"),
    [
        (": io.BytesIO", b"abc", "BytesIO", b"abc"),
        (": BinaryIO", b"abc", "BytesIO", b"abc"),
        (": typing.IO[bytes]", b"abc", "BytesIO", b"abc"),
        (": 'io.BytesIO'", b"abc", "BytesIO", b"abc"),
        (": 'typing.IO[bytes]'", b"abc", "BytesIO", b"abc"),
        (": 'BinaryIO'", {"image": "YWJj"}, "BytesIO", b"abc"),
        (": io.BytesIO", {"image": "YWJj"}, "BytesIO", b"abc"),
        (": bytes", {"image": "YWJj"}, "bytes", b"abc"),
        (": 'bytes'", b"abc", "bytes", b"abc"),
        ("", b"abc", "bytes", b"abc"),
        ("", {"image": "YWJj"}, "dict", {"image": "YWJj"}),
        ("", [1, 2], "list", [1, 2]),
        (": dict", {"a": 1}, "dict", {"a": 1}),
        ("", {"inputs": [[1, 2]]}, "dict", {"inputs": [[1, 2]]}),
    ],
)
def test_the_annotation_decides_what_preprocess_gets(
    annotation: str, payload: Any, kind: str, content: Any, tmp_path: Path
) -> None:
    made = pipeline(tmp_path, PROBE.format(annotation=annotation))
    answer = made.answer(ENDS, made.prepare(payload))
    assert answer == {"prediction": kind, "content": repr(content)}


def test_string_annotations_of_the_whole_file_count(tmp_path: Path) -> None:
    code = "from __future__ import annotations\n" + dedent(PROBE.format(annotation=": io.BytesIO"))
    made = pipeline(tmp_path, code)
    assert made.answer(ENDS, made.prepare(b"abc"))["prediction"] == "BytesIO"


def test_declared_images_are_decoded_from_base64_without_an_annotation(tmp_path: Path) -> None:
    made = pipeline(tmp_path, PROBE.format(annotation=""), input=ImageInput(size=(4, 4)))
    assert made.answer(ENDS, made.prepare({"image": "YWJj"}))["content"] == repr(b"abc")


def test_the_guides_handler_runs_unchanged(tmp_path: Path) -> None:
    """A preprocess over io.BytesIO with Pillow, as deployment guides write it, and classes after it."""
    code = """
        import io
        import numpy as np
        from PIL import Image
        def preprocess(image_bytes: io.BytesIO):
            image = Image.open(image_bytes).convert("RGB").resize((1, 1))
            return np.asarray(image, dtype=np.float32)[0, :, :2]
    """
    made = pipeline(tmp_path, code, output=ClassesOutput(labels=("a", "b"), activation="none"))
    buffer = io.BytesIO()
    Image.new("RGB", (3, 3), (9, 8, 7)).save(buffer, "PNG")
    prepared = made.prepare({"image": base64.b64encode(buffer.getvalue()).decode()})
    assert prepared.inputs["x"].tolist() == [[9.0, 8.0]]
    answer = made.answer(ENDS, prepared)
    assert (answer["prediction"], answer["label"]) == (1, "b")


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        ("np.array([[1.0, 2.0]])", [[1.0, 2.0]]),
        ("np.array([1, 2])", [[1.0, 2.0]]),
        ("[[1, 2], [3, 4]]", [[1.0, 2.0], [3.0, 4.0]]),
        ("{'x': np.float16([[1, 2]])}", [[1.0, 2.0]]),
        ("(np.ones((1, 2)),)", [[1.0, 1.0]]),
        ("np.ones((2, 4), np.float32)[:, ::2]", [[1.0, 1.0], [1.0, 1.0]]),
        ("Tensor()", [[5.0, 6.0]]),
    ],
)
def test_what_preprocess_returns_is_fitted(returned: str, found: Any, tmp_path: Path) -> None:
    code = f"""
        import numpy as np
        class Tensor:
            def __array__(self, dtype=None, copy=None):
                return np.array([[5.0, 6.0]])
        def preprocess(body):
            return {returned}
    """
    array = pipeline(tmp_path, code).prepare(b"").inputs["x"]
    assert array.tolist() == found
    assert array.dtype == np.float32
    assert array.flags.c_contiguous


def test_several_inputs_come_as_a_tuple_in_order_or_by_name(tmp_path: Path) -> None:
    code = """
        import numpy as np
        def preprocess(body):
            ids, words = np.array([[1, 2]], np.int32), np.array(["ä"])
            return (ids, words) if body == b"tuple" else {"words": [b"\\xc3\\xa4"], "ids": ids}
    """
    made = pipeline(tmp_path, code, TWO)
    for body in (b"tuple", b"dict"):
        inputs = made.prepare(body).inputs
        assert inputs["ids"].dtype == np.int64
        assert inputs["words"].dtype == np.object_
        assert inputs["words"].tolist() == ["ä"]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("None", "None for 'x'; is a return missing?"),
        ("np.ones((1, 3))", "x: expected shape [n, 2], got [1, 3]"),
        ("np.ones((1, 1, 1, 2))", "x: expected shape [n, 2], got [1, 1, 1, 2]"),
        ("{'X': np.ones((1, 2))}", "a dict with unknown 'X' and no 'x'; the inputs are x"),
        ("(np.ones(2), np.ones(2))", "2 values for 1 inputs (x)"),
        ("np.array([['a', 'b']])", "<U1 for 'x', which is FP32[n, 2]"),
        ("np.array([[1e300, 0]])", "1e+300 for 'x', out of the range of FP32"),
        ("[[1, 2], [3]]", "list for 'x': ValueError"),
        ("np.array([[1j, 0]])", "complex128 for 'x', which is FP32[n, 2]"),
        ("Grad()", "Grad for 'x': RuntimeError: call detach() first (handler.py:"),
    ],
)
def test_what_the_model_cannot_take_is_the_handlers_failure(
    returned: str, message: str, tmp_path: Path
) -> None:
    code = f"""
        import numpy as np
        class Grad:
            def __array__(self, dtype=None, copy=None):
                raise RuntimeError("call detach() first")
        def preprocess(body):
            return {returned}
    """
    with pytest.raises(ModelFailed) as caught:
        pipeline(tmp_path, code).prepare(b"")
    assert caught.value.message.startswith("preprocess returned something the model cannot take: ")
    assert message in caught.value.message
    assert caught.value.code == "handler_failed"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("np.array([[0.5, 1]]), ['a']", "float64 for 'ids', which is INT64[n, 2]"),
        (
            "np.array([[2**63, 1]], np.uint64), ['a']",
            "9223372036854775808 for 'ids', out of the range of INT64",
        ),
        ("np.array([[1, 2]]), [5]", "int64"),
        ("np.array([[1, 2]])", "ndarray for 2 inputs (ids, words); return a dict"),
        ("np.array([[1, 2]]), ['a', 'b']", "words: axis 'n' is 2 here and 1 in ids"),
        ("np.array([[1, 2]]), [b'\\xff']", "'utf-8' codec can't decode"),
    ],
)
def test_lossy_casts_are_refused(returned: str, message: str, tmp_path: Path) -> None:
    code = f"import numpy as np\ndef preprocess(body):\n    return {returned}\n"
    with pytest.raises(ModelFailed) as caught:
        pipeline(tmp_path, code, TWO).prepare(b"")
    assert message in caught.value.message


RAISES = """
    from sealift.errors import TooLarge
    def preprocess(body):
        if body == b"value":
            raise ValueError("a face is missing")
        if body == b"size":
            raise TooLarge("too long", code="too_long")
        if body == b"photo":
            import io
            from PIL import Image
            Image.open(io.BytesIO(body))
        return {}["x"]
"""


def test_a_value_error_is_the_clients_mistake(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        pipeline(tmp_path, RAISES).prepare(b"value")
    assert (caught.value.message, caught.value.code) == ("a face is missing", "handler_refused")


def test_a_photo_that_is_none_is_the_clients_mistake_too(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        pipeline(tmp_path, RAISES).prepare(b"photo")
    assert caught.value.code == "invalid_image"


def test_sealifts_own_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(TooLarge, match="too long"):
        pipeline(tmp_path, RAISES).prepare(b"size")


def test_any_other_exception_names_type_and_line_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(ModelFailed) as caught:
        pipeline(tmp_path, RAISES).prepare(b"")
    assert caught.value.message == "the handler failed: KeyError: 'x' (handler.py:12)"
    assert caught.value.code == "handler_failed"
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("returned", "answer"),
    [
        ("outputs['y']", {"prediction": [[0.25, 0.75]]}),
        ("outputs['y'].argmax()", {"prediction": 1}),
        ("{'prediction': np.int64(3), 'extra': (np.float32(0.5), {np.str_('k'): 1})}",
         {"prediction": 3, "extra": [0.5, {"k": 1}]}),
        ("{'kind': 'a', 1: np.nan}", {"prediction": {"kind": "a", "1": None}}),
        ("np.array([np.inf, 1.0])", {"prediction": [None, 1.0]}),
        ("None", {"prediction": None}),
    ],
)  # fmt: skip
def test_what_postprocess_returns_becomes_json(returned: str, answer: Any, tmp_path: Path) -> None:
    code = f"import numpy as np\ndef postprocess(outputs):\n    return {returned}\n"
    assert pipeline(tmp_path, code).answer(ENDS, Prepared({})) == answer


@pytest.mark.parametrize("returned", ["object()", "{'a': 1j}", "{('a', 1): 2}", "10**30000"])
def test_what_is_no_json_is_the_handlers_failure(returned: str, tmp_path: Path) -> None:
    code = f"def postprocess(outputs):\n    return {returned}\n"
    with pytest.raises(ModelFailed, match="that is not JSON"):
        pipeline(tmp_path, code).answer(ENDS, Prepared({}))


def test_preprocess_alone_keeps_the_declared_answer_and_the_other_way_round(tmp_path: Path) -> None:
    before = pipeline(tmp_path / "a", "def preprocess(body):\n    return [1, 2]\n")
    assert before.answer(ENDS, before.prepare({}))["prediction"] == [0.25, 0.75]
    after = pipeline(tmp_path / "b", "def postprocess(outputs):\n    return 'done'\n")
    assert after.answer(ENDS, after.prepare({"x": [1, 2]})) == {"prediction": "done"}


# Loading


def test_siblings_are_found_and_the_path_stays_clean(tmp_path: Path) -> None:
    """Also a sibling's sibling, a package, and an import inside a function."""
    folder = tmp_path / "app"
    write(folder, "import sea_two\nVALUE = sea_two.VALUE\n", "sea_one.py")
    write(folder, "VALUE = 7\n", "sea_two.py")
    write(folder / "sea_package", "VALUE = 1\n", "__init__.py")
    before = list(sys.path)
    code = """
        from sea_one import VALUE
        def preprocess(body):
            import sea_package
            return [VALUE, sea_package.VALUE]
    """
    assert pipeline(folder, code).prepare({}).inputs["x"].tolist() == [[7.0, 1.0]]
    assert sys.path == before


def test_a_sibling_that_another_module_hides_is_refused(tmp_path: Path) -> None:
    """Python would run the standard library's file here; wrong code never runs in silence."""
    write(tmp_path, "VALUE = 7\n", "queue.py")
    with pytest.raises(ModelError, match="would import other modules than its siblings") as caught:
        pipeline(tmp_path, "import queue\ndef preprocess(body):\n    return queue.VALUE\n")
    assert caught.value.problems[0].startswith("import queue: means ")


def test_two_folders_with_the_same_sibling_are_not_mixed_up(tmp_path: Path) -> None:
    code = "import sea_shared\ndef preprocess(body):\n    return [sea_shared.V, 0]\n"
    for name, value in (("a", 1), ("b", 2)):
        write(tmp_path / name, f"V = {value}\n", "sea_shared.py")
    assert pipeline(tmp_path / "a", code).prepare({}).inputs["x"].tolist() == [[1.0, 0.0]]
    with pytest.raises(ModelError, match="siblings"):
        pipeline(tmp_path / "b", code)


def test_two_handlers_of_one_file_name_are_two_modules(tmp_path: Path) -> None:
    code = "def preprocess(body):\n    return [{}, 0]\n"
    first, second = (pipeline(tmp_path / name, code.format(value)) for name, value in (("a", 1), ("b", 2)))
    assert first.prepare({}).inputs["x"].tolist() == [[1.0, 0.0]]
    assert second.prepare({}).inputs["x"].tolist() == [[2.0, 0.0]]


def test_dataclasses_in_a_handler_work(tmp_path: Path) -> None:
    """They look their module up in sys.modules."""
    code = """
        from __future__ import annotations
        from dataclasses import dataclass
        @dataclass
        class Row:
            a: float
        def preprocess(body):
            return [Row(3.0).a, 0]
    """
    assert pipeline(tmp_path, code).prepare({}).inputs["x"].tolist() == [[3.0, 0.0]]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def preproces(body): ...\n", "neither preprocess nor postprocess; did you mean 'preprocess'?"),
        ("def preprocess(body:\n", "line 1 is not valid Python"),
        ("async def preprocess(body): ...\n", "preprocess is asynchronous"),
        ("def preprocess(): ...\n", "preprocess must take one argument"),
        ("def preprocess(body, size): ...\n", "preprocess must take one argument"),
        ("preprocess = 5\n", "preprocess is not a function"),
        ("import no_such_package\ndef preprocess(b): ...\n", "ModuleNotFoundError: No module named"),
        ("def preprocess(b): ...\nraise SystemExit(3)\n", "SystemExit: 3 (handler.py:2)"),
        ("def preprocess(b): ...\n1 / 0\n", "ZeroDivisionError: division by zero (handler.py:2)"),
    ],
)
def test_a_handler_that_cannot_be_used_is_refused_when_it_loads(
    code: str, message: str, tmp_path: Path
) -> None:
    before = set(sys.modules)
    with pytest.raises(ModelError) as caught:
        pipeline(tmp_path, code)
    assert message in "\n".join([caught.value.message, *caught.value.problems])
    broken = (
        "is not a function" not in message and "asynchronous" not in message and "argument" not in message
    )
    assert not broken or not any(name.startswith("_sealift") for name in set(sys.modules) - before)


def test_a_missing_handler_is_refused(tmp_path: Path) -> None:
    model = ServedModel("m", tmp_path / "m", ONE, TensorInput(), TensorOutput(), handler=tmp_path / "none.py")
    with pytest.raises(ModelError) as caught:
        build_pipeline(model)
    assert "none.py cannot be read: No such file" in caught.value.problems[0]
