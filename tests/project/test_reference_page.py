"""docs/reference/project-file.md says what the parser does: keys, defaults, examples."""

from __future__ import annotations

import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from sealift.errors import ProjectError
from sealift.model.declaration import (
    CategoricalColumn,
    ClassesOutput,
    EmbeddingOutput,
    ImageInput,
    NumericColumn,
    ScoresOutput,
)
from sealift.project.declarations import ACTIVATIONS, CHANNELS, ENCODINGS, INTERPOLATIONS, LAYOUTS
from sealift.project.file import load_project
from sealift.project.keys import (
    COLUMN_KEYS,
    INPUT_KEYS,
    NARROWING_KEYS,
    OUTPUT_KEYS,
    PACKAGES_KEYS,
    SECTION_KEYS,
    TENSOR_KEYS,
)
from sealift.project.project import Gates, Limits, Optimize, PythonSources, Slo, TargetWish
from sealift.project.sections import CANDIDATES, PLATFORMS
from sealift.target.presets import PRESETS

PAGE: Final = (Path(__file__).parents[2] / "docs/reference/project-file.md").read_text(encoding="utf-8")
EXAMPLES: Final = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


def chapters() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Heading -> key -> (type, default, meaning)."""
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    for chapter in re.split(r"^##+ ", PAGE, flags=re.MULTILINE)[1:]:
        heading, body = chapter.split("\n", 1)
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*) \|$", body, re.MULTILINE)
        found[heading] = {key: (kind, default, meaning) for key, kind, default, meaning in rows}
    return found


def expected_keys() -> dict[str, tuple[str, ...]]:
    """Heading -> the keys that the parser knows there."""
    expected = {f"`[{section}]`": keys for section, keys in SECTION_KEYS.items()}
    for word, kinds in (("input", INPUT_KEYS), ("column", COLUMN_KEYS), ("output", OUTPUT_KEYS)):
        expected.update({f'`kind = "{kind}"` ({word})': keys for kind, keys in kinds.items()})
    expected["`[[model.inputs]]` and `[[model.outputs]]`"] = TENSOR_KEYS
    expected["`[target.packages]`"] = PACKAGES_KEYS
    expected["`[settings]`"] = tuple(key for keys in NARROWING_KEYS.values() for key in keys)
    return expected


def test_the_page_has_exactly_the_keys_that_the_parser_knows() -> None:
    found = {heading: set(rows) for heading, rows in chapters().items() if rows}
    assert found == {heading: set(keys) for heading, keys in expected_keys().items()}


def _defaults() -> list[tuple[str, str, Any]]:
    """(heading, key, default) of every key that has a default other than None."""
    found: list[tuple[str, str, Any]] = []
    for section, values in {
        "target": TargetWish, "python": PythonSources, "optimize": Optimize, "slo": Slo, "limits": Limits,
        "gates": Gates,
    }.items():  # fmt: skip
        found += [(f"`[{section}]`", field.name, field.default) for field in fields(values)]
    for word, structs in {
        "input": (ImageInput,), "column": (NumericColumn, CategoricalColumn),
        "output": (EmbeddingOutput, ClassesOutput, ScoresOutput),
    }.items():  # fmt: skip
        for struct in structs:
            heading = f'`kind = "{struct.__struct_config__.tag}"` ({word})'
            found += [(heading, field.name, field.default) for field in msgspec.structs.fields(struct)]
    empty = (None, MISSING, msgspec.NODEFAULT)
    return [entry for entry in found if not any(entry[2] is nothing for nothing in empty)]


@pytest.mark.parametrize(("heading", "key", "default"), _defaults())
def test_the_page_states_the_default(heading: str, key: str, default: Any) -> None:
    written = {True: "true", False: "false"}[default] if isinstance(default, bool) else None
    if isinstance(default, str):
        written = f'"{default}"'
    elif isinstance(default, tuple):
        written = f"[{', '.join(f'{value:g}' for value in default)}]"
    elif written is None:
        written = f"{default:g}"
    exceptions = {"labels": "the model's own"}
    assert chapters()[heading][key][1] == exceptions.get(key, f"`{written}`")


@pytest.mark.parametrize(
    "words", [INTERPOLATIONS, LAYOUTS, CHANNELS, ENCODINGS, ACTIVATIONS, CANDIDATES, PLATFORMS]
)
def test_the_page_names_every_choice(words: tuple[str, ...]) -> None:
    cells = [meaning for rows in chapters().values() for _, _, meaning in rows.values()]
    assert any(all(f'`"{word}"`' in cell for word in words) for cell in cells)


def test_the_page_names_every_preset_with_its_c_library() -> None:
    for name, glibc in PRESETS.items():
        assert f"| {name} | {glibc} |" in PAGE


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_loads(folder: Path, example: str) -> None:
    (folder / "sealift.toml").write_text(example)
    assert load_project(folder).models


def test_there_is_an_example_for_every_kind_of_input(folder: Path) -> None:
    kinds = set()
    for example in EXAMPLES:
        (folder / "sealift.toml").write_text(example)
        kinds |= {str(model.input.__struct_config__.tag) for model in load_project(folder).models}
    assert kinds == set(INPUT_KEYS)


def test_the_refusal_on_the_page_is_the_refusal_of_the_tool(folder: Path) -> None:
    problems = tuple(re.findall(r"^  (line .*)$", PAGE, re.MULTILINE))
    text = '[project]\nname = "fraud"\nversion = "1"\n\n[model]\npth = "model.onnx"\n\n[model.input]\n'
    text += 'interpolation = "cubic"\nkind = "image"\nsize = [1, 1]\n\n[slo]\nlatency_p99_ms = "50"\n'
    (folder / "sealift.toml").write_text(text)
    with pytest.raises(ProjectError) as caught:
        load_project(folder)
    assert caught.value.problems == problems
