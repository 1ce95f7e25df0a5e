"""The command line as a person meets it: words, exit codes, nothing changed on a refusal."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.made_bundles import Signer, make_bundle, make_signer, tree_hash

from sealift import errors
from sealift.cli.main import GROUPS, HIDDEN, load_verb, overview, parser_of, run
from sealift.seal import keyfile

VERBS = [verb for group in GROUPS.values() for verb in group]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def signer() -> Signer:
    return make_signer()


@pytest.fixture
def bundle(tmp_path: Path, signer: Signer) -> Path:
    (tmp_path / "root.json").write_bytes(signer.signed.encode())
    return make_bundle(tmp_path, signer).path


def test_the_top_page_names_every_verb_and_day_one() -> None:
    page = overview()
    for verb in VERBS:
        assert f"\n  {verb} " in page
    assert "day one, in five commands:" in page
    assert not any(hidden in page for hidden in HIDDEN)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_examples(verb: str) -> None:
    loaded = load_verb(verb)
    assert loaded is not None
    text = parser_of(verb, loaded).format_help()
    assert f"sealift {verb}" in text.split("examples:")[1]
    for flag in ("--json", "--quiet", "--no-input"):
        assert flag in text


def test_a_misspelt_verb_is_recognised(capsys: Captured) -> None:
    assert run(["instal"]) == 2
    assert capsys.readouterr().err == (
        "sealift: 'instal' is not a verb; did you mean 'install'?\n  next: sealift --help\n"
    )


def test_no_verb_at_all_shows_the_page_and_is_a_usage_error(capsys: Captured) -> None:
    assert run([]) == 2
    assert run(["--help"]) == 0
    assert "day one" in capsys.readouterr().out


def test_an_unknown_flag_is_a_usage_error() -> None:
    with pytest.raises(SystemExit) as caught:
        run(["status", "--nonsense"])
    assert caught.value.code == 2


def test_a_bug_becomes_a_report_in_a_file(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def broken(name: str) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("sealift.cli.main.load_verb", broken)
    assert run(["status"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sealift status: this is a bug in sealift, nothing you did.\n  next: send ")
    report = Path(said.split("send ")[1].split(" to ")[0])
    assert "ZeroDivisionError: planted" in report.read_text()
    report.unlink()


def test_a_missing_package_names_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'onnx'", name="onnx")

    monkeypatch.setattr("sealift.cli.main.load_verb", missing)
    assert run(["init"]) == 2
    assert capsys.readouterr().err == (
        "sealift init: init needs the Python package 'onnx', which is not installed here\n"
        "  next: python -m pip install 'sealift[pack]'\n"
    )


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "lots of advice\n\nOriginal error was: libstdc++.so.6: cannot open shared object file: No such file",
            "this system lacks libstdc++.so.6, which a package of the release needs",
        ),
        ("advice\nversion `GLIBC_2.38' not found", "cannot be loaded here: version `GLIBC_2.38' not found"),
    ],
)
def test_a_library_that_the_box_lacks_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, said: str, told: str
) -> None:
    def unloadable(name: str) -> None:
        raise ImportError(said)

    monkeypatch.setattr("sealift.cli.main.load_verb", unloadable)
    assert run(["_check"]) == 31
    assert told in capsys.readouterr().err


def test_every_error_has_the_exit_code_of_its_branch() -> None:
    branches: dict[type[errors.SealiftError], range] = {
        errors.UsageError: range(2, 3), errors.BundleError: range(10, 20), errors.TrustError: range(20, 30),
        errors.HostError: range(30, 40), errors.StoreError: range(40, 50),
    }  # fmt: skip
    for branch, codes in branches.items():
        kinds: list[type[errors.SealiftError]] = [branch, *branch.__subclasses__()]
        for kind in kinds:
            assert kind.exit_code in codes, kind
    assert errors.NotServing.exit_code == 50
    assert errors.NotActivated.exit_code == 60


def test_verify_says_who_signed_and_refuses_a_changed_byte(
    tmp_path: Path, bundle: Path, signer: Signer, capsys: Captured
) -> None:
    argv = ["verify", str(bundle), "--trust", str(tmp_path / "root.json"), "--prefix", str(tmp_path / "box")]
    assert run(argv) == 0
    assert capsys.readouterr().out.startswith("VERIFIED fraud 1.0 sha256:")
    changed = next(path for path in (bundle / "objects").rglob("*") if path.is_file() and path.stat().st_size)
    changed.write_bytes(b"X" * changed.stat().st_size)
    assert run(argv) == 22
    assert "bytes of that digest, found others" in capsys.readouterr().err
    assert not (tmp_path / "box").exists()


def test_a_first_install_without_trust_says_what_to_get(
    tmp_path: Path, bundle: Path, capsys: Captured
) -> None:
    assert run(["install", str(bundle), "--prefix", str(tmp_path / "box")]) == 25
    said = capsys.readouterr().err
    assert "trusts nobody yet, and a bundle cannot vouch for itself" in said
    assert "next: get root.json and its fingerprint on paper from who signs, then --trust root.json" in said
    assert not (tmp_path / "box").exists()


def test_another_root_than_the_pinned_one_is_refused(tmp_path: Path, bundle: Path, capsys: Captured) -> None:
    box = tmp_path / "box"
    (box / "state" / "trust").mkdir(parents=True)
    (box / "state" / "trust" / "root.json").write_bytes(make_signer().signed.encode())
    before = tree_hash(box, but_the_log=True)
    assert run(["verify", str(bundle), "--trust", str(tmp_path / "root.json"), "--prefix", str(box)]) == 20
    assert "this prefix trusts root sha256:" in capsys.readouterr().err
    assert run(["verify", str(bundle), "--prefix", str(box)]) == 20
    assert tree_hash(box, but_the_log=True) == before
    log = [json.loads(line) for line in (box / "state" / "ledger.jsonl").read_text().splitlines()]
    assert [(entry["event"], entry["facts"]["exit_code"]) for entry in log] == [
        ("refusal", 20),
        ("refusal", 20),
    ]


def test_a_box_of_another_kind_is_refused_with_every_reason(
    tmp_path: Path, bundle: Path, capsys: Captured
) -> None:
    """The made bundle's target is not even readable: nothing is staged, the prefix stays away."""
    argv = ["install", str(bundle), "--trust", str(tmp_path / "root.json"), "--prefix", str(tmp_path / "box")]
    assert run(argv) == 11
    assert "glibc: missing" in capsys.readouterr().err
    assert not (tmp_path / "box").exists()


def test_status_of_a_box_without_anything(tmp_path: Path, capsys: Captured) -> None:
    assert run(["status", "--prefix", str(tmp_path / "box")]) == 0
    assert "nothing is installed" in capsys.readouterr().out
    assert run(["status", "fraud", "--prefix", str(tmp_path / "box")]) == 42
    assert "fraud is not installed under" in capsys.readouterr().err
    assert run(["serve", "fraud", "--prefix", str(tmp_path / "box")]) == 42
    assert not (tmp_path / "box").exists()


@pytest.mark.parametrize("port", ["x", "-1", "65536", "8e3"])
def test_a_bad_port_is_a_usage_error_from_flag_or_environment(
    port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("SEALIFT_PREFIX", str(tmp_path))
    assert run(["serve", "fraud", f"--port={port}"]) == 2
    monkeypatch.setenv("SEALIFT_PORT", port)
    assert run(["serve", "fraud"]) == 2
    assert capsys.readouterr().err.count(f"port {port!r}: expected a number from 0 to 65535") == 2


def test_keys_are_made_once_and_shown(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "phrase").write_text("a long enough phrase\n")
    keys = tmp_path / "keys"
    argv = [
        "keys",
        "init",
        str(keys),
        "--passphrase-file",
        str(tmp_path / "phrase"),
        "--product",
        "fraud*",
        "--json",
    ]
    assert run(argv) == 0
    made = json.loads(capsys.readouterr().out)
    assert list(made["release_keys"].values()) == [["fraud*"]]
    keyfile.load(keys / "release" / "key.pem", b"a long enough phrase")
    assert (keys / "root").stat().st_mode & 0o777 == 0o700
    before = tree_hash(keys)
    assert run(argv) == 2
    assert "keys are never overwritten" in capsys.readouterr().err
    assert tree_hash(keys) == before
    assert run(["keys", "show", str(keys), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fingerprint"] == made["fingerprint"]


@pytest.mark.parametrize(
    ("phrase", "said"), [("", "the passphrase, is empty"), ("short\n", "fewer than 8 characters")]
)
def test_a_weak_passphrase_makes_no_keys(phrase: str, said: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "phrase").write_text(phrase)
    assert run(["keys", "init", str(tmp_path / "keys"), "--passphrase-file", str(tmp_path / "phrase")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "keys").exists()


def test_nobody_is_asked_when_nobody_can_answer(tmp_path: Path, capsys: Captured) -> None:
    assert run(["keys", "init", str(tmp_path / "keys"), "--no-input"]) == 2
    assert "give --passphrase-file F" in capsys.readouterr().err


def test_predict_without_a_service_says_so(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "case.json").write_text("{}")
    assert run(["predict", str(tmp_path / "case.json"), "--url", "http://127.0.0.1:1"]) == 50
    assert run(["predict", str(tmp_path / "nothing.json"), "--url", "http://127.0.0.1:1"]) == 2
    assert run(["predict", str(tmp_path / "case.json"), "--url", "ftp://x"]) == 2
    said = capsys.readouterr().err
    for words in ("127.0.0.1:1 does not answer", "nothing.json: No such file", "expected http://HOST:PORT"):
        assert words in said


def test_inspect_needs_no_trust_and_says_not_verified(tmp_path: Path, bundle: Path, capsys: Captured) -> None:
    """The made bundle has an empty bill and no models: the page still stands."""
    assert run(["inspect", str(bundle), "--prefix", str(tmp_path / "box"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["verified_by"] == []
    assert facts["layers"]["runtime"]["files"] == 2
    assert run(["inspect", str(bundle), "--prefix", str(tmp_path / "box")]) == 0
    assert capsys.readouterr().out.startswith("NOT VERIFIED  fraud 1.0  sha256:")


@pytest.mark.slow
def test_the_installed_command_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sealift", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == "sealift 0.1.0\n"
