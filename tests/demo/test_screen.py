"""What the demo prints fits 100 columns and respects those who want no colours."""

from __future__ import annotations

import io

import pytest

from sealift.demo.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_what_fills_the_screen_to_its_edge_keeps_its_lines() -> None:
    table = ["a" * 100, "short"]
    out = io.StringIO()
    Screen(out).echo("\n".join(table))
    assert out.getvalue().splitlines() == table


def test_a_long_command_is_folded_so_that_it_can_be_pasted() -> None:
    out = io.StringIO()
    Screen(out).command(["sealift", "predict", *(f"photo number {n}.png" for n in range(40))])
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("$ sealift predict 'photo number 0.png'")
    assert all(line.endswith(" \\") for line in lines[:-1])
    assert max(map(len, lines)) <= 100


def test_long_lines_are_wrapped_and_lose_nothing() -> None:
    fingerprint = "c59e" * 16
    for said in (Screen.echo, Screen.failure):
        out = io.StringIO()
        said(Screen(out), f"    trust root pinned for this prefix, compare it with the paper: {fingerprint}")
        assert max(map(len, out.getvalue().splitlines())) <= 100
        assert out.getvalue().split()[-1] == fingerprint
        assert len(out.getvalue().splitlines()) == 2


def test_a_long_output_is_cut_and_it_says_so() -> None:
    out = io.StringIO()
    Screen(out).echo("line\n" * 60)
    assert out.getvalue().splitlines()[-1] == "  ... and 12 more lines"


def test_a_table_aligns_numbers_to_the_right() -> None:
    out = io.StringIO()
    Screen(out).table([("step", "seconds"), ("pack", "12.3"), ("a longer step", "1.0")])
    assert out.getvalue() == "  step           seconds\n  pack              12.3\n  a longer step      1.0\n"


@pytest.mark.parametrize(
    ("variable", "value", "coloured"),
    [("NO_COLOR", "1", False), ("TERM", "dumb", False), ("TERM", "xterm", True), ("NO_COLOR", "", True)],
)
def test_colours_are_for_terminals_that_want_them(
    variable: str, value: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    out = Terminal()
    screen = Screen(out)
    screen.title("title")
    screen.step("step")
    screen.note("note")
    screen.failure("failure")
    assert ("\x1b[" in out.getvalue()) is coloured


def test_a_file_gets_no_colours() -> None:
    out = io.StringIO()
    Screen(out).title("title")
    assert out.getvalue() == "title\n"
