"""Good project files: what each key becomes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    EmbeddingOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
    TabularInput,
    TensorInput,
    TensorOutput,
    TextInput,
)
from sealift.model.schema import BATCHING, Schema
from sealift.model.setting import Kind, Setting, Value
from sealift.project.file import load_project
from sealift.project.project import (
    Gates,
    Limits,
    ModelEntry,
    Optimize,
    Project,
    PythonSources,
    Slo,
    TargetWish,
)
from sealift.target.presets import PRESETS

SMALLEST = '[project]\nname = "fraud"\nversion = "1.0"\n[model]\npath = "model.onnx"\n'
DESIGN = """\
[project]
name = "inspect-line-3"
version = "2026.11.0"

[target]
preset = "ubuntu-20.04"            # or the pieces: platform, glibc, kernel, cpu = ["avx2"]
python = "3.11"
interpreter = "bundled"            # bundled | system | PATH
cuda = "12.4"                      # optional

[python]                           # the application's own dependencies
requirements = "requirements.txt"

[model]                            # or [models.NAME] for several
path = "model.onnx"
license = "Apache-2.0"
device = ["cpu"]

[model.input]
kind = "image"                     # image | tabular | text | tensor (default)
size = [224, 224]
resize = 256                       # shorter side, then centre crop
interpolation = "bicubic"
mean = [127, 127, 127]
std = [128, 128, 128]
layout = "NCHW"

[model.output]
kind = "classes"                   # classes | scores (positive, threshold) | embedding | tensor (default)
labels = "labels.txt"
top = 5

[handler]
module = "handler.py"              # preprocess(raw bytes or JSON object) -> arrays, postprocess(arrays) -> JSON

[optimize]
candidates = ["fp32", "bf16", "int8-static"]
calibration = "data/calibration"
evaluation = "data/evaluation"
max_accuracy_drop_points = 1.0

[slo]                              # absent: measured and recorded, nothing refused
latency_p99_ms = 50
availability = 0.9995

[limits]
max_model_mb = 1024                # default, the guide's
max_memory_mb = 2048

[checks]
golden = "data/golden"             # inputs; outputs and tolerance are recorded at pack time
"""


def read(folder: Path, text: str) -> Project:
    """The project that `text` declares in the shared folder."""
    (folder / "sealift.toml").write_text(text, encoding="utf-8")
    return load_project(folder)


def offered(*declared: tuple[str, Value]) -> Schema:
    """What sealift lets any box set of a single model, with these defaults from the project."""
    settings = {**Schema().settings, **{setting.name: setting for setting in BATCHING}}
    return Schema(settings | {name: settings[name].with_default(value) for name, value in declared})


def test_the_smallest_project_has_the_defaults_of_the_design(folder: Path) -> None:
    assert read(folder, SMALLEST) == Project(
        root=folder,
        name="fraud",
        version="1.0",
        models=(
            ModelEntry(
                name="fraud",
                path=folder / "model.onnx",
                license=None,
                device=("cpu",),
                input=TensorInput(),
                output=TensorOutput(),
                handler=None,
            ),
        ),
        target=TargetWish(),
        python=PythonSources(find_links=(str(folder / "vendor"),)),
        optimize=Optimize(),
        slo=Slo(latency_p99_ms=None, availability=None),
        limits=Limits(max_model_mb=1024, max_memory_mb=None),
        golden=None,
        settings=offered(("device", ("cpu",))),
    )


def test_the_example_of_the_design_is_read_in_full(folder: Path) -> None:
    assert read(folder, DESIGN) == Project(
        root=folder,
        name="inspect-line-3",
        version="2026.11.0",
        models=(
            ModelEntry(
                name="inspect-line-3",
                path=folder / "model.onnx",
                license="Apache-2.0",
                device=("cpu",),
                input=ImageInput(
                    size=(224, 224),
                    resize=256,
                    interpolation="bicubic",
                    mean=(127.0, 127.0, 127.0),
                    std=(128.0, 128.0, 128.0),
                    layout="NCHW",
                ),
                output=ClassesOutput(labels=("cat", "tiger cat", "chat à neige\u2028x"), top=5),
                handler=folder / "handler.py",
            ),
        ),
        target=TargetWish(
            preset="ubuntu-20.04",
            glibc="2.31",
            python="3.11",
            interpreter="bundled",
            cuda="12.4",
        ),
        python=PythonSources(requirements=folder / "requirements.txt", find_links=(str(folder / "vendor"),)),
        optimize=Optimize(
            candidates=("fp32", "bf16", "int8-static"),
            calibration=folder / "data/calibration",
            evaluation=folder / "data/evaluation",
            max_accuracy_drop_points=1.0,
        ),
        slo=Slo(latency_p99_ms=50, availability=0.9995),
        limits=Limits(max_model_mb=1024, max_memory_mb=2048),
        golden=folder / "data/golden",
        settings=offered(
            ("device", ("cpu",)), ("slo.latency_p99_ms", 50.0), ("limits.max_memory_mb", 2048.0)
        ),
    )


def test_several_models_each_with_its_own_input_and_handler(folder: Path) -> None:
    text = """
[project]
name = "desk"
version = "1"
[models.cats]
path = "model.onnx"
device = ["cuda:1", "cpu"]
input = { kind = "text" }
output.kind = "embedding"
output.name = "vector"
output.normalize = true
[models."v1.1_x"]
path = "second.onnx"
[models."v1.1_x".handler]
module = "handler.py"
[models."v1.1_x".output]
kind = "scores"
positive = "fraud"
negative = "fine"
threshold = 0.83
name = "p"
activation = "sigmoid"
"""
    assert read(folder, text).models == (
        ModelEntry(
            name="cats",
            path=folder / "model.onnx",
            device=("cuda:1", "cpu"),
            input=TextInput(),
            output=EmbeddingOutput(name="vector", normalize=True),
        ),
        ModelEntry(
            name="v1.1_x",
            path=folder / "second.onnx",
            handler=folder / "handler.py",
            output=ScoresOutput(
                positive="fraud", negative="fine", threshold=0.83, name="p", activation="sigmoid"
            ),
        ),
    )


def test_tabular_columns_keep_their_order_and_every_key(folder: Path) -> None:
    text = f"""{SMALLEST}
[model.input]
kind = "tabular"
[[model.input.columns]]
name = "amount"
kind = "numeric"
mean = 12
std = 3.5
missing = -1
input = "money"
[[model.input.columns]]
name = "channel"
kind = "categorical"
vocabulary = ["card", "transfer", "other"]
encoding = "onehot"
missing = "card"
unknown = "other"
input = "way"
[[model.input.columns]]
name = "age"
kind = "numeric"
[[model.input.columns]]
name = "tree"
kind = "numeric"
missing = nan
[[model.input.columns]]
name = "land"
kind = "categorical"
vocabulary = ["é"]
"""
    declared = read(folder, text).models[0].input
    assert isinstance(declared, TabularInput)
    tree = declared.columns[3]
    assert isinstance(tree, NumericColumn)
    assert tree.missing is not None
    assert math.isnan(tree.missing)
    assert declared.columns[:3] + declared.columns[4:] == (
        NumericColumn(name="amount", mean=12.0, std=3.5, missing=-1.0, input="money"),
        CategoricalColumn(
            name="channel",
            vocabulary=("card", "transfer", "other"),
            encoding="onehot",
            missing="card",
            unknown="other",
            input="way",
        ),
        NumericColumn(name="age"),
        CategoricalColumn(name="land", vocabulary=("é",)),
    )


def test_an_image_may_be_grey_unresized_and_scaled_by_one_number(folder: Path) -> None:
    text = SMALLEST + '[model.input]\nkind = "image"\nsize = [28, 14]\nmean = 0\nstd = [255]\n'
    text += 'layout = "NHWC"\nchannels = "GRAY"\ninterpolation = "nearest"\n'
    assert read(folder, text).models[0].input == ImageInput(
        size=(28, 14), mean=(0.0,), std=(255.0,), layout="NHWC", channels="GRAY", interpolation="nearest"
    )


def test_labels_may_stand_in_the_file_and_repeat(folder: Path) -> None:
    """ImageNet itself has two classes called crane."""
    text = SMALLEST + '[model.output]\nkind = "classes"\nlabels = ["crane", "crane"]\nname = "y"\n'
    text += 'activation = "none"\ntop = 1\n'
    expected = ClassesOutput(labels=("crane", "crane"), name="y", activation="none", top=1)
    assert read(folder, text).models[0].output == expected


def test_every_piece_of_a_target_can_be_said_without_a_preset(folder: Path) -> None:
    text = SMALLEST + '[target]\nplatform = "linux-aarch64"\nglibc = "2.28"\nkernel = "5.4.0"\n'
    text += 'cpu = ["neon", "sse4.2"]\npython = "3.13"\ninterpreter = "/opt/python/bin/python3"\n'
    assert read(folder, text).target == TargetWish(
        platform="linux-aarch64",
        glibc="2.28",
        kernel="5.4.0",
        cpu=("neon", "sse4.2"),
        python="3.13",
        interpreter="/opt/python/bin/python3",
    )


@pytest.mark.parametrize(
    "value", ["model.onnx", "https://mirror.example/python.tar.gz", "file:///media/p.tar.gz"]
)
def test_a_bundled_interpreter_comes_from_a_file_or_a_url(folder: Path, value: str) -> None:
    text = f'{SMALLEST}[target]\ninterpreter_archive = "{value}"\ninterpreter_sha256 = "{"0" * 64}"\n'
    target = read(folder, text).target
    assert target.interpreter_archive == (folder / value if "://" not in value else value)
    assert target.interpreter_sha256 == "0" * 64


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_gives_the_c_library_and_leaves_the_platform_open(folder: Path, preset: str) -> None:
    text = f'{SMALLEST}[target]\npreset = "{preset}"\n'
    target = read(folder, text).target
    assert (target.glibc, target.platform) == (PRESETS[preset], None)
    assert target.kernel is None
    text += f'glibc = "{PRESETS[preset]}"\nplatform = "linux-aarch64"\n'
    assert read(folder, text).target.platform == "linux-aarch64"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("requirements", "requirements.txt", PythonSources(requirements=Path("requirements.txt"))),
        ("lock", "pylock.toml", PythonSources(lock=Path("pylock.toml"))),
        ("freeze", "pip-freeze.txt", PythonSources(freeze=Path("pip-freeze.txt"))),
    ],
)
def test_dependencies_come_from_one_file_and_wheels_beside_it(
    folder: Path, key: str, value: str, expected: PythonSources
) -> None:
    text = f'{SMALLEST}[python]\n{key} = "{value}"\nwheels = ["vendor/b*.whl", "**/[ab]-*.whl"]\n'
    found = read(folder, text).python
    assert getattr(found, key) == folder / getattr(expected, key)
    assert [wheel.name for wheel in found.wheels] == ["b-2-py3-none-any.whl", "a-1-py3-none-any.whl"]
    assert [getattr(found, other) for other in ("requirements", "lock", "freeze") if other != key] == [
        None
    ] * 2


def test_a_byte_order_mark_and_windows_line_ends_are_read(folder: Path) -> None:
    assert read(folder, "\ufeff" + SMALLEST.replace("\n", "\r\n")).name == "fraud"


def test_a_path_may_go_through_a_link_that_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/v3.onnx").write_bytes(b"")
    (tmp_path / "model.onnx").symlink_to("weights/v3.onnx")
    assert read(tmp_path, SMALLEST).models[0].path == tmp_path / "model.onnx"


def test_the_file_itself_and_a_folder_behind_a_link_name_the_same_project(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = read(folder, SMALLEST)
    (tmp_path / "here").symlink_to(folder)
    assert load_project(folder / "sealift.toml") == expected
    assert load_project(tmp_path / "here") == expected
    monkeypatch.chdir(folder)
    assert load_project(Path()) == load_project(Path("sealift.toml")) == expected


def test_gates_are_read_in_full(folder: Path) -> None:
    text = """[gates]
licences = ["MIT", "GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-Vendor"]
licence_exceptions = ["numpy", "Torch==2.13.0+cpu"]
max_bundle_mb = 250.5
vulnerabilities = "data"
accepted_vulnerabilities = ["GHSA-aaaa-bbbb-cccc", "CVE-2026-1"]
"""
    assert read(folder, SMALLEST + text).gates == Gates(
        licences=("MIT", "GPL-2.0-only WITH Classpath-exception-2.0", "LicenseRef-Vendor"),
        licence_exceptions=("numpy", "Torch==2.13.0+cpu"),
        max_bundle_mb=250.5,
        vulnerabilities=folder / "data",
        accepted_vulnerabilities=("GHSA-aaaa-bbbb-cccc", "CVE-2026-1"),
    )


def test_without_gates_nothing_is_refused(folder: Path) -> None:
    assert read(folder, SMALLEST).gates == Gates()


def test_settings_narrow_what_a_box_may_set_and_may_move_the_default(folder: Path) -> None:
    text = (
        SMALLEST
        + """
output = { kind = "scores", positive = "fraud", threshold = 0.83 }
[settings]
threshold = { minimum = 0.7, maximum = 0.9 }
threads = { maximum = 8, default = 2 }
device = { choices = ["cpu", "cuda"], default = ["cuda", "cpu"] }
host = { default = "0.0.0.0" }
[settings.watch]
window_s = { minimum = 900.5, default = 1200 }
[slo]
latency_p99_ms = 50
"""
    )
    found = read(folder, text).settings.settings
    about = "where the positive answer begins, fraud"
    assert found["threshold"] == Setting("threshold", Kind.NUMBER, 0.83, about, 0.7, 0.9, declared=True)
    assert (found["threads"].maximum, found["threads"].minimum, found["threads"].default) == (8, 0, 2)
    assert found["device"].choices == ("cpu", "cuda")
    assert found["device"].default == ("cuda", "cpu")
    assert found["host"].default == "0.0.0.0"
    assert (found["watch.window_s"].minimum, found["watch.window_s"].default) == (900.5, 1200.0)
    assert found["slo.latency_p99_ms"].default == 50.0
    declared = {name for name, setting in found.items() if setting.declared}
    assert declared == {"threshold", "threads", "device", "host", "watch.window_s", "slo.latency_p99_ms"}


def test_several_models_with_a_threshold_have_one_setting_each(folder: Path) -> None:
    text = """
[project]
name = "desk"
version = "1"
[models."a.b"]
path = "model.onnx"
device = ["cuda"]
output = { kind = "scores", positive = "x", threshold = 0.2 }
[models.c]
path = "second.onnx"
output = { kind = "scores", positive = "y" }
[settings]
models."a.b".threshold = { maximum = 0.4 }
"""
    found = read(folder, text).settings.settings
    assert "threshold" not in found
    assert found["models.a.b.threshold"].path == ("models", "a.b", "threshold")
    assert (found["models.a.b.threshold"].maximum, found["models.a.b.threshold"].default) == (0.4, 0.2)
    assert found["models.c.threshold"].default == 0.5
    assert found["device"].default is None, "the models differ, so each keeps its own"
