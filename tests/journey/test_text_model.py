"""Must show: a model with a tokenizer through the whole journey; its release carries the library, and no other does."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import requests
from tests.docs.pages import page
from tests.journey.conftest import Server, make_keys, pack_and_install, sealift
from tests.text_models import PROJECT, SENTENCES, tokenizer, write_project

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Letters:
    """The text model's project, packed, installed and served."""

    folder: Path
    packed: dict[str, Any]
    server: Server


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Letters]:
    folder = tmp_path_factory.mktemp("letters")
    write_project(folder / "letters")
    golden = folder / "letters" / "data" / "golden"
    golden.mkdir(parents=True)
    (golden / "long.json").write_text(json.dumps({"text": " ".join(SENTENCES)}))
    (golden / "short.txt").write_text("glad")
    project = folder / "letters" / "sealift.toml"
    project.write_text(project.read_text() + '\n[checks]\ngolden = "data/golden"\n')
    make_keys(folder)
    packed = pack_and_install(folder, "letters")
    server = Server([str(folder / "box" / "bin" / "sealift"), "serve", "letters", "--port", "0"], folder)
    yield Letters(folder, packed, server)
    assert server.stop() == 0
    server.log.close()


def expected(folder: Path, text: str) -> int:
    """The class by the library and the engine alone, cut by hand."""
    ids = tokenizer().encode(text).ids
    ids = [*ids[:11], 3] if len(ids) > 12 else ids
    session = onnxruntime.InferenceSession(str(folder / "letters" / "model.onnx"))
    logits = session.run(None, {"input_ids": [ids], "attention_mask": [[1] * len(ids)]})[0]
    return int(logits.argmax())


@pytest.mark.parametrize("text", [*SENTENCES, " ".join(SENTENCES), ""])
def test_a_release_answers_as_the_project_did(letters: Letters, text: str) -> None:
    url = f"{letters.server.url}/predict"
    answer = requests.post(url, json={"text": text}, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["prediction"] == expected(letters.folder, text)
    if text:
        plain = requests.post(url, data=text.encode(), headers={"Content-Type": "text/plain"}, timeout=30)
        assert plain.json() == answer.json()


def test_it_is_golden_checked_on_the_box(letters: Letters) -> None:
    said = sealift("inspect", "bundle", "--trust", "keys/root.json", cwd=letters.folder)
    assert "golden_checked: yes" in said
    assert "tokenizers/letters.json" in said, "the officer sees what belongs to the model"


def test_several_texts_of_different_lengths_in_one_request(letters: Letters) -> None:
    items = [{"text": text} for text in SENTENCES]
    answer = requests.post(f"{letters.server.url}/predict", json=items, timeout=30)
    assert [entry["prediction"] for entry in answer.json()] == [
        expected(letters.folder, text) for text in SENTENCES
    ]


def test_a_refused_text_says_what_is_wrong(letters: Letters) -> None:
    answer = requests.post(f"{letters.server.url}/predict", json={"text": "a", "pair": "b"}, timeout=30)
    assert answer.status_code == 400
    assert answer.json() == {"error": "pair: only text is taken", "code": "invalid_field", "field": "pair"}


def test_the_runtime_layer_carries_the_tokenizer_and_no_client_of_the_network(letters: Letters) -> None:
    runtime = next((letters.folder / "box" / "releases" / "letters").glob("*/runtime"))
    there = {path.name for path in runtime.iterdir()}
    assert {"tokenizers", "simplejpeg"} <= there
    assert there.isdisjoint({"huggingface_hub", "hf_xet", "httpx", "httpx2", "requests", "yaml"})
    application = runtime.parent / "application"
    assert (application / "tokenizers" / "letters.json").is_file()
    described = json.loads((application / "service.json").read_text())
    assert described["models"][0]["tokenizer"] == "tokenizers/letters.json"


def test_the_page_works_as_it_is_printed(tmp_path: Path) -> None:
    """The page's own project file, in process; it is the one that this module packs."""
    fences = page("how-to/text-model.md").fences()
    assert next(each.text for each in fences if each.language == "toml").strip() == PROJECT.strip()
    write_project(tmp_path / "letters")
    (tmp_path / "letter.txt").write_text("my card was lost")
    first, second = next(each.text for each in fences if each.is_shell).strip().splitlines()
    said = sealift(*first.split()[1:], cwd=tmp_path)
    assert said.startswith("letter.txt  ")
    command = [sys.executable, "-m", *second.split()]
    server = Server([*command[:-1], "0"], tmp_path)
    try:
        answer = requests.post(f"{server.url}/predict", json={"text": "my card was lost"}, timeout=30)
        assert answer.json()["label"] in said
    finally:
        assert server.stop() == 0
        server.log.close()


def test_a_release_without_a_tokenizer_does_not_carry_the_library(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "letters")
    (folder / "sealift.toml").write_text(PROJECT.partition("[model.input]")[0])
    make_keys(tmp_path)
    pack_and_install(tmp_path, "letters")
    runtime = next((tmp_path / "box" / "releases" / "letters").glob("*/runtime"))
    assert not (runtime / "tokenizers").exists()
    assert (runtime / "simplejpeg").is_dir()
