"""`pack --from` and what the other verbs make of a delta."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.test_keys import Desk
from tests.journey.test_inner_loop import write_project
from tests.made_bundles import make_bundle, tree_hash
from tests.pack.test_delta import NEW, OLD

from sealift.cli.main import run

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

Captured = pytest.CaptureFixture[str]


class Table:
    """A keys desk, an old bundle and an unsigned delta from it; `say` runs a verb."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        desk("init", "--officers", "1")
        self.old = make_bundle(desk.folder, None, files=OLD).path
        self.delta = make_bundle(desk.folder, None, version="2.0", seq=9, files=NEW, olds=[self.old]).path
        for role in ("release", "officer"):
            self.sign(self.old, role=role)

    def say(self, *argv: str | Path, code: int = 0) -> str:
        found = run([*map(str, argv), "--prefix", str(self.desk.folder / "nobox")])
        said = self.desk.capsys.readouterr()
        assert found == code, said.err + said.out
        return said.out if code == 0 else said.err

    def sign(self, bundle: Path, *more: str | Path, role: str = "release", code: int = 0) -> str:
        argv = ["sign", str(bundle), "--keys", str(self.desk.keys), "--as", role, *map(str, more)]
        found = run([*argv, "--passphrase-file", str(self.desk.phrases[role])])
        said = self.desk.capsys.readouterr()
        assert found == code, said.err
        return said.out if code == 0 else said.err

    def signed(self) -> Path:
        for role in ("release", "officer"):
            self.sign(self.delta, "--against", self.old, role=role)
        return self.delta

    @property
    def trust(self) -> tuple[str, str]:
        return "--trust", str(self.desk.keys / "root.json")


@pytest.fixture
def table(tmp_path: Path, capsys: Captured) -> Table:
    return Table(Desk(tmp_path, capsys))


def test_a_delta_is_signed_beside_its_base_and_verifies_whole(table: Table) -> None:
    said = table.say("verify", table.signed(), *table.trust, "--against", table.old)
    assert said.startswith("VERIFIED fraud 2.0 sha256:")
    assert re.search(r"a delta, made for a box that has fraud 1\.0 \(sha256:[0-9a-f]{4}-[0-9a-f]{4}\)", said)
    assert "NOT CHECKED" not in said


def test_without_its_base_nothing_is_signed(table: Table) -> None:
    before = tree_hash(table.delta)
    said = table.sign(table.delta, code=12)
    assert "this delta cannot be checked whole: it was made for a box that has fraud 1.0 (sha256:" in said
    assert "the files of runtime are not known" in said
    assert "2 of its objects are patches of what is not here" in said
    assert "next: name the full bundle of a base with --against OLD" in said
    assert tree_hash(table.delta) == before


def test_another_release_beside_it_does_not_help(table: Table) -> None:
    other = make_bundle(table.desk.folder / "other", None, files={"runtime/x": b"x"}).path
    assert "the files of runtime are not known" in table.sign(table.delta, "--against", other, code=12)
    kin = make_bundle(
        table.desk.folder / "kin", None, files={name: data for name, data in OLD.items() if "runtime" in name}
    ).path
    said = table.sign(table.delta, "--against", kin, code=12)
    assert "2 of its objects are patches" in said
    assert "objects that it leaves out are not here" in said


def test_a_damaged_base_is_named(table: Table) -> None:
    largest = max((table.old / "objects").rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    data = largest.read_bytes()
    largest.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    said = table.sign(table.delta, "--against", table.old, code=22)
    assert re.search(rf"{table.old}: object sha256:.{{9}}: expected 30000 bytes of that digest", said)
    (table.old / "release.json").write_bytes(b"{")
    assert f"--against {table.old}: release.json" in table.sign(table.delta, "--against", table.old, code=11)


def test_a_delta_is_issued_anew_with_a_higher_sequence(table: Table) -> None:
    table.sign(table.delta, "--against", table.old, "--as-seq", "12")
    table.sign(table.delta, "--against", table.old, role="officer")
    facts = json.loads(table.say("verify", table.delta, *table.trust, "--against", table.old, "--json"))
    assert (facts["seq"], facts["complete"]) == (12, True)


def test_verify_says_plainly_what_it_could_not_check(table: Table) -> None:
    said = table.say("verify", table.signed(), *table.trust)
    assert said.startswith("VERIFIED IN PART fraud 2.0")
    assert "NOT CHECKED: what 2 of its 4 objects decode to; they are patches" in said
    assert "NOT CHECKED: the files of runtime; the list of them does not travel and is not here" in said
    assert f"next: sealift verify {table.delta} --against OLD" in said
    facts = json.loads(table.say("verify", table.delta, *table.trust, "--json"))
    assert (facts["complete"], facts["unknown_layers"], facts["absent"]) == (False, ["runtime"], None)
    assert facts["undecoded"] == {"objects": 2, "size": 20_000 + 29_980}
    assert [base["version"] for base in facts["bases"]] == ["1.0"]


def test_verify_without_the_base_still_refuses_a_changed_byte(table: Table) -> None:
    part = min((table.signed() / "objects").rglob("*/*"), key=lambda path: path.stat().st_size)
    data = part.read_bytes()
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "found others" in table.say("verify", table.delta, *table.trust, code=22)


def test_inspect_shows_a_delta_as_one(table: Table) -> None:
    argv = ("inspect", table.signed(), *table.trust, "--against", table.old)
    said = table.say(*argv)
    assert re.search(
        r"\n +delta made for a box that has fraud 1\.0 \(sha256:.{9}\); objects that travel: ", said
    )
    assert "1 raw, 1 zstd, 2 zstd-prefix (patches of what that box has)" in said
    assert re.search(r"on the medium \d+ bytes in 4 objects; the box must have \d files", said)
    facts = json.loads(table.say(*argv, "--json"))
    assert facts["codecs"] == {"raw": 1, "zstd": 1, "zstd-prefix": 2}
    assert facts["bases"][0]["seq"] == 1
    assert f"next: sealift verify {table.delta} --against {table.old}" in said


def test_inspect_alone_names_the_base(table: Table) -> None:
    said = table.say("inspect", table.delta, code=12)
    assert "made for a box that has fraud 1.0 (sha256:" in said
    assert "next: name the bundle that the box has: --against OLD" in said


def test_every_file_of_a_delta_can_be_scanned_beside_its_base(table: Table) -> None:
    place = table.desk.folder / "scan"
    table.say("inspect", table.delta, "--against", table.old, "--extract", place, "-q")
    found = {
        path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()
    }
    assert found == {name: data for name, data in NEW.items() if name not in OLD or data != OLD[name]}


def project(folder: Path, version: str, change: Callable[[str], str] = lambda text: text) -> Path:
    write_project(folder / "loop", version)
    file = folder / "loop" / "sealift.toml"
    file.write_text(change(file.read_text()))
    return folder / "loop"


@pytest.mark.slow
def test_pack_makes_a_delta_that_is_the_full_release(tmp_path: Path, capsys: Captured) -> None:
    desk = Desk(tmp_path, capsys)
    desk("init")
    medium = tmp_path / "usb"
    medium.mkdir()

    def pack(*argv: str | Path, code: int = 0) -> dict[str, Any]:
        keys = ["--keys", str(desk.keys), "--passphrase-file", str(desk.phrases["release"])]
        found = run(["pack", str(tmp_path / "loop"), *map(str, argv), *keys, "--json"])
        said = capsys.readouterr()
        assert found == code, said.err
        result: dict[str, Any] = json.loads(said.out) if code == 0 else {"said": said.err}
        return result

    project(tmp_path, "1")
    old = tmp_path / "old.sealift"
    first = pack("-o", old)
    project(tmp_path, "2")
    made = pack("-o", medium, "--from", old, "--explain")
    assert Path(made["path"]) == medium / "loop-2-from-1.sealift"
    papers = {"CARRY-SHEET.html", "SHA256SUMS", "START-HERE.txt"}
    assert {path.name for path in medium.iterdir()} == {"loop-2-from-1.sealift", *papers}
    assert made["notes"][-1].endswith("read back and the same. It is safe to remove")
    assert (made["seq"], made["bases"]) == (2, [{"identity": first["identity"], "seq": 1, "version": "1"}])
    assert made["stored_size"] < made["full_size"] / 50
    assert made["explanation"]["layers"]["runtime"]["left_out_files"] > 100
    full = pack("-o", tmp_path / "full.sealift")
    assert full["identity"] == made["identity"]
    again = pack("-o", tmp_path / "again.sealift", "--from", old)
    assert Path(again["path"]).read_bytes() == Path(made["path"]).read_bytes()
    _refusals(tmp_path, pack, old, Path(made["path"]))


def _refusals(folder: Path, pack: Callable[..., dict[str, Any]], old: Path, delta: Path) -> None:
    """Each before anything is collected or written."""
    said = pack("-o", folder / "x.sealift", "--volumes", "fat32", code=2)["said"]
    assert "--volumes: -o must be an existing folder, the medium's" in said
    assert "expected fat32, dvd or a size" in pack("-o", folder, "--volumes", "huge", code=2)["said"]
    assert "no such file" in pack("-o", folder, "--bootstrap", folder / "none.run", code=2)["said"]
    ledger = (folder / "keys" / "release" / "sequences.json").read_bytes()
    said = pack("-o", folder / "x.sealift", "--from", delta, code=2)["said"]
    assert "does not hold all of loop 2 (sha256:" in said
    assert "give the full bundle of 2 (sha256:" in said
    damaged = folder / "damaged.sealift"
    shutil.copyfile(old, damaged)
    with damaged.open("r+b") as stream:
        stream.seek(damaged.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, 1)
        stream.write(bytes([byte ^ 1]))
    assert f"--from {damaged}: object sha256:" in pack("-o", folder / "x", "--from", damaged, code=22)["said"]
    assert "no such file" in pack("-o", folder / "x", "--from", folder / "none.sealift", code=2)["said"]
    other = make_bundle(folder / "other", None).path
    assert "is of fraud, this project is loop" in pack("-o", folder / "x", "--from", other, code=2)["said"]
    assert not (folder / "x.sealift").exists()
    assert not (folder / "x").exists()
    assert (folder / "keys" / "release" / "sequences.json").read_bytes() == ledger
