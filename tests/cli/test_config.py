"""`sealift config`: what a box sets, held against what its release permits, and taken up by who serves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.made_bundles import FILES, make_bundle, make_signer, tree_hash

from sealift.cli.main import run
from sealift.ledger.verify import records
from sealift.model.schema import THRESHOLD, Schema
from sealift.model.settings import PLACE, encode_schema
from sealift.serve import control
from sealift.store.lock import exclusive
from sealift.store.prefix import Prefix, private
from sealift.store.releases import InstalledRelease, activate, record

Captured = pytest.CaptureFixture[str]

OWN = Schema().settings
FRAUD = Schema(
    {
        **OWN,
        "threads": replace(OWN["threads"], maximum=8).with_default(2),
        "slo.latency_p99_ms": OWN["slo.latency_p99_ms"].with_default(50.0),
        "threshold": replace(THRESHOLD, minimum=0.7, maximum=0.9).with_default(0.83),
    }
)
WRITTEN = "# Wang knows why\nthreads = 4   # four\n\n[watch]\nwindow_s = 60\n"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEALIFT_HOST", "SEALIFT_PORT", "SEALIFT_PREFIX"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def box(tmp_path: Path) -> Prefix:
    """A prefix with one active release of `fraud`, and a site file."""
    prefix = private(tmp_path / "box")
    activate(prefix, put_release(prefix, "1.0", 1, FRAUD))
    prefix.etc.mkdir()
    prefix.site("fraud").write_text(WRITTEN)
    return prefix


def put_release(prefix: Prefix, version: str, seq: int, schema: Schema | None) -> InstalledRelease:
    tree = prefix.releases("fraud") / f"{version}-{seq:08x}"
    (tree / "application").mkdir(parents=True)
    if schema is not None:
        (tree / PLACE).write_bytes(encode_schema(schema, {}, {}))
    release = InstalledRelease("fraud", version, "0" * 64, seq, tree, Path("/usr/bin/python3"), 1, 1, (), {})
    record(prefix, release)
    return release


def config(box: Prefix, *words: str) -> int:
    return run(["config", *words, "--prefix", str(box.root)])


def asked(box: Prefix, capsys: Captured, *words: str) -> dict[str, Any]:
    """What a verb prints with --json."""
    capsys.readouterr()
    assert config(box, *words, "--json") == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


@dataclass
class Supervisor:
    """Answers on the control socket of `fraud`; keeps what it was asked and what the site file was then."""

    box: Prefix
    answer: dict[str, Any] = field(default_factory=lambda: {"ok": True, "host": "127.0.0.1", "port": 8000})
    asked: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def serve(self) -> Callable[[], None]:
        listener = control.bind_control(self.box.control("fraud"))
        listener.setblocking(True)
        thread = threading.Thread(target=self._run, args=(listener,), daemon=True)
        thread.start()

        def stop() -> None:
            self.asked.append("stop")
            control.ask(self.box.control("fraud"), "stop")
            thread.join(10)
            listener.close()

        return stop

    def _run(self, listener: Any) -> None:
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as stream:
                request = control.decode(stream.readline()) or {}
                if request["do"] == "reload":
                    self.asked.append("reload")
                    self.seen.append(self.box.site("fraud").read_text())
                answer = (
                    self.answer
                    if request["do"] == "reload"
                    else {"ok": True, "host": "127.0.0.1", "port": 8000}
                )
                if answer:
                    connection.sendall(control.encode(answer))
            if request["do"] == "stop":
                return


@pytest.fixture
def supervisor(box: Prefix) -> Iterator[Supervisor]:
    served = Supervisor(box)
    stop = served.serve()
    yield served
    stop()


# ------------------------------------------------------------------ show


def test_show_says_each_value_where_it_comes_from_and_what_is_permitted(
    box: Prefix, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEALIFT_PORT", "9001")
    before = tree_hash(box.root)
    assert config(box, "show") == 0
    said = capsys.readouterr().out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines()[2:]}
    assert said.startswith(f"fraud 1.0, {box.site('fraud')}\n")
    assert rows["host"] == "127.0.0.1 default a host name or address"
    assert rows["port"] == "9001 environment 1 to 65535"
    assert rows["threads"] == "4 site 0 to 8"
    assert rows["threshold"] == "0.83 release 0.7 to 0.9"
    assert rows["slo.latency_p99_ms"] == "50 release at least 0.001"
    assert rows["limits.max_memory_mb"] == "- default at least 1"
    assert rows["watch.window_s"] == "60 site 1 to 86400"
    assert rows["device"] == "- default cpu, cuda, cuda:1"
    assert tree_hash(box.root) == before


def test_show_as_json(box: Prefix, capsys: Captured) -> None:
    facts = asked(box, capsys, "show", "fraud")
    assert facts["file"] == str(box.site("fraud"))
    assert facts["listening"] is None
    assert facts["settings"]["threshold"] == {
        "about": "where the positive answer begins", "choices": [], "default": 0.83, "from": "release",
        "kind": "number", "maximum": 0.9, "minimum": 0.7, "value": 0.83,
    }  # fmt: skip


def test_show_of_a_box_that_sets_nothing(box: Prefix, capsys: Captured) -> None:
    box.site("fraud").unlink()
    assert config(box, "show", "fraud") == 0
    assert capsys.readouterr().out.startswith(f"fraud 1.0, {box.site('fraud')} (not there)\n")


def test_show_says_when_the_service_listens_elsewhere(
    box: Prefix, capsys: Captured, supervisor: Supervisor
) -> None:
    assert "it listens on" not in str(config(box, "show")) + capsys.readouterr().out
    assert config(box, "set", "port=9000") == 0
    capsys.readouterr()
    assert config(box, "show") == 0
    assert (
        "  it listens on 127.0.0.1:8000: a flag of serve, or a restart is still to come"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize("words", [("show",), ("diff",), ("set", "threads=2")])
def test_a_site_file_that_is_wrong_is_refused_with_its_lines(
    words: tuple[str, ...], box: Prefix, capsys: Captured
) -> None:
    box.site("fraud").write_text("threads = 4\nprot = 9000\nport = \n")
    before = tree_hash(box.etc)
    assert config(box, *words) == 33
    assert "line 3: not TOML: invalid value" in capsys.readouterr().err
    box.site("fraud").write_text("threads = 44\nprot = 9000\n")
    if words[0] != "set":
        assert config(box, *words) == 33
        said = capsys.readouterr().err
        assert f"{box.site('fraud')}: 2 problems" in said
        assert "line 1: threads: expected a whole number from 0 to 8, got 44" in said
        assert "line 2: 'prot' is not a setting; did you mean 'port'?" in said
    box.site("fraud").write_text("threads = 4\nprot = 9000\nport = \n")
    assert tree_hash(box.etc) == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("set",), 2), (("set", "fraud"), 2), (("show", "threads=2"), 2), (("set", "fraud", "threads"), 2),
        (("set", "threads=1", "threads=2"), 2),
        (("set", "host=\udcff"), 2), (("set", "host=a\x1b[0m"), 2),
        (("show", "nobody"), 42), (("show", "../x"), 2),
        (("show", "--against", "x"), 2), (("diff", "--against", "nowhere"), 2),
    ],
)  # fmt: skip
def test_a_wrong_command_line_changes_nothing(words: tuple[str, ...], code: int, box: Prefix) -> None:
    before = tree_hash(box.root, but_the_log=True)
    assert config(box, *words) == code
    (box.state / "lock").unlink(missing_ok=True)
    assert tree_hash(box.root, but_the_log=True) == before


# ------------------------------------------------------------------ set


def test_set_changes_the_file_keeps_its_comments_and_logs_before_and_after(
    box: Prefix, capsys: Captured
) -> None:
    assert config(box, "set", "fraud", "threads=6", "threshold=0.8", "watch.window_s=", "port=9000") == 0
    assert (
        box.site("fraud").read_text()
        == "# Wang knows why\nthreads = 6   # four\nthreshold = 0.8\nport = 9000\n"
    )
    said = capsys.readouterr().out.splitlines()
    assert said == [
        f"fraud 1.0, {box.site('fraud')}",
        "  threads: 4 -> 6",
        "  threshold: not set -> 0.8",
        "  watch.window_s: 60 -> not set",
        "  port: not set -> 9000",
        "  nobody serves fraud now; it starts with these settings",
        "  host, ports, drain_s and tls count from the next start of sealift serve fraud",
        "  slo, limits and watch count from the next check and watch on",
    ]
    line = list(records(box.ledger))[-1]
    assert line.event == "config"
    assert line.facts == {
        "action": "set",
        "changes": [
            "threads: 4 -> 6", "threshold: not set -> 0.8", "watch.window_s: 60 -> not set", "port: not set -> 9000",
        ],
        "file": str(box.site("fraud")),
        "product": "fraud",
        "version": "1.0",
    }  # fmt: skip


def test_the_first_set_makes_the_file(box: Prefix, capsys: Captured) -> None:
    box.site("fraud").unlink()
    facts = asked(box, capsys, "set", "device=cuda:1,cpu")
    assert facts["changes"] == [{"after": ["cuda:1", "cpu"], "before": None, "name": "device"}]
    assert box.site("fraud").read_text() == (
        "# What this box sets for fraud; kept over updates. All names and ranges: sealift config show fraud\n"
        'device = ["cuda:1", "cpu"]\n'
    )
    assert asked(box, capsys, "show")["settings"]["device"]["value"] == ["cuda:1", "cpu"]


def test_what_is_so_already_is_not_written_again(box: Prefix, capsys: Captured) -> None:
    before = tree_hash(box.etc)
    facts = asked(box, capsys, "set", "threads=4", "threshold=")
    assert facts["outcome"] == "nothing to do"
    assert tree_hash(box.etc) == before
    assert not box.ledger.exists()


def test_all_that_is_refused_is_said_at_once_and_nothing_is_written(
    box: Prefix, capsys: Captured, supervisor: Supervisor
) -> None:
    before = tree_hash(box.etc)
    assert (
        config(box, "set", "fraud", "threads=two", "threshold=0.5", "prot=1", "port=9000", "slo.p99=5") == 33
    )
    said = capsys.readouterr().err
    for problem in (
        f"sealift config: {box.site('fraud')} is unchanged: 4 problems",
        'threads: expected a whole number from 0 to 8, got "two"',
        "threshold: expected a number from 0.7 to 0.9, got 0.5",
        "'prot' is not a setting; did you mean 'port'?",
        "'slo.p99' is not a setting",
    ):
        assert problem in said
    assert tree_hash(box.etc) == before
    assert not box.ledger.exists()
    assert supervisor.asked == []


def test_a_key_that_no_release_knows_any_more_can_be_taken_out(box: Prefix, capsys: Captured) -> None:
    box.site("fraud").write_text(f"{WRITTEN}[slo]\np95 = 3\n[old]\nx = 1\n")
    assert config(box, "set", "threads=3") == 33
    assert "'slo.p95' is not a setting" in capsys.readouterr().err
    assert config(box, "set", "slo.p95=", "old.x=") == 0
    assert config(box, "show") == 0


def test_a_running_service_takes_a_change_of_its_workers_up(
    box: Prefix, capsys: Captured, supervisor: Supervisor
) -> None:
    assert config(box, "set", "threads=2") == 0
    assert "a new worker serves with these settings; no request was lost" in capsys.readouterr().out
    assert supervisor.asked == ["reload"]
    assert "threads = 2 " in supervisor.seen[0], "the file stood there before it was asked"


@pytest.mark.parametrize("change", ["port=9000", "drain_s=5", "watch.requests=7", "limits.max_memory_mb=900"])
def test_a_change_that_no_worker_reads_starts_none(
    change: str, box: Prefix, capsys: Captured, supervisor: Supervisor
) -> None:
    assert config(box, "set", change) == 0
    assert "count from" in capsys.readouterr().out
    assert supervisor.asked == []


@pytest.mark.parametrize("was_there", [True, False])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"ok": False, "error": "the worker ended with 1", "exit_code": 60}, "the worker ended with 1"),
        ({}, "the supervisor answered something else than protocol"),
    ],
    ids=["not ready", "died"],
)
def test_settings_that_no_worker_gets_ready_with_are_put_back(
    answer: dict[str, Any],
    reason: str,
    was_there: bool,
    box: Prefix,
    capsys: Captured,
    supervisor: Supervisor,
) -> None:
    if not was_there:
        box.site("fraud").unlink()
    before = tree_hash(box.etc)
    supervisor.answer = answer
    assert config(box, "set", "device=cuda") == 60
    said = capsys.readouterr().err
    assert f"{box.site('fraud')} is as before: no worker of fraud got ready with these settings" in said
    assert reason in said
    assert 'device = ["cuda"]' in supervisor.seen[0]
    assert tree_hash(box.etc) == before
    last, put_back = list(records(box.ledger))
    assert last.facts["changes"] == ["device: not set -> cuda"]
    assert put_back.facts["action"] == "put back"
    assert reason in put_back.facts["reason"][0]


def test_a_log_that_cannot_be_written_forbids_the_change(box: Prefix, capsys: Captured) -> None:
    box.ledger.mkdir(parents=True)
    before = tree_hash(box.etc)
    assert config(box, "set", "threads=2") == 40
    assert tree_hash(box.etc) == before


@pytest.mark.slow
def test_another_command_that_holds_the_prefix_is_waited_for_by_hand(box: Prefix, capsys: Captured) -> None:
    before = tree_hash(box.etc)
    with exclusive(box, "install"):
        assert config(box, "set", "threads=2") == 41
    assert tree_hash(box.etc) == before


def test_another_release_on_the_box_that_would_refuse_is_a_warning(box: Prefix, capsys: Captured) -> None:
    put_release(box, "0.9", 2, None)
    put_release(box, "2.0", 3, Schema({**FRAUD.settings, "threads": replace(OWN["threads"], maximum=4)}))
    facts = asked(box, capsys, "set", "threads=6", "threshold=0.75")
    assert [note for note in facts["notes"] if note.startswith("warning")] == [
        "warning: 2.0, which is installed too, would refuse: threads: expected a whole number from 0 to 4, got 6",
        "warning: 0.9, which is installed too, would refuse: 'threshold' is not a setting of this release: no model "
        "of it answers with a threshold",
    ]


# ------------------------------------------------------------------ diff


def test_diff_shows_what_the_box_sets_otherwise(box: Prefix, capsys: Captured) -> None:
    assert config(box, "diff") == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split() for line in said[1:]] == [
        ["threads", "4", "the", "release:", "2"],
        ["watch.window_s", "60", "sealift's", "default:", "600"],
    ]
    assert asked(box, capsys, "diff")["differences"]["threads"] == {"default": 2, "value": 4}
    box.site("fraud").unlink()
    assert config(box, "diff") == 0
    assert "nothing is set; all is as the release says" in capsys.readouterr().out


def bundle(folder: Path, schema: Schema | None, product: str = "fraud") -> Path:
    files = dict(FILES) if schema is None else {**FILES, PLACE: encode_schema(schema, {}, {})}
    return make_bundle(folder, make_signer(), version="2.0", files=files, product=product).path


def test_diff_against_a_bundle_that_takes_the_settings(box: Prefix, tmp_path: Path, capsys: Captured) -> None:
    settings: dict[str, Any] = dict(FRAUD.settings)
    settings["port"] = settings["port"].with_default(8100)
    settings["threads"] = settings["threads"].with_default(3)
    settings["threshold"] = replace(settings["threshold"], minimum=0.8)
    settings["models.x.threshold"] = replace(THRESHOLD, name="models.x.threshold")
    assert config(box, "diff", "--against", str(bundle(tmp_path, Schema(settings)))) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  2.0 takes what this box sets",
        "  port would be 8100, now 8000",
        "  models.x.threshold is new: 0.5, any number",
        "  threshold: permitted would be 0.8 to 0.9, now 0.7 to 0.9",
    ]


def test_diff_against_a_bundle_that_refuses_them(box: Prefix, tmp_path: Path, capsys: Captured) -> None:
    box.site("fraud").write_text("threads = 6\nthreshold = 0.75\n")
    before = tree_hash(box.root)
    narrow = Schema({**OWN, "threads": replace(OWN["threads"], maximum=4)})
    assert config(box, "diff", "fraud", "--against", str(bundle(tmp_path, narrow))) == 33
    said = capsys.readouterr().out
    assert "  refused: threads: expected a whole number from 0 to 4, got 6" in said
    assert "  refused: 'threshold' is not a setting of this release" in said
    assert "  threshold would be gone" in said
    assert tree_hash(box.root) == before


def test_diff_against_a_bundle_without_a_schema_or_of_another_service(
    box: Prefix, tmp_path: Path, capsys: Captured
) -> None:
    assert config(box, "diff", "--against", str(bundle(tmp_path / "a", None))) == 0
    assert "2.0 takes what this box sets" in capsys.readouterr().out
    assert config(box, "diff", "--against", str(bundle(tmp_path / "b", None, "credit"))) == 2
    assert "is a bundle of credit, not of fraud" in capsys.readouterr().err
