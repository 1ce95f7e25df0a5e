"""A page that says something else than what happens is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.pages import ROOT, Page
from tests.docs.running import Place, as_pattern, require_as_printed

GOOD = """\
# A page

```text title=notes/said.txt
port 8000
```

```sh
cd notes
cd ..
```

```console
$ cat notes/said.txt
port 8000
$ echo one; echo two; \\
  echo three
one
...
three
$ false; echo $?
1
```
"""


class Outside(Page):
    """A page that lies outside the repository."""

    @property
    def name(self) -> str:
        return self.path.name


def read(text: str, folder: Path, *, longest_s: float = 20.0) -> None:
    path = folder / "page.md"
    path.write_text(text)
    place = Place(folder, ROOT, swaps={"8000": "41000"}, longest_s=longest_s)
    require_as_printed(Outside(path), place)


def test_a_page_that_is_right_is_right(tmp_path: Path) -> None:
    read(GOOD, tmp_path)
    assert (tmp_path / "notes" / "said.txt").read_text() == "port 41000\n"


@pytest.mark.parametrize(
    ("said", "instead", "told"),
    [
        ("three\n$", "four\n$", "expected:"),
        ("1\n```", "0\n```", "expected:"),
        ("1\n```", "```", "expected:"),
        ("false; echo $?\n1", "false", "ended with 1"),
        ("cd ..", "cd nowhere", "ended with 1"),
        ("cd ..", "exit 0", "the session ended here"),
    ],
)
def test_a_page_that_is_wrong_is_found_out(said: str, instead: str, told: str, tmp_path: Path) -> None:
    assert GOOD.count(said) == 1
    with pytest.raises(AssertionError, match=told):
        read(GOOD.replace(said, instead), tmp_path)


def test_a_command_that_never_ends_is_ended(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="not done in time"):
        read("```sh\nsleep 600\n```\n", tmp_path, longest_s=0.2)


def test_dots_stand_for_text_and_for_lines() -> None:
    assert as_pattern("a ... c\n...\nend\n").fullmatch("a b c\n1\n2\nend\n")
    assert not as_pattern("a ... c\n").fullmatch("a b\n")
    assert not as_pattern("end\n").fullmatch("1\nend\n")
