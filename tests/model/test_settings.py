"""A release's schema and a box's site file: what comes out, from where, and everything that is wrong at once."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealift.errors import BadSettings, MalformedBundle, StoreError, UsageError
from sealift.model.schema import ADVICE, BATCHING, DEFAULTS, THRESHOLD, nearest_setting
from sealift.model.setting import Kind, in_words
from sealift.model.settings import (
    PLACE,
    Schema,
    Source,
    decode_schema,
    encode_schema,
    schema_in_bundle,
    schema_of,
    settings_of,
)
from sealift.store.site import SiteFile

FRAUD = Schema(
    {
        **Schema().settings,
        "threshold": replace(THRESHOLD, minimum=0.7, maximum=0.9).with_default(0.83),
        "threads": replace(Schema().settings["threads"], maximum=8).with_default(2),
        "device": replace(Schema().settings["device"], choices=("cpu",)).with_default(("cpu",)),
        "slo.latency_p99_ms": Schema().settings["slo.latency_p99_ms"].with_default(50.0),
    }
)
DESK = Schema(
    {
        **Schema().settings,
        **{
            f"models.{name}.threshold": replace(THRESHOLD, name=f"models.{name}.threshold")
            for name in ("a", "b.c")
        },
    }
)


def site(text: str) -> SiteFile:
    return SiteFile(Path("/etc/sealift/fraud.toml"), text.encode())


def refusal(schema: Schema, text: str) -> BadSettings:
    with pytest.raises(BadSettings) as caught:
        settings_of(schema, site(text))
    return caught.value


def test_without_anything_sealifts_own_defaults_hold() -> None:
    found = settings_of(Schema(), {})
    assert (found.host, found.port, found.threads, found.device, found.drain_s) == (
        "127.0.0.1",
        8000,
        0,
        None,
        30,
    )
    assert (found.slo.latency_p99_ms, found.limits.max_memory_mb) == (None, None)
    assert (found.watch.window_s, found.watch.requests) == (600, 200)
    assert (found.watch.quiet_s, found.watch.canary_s) == (86_400, 10)
    assert found.threshold_of("fraud") is None
    assert set(found.sources.values()) == {Source.DEFAULT}


def test_flag_goes_before_environment_before_site_before_release_before_default() -> None:
    text = 'threads = 4\nport = 9001\nhost = "10.0.0.1"\ndevice = ["cpu"]\n'
    text += "[slo]\nlatency_p99_ms = 20\n[watch]\nwindow_s = 60\n"
    environ = {"SEALIFT_PORT": "9002", "SEALIFT_HOST": "10.0.0.2"}
    found = settings_of(FRAUD, site(text), environ=environ, flags={"port": 9003, "host": None})
    expected = {
        "port": (9003, Source.FLAG),
        "host": ("10.0.0.2", Source.ENVIRONMENT),
        "threads": (4, Source.SITE),
        "device": (("cpu",), Source.SITE),
        "slo.latency_p99_ms": (20.0, Source.SITE),
        "watch.window_s": (60.0, Source.SITE),
        "threshold": (0.83, Source.RELEASE),
        "drain_s": (30.0, Source.DEFAULT),
    }
    assert {name: (found.values[name], found.sources[name]) for name in expected} == expected
    assert (found.port, found.host, found.threads, found.watch.window_s) == (9003, "10.0.0.2", 4, 60.0)
    assert found.threshold_of("whatever") == 0.83
    assert isinstance(found.slo.latency_p99_ms, float)


def test_batching_is_set_for_each_model() -> None:
    one = Schema({**Schema().settings, **{each.name: each for each in BATCHING}})
    found = one.resolve({"batch_max": 8, "batch_wait_ms": 1.5})
    assert (found.batch_max_of("fraud"), found.batch_wait_s_of("fraud")) == (8, 0.0015)
    found = one.resolve({})
    assert (found.batch_max_of("fraud"), found.batch_wait_s_of("fraud")) == (None, 0.0)
    several = [replace(each, name=f"models.{name}.{each.name}") for name in ("a", "b.c") for each in BATCHING]
    desk = Schema({**Schema().settings, **{each.name: each for each in several}})
    found = desk.resolve({"models": {"b.c": {"batch_max": 4}}})
    assert (found.batch_max_of("a"), found.batch_max_of("b.c")) == (None, 4)
    found = Schema().resolve({})
    assert (found.batch_max_of("old"), found.batch_wait_s_of("old")) == (None, 0.0), "a release without them"
    for wrong in (0, 33, 2.5):
        assert list(one.problems({"batch_max": wrong}))


def test_a_model_that_is_not_there_is_told_from_one_that_is() -> None:
    assert nearest_setting("models.fraude", ["models.fraud.threshold"]) == "models.fraud"
    assert nearest_setting("models.c", ["models.a.batch_max", "models.b.batch_max"]) is None


def test_each_of_several_models_has_its_own_threshold() -> None:
    found = settings_of(DESK, site('[models."b.c"]\nthreshold = 0.9\n'))
    assert (found.threshold_of("a"), found.threshold_of("b.c"), found.threshold_of("d")) == (0.5, 0.9, None)


@pytest.mark.parametrize("port", ["http", "-1", "65536", "8０", "9" * 5000])
def test_a_port_of_the_environment_that_is_none_is_the_callers(port: str) -> None:
    with pytest.raises(UsageError, match=r"SEALIFT_PORT is .* expected a number from 0 to 65535"):
        settings_of(Schema(), {}, environ={"SEALIFT_PORT": port})


def test_all_that_is_wrong_comes_at_once_with_its_line() -> None:
    error = refusal(
        FRAUD,
        """\
# a comment
prot = 9000
threads = 9
device = ["cuda"]
threshold = 0.95
slo = 5

[watch]
window = 60
requests = "200"

[watch.more]
x = 1

[limits.max_memory_mb]
x = 1
""",
    )
    assert error.message == "/etc/sealift/fraud.toml: 9 problems"
    assert error.exit_code == 33
    assert error.next_step == ADVICE
    assert error.problems == (
        "line 2: 'prot' is not a setting; did you mean 'port'?",
        "line 3: threads: expected a whole number from 0 to 8, got 9",
        'line 4: device: expected an array of "cpu", got ["cuda"]',
        "line 5: threshold: expected a number from 0.7 to 0.9, got 0.95",
        "line 6: slo: expected a table, [slo], got 5",
        "line 9: 'watch.window' is not a setting; did you mean 'watch.window_s'?",
        'line 10: watch.requests: expected a whole number from 1 to 1000000, got "200"; write 200 without quotes',
        "line 12: 'watch.more' is not a setting",
        "line 15: limits.max_memory_mb: expected a number of at least 1, got a table",
    )


@pytest.mark.parametrize(
    ("schema", "text", "problem"),
    [
        (
            Schema(),
            "threshold = 1",
            "'threshold' is not a setting of this release: no model of it answers with a threshold",
        ),
        (
            DESK,
            "threshold = 1",
            "'threshold' is not a setting of this release: it has models.a.threshold or models.b.c.threshold",
        ),
        (Schema(), "latency_p99_ms = 1", "'latency_p99_ms' is not a setting; it is written slo.latency_p99_ms"),
        (Schema(), "[drain]\ns = 1", "'drain' is not a setting; did you mean 'drain_s'?"),
        (
            Schema(),
            '"watch.window_s" = 5',
            "'watch.window_s': a dot inside of quotes is no table; write watch.window_s",
        ),
        (DESK, "models.a = 5", "models.a: expected a table, [models.a], got 5"),
        (Schema(), '"a\\u0007b" = 1', "'a\\u0007b' is not a setting"),
    ],
)  # fmt: skip
def test_a_stranger_is_told_where_it_belongs(schema: Schema, text: str, problem: str) -> None:
    assert refusal(schema, text).problems == (f"line 1: {problem}",)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"port = 1\nhost = ", "line 2: not TOML: invalid value (end of the file)"),
        (b"port = 1\nport = 2\n", "line 2: not TOML: a key stands twice (column 9)"),
        (b"host = '\xe9'", "line 1: not UTF-8; save the file as UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_names_the_line(data: bytes, problem: str) -> None:
    with pytest.raises(BadSettings) as caught:
        settings_of(Schema(), SiteFile(Path("x.toml"), data))
    assert caught.value.problems == (problem,)


def test_a_schema_reads_back_and_names_its_format() -> None:
    data = encode_schema(FRAUD, {"latency_p99_ms": 50.0, "availability": None}, {"max_memory_mb": None})
    assert decode_schema(data) == FRAUD
    document = json.loads(data)
    assert document["format"] == "sealift-settings/1"
    assert (document["slo"], document["limits"]) == ({"latency_p99_ms": 50.0}, {})
    assert document["settings"]["threshold"] == {
        "about": "where the positive answer begins", "declared": True, "default": 0.83, "kind": "number",
        "maximum": 0.9, "minimum": 0.7,
    }  # fmt: skip
    assert document["settings"]["threads"]["minimum"] == 0


def test_a_release_without_a_schema_lets_a_box_set_what_sealift_does(tmp_path: Path) -> None:
    assert decode_schema(None) == Schema() == schema_of(tmp_path)


def test_a_setting_that_a_release_leaves_out_is_sealifts_own() -> None:
    document = json.loads(encode_schema(FRAUD, {}, {}))
    del document["settings"]["watch.canary_s"]
    assert decode_schema(json.dumps(document).encode()) == FRAUD


@pytest.mark.parametrize(
    "change",
    [
        {"format": "sealift-settings/2"}, {"settings": []}, {"settings": {"x": 1}},
        {"settings": {"port": {"kind": "number", "about": ""}}},
        {"settings": {"x": {"kind": "colour", "about": ""}}},
        {"settings": {"x": {"kind": "number"}}},
        {"settings": {"x": {"kind": "number", "about": "", "minimum": "1"}}},
        {"settings": {"x": {"kind": "number", "about": "", "minimum": 2, "default": 1}}},
        {"settings": {"x": {"kind": "number", "about": "", "step": 2}}},
    ],
)  # fmt: skip
def test_a_damaged_schema_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    document = {**json.loads(encode_schema(Schema(), {}, {})), **change}
    (tmp_path / "application").mkdir()
    (tmp_path / PLACE).write_text(json.dumps(document))
    with pytest.raises(MalformedBundle, match=r"application/settings\.json"):
        schema_of(tmp_path)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"null", b"\xff", b'{"format": "sealift-settings/1"}'])
def test_bytes_that_are_no_schema_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedBundle):
        decode_schema(data)


@dataclass(frozen=True)
class Entry:
    sha256: str


@dataclass(frozen=True)
class Bundle:
    names: tuple[str, ...]

    def files(self) -> list[tuple[str, Entry]]:
        return [(name, Entry(f"digest of {name}")) for name in self.names]


def test_the_schema_of_a_bundle_is_read_by_its_digest() -> None:
    objects = {f"digest of {PLACE}": encode_schema(FRAUD, {}, {})}
    assert schema_in_bundle(Bundle(("runtime/x", PLACE)), objects.get) == FRAUD
    assert schema_in_bundle(Bundle(("runtime/x", "runtime/settings.json")), objects.get) == Schema()
    with pytest.raises(StoreError, match="neither travels in this bundle nor is on this box"):
        schema_in_bundle(Bundle((PLACE,)), lambda _: None)


KEYS = st.sampled_from(
    ["port", "threads", "watch", "watch.requests", "slo", "models", "a", '"b.c"', "threshold", "zz", "device"]
)
VALUES = st.sampled_from(
    ["1", "-1", "nan", '"x"', "[]", '["cpu"]', "{}", "{ requests = 1 }", "true", "2026-01-01"]
)
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES), st.builds("[{}]".format, KEYS), st.text(max_size=9)
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(LINES, max_size=9), st.sampled_from([Schema(), FRAUD, DESK]))
def test_any_file_gives_settings_or_a_refusal_with_lines(lines: list[str], schema: Schema) -> None:
    text = "\n".join(lines)
    try:
        settings_of(schema, SiteFile(Path("x"), text.encode("utf-8", "surrogatepass")))
    except BadSettings as error:
        for problem in error.problems:
            place = re.match(r"line ([0-9]+): ", problem)
            assert place is not None
            assert 1 <= int(place[1]) <= text.count("\n") + 1
            assert problem.isprintable()


def test_the_reference_lists_every_setting_with_its_default_and_range() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/settings.md").read_text(encoding="utf-8")
    chapter = page.partition("## Settings of a service")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| (.*) \|$", chapter, re.MULTILINE))
    assert set(rows) == {setting.name for setting in (*DEFAULTS, *BATCHING)} | {"threshold"}
    for setting in (*DEFAULTS, *BATCHING):
        default, permitted, _ = rows[setting.name].split(" | ", 2)
        assert permitted == setting.permitted
        assert default == (f"`{in_words(setting.default)}`" if setting.default is not None else "none")
    assert Kind.NUMBER is THRESHOLD.kind
