"""Bad project files: each is refused with exactly these problems, and with nothing but ProjectError."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.errors import ProjectError
from sealift.project.file import MAX_FILE_BYTES, load_project
from sealift.project.keys import COLUMN_KEYS, INPUT_KEYS, NARROWING_KEYS, OUTPUT_KEYS, SECTION_KEYS

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

TABLE: Final = Path(__file__).with_name("bad_files.txt").read_text(encoding="utf-8")
GOOD: Final = '[project]\nname = "fraud"\nversion = "1.0"\n[model]\npath = "model.onnx"\n'


def cases() -> list[tuple[str, str, tuple[str, ...]]]:
    """(name, file, problems) of every entry in the table."""
    entries = [entry.split("\n", 1) for entry in TABLE.split("\n=== ")[1:]]
    parts = [(name, *body.split("\n---\n", 1)) for name, body in entries]
    return [(name, text + "\n", tuple(problems.strip().splitlines())) for name, text, problems in parts]


def refusal(folder: Path, text: str | bytes) -> ProjectError:
    """The error that a file is refused with."""
    data = text.encode() if isinstance(text, str) else text
    (folder / "sealift.toml").write_bytes(data)
    with pytest.raises(ProjectError) as caught:
        load_project(folder)
    return caught.value


def test_the_table_holds_at_least_forty_different_files() -> None:
    assert (
        len({text for _, text, _ in cases()}) == len({name for name, _, _ in cases()}) == len(cases()) >= 40
    )


@pytest.mark.parametrize(("name", "text", "problems"), cases(), ids=[name for name, _, _ in cases()])
def test_a_bad_file_is_refused_with_all_its_problems(
    folder: Path, name: str, text: str, problems: tuple[str, ...]
) -> None:
    error = refusal(folder, text)
    assert error.problems == problems
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    assert error.message == f"{folder}/sealift.toml: {count}"
    assert error.next_step == "correct these lines; docs/reference/project-file.md explains every key"
    assert error.exit_code == 2


def test_an_empty_file_lacks_a_project_and_a_model(folder: Path) -> None:
    assert refusal(folder, "").problems == (
        "line 1: [project] 'name' is missing",
        "line 1: [project] 'version' is missing",
        "line 1: no model; add [model] with its path",
    )


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a = 1\nb = '\xe9'\n", "line 2: not UTF-8; save the file as UTF-8"),
        (b"a = " + b"[" * 9000, "line 1: not TOML: nested too deeply"),
        (b"a = " + b"{a=" * 9000, "line 1: not TOML: nested too deeply"),
        (b"a = " + b"9" * 5000, "line 1: not TOML: it holds a number with too many digits"),
        (b"\n\na = [1,", "line 3: not TOML: invalid value (end of the file)"),
        (b"a = '\x00'", "line 1: not TOML: found invalid character '\\x00' (column 6)"),
    ],
)
def test_bytes_that_are_no_toml_are_refused_in_one_line(folder: Path, data: bytes, problem: str) -> None:
    assert refusal(folder, data).problems == (problem,)


def test_a_pipe_is_no_model(folder: Path) -> None:
    problem = 'line 5: [model] path: expected a file, and "pipe" is neither a file nor a folder'
    assert refusal(folder, GOOD.replace("model.onnx", "pipe")).problems == (problem,)


def test_a_path_longer_than_the_system_takes_is_refused(folder: Path) -> None:
    problem = f'line 5: [model] path: "{"m" * 60}..." cannot be read: File name too long'
    assert refusal(folder, GOOD.replace("model.onnx", "m" * 300)).problems == (problem,)


def test_labels_above_16_mib_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with (tmp_path / "labels.txt").open("wb") as stream:
        stream.truncate(16 * 2**20 + 1)
    error = refusal(tmp_path, GOOD + '[model.output]\nkind = "classes"\nlabels = "labels.txt"\n')
    problem = 'line 8: [model.output] labels: "labels.txt" is larger than 16 MiB; expected one label a line'
    assert error.problems == (problem,)


def test_a_file_of_1_mib_is_read_and_a_byte_more_is_not(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    largest = GOOD + "#" * (MAX_FILE_BYTES - len(GOOD))
    (tmp_path / "sealift.toml").write_text(largest)
    assert load_project(tmp_path).name == "fraud"
    error = refusal(tmp_path, largest + "#")
    assert error.message == f"{tmp_path}/sealift.toml is larger than 1 MiB, the most that is read"
    assert error.next_step == "put long lists, such as labels, into files of their own"


@pytest.mark.parametrize("place", ["", "sealift.toml", "deeper/still"])
def test_a_missing_file_names_the_command_that_makes_one(tmp_path: Path, place: str) -> None:
    home = tmp_path / "my project"
    home.mkdir()
    folder = home / "deeper/still" if "still" in place else home
    with pytest.raises(ProjectError) as caught:
        load_project(home / place)
    assert caught.value.message == f"{folder}/sealift.toml does not exist"
    assert caught.value.next_step == f"sealift init '{folder}'"


def test_a_file_that_is_no_project_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    with pytest.raises(ProjectError) as caught:
        load_project(tmp_path / "model.onnx")
    expected = f"{tmp_path}/model.onnx is not a project; expected a folder that holds sealift.toml"
    assert caught.value.message == expected


def test_a_project_file_that_is_a_folder_or_a_loop_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a/sealift.toml").mkdir(parents=True)
    with pytest.raises(ProjectError, match=r"a/sealift\.toml is not a regular file"):
        load_project(tmp_path / "a")
    (tmp_path / "sealift.toml").symlink_to("sealift.toml")
    with pytest.raises(ProjectError, match=r"sealift\.toml cannot be read: .*symbolic links"):
        load_project(tmp_path)
    with pytest.raises(ProjectError, match="cannot be read: embedded null byte"):
        load_project(tmp_path / "a\0b")


def test_every_known_key_is_read(folder: Path) -> None:
    """A key that a section allows but never looks at would be accepted and ignored: give each a wrong type."""
    ignored = []
    for header, keys, kind in _all_sections():
        for key in keys:
            first = {"[project]": "", "[model]": ""}.get(header, GOOD)
            wrong = f"{first}{header}\n{kind}{key} = [[{{ }}]]\n"
            texts = refusal(folder, wrong).problems
            if not any(f"{key}: expected" in text for text in texts):
                ignored.append((header, key, texts))
    assert ignored == []


def _all_sections() -> list[tuple[str, tuple[str, ...], str]]:
    """(header, keys, the line that chooses the kind) of every section and kind."""
    sections = [(f"[{name}]", keys, "") for name, keys in SECTION_KEYS.items()]
    table = '[model.input]\nkind = "tabular"\n'
    for header, kinds in (
        ("[model.input]", INPUT_KEYS),
        (f"{table}[[model.input.columns]]", COLUMN_KEYS),
        ("[model.output]", OUTPUT_KEYS),
    ):
        for kind, keys in kinds.items():
            sections.append((header, tuple(key for key in keys if key != "kind"), f'kind = "{kind}"\n'))
    for name, kind in (
        ("threads", "number"),
        ("drain_s", "number"),
        ("device", "device"),
        ("host", "address"),
    ):
        sections.append((f"[settings.{name}]", NARROWING_KEYS[kind], ""))
    return sections


WORDS: Final = sorted(
    {key for keys in [*SECTION_KEYS.values(), *NARROWING_KEYS.values()] for key in keys}
    | {"kind", "columns", "x.y", '"é"', "threads", "watch.window_s", "host"}
)
HEADERS: Final = (
    *(f"[{name}]" for name in SECTION_KEYS),
    "[model.input]", "[model.output]", "[models.a]", "[models.'B c'.input]", "[models.a.handler]",
    "[[model.input.columns]]", "[[project]]", "[x.y]", "[settings]", "[settings.threads]", "[settings.watch]",
)  # fmt: skip
VALUES: Final = (
    '"image"', '"tabular"', '"classes"', '"scores"', '"model.onnx"', '"../x"', '""', '"\\u0000"', "1", "-0.5",
    "nan", "0x" + "f" * 5000, "true", "[]", "[1, 2]", '["cpu"]', '["*"]', "{}", "{ kind = 'numeric', name = 'n' }",
    "[{ kind = 'categorical', vocabulary = ['v'] }, 3]", "2026-01-01", "07:32:00", "'''\n'''", "[[[]]]", "1e400",
)  # fmt: skip
LINES: Final = st.one_of(
    st.sampled_from(HEADERS),
    st.builds("{} = {}".format, st.sampled_from(WORDS), st.sampled_from(VALUES)),
    st.builds("{} = {}".format, st.sampled_from(WORDS), st.text(max_size=8)),
    st.text(max_size=12),
)


def _never_anything_but_a_project_error(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name, "model.onnx").write_bytes(b"")
        Path(name, "sealift.toml").write_bytes(data)
        try:
            load_project(Path(name))
        except ProjectError as error:
            lines = data.count(b"\n") + 1  # nothing else ends a line
            for problem in error.problems:
                place = re.match(r"line ([0-9]+): ", problem)
                assert place is not None
                assert 1 <= int(place[1]) <= lines
                assert problem.isprintable()


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(LINES, max_size=12))
def test_text_that_looks_like_a_project_is_read_or_refused(lines: list[str]) -> None:
    _never_anything_but_a_project_error("\n".join(lines).encode("utf-8", "surrogatepass"))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from([text for _, text, _ in cases()]), st.data())
def test_a_file_with_a_slip_anywhere_is_read_or_refused(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    slip = data.draw(st.sampled_from(["", '"', "'''", "[", "]", "{", "\n", "#", "\0", "=", ".", "\r", "é"]))
    cut = data.draw(st.integers(0, 3))
    _never_anything_but_a_project_error((text[:at] + slip + text[at + cut :]).encode())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    _never_anything_but_a_project_error(data)
