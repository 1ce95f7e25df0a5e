"""`sealift serve` over HTTPS: flags and settings, the operator's own curl, and a certificate that is renewed."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.bad_projects import PAYLOAD, write_project
from tests.release_trees import build_runtime, stage
from tests.serve.certificates import Authority

from sealift.serve import control
from sealift.store.prefix import Prefix, private
from sealift.store.releases import activate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Prefix:
    folder = tmp_path_factory.mktemp("tls")
    prefix = private(folder / "box")
    activate(prefix, stage(build_runtime(folder / "runtime"), write_project(folder / "p", "1.0"), prefix))
    return prefix


def sealift(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sealift", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@contextlib.contextmanager
def serving(log: Path, *words: str) -> Iterator[str]:
    """A supervisor; yields where it says it serves."""
    command = [sys.executable, "-m", "sealift", "serve", *words, "--port", "0"]
    with log.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        try:
            yield line.split()[-1]
        finally:
            process.terminate()
            process.wait(40)
            process.stdout.close()


def curl(url: str, authority: Authority, *words: str) -> str:
    port = url.rpartition(":")[2]
    command = ["curl", "-sS", "--cacert", str(authority.file), f"https://localhost:{port}/predict", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown(url: str, authority: Authority) -> str:
    """The serial number of the certificate that a client is shown."""
    context = ssl.create_default_context(cafile=authority.file)
    port = int(url.rpartition(":")[2])
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(plain, server_hostname="localhost") as secure:
        return str((secure.getpeercert() or {})["serialNumber"])


def test_a_release_is_served_over_https_as_the_box_sets_it(
    box: Prefix, authority: Authority, tmp_path: Path
) -> None:
    files = authority.issue("box")
    pairs = (f"tls.certificate={files.certificate}", f"tls.key={files.key}")
    for half in ((pairs[0],), (pairs[0], f"tls.key={tmp_path / 'gone'}")):
        refused = sealift("config", "set", "fraud", *half, "--prefix", str(box.root))
        assert (refused.returncode, box.site("fraud").exists()) == (33, False), refused.stderr
    done = sealift("config", "set", "fraud", *pairs, "--prefix", str(box.root))
    assert done.returncode == 0, done.stderr
    assert "tls count from the next start of sealift serve fraud" in done.stdout
    with serving(tmp_path / "log", "fraud", "--prefix", str(box.root)) as url:
        assert url.startswith("https://127.0.0.1:")
        answer = json.loads(curl(url, authority, "-H", "Content-Type: application/json", "-d", PAYLOAD))
        assert "prediction" in answer
        status = control.ask(box.control("fraud"), "status")
        assert status["certificate"] == str(files.certificate)
        command_line = Path(f"/proc/{status['worker']}/cmdline").read_text()
        assert "PRIVATE KEY" not in command_line
        assert f"--tls-key={files.key}" in command_line
        (tmp_path / "case.json").write_text(PAYLOAD)
        local = sealift("predict", str(tmp_path / "case.json"), "--prefix", str(box.root))
        assert local.returncode == 0, local.stderr
        named = url.replace("127.0.0.1", "localhost")
        there = sealift("predict", str(tmp_path / "case.json"), "--url", named, "--ca", str(authority.file))
        assert there.returncode == 0, there.stderr
        stranger = sealift("predict", str(tmp_path / "case.json"), "--url", named)
        assert stranger.returncode == 50
        assert "CERTIFICATE_VERIFY_FAILED" in stranger.stderr

        before = shown(url, authority)
        authority.issue("box")  # renewed: the same paths, another certificate
        assert shown(url, authority) == before
        assert control.ask(box.control("fraud"), "reload", 60)["ok"]
        deadline = time.monotonic() + 10
        while (after := shown(url, authority)) == before:  # the old worker may still accept for a moment
            assert time.monotonic() < deadline

        files.key.write_text("damaged")
        answer = control.ask(box.control("fraud"), "reload", 60)
        assert not answer["ok"]
        assert shown(url, authority) == after  # the old worker serves on


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        ("key", "tls.certificate is set and tls.key is not: TLS needs both"),
        ("gone", "No such file or directory"),
        ("other", "it is not the key of the certificate in"),
    ],
)
def test_what_cannot_work_is_refused_before_the_port_is_bound(
    authority: Authority, tmp_path: Path, spoil: str, said: str
) -> None:
    files, other = authority.issue("a"), authority.issue("b")
    keys: dict[str, list[str]] = {
        "key": [],
        "gone": [f"--tls-key={tmp_path / 'gone'}"],
        "other": [f"--tls-key={other.key}"],
    }
    project = write_project(tmp_path / "p", "1.0")
    with socket.create_server(("127.0.0.1", 0)) as taken:  # a bound port would be the first complaint
        port = f"--port={taken.getsockname()[1]}"
        done = sealift("serve", str(project), port, f"--tls-certificate={files.certificate}", *keys[spoil])
    assert done.returncode == 33
    assert said in done.stderr


def test_a_project_is_served_over_https_by_flags_and_an_expired_certificate_is_said(
    authority: Authority, tmp_path: Path
) -> None:
    now, day = datetime.now(UTC), timedelta(days=1)
    files = authority.issue("old", begins=now - 9 * day, ends=now - day)
    project = write_project(tmp_path / "p", "1.0")
    flags = (f"--tls-certificate={files.certificate}", f"--tls-key={files.key}")
    with serving(tmp_path / "log", str(project), *flags) as url:
        assert url.startswith("https://")
        assert "the certificate has expired on" in (tmp_path / "log").read_text()
        port = url.rpartition(":")[2]
        plain = subprocess.run(
            ["curl", "-sS", f"http://127.0.0.1:{port}/healthz"], capture_output=True, text=True, check=False
        )
        assert plain.returncode in (52, 56)  # an empty answer, or a reset: closed at once, either way
