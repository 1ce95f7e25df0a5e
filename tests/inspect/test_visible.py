"""Words of a bundle that nobody vouches for, on their way to a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.inspect.visible import LIMIT, size_in_words, visible, visible_name

HOSTILE = {
    "a colour": "\x1b[31mred",
    "a window title": "\x1b]0;owned\x07",
    "an eight-bit command": "\x9b2J",
    "a carriage return": "numpy\rVERIFIED",
    "a line feed": "numpy\nVERIFIED",
    "a backspace": "bad\x08\x08\x08good",
    "a delete": "a\x7fb",
    "right to left": "exe.\u202ecod",
    "an isolate": "a\u2066b\u2069",
    "no width": "num\u200bpy",
    "a byte order mark": "\ufeffnumpy",
    "a soft hyphen": "num\u00adpy",
    "a line separator": "a\u2028b",
    "a no-break space": "a\u00a0b",
    "a tag": "a\U000e0041b",
    "half a character": "a\ud800b",
    "a private letter": "a\ue000b",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_could_fool_a_terminal_is_written_out(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert "\\" in shown


def test_a_command_can_still_be_read() -> None:
    assert visible("\x1b[31mred") == r"\x1b[31mred"
    assert visible("exe.\u202ecod") == r"exe.\u202ecod"


def test_letters_of_every_script_stay_and_names_of_packages_are_ascii() -> None:
    assert visible("许可证 Überprüfung") == "许可证 Überprüfung"
    assert visible_name("numpy") == "numpy"
    assert visible_name("num\u0440y") == r"num\u0440y"  # a Cyrillic letter that looks like p


def test_a_flood_is_cut_and_counted() -> None:
    assert visible("x" * 1_000_000) == "x" * LIMIT + "... (1000000 characters)"
    assert visible("x" * LIMIT) == "x" * LIMIT
    assert len(visible("\x1b" * 1_000_000)) < LIMIT + 40


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cc", "Cf", "Cs", "Zs", "Zl"])))
def test_whatever_it_is_it_can_be_printed_and_encoded(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (999_949, "999.9 kB"),
        (999_950, "1.0 MB"), (212_200_000, "212.2 MB"), (1_600_000_000, "1.6 GB"),
    ],
)  # fmt: skip
def test_sizes_are_powers_of_a_thousand(size: int, words: str) -> None:
    assert size_in_words(size) == words
