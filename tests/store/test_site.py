"""The site file: read as it is, changed so that what people wrote in it stays, durable."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealift.errors import BadSettings, StoreError
from sealift.store.prefix import Prefix, private
from sealift.store.site import (
    MAX_BYTES,
    SiteFile,
    changed,
    put_back,
    read_site,
    read_site_file,
    write_site,
)

WRITTEN = """\
# The teller's box. Ask Wang before you touch the port.
port = 9000      # the firewall knows it
threads = 2

[watch]
# the audit wants an hour
window_s = 3600
requests = 500   # and this many

[slo]
latency_p99_ms = 20
"""


@pytest.fixture
def box(tmp_path: Path) -> Prefix:
    return private(tmp_path / "box")


def site(text: str = WRITTEN) -> SiteFile:
    return SiteFile(Path("fraud.toml"), text.encode())


def test_no_file_is_an_empty_one(box: Prefix) -> None:
    found = read_site(box, "fraud")
    assert (found.data, found.is_there) == (b"", False)
    assert found.path == box.root / "etc" / "fraud.toml"
    assert not box.root.exists()


def test_a_file_is_read_to_the_byte(box: Prefix) -> None:
    write_site(box.site("fraud"), b"\xef\xbb\xbfport = 1\r\n")
    assert read_site(box, "fraud") == SiteFile(box.site("fraud"), b"\xef\xbb\xbfport = 1\r\n")
    assert box.site("fraud").stat().st_mode & 0o777 == 0o644, "workers of another account read it"


def test_a_pipe_or_a_folder_is_no_site_file_and_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for name in ("pipe.toml", "."):
        with pytest.raises(BadSettings, match="is no regular file"):
            read_site_file(tmp_path / name)


def test_a_file_above_64_kib_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"#" * MAX_BYTES)
    assert len(read_site_file(tmp_path / "a.toml").data) == MAX_BYTES
    (tmp_path / "a.toml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(BadSettings, match="larger than 64 KiB"):
        read_site_file(tmp_path / "a.toml")


def test_a_file_in_a_place_that_is_no_folder_is_a_damaged_prefix(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("")
    with pytest.raises(StoreError, match="Not a directory"):
        read_site_file(tmp_path / "etc" / "fraud.toml")


def test_a_change_keeps_comments_order_and_everything_else() -> None:
    data = changed(
        site(), "fraud", {("threads",): 4, ("watch", "requests"): 100, ("device",): ["cuda", "cpu"]}
    )
    assert data.decode() == WRITTEN.replace(
        "threads = 2\n", 'threads = 4\ndevice = ["cuda", "cpu"]\n'
    ).replace("requests = 500", "requests = 100")


def test_a_value_that_is_taken_out_leaves_the_rest_and_an_empty_table_goes() -> None:
    data = changed(site(), "fraud", {("threads",): None, ("slo", "latency_p99_ms"): None, ("host",): None})
    assert data.decode() == WRITTEN.replace("threads = 2\n", "").partition("\n[slo]")[0]


def test_a_new_file_says_what_it_is() -> None:
    data = changed(
        SiteFile(Path("x"), b"", is_there=False), "fraud", {("port",): 9000, ("watch", "quiet_s"): 60}
    )
    assert data.decode() == (
        "# What this box sets for fraud; kept over updates. All names and ranges: sealift config show fraud\n"
        "port = 9000\n\n[watch]\nquiet_s = 60\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "watch.window_s = 5\n",
        "watch = { window_s = 5 }\n",
        "[watch]\nwindow_s = 5\n",
        "watch.requests = 1\nport = 2\n",
    ],
)
def test_however_a_table_is_written_its_values_change(text: str) -> None:
    before = tomllib.loads(text)
    after = tomllib.loads(
        changed(site(text), "f", {("watch", "window_s"): 9, ("watch", "quiet_s"): 3}).decode()
    )
    assert after == {**before, "watch": {**before["watch"], "window_s": 9, "quiet_s": 3}}
    gone = tomllib.loads(changed(site(text), "f", {("watch", "window_s"): None}).decode())
    before["watch"].pop("window_s", None)
    assert gone == {key: value for key, value in before.items() if value != {}}


def test_a_models_name_with_a_dot_is_quoted() -> None:
    data = changed(
        site("port = 1\n"), "f", {("models", "b.c", "threshold"): 0.5, ("models", "a", "threshold"): 0.7}
    )
    assert tomllib.loads(data.decode()) == {
        "port": 1, "models": {"b.c": {"threshold": 0.5}, "a": {"threshold": 0.7}},
    }  # fmt: skip


def test_windows_line_ends_and_a_byte_order_mark_do_not_stand_in_the_way() -> None:
    data = changed(SiteFile(Path("x"), b"\xef\xbb\xbfport = 1\r\nthreads = 2\r\n"), "f", {("port",): 3})
    assert data == b"port = 3\nthreads = 2\n"


def test_putting_back_restores_the_bytes_and_removes_a_file_that_was_not_there(box: Prefix) -> None:
    path = box.site("fraud")
    nothing = read_site(box, "fraud")
    write_site(path, b"port = 1\n")
    before = read_site(box, "fraud")
    write_site(path, b"port = 2\n")
    put_back(before)
    assert path.read_bytes() == b"port = 1\n"
    put_back(nothing)
    assert not path.exists()


PATHS = st.sampled_from(
    [("port",), ("threads",), ("watch", "window_s"), ("slo", "x"), ("models", "b.c", "threshold")]
)
VALUES = st.one_of(
    st.none(), st.integers(-9, 9), st.just(["cpu", "cuda"]), st.floats(0, 1, width=16), st.just("a")
)


@given(st.dictionaries(PATHS, VALUES), st.dictionaries(PATHS, VALUES))
def test_two_changes_after_each_other_are_what_a_table_would_hold(
    first: dict[tuple[str, ...], Any], second: dict[tuple[str, ...], Any]
) -> None:
    one = changed(site(""), "f", first)
    two = changed(SiteFile(Path("x"), one), "f", second)
    expected: dict[tuple[str, ...], Any] = {p: v for p, v in {**first, **second}.items() if v is not None}
    assert dict(flat(tomllib.loads(two.decode()), ())) == expected


def flat(table: dict[str, Any], above: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for key, value in table.items():
        found += flat(value, (*above, key)) if isinstance(value, dict) else [((*above, key), value)]
    return found
