"""What the documents say is so: links, command lines, examples, lists of codes and variables."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Protocol

import pytest

from sealift.cli.main import GROUPS, load_verb, parser_of
from sealift.install.probation import KEEP_EVERY_S
from sealift.project.file import load_project
from sealift.serve.stage import _ROOM
from sealift.serve.workers import SupervisorOptions
from sealift.store.failures import BLOCKED_AFTER
from sealift.store.journal import Phase
from sealift.store.prefix import Prefix, private


class Fence(Protocol):
    """As `conftest.Fence`."""

    @property
    def language(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def place(self) -> str: ...


class Page(Protocol):
    """As `conftest.Page`."""

    @property
    def path(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def prose(self) -> str: ...
    @property
    def text(self) -> str: ...
    def fences(self) -> list[Fence]: ...


_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"`[^`\n]*`")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_SHELL = ("sh", "console")


def links_of(page: Page) -> Iterator[tuple[str, str]]:
    """(path, anchor) of every link that stays in the repository."""
    for target in _LINK.findall(_CODE.sub("", page.prose)):
        if not target.startswith(("http://", "https://", "mailto:")):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors_of(text: str) -> set[str]:
    """The anchors that headings get on GitHub."""
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def test_every_link_inside_the_repository_resolves(pages: list[Page]) -> None:
    broken = []
    for page in pages:
        for path, anchor in links_of(page):
            target = page.path.parent / path if path else page.path
            if not target.exists():
                broken.append(f"{page.name}: {path}")
            elif anchor and anchor not in anchors_of(target.read_text(encoding="utf-8")):
                broken.append(f"{page.name}: {path}#{anchor}")
    assert broken == []


def test_every_page_of_the_documentation_is_reached_from_its_index(pages: list[Page], root: Path) -> None:
    reached = set()
    for page in pages:
        reached |= {(page.path.parent / path).resolve() for path, _ in links_of(page) if path}
    lonely = [page.name for page in pages if page.path.resolve() not in reached]
    assert lonely == []


def command_lines(fence: Fence) -> Iterator[str]:
    """What a person types: every line of a script, the `$` lines of a console block."""
    text = fence.text.replace("\\\n", " ")
    for line in text.splitlines():
        if fence.language == "console" and not line.startswith("$ "):
            continue
        yield line.removeprefix("$ ")


def sealift_arguments(line: str) -> Iterator[list[str]]:
    """The argv of every sealift command in a shell line, without redirections, `sudo` and assignments."""
    lexer = shlex.shlex(line.replace("2>&1", ""), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    command: list[str] = []
    skip = False
    for token in [*lexer, ";"]:
        if set(token) <= set("();<>|&"):
            skip = token[0] in "<>"
            if not skip:
                yield from _if_sealift(command)
                command = []
        elif skip:
            skip = False
        else:
            command.append(token)


def _if_sealift(command: list[str]) -> Iterator[list[str]]:
    while command and (command[0] in ("sudo", "exec") or re.match(r"[A-Z_]+=", command[0])):
        command = command[1:]
    if command and command[0].rpartition("/")[2] == "sealift":
        yield command[1:]


def refusal_of(argv: list[str]) -> str | None:
    """Why the verb's parser does not take these arguments; None: it does."""
    if argv[0] in ("--help", "--version", "help"):
        return None
    verb = load_verb(argv[0])
    if verb is None:
        return f"no verb {argv[0]}"
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            parser_of(argv[0], verb).parse_args(argv[1:])
    except SystemExit as end:
        return None if end.code == 0 else said.getvalue().splitlines()[-1]
    return None


def test_every_sealift_command_in_the_documents_parses(pages: list[Page]) -> None:
    wrong, seen = [], 0
    for page in pages:
        for fence in page.fences():
            if fence.language in _SHELL:
                for line in command_lines(fence):
                    for argv in sealift_arguments(line):
                        seen += 1
                        wrong += [f"{fence.place}: {line}: {why}"] if (why := refusal_of(argv)) else []
    assert wrong == []
    assert seen > 20


def test_a_wrong_command_line_would_be_seen() -> None:
    lines = "PATH=x sudo sealift instal usb && sealift pack --unsinged | head; box/bin/sealift status > f"
    found = [refusal_of(argv) for argv in sealift_arguments(lines)]
    assert found == [
        "no verb instal",
        "sealift pack: error: unrecognized arguments: --unsinged",
        None,
    ]


@pytest.mark.parametrize("name", [verb for verbs in GROUPS.values() for verb in verbs])
def test_the_examples_in_a_verbs_own_help_parse(name: str) -> None:
    verb = load_verb(name)
    assert verb is not None
    epilog = parser_of(name, verb).epilog or ""
    lines = (line.strip().partition("   ")[0] for line in epilog.splitlines())  # what follows is a remark
    examples = [argv for line in lines for argv in sealift_arguments(line)]
    assert examples
    assert [why for argv in examples if (why := refusal_of(argv))] == []


def test_every_python_json_and_toml_block_is_well_formed(pages: list[Page]) -> None:
    readers: dict[str, Callable[[str], object]] = {
        "python": ast.parse,
        "json": json.loads,
        "toml": tomllib.loads,
    }
    for page in pages:
        for fence in page.fences():
            if fence.language in readers:
                try:
                    readers[fence.language](fence.text)
                except (SyntaxError, ValueError) as error:
                    pytest.fail(f"{fence.place}: {error}")


def test_every_whole_project_file_in_the_documents_loads(pages: list[Page], tmp_path: Path) -> None:
    """Files that it names are made empty: the file itself is what is tested here."""
    found = [
        (fence.place, fence.text)
        for page in pages
        for fence in page.fences()
        if fence.language == "toml" and "[project]" in fence.text and "[model" in fence.text
    ]
    assert len(found) >= 3
    for number, (place, text) in enumerate(found):
        folder = tmp_path / str(number)
        for name in re.findall(r'= "([\w./-]+\.(?:onnx|pth?|safetensors|xml|json|py|txt|toml))[:"]', text):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("cat\ndog\n")
        for name in re.findall(r'= "(data/[\w/-]+)"', text):
            (folder / name).mkdir(parents=True)
        (folder / "sealift.toml").write_text(text)
        assert load_project(folder).models, place


@pytest.fixture(scope="module")
def build(root: Path) -> ModuleType:
    """docs/build.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_build", root / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_up_to_date(build: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make docs` writes them."""
    monkeypatch.setenv("COLUMNS", "40")  # the page does not depend on the terminal
    for path, text in build.generated():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run `make docs`"


def test_a_page_with_no_place_for_its_table_is_refused(build: ModuleType) -> None:
    with pytest.raises(ValueError, match="expected one"):
        build.with_table("no marks here", "| table |")


def sources(root: Path) -> Iterator[str]:
    """The text of every source file."""
    for path in sorted((root / "src").rglob("*.py")):
        yield path.read_text(encoding="utf-8")


def test_every_code_that_a_client_may_get_is_documented(root: Path) -> None:
    page = (root / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`([a-z_]+)`", page.partition("## Errors")[2].partition("## Metrics")[0]))
    pattern = re.compile(r'code="([a-z_]+)"|(?:problem|Refusal|_stop)\(\s*\d{3}, "([a-z_]+)"')
    used = {code or other for text in sources(root) for code, other in pattern.findall(text)}
    assert used - documented == set()
    codes = {word for word in documented if "_" in word or word in ("busy", "internal", "abandoned")}
    assert codes - used == set()


def test_every_metric_is_documented(root: Path) -> None:
    page = (root / "docs" / "reference" / "http-api.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`((?:sealift|process)_[a-z_]+)`", page))
    declared = re.compile(r'meter\.(?:gauge|counter|histogram)\(\s*"([a-z_]+)"')
    assert {name for text in sources(root) for name in declared.findall(text)} == documented


def test_every_environment_variable_is_documented(root: Path) -> None:
    page = (root / "docs" / "reference" / "settings.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `([A-Z_]+)` ", page, re.MULTILINE))
    pattern = re.compile(r'environ(?:ment)?(?:\.get\(|\[)"([A-Z_]+)"(?!\] = )')
    used = {name for text in sources(root) for name in pattern.findall(text)}
    tests_only = {"SEALIFT_REQUIRE_ALL"}
    assert used == documented - tests_only


def test_every_clause_that_the_code_cites_exists(root: Path) -> None:
    page = (root / "docs" / "reference" / "bundle-format.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^## (\d+) ", page, re.MULTILINE))
    known |= set(re.findall(r"^\*\*(\d+\.\d+)\*\*", page, re.MULTILINE))
    cited = {name for text in sources(root) for name in re.findall(r"\bclause (\d+(?:\.\d+)?)", text)}
    assert cited
    assert cited - known == set()


def test_the_caps_in_the_bundle_format_are_those_of_the_reader(root: Path) -> None:
    from sealift import canonical
    from sealift.bundle import documents, layout, transport

    page = (root / "docs" / "reference" / "bundle-format.md").read_text(encoding="utf-8")
    caps = [
        documents.MAX_FILES,
        documents.MAX_OBJECT_BYTES,
        documents.MAX_PATH_BYTES,
        layout.MAX_DOCUMENT_BYTES,
    ]
    assert [f"{cap:,}" for cap in caps if f"{cap:,}" not in page] == []
    assert f"no value lies deeper than {canonical.MAX_DEPTH}" in page
    assert f"{documents.MAX_PATH_DEPTH} parts; a part is at most {documents.MAX_NAME_BYTES} bytes" in page
    forms = (transport.FULL_FORMAT, transport.DELTA_FORMAT)
    for form in (documents.RELEASE_FORMAT, documents.MANIFEST_FORMAT, *forms):
        assert f'"{form}"' in page


def test_every_path_below_a_prefix_is_documented(root: Path) -> None:
    """A property or method of `Prefix` that gives a path has its row."""
    page = (root / "docs" / "reference" / "state-on-disk.md").read_text(encoding="utf-8")
    prefix, found = private(Path("/P")), set()
    for name, member in vars(Prefix).items():
        if isinstance(member, property):
            found |= paths_in(getattr(prefix, name))
        elif callable(member) and not name.startswith("_") and name != "services":
            found |= paths_in(member(prefix, "NAME"))
    assert len(found) > 15
    assert [path for path in sorted(found) if f"`{path}" not in page] == []


def paths_in(value: object) -> set[str]:
    """`P/...` for a path, or for several."""
    paths = value if isinstance(value, tuple) else (value,)
    return {str(path).removeprefix("/") for path in paths if isinstance(path, Path)}


def test_every_phase_of_the_journal_is_explained_and_drawn(root: Path) -> None:
    page = (root / "docs" / "explanation" / "transaction.md").read_text(encoding="utf-8")
    picture = (root / "docs" / "images" / "transaction.svg").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([a-z ]+)` \|", page, re.MULTILINE)) == {phase.value for phase in Phase}
    assert [phase.value for phase in Phase if f">{phase.value}</text>" not in picture] == []


def test_the_figures_in_the_prose_of_the_transaction_are_those_of_the_source(root: Path) -> None:
    text = (root / "docs" / "explanation" / "transaction.md").read_text(encoding="utf-8")
    page = " ".join(text.split())
    options = SupervisorOptions()
    for sentence in (
        f"silent for {options.hang_s:g} s, or whose oldest request is older than {options.stuck_s:g} s",
        f"`drain_s` ({options.drain_s:g} s)",
        f"every {KEEP_EVERY_S:g} s: what was seen so far",
        f"free than {_ROOM:g} times what the check measured",
    ):
        assert sentence in page
    assert BLOCKED_AFTER == 2, "`After two of them`"


def test_every_test_that_is_named_in_prose_exists(pages: list[Page], root: Path) -> None:
    named = [(page.name, name) for page in pages for name in re.findall(r"`(tests/[\w./]+)`", page.prose)]
    assert [(page, name) for page, name in named if not (root / name).exists()] == []
    assert len(named) > 20


def test_the_pictures_are_svg_with_a_text_for_those_who_cannot_see_them(root: Path) -> None:
    from xml.etree import ElementTree

    for name in ("journey.svg", "journey.zh-CN.svg", "transaction.svg"):
        picture = ElementTree.parse(root / "docs" / "images" / name).getroot()
        named = {child.tag.rpartition("}")[2]: child.text for child in picture}
        assert picture.get("role") == "img"
        assert named["title"]
        assert len(named["desc"] or "") > 60
