"""`inspect` and `verify` as the officer types them: words, exit codes, and a disk that stays as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.inspect.desk import (
    House,
    a_release,
    bill,
    component,
    house,
    leave_out,
    opened,
    pack_release,
    release_files,
    sign,
)
from tests.made_bundles import tree_hash

from sealift.cli.main import run
from sealift.cli.opening import told_plainly
from sealift.errors import MalformedBundle
from sealift.store.files import write_document

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]
SIGNERS = house(officers=2, officer_threshold=1)


class Desk:
    """A folder with a root, two bundles, and a prefix where nothing is installed."""

    def __init__(self, folder: Path, capsys: Captured) -> None:
        self.folder, self._capsys = folder, capsys
        (folder / "root.json").write_bytes(SIGNERS.signed.encode())
        self.old = pack_release(folder / "old.sealift", SIGNERS, approved_by=1)
        files = release_files() | {"application/models/parts/model.onnx": b"other weights"}
        release = a_release(version="1.1", seq=2)
        self.new = pack_release(folder / "new.sealift", SIGNERS, files=files, release=release)
        self.out = self.err = ""

    def run(self, verb: str, *argv: str | Path, trust: bool = True) -> int:
        """The exit code; `out` and `err` hold what was said."""
        extra = ["--trust", str(self.folder / "root.json")] if trust else []
        code = run([verb, *map(str, argv), *extra, "--prefix", str(self.folder / "box")])
        self.out, self.err = self._capsys.readouterr()
        return code

    def refused(self, code: int, verb: str, *argv: str | Path, trust: bool = True) -> str:
        """What is said of a refusal that changes nothing."""
        before = tree_hash(self.folder, but_the_log=True)
        assert self.run(verb, *argv, trust=trust) == code, self.err
        assert tree_hash(self.folder, but_the_log=True) == before
        assert "this is a bug" not in self.err
        return self.err


@pytest.fixture
def desk(tmp_path: Path, capsys: Captured) -> Desk:
    return Desk(tmp_path, capsys)


def test_an_officer_reads_the_page_before_the_last_signature_is_there(desk: Desk) -> None:
    assert desk.run("inspect", desk.new) == 0
    lines = desk.out.splitlines()
    assert lines[0].startswith("NOT VERIFIED  fraud 1.1  sha256:")
    assert "  approved by nobody (0 of 1)" in lines
    assert "  still missing:" in lines
    assert "next: sealift verify" not in desk.out
    sign(desk.new, SIGNERS, approved_by=1)
    assert desk.run("inspect", desk.new) == 0
    assert desk.out.startswith("VERIFIED  fraud 1.1  sha256:")
    assert f"\nnext: sealift verify {desk.new} " in desk.out


def test_the_page_changes_nothing_and_needs_no_prefix(desk: Desk) -> None:
    before = tree_hash(desk.folder)
    assert desk.run("inspect", desk.new, trust=False) == 0
    assert desk.out.startswith("NOT VERIFIED")
    assert desk.err == ""
    assert tree_hash(desk.folder) == before


def test_the_boxs_own_policy_and_pinned_root_judge(desk: Desk) -> None:
    pinned = desk.folder / "box" / "state" / "trust" / "root.json"
    pinned.parent.mkdir(parents=True)
    pinned.write_bytes(SIGNERS.signed.encode())
    assert desk.run("inspect", desk.old, trust=False) == 0
    assert desk.out.startswith("VERIFIED")
    assert desk.run("verify", desk.old, trust=False) == 0
    (desk.folder / "box" / "etc").mkdir()
    write_document(desk.folder / "box" / "etc" / "policy.json", {"format": "sealift-policy/1", "officers": 2})
    assert desk.run("inspect", desk.old, trust=False) == 0
    assert desk.out.startswith("NOT VERIFIED")
    assert "(1 of 2)" in desk.out
    desk.refused(27, "verify", desk.old, trust=False)


def test_an_old_release_is_warned_of_and_still_shown(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    assert desk.run("inspect", desk.old) == 0
    assert "  warning: created 2368 days ago: ask whether a newer release exists" in desk.out
    assert desk.run("verify", desk.old) == 0


def test_json_has_schema_1_and_everything_on_the_page(desk: Desk) -> None:
    assert desk.run("inspect", desk.old, "--json") == 0
    facts = json.loads(desk.out)
    assert (facts["schema"], facts["verified"], facts["missing"]) == (1, True, [])
    assert facts["verified_by"] == facts["signed_by"] == [SIGNERS.release[0].public.key_id]
    assert facts["root"] == {"fingerprint": SIGNERS.signed.root.fingerprint, "version": 1}
    assert facts["layers"]["runtime"]["travelling_files"] == 2
    assert {model["name"]: model["labels"] for model in facts["models"]} == {"parts": 2, "risk": 0}
    assert len(facts["packages"]) == 4
    assert desk.run("inspect", desk.new, "--json") == 0
    assert json.loads(desk.out)["verified_by"] == []


def test_against_shows_the_changes_and_files_lists_them(desk: Desk) -> None:
    assert desk.run("inspect", desk.new, "--against", desk.old, "--files") == 0
    assert "\nchanges since fraud 1.0 sha256:" in desk.out
    assert "\n  ~ application/models/parts/model.onnx  13\n" in desk.out
    assert "packages (4)" not in desk.out
    assert desk.run("inspect", desk.new, "--against", desk.old, "--files", "--json") == 0
    against = json.loads(desk.out)["against"]
    assert against["layers"]["application"]["changed"] == {"files": 1, "size": 13}
    assert [item["path"] for item in against["layers"]["application"]["names"]] == ["models/parts/model.onnx"]
    assert (against["same"], against["older"]["verified"]) == (False, True)
    assert desk.run("inspect", desk.old, "--against", desk.old) == 0
    assert "\nthe same release as fraud 1.0 sha256:" in desk.out


def test_a_small_bundle_needs_the_older_one_beside_it(desk: Desk) -> None:
    leave_out(desk.new, desk.old, SIGNERS)
    said = desk.refused(12, "inspect", desk.new)
    assert "next: name the bundle that the box has: --against OLD" in said
    desk.refused(12, "verify", desk.new)
    assert desk.run("inspect", desk.new, "--against", desk.old) == 0
    assert "in 1 object; the box must have 11 files" in desk.out
    assert desk.run("inspect", desk.new, "--against", desk.old, "--sbom", desk.folder / "bill.json") == 0
    assert json.loads((desk.folder / "bill.json").read_bytes()) == bill()


def test_lists_are_bytes_for_machines_and_a_warning_for_people(desk: Desk) -> None:
    assert desk.run("inspect", desk.old, "--files") == 0
    assert len(desk.out.splitlines()) == 12
    assert desk.err == ""
    assert desk.run("inspect", desk.new, "--sha256sum") == 0
    assert all(len(line.split("  ")[0]) == 64 for line in desk.out.splitlines())
    assert desk.err == "  note: NOT VERIFIED: nobody vouches for this list\n"
    assert desk.run("inspect", desk.new, "--files", "--json", "-q") == 0
    assert [item["mode"] for item in json.loads(desk.out)["files"]].count("0555") == 1


def test_html_and_sbom_and_files_are_written_in_one_go(desk: Desk) -> None:
    folder = desk.folder
    argv = ("--html", folder / "p.html", "--sbom", folder / "s.json", "--extract", folder / "scan")
    assert desk.run("inspect", desk.old, *argv) == 0
    assert (folder / "p.html").read_text().startswith("<!DOCTYPE html>")
    assert json.loads((folder / "s.json").read_bytes()) == bill()
    assert (folder / "scan" / "runtime" / "tool").read_bytes() == b"#!/bin/sh\n"
    assert "extracted 12 files to" in desk.err
    assert desk.out.startswith("VERIFIED")
    assert desk.run("inspect", desk.old, "--extract", folder / "again", "--json") == 0
    assert json.loads(desk.out)["extracted"] == {"files": 12, "left_out": 0, "patches": 0, "size": 3908}


@pytest.mark.parametrize("flag", ["--html", "--sbom", "--extract"])
def test_a_place_inside_a_bundle_is_refused(desk: Desk, flag: str) -> None:
    folder = pack_release(desk.folder / "bundle", SIGNERS, approved_by=1)
    assert "lies in a bundle and would spoil it" in desk.refused(2, "inspect", folder, flag, folder / "x")
    inside = folder / "objects" / "x"
    assert "would spoil it" in desk.refused(2, "inspect", desk.new, "--against", folder, flag, inside)


@pytest.mark.parametrize("flag", ["--html", "--sbom"])
def test_a_bundle_file_is_never_written_over(desk: Desk, flag: str) -> None:
    assert "would spoil it" in desk.refused(2, "inspect", desk.new, flag, desk.new)
    assert "would spoil it" in desk.refused(2, "inspect", desk.new, "--against", desk.old, flag, desk.old)


@pytest.mark.parametrize("flag", ["--html", "--sbom"])
def test_a_place_in_no_folder_is_refused_before_anything_is_written(desk: Desk, flag: str) -> None:
    desk.refused(2, "inspect", desk.old, flag, desk.folder / "no" / "x", "--extract", desk.folder / "scan")
    desk.refused(2, "inspect", desk.old, flag, desk.folder, "--extract", desk.folder / "scan")


def test_a_bill_that_is_not_there_writes_no_other_file_either(desk: Desk) -> None:
    files = release_files()
    del files["application/sbom.cdx.json"]
    place = pack_release(desk.folder / "c.sealift", SIGNERS, files=files)
    argv = ("--sbom", desk.folder / "s", "--html", desk.folder / "h", "--extract", desk.folder / "x")
    desk.refused(12, "inspect", place, *argv)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a flipped bit in release.json": lambda path: flip(path, 700),
    "a flipped bit in a header": lambda path: flip(path, 100),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "a byte more": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "text": lambda path: path.write_bytes(b"not a bundle\n" * 100),
    "a plain tar": lambda path: path.write_bytes(b"x".ljust(512, b"\0") * 20),
}


@pytest.mark.parametrize("verb", ["inspect", "verify"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_refused_with_a_code_and_no_traceback(desk: Desk, verb: str, damage: str) -> None:
    DAMAGE[damage](desk.old)
    before = tree_hash(desk.folder)
    assert desk.run(verb, desk.old) in range(10, 30)
    assert "this is a bug" not in desk.err
    assert desk.err.startswith(f"sealift {verb}: ")
    assert tree_hash(desk.folder) == before


def test_of_two_bundles_the_damaged_one_is_named(desk: Desk) -> None:
    flip(desk.old, 700)
    assert f"--against {desk.old}: " in desk.refused(11, "inspect", desk.new, "--against", desk.old)


def test_a_wrong_signature_is_a_refusal_and_no_page(desk: Desk) -> None:
    place = pack_release(desk.folder / "bundle", SIGNERS, approved_by=1)
    document = json.loads((place / "release.sig.json").read_bytes())
    other = json.loads((place / "transport.sig.json").read_bytes())
    document["signatures"][0]["signature"] = other["signatures"][0]["signature"]
    (place / "release.sig.json").write_bytes(
        json.dumps(document, separators=(",", ":"), sort_keys=True).encode()
    )
    for verb in ("inspect", "verify"):
        assert "does not verify" in desk.refused(21, verb, place)
        assert desk.out == ""


def test_a_service_json_that_sealift_never_wrote_is_refused(desk: Desk) -> None:
    files = release_files() | {"application/service.json": b"[1, 2"}
    place = pack_release(desk.folder / "c.sealift", SIGNERS, files=files)
    said = desk.refused(11, "inspect", place, "--html", desk.folder / "h")
    assert "application/service.json is not JSON" in said


def test_nothing_there_and_no_root_file_are_usage_errors(desk: Desk) -> None:
    desk.refused(2, "inspect", desk.folder / "nothing")
    desk.refused(2, "inspect", desk.old, "--against", desk.folder / "nothing")
    desk.refused(2, "inspect", desk.old, "--trust", desk.folder / "nothing.json", trust=False)


@pytest.mark.parametrize("verb", ["inspect", "verify", "install"])
def test_a_refusal_quotes_no_terminal_command(desk: Desk, verb: str) -> None:
    place = pack_release(desk.folder / "bundle", SIGNERS, approved_by=1)
    (place / "x\x1b]0;owned\x07\u202e").write_bytes(b"")
    said = desk.refused(11, verb, place)
    assert said.replace("\n", "").isprintable()
    assert "x\\x1b]0;owned\\x07\\u202e" in said


def test_every_problem_of_a_refusal_is_written_out_too() -> None:
    with pytest.raises(MalformedBundle) as caught, told_plainly("old.sealift: "):
        raise MalformedBundle("a\x1b", problems=["b\u202e", "c"], next_step="d")
    error = caught.value
    assert (error.message, error.problems, error.next_step) == (
        "old.sealift: a\\x1b", ("b\\u202e", "c"), "d",
    )  # fmt: skip


def test_letters_that_a_terminal_lacks_are_written_out(tmp_path: Path) -> None:
    sbom = bill()
    sbom["components"].append(component("x", "1", "许可证 \x1b[2J", "runtime"))
    place = pack_release(tmp_path / "b.sealift", None, files=release_files(sbom=sbom))
    done = subprocess.run(
        [sys.executable, "-m", "sealift", "inspect", str(place), "--prefix", str(tmp_path / "box")],
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert rb"\u8bb8\u53ef\u8bc1 \x1b[2J" in done.stdout


def test_verify_says_who_vouches_for_every_byte(desk: Desk) -> None:
    assert desk.run("verify", desk.old) == 0
    identity = opened(desk.old).identity
    what, _, who = desk.out.partition(", signed by ")
    assert what == f"VERIFIED fraud 1.0 sha256:{identity[:4]}-{identity[4:8]}: 12 objects"
    assert desk.out.count("\n") == 1
    for word in ("approved by sha256:", "under root sha256:", "version 1"):
        assert word in who
    assert desk.run("verify", desk.old, "--json") == 0
    result = json.loads(desk.out)
    assert (result["schema"], result["objects"], result["absent"]) == (1, 12, {"objects": 0, "size": 0})
    assert result["approvers"] == [SIGNERS.officers[0].public.key_id]


def test_verify_refuses_what_inspect_only_says(desk: Desk) -> None:
    desk.refused(27, "verify", desk.new)
    desk.refused(25, "verify", desk.old, trust=False)
    other: House = house(name="other")
    (desk.folder / "other.json").write_bytes(other.signed.encode())
    before = tree_hash(desk.folder)
    assert desk.run("verify", desk.old, "--trust", desk.folder / "other.json", trust=False) in range(20, 30)
    assert tree_hash(desk.folder) == before


def test_verify_reads_every_byte_that_inspect_leaves_alone(desk: Desk) -> None:
    place = pack_release(desk.folder / "bundle", SIGNERS, approved_by=1)
    victim = place / "objects" / "a8" / "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf"
    flip(victim, 3)
    desk.refused(22, "verify", place)
    desk.refused(22, "inspect", place, "--extract", desk.folder / "scan")
    assert desk.run("inspect", place) == 0


WINDOWS = """
import os, sys
gone = {"fcntl", "pwd", "grp", "resource", "termios", "_posixsubprocess", "tty", "pty", "syslog"}
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name in gone:
            raise ImportError(f"{name} is not on Windows")
for name in gone:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Wall())
for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK", "fchmod", "fchown", "chown", "getuid",
             "geteuid", "sync", "uname", "fork", "mkfifo", "pread", "set_blocking"):
    if hasattr(os, name):
        delattr(os, name)
from sealift.cli.main import run
from sealift.cli.opening import told_plainly
from sealift.errors import MalformedBundle
code = run(sys.argv[1:])
assert not gone & set(sys.modules), gone & set(sys.modules)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "argv",
    [
        ["inspect", "old.sealift"],
        ["inspect", "folder"],
        ["inspect", "new.sealift", "--against", "old.sealift", "--html", "p.html", "--extract", "scan"],
        ["inspect", "old.sealift", "--sha256sum"],
        ["verify", "old.sealift"],
        ["verify", "folder"],
    ],
    ids=" ".join,
)
def test_the_desk_works_where_there_is_no_posix(desk: Desk, argv: list[str]) -> None:
    """Windows and macOS are the officer's machines: nothing that only Linux has is needed."""
    pack_release(desk.folder / "folder", SIGNERS, approved_by=1)
    done = subprocess.run(
        [sys.executable, "-c", WINDOWS, *argv, "--trust", "root.json", "--prefix", "box"],
        capture_output=True,
        text=True,
        cwd=desk.folder,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_three_thousand_files_are_compared(tmp_path: Path, capsys: Captured) -> None:
    signers = house()
    places: dict[str, Path] = {}
    for name, seq in (("old", 1), ("new", 2)):
        more: dict[str, Any] = {
            f"dependencies/p{n % 300}/m{n}.py": b"%d %d" % (n, seq if n % 100 == 0 else 0)
            for n in range(3_000)
        }
        release = a_release(version=f"1.{seq}", seq=seq)
        files = release_files() | more
        places[name] = pack_release(tmp_path / f"{name}.sealift", signers, files=files, release=release)
    argv = ["inspect", str(places["new"]), "--against", str(places["old"]), "--prefix", str(tmp_path / "box")]
    assert run([*argv, "--json"]) == 0
    layers = json.loads(capsys.readouterr().out)["against"]["layers"]
    assert layers["dependencies"]["changed"]["files"] == 30
