"""One setting: what it takes, how that is said, and what a word of a command line means to it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.model.schema import DEFAULTS
from sealift.model.setting import Kind, Setting, in_words, is_host

HOST = Setting("host", Kind.ADDRESS, "127.0.0.1", "")
PORT = Setting("port", Kind.INTEGER, 8000, "", 1, 65535)
SCORE = Setting("threshold", Kind.NUMBER, 0.5, "")
BELOW = Setting("x", Kind.NUMBER, 0.5, "", maximum=0.75)
ABOVE = Setting("x", Kind.INTEGER, 5, "", minimum=-3)
DEVICE = Setting("device", Kind.DEVICES, None, "")
CPU = Setting("device", Kind.DEVICES, None, "", choices=("cpu",))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (HOST, "0.0.0.0"), (HOST, "::1"), (HOST, "teller-07.bank.internal"), (HOST, "localhost"),
        (PORT, 1), (PORT, 65535), (SCORE, -4.5), (SCORE, 3), (BELOW, 0.75), (ABOVE, -3), (ABOVE, 10**15),
        (DEVICE, ["cuda:1", "cuda", "cpu"]), (CPU, ["cpu"]),
    ],
)  # fmt: skip
def test_what_is_permitted(setting: Setting, value: object) -> None:
    assert setting.problem_with(value) is None


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        (HOST, "a b", 'expected a host name or address such as "127.0.0.1", got "a b"'),
        (HOST, 5, 'expected a host name or address such as "127.0.0.1", got 5'),
        (PORT, 0, "expected a whole number from 1 to 65535, got 0"),
        (PORT, 80.5, "expected a whole number from 1 to 65535, got 80.5"),
        (PORT, "80", 'expected a whole number from 1 to 65535, got "80"; write 80 without quotes'),
        (PORT, True, "expected a whole number from 1 to 65535, got true"),
        (PORT, 10**400, "expected a whole number from 1 to 65535, got a very large integer"),
        (SCORE, "high", 'expected a number, got "high"'),
        (SCORE, math.nan, "expected a number, got nan"),
        (SCORE, math.inf, "expected a number, got inf"),
        (BELOW, 0.76, "expected a number of at most 0.75, got 0.76"),
        (ABOVE, -4, "expected a whole number of at least -3, got -4"),
        (DEVICE, "cpu", 'expected an array of "cpu", "cuda" or "cuda:1", got "cpu"; write ["cpu"]'),
        (DEVICE, [], 'expected an array of "cpu", "cuda" or "cuda:1", got []'),
        (DEVICE, ["cpu", "cpu"], 'expected an array of "cpu", "cuda" or "cuda:1", got ["cpu", "cpu"]'),
        (DEVICE, ["tpu"], 'expected an array of "cpu", "cuda" or "cuda:1", got ["tpu"]'),
        (CPU, ["cuda"], 'expected an array of "cpu", got ["cuda"]'),
        (PORT, {"minimum": 1}, "expected a whole number from 1 to 65535, got a table"),
    ],
)
def test_what_is_refused_is_said_with_what_was_expected(setting: Setting, value: object, said: str) -> None:
    assert setting.problem_with(value) == said


@pytest.mark.parametrize(
    ("setting", "word", "value"),
    [
        (PORT, "9000", 9000), (PORT, "9_000", 9000), (PORT, "0x10", 16), (PORT, "http", "http"), (PORT, "80.5", 80.5),
        (PORT, "true", True), (PORT, "1\nhost = 2", "1\nhost = 2"), (PORT, "9" * 5000, "9" * 5000),
        (SCORE, "0.83", 0.83), (SCORE, "1e-3", 0.001), (SCORE, "[[[[", "[[[["),
        (DEVICE, "cuda,cpu", ["cuda", "cpu"]), (DEVICE, '["cuda", "cpu"]', ["cuda", "cpu"]), (DEVICE, "cpu", ["cpu"]),
        (DEVICE, '"cuda:1"', ["cuda:1"]), (DEVICE, "cuda , cpu", ["cuda", "cpu"]),
        (HOST, "0.0.0.0", "0.0.0.0"), (HOST, '"::1"', "::1"), (HOST, "10", "10"),
    ],
)  # fmt: skip
def test_a_word_of_a_command_line_means_what_a_person_would_expect(
    setting: Setting, word: str, value: Any
) -> None:
    assert setting.parse(word) == value
    assert type(setting.parse(word)) is type(value)


@given(st.sampled_from([HOST, PORT, SCORE, DEVICE]), st.text())
def test_any_word_is_parsed_and_judged(setting: Setting, word: str) -> None:
    value = setting.parse(word)
    if setting.problem_with(value) is None:
        setting.typed(value)


@pytest.mark.parametrize(
    ("setting", "permitted"),
    [
        (HOST, "a host name or address"), (PORT, "1 to 65535"), (SCORE, "any number"), (BELOW, "at most 0.75"),
        (ABOVE, "at least -3"), (DEVICE, "cpu, cuda, cuda:1"), (CPU, "cpu"),
        (Setting("n", Kind.INTEGER, 0, ""), "any whole number"),
    ],
)  # fmt: skip
def test_the_range_is_said_in_few_words(setting: Setting, permitted: str) -> None:
    assert setting.permitted == permitted


def test_a_models_name_with_dots_is_one_key() -> None:
    assert Setting("models.v1.1_x.threshold", Kind.NUMBER, 0.5, "").path == ("models", "v1.1_x", "threshold")
    assert Setting("watch.window_s", Kind.NUMBER, 0.5, "").path == ("watch", "window_s")
    assert HOST.path == ("host",)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "-"), (0.83, "0.83"), (600.0, "600"), (8000, "8000"), (("cuda", "cpu"), "cuda, cpu"), ("a", "a")],
)
def test_values_are_shown_without_ornaments(value: Any, shown: str) -> None:
    assert in_words(value) == shown


@pytest.mark.parametrize("setting", DEFAULTS, ids=lambda setting: setting.name)
def test_every_default_lies_in_its_own_range(setting: Setting) -> None:
    assert setting.default is None or setting.problem_with(setting.default) is None
    assert setting.about


@pytest.mark.parametrize("text", ["", "-a", "a-.b c", "a" * 64 + "b", "*", "http://x", "a_b", "."])
def test_what_is_no_host(text: str) -> None:
    assert not is_host(text)
