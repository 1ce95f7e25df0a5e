"""A real release in a real container: podman and skopeo take the image, and the kernel holds its limits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.made_bundles import make_signer
from tests.release_trees import build_runtime

from sealift.bundle.write import Endorse
from sealift.check.launch import record_goldens
from sealift.cli.main import run
from sealift.collect.bytecode import compile_tree
from sealift.collect.interpreter.bring import bring_interpreter
from sealift.events import Silent
from sealift.pack.application import write_application
from sealift.pack.pack import Parts, pack
from sealift.pack.sequence import Entry
from sealift.project.file import load_project
from sealift.project.project import TargetWish
from sealift.store.releases import release_command
from sealift.target.interpreter import bundled_interpreter

pytestmark = pytest.mark.slow

IMAGE = "localhost/sealift-test-fraud:1.0"
LIMITS = ("--network=none", "--read-only", "--read-only-tmpfs=false", "--cap-drop=all")
CASE = b'{"inputs": {"a": [[[1, 2, 3, 4]]], "b": [[[1, 2, 3, 4]]]}}'


@dataclass(frozen=True)
class Exported:
    """A release with its interpreter, and the image that `export oci` made of it."""

    tree: Path
    interpreter: Path
    archive: Path

    def command(self, *arguments: str) -> list[str]:
        """Of the release's own sealift, where it was built."""
        return release_command(self.interpreter, self.tree, *arguments)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, zoo: dict[str, object]) -> Exported:
    folder = tmp_path_factory.mktemp("oci")
    runtime = build_runtime(folder / "runtime")
    target, tree = replace(runtime.target, interpreter="bundled"), runtime.tree
    bring_interpreter(TargetWish(), target, tree / "runtime" / "python", Silent())
    interpreter = bundled_interpreter(tree, target.python)
    compile_tree(tree / "runtime" / "python" / "lib", interpreter)
    (tree / "application").mkdir()
    write_application(load_project(_project(folder / "project", zoo)), tree / "application")
    record_goldens(release_command(interpreter, tree, "_record", str(tree)))
    signer = make_signer()
    (folder / "root.json").write_bytes(signer.signed.encode())
    packed = pack(
        Parts("sealift-test-fraud", "1.0", tree, target.to_json(), {"goldens": True}, {}, lambda _: b"{}"),
        folder / "fraud.sealift",
        Endorse(lambda message: (signer.release_key.sign(message),), (signer.signed,)),
        lambda _: Entry(1, "2026-11-22T17:00:00Z"),
        Silent(),
    )
    (tree / "release.json").write_bytes(packed.release.encode())
    trust = ["--trust", str(folder / "root.json"), f"--prefix={folder / 'prefix'}"]
    assert run(["export", "oci", str(packed.path), "-o", str(folder / "fraud.tar"), *trust]) == 0
    return Exported(tree, interpreter, folder / "fraud.tar")


def _project(folder: Path, zoo: dict[str, object]) -> Path:
    folder.mkdir()
    zoo["dynamic_axes"](folder)  # type: ignore[operator]
    (folder / "sealift.toml").write_text(
        '[project]\nname = "sealift-test-fraud"\nversion = "1.0"\n'
        '[model]\npath = "net.onnx"\nlicense = "Apache-2.0"\n'
    )
    return folder


def podman(
    *arguments: str, given: bytes | None = None, check: bool = True
) -> subprocess.CompletedProcess[bytes]:
    """As FACTS.md says that it runs where no systemd is."""
    command = ["podman", "--cgroup-manager=cgroupfs", *arguments]
    with tempfile.TemporaryDirectory() as folder:  # conmon leaves a file named oom where it was started
        done = subprocess.run(command, input=given, capture_output=True, check=False, timeout=60, cwd=folder)
    assert not check or done.returncode == 0, f"{command}: {done.returncode} {done.stderr.decode()}"
    return done


def container(*options: str) -> tuple[str, ...]:
    """Arguments of `podman run` with the limits that this machine permits."""
    limits = ("--runtime=runc", "--ulimit=nofile=4096:4096", "--ulimit=nproc=1000:1000")
    return ("run", *LIMITS, *limits, *options, IMAGE)


@pytest.fixture(scope="module")
def loaded(exported: Exported) -> Iterator[list[str]]:
    """The command of the release's own sealift inside the image that was loaded from the archive."""
    lacking = [name for name in ("podman", "skopeo", "runc") if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"not installed: {', '.join(lacking)}")
    if os.geteuid() != 0:
        pytest.skip("limits are set up by root only")
    podman("load", "--quiet", "--input", str(exported.archive))
    config = json.loads(podman("image", "inspect", IMAGE).stdout)[0]["Config"]
    yield config["Entrypoint"][:-2]
    podman("rmi", "--force", IMAGE)


def test_skopeo_takes_it_with_its_model(exported: Exported, loaded: list[str], tmp_path: Path) -> None:
    place = f"oci-archive:{exported.archive}"
    seen = json.loads(subprocess.run(["skopeo", "inspect", place], capture_output=True, check=True).stdout)
    assert seen["Architecture"] in ("amd64", "arm64")
    assert seen["Labels"]["org.opencontainers.image.version"] == "1.0"
    copy = ["skopeo", "copy", "--all", "--quiet", place, f"oci:{tmp_path / 'copy'}:fraud:1.0"]
    subprocess.run(copy, capture_output=True, check=True)
    blobs = {path.name: path.read_bytes() for path in (tmp_path / "copy/blobs/sha256").iterdir()}
    documents = [json.loads(data) for data in blobs.values() if data.startswith(b"{")]
    (model,) = [
        each for each in documents if each.get("artifactType", "").startswith("application/vnd.cncf.model")
    ]
    assert model["layers"][0]["digest"].removeprefix("sha256:") in blobs


def test_it_predicts_without_network_and_without_a_place_to_write(loaded: list[str]) -> None:
    health = json.dumps([*loaded, "_health"])
    run_it = container("--detach", "--memory=400m", "--memory-swap=400m", f"--health-cmd={health}")
    name = podman(*run_it).stdout.decode().strip()
    try:
        _wait_until_ready(name, loaded)
        # `podman healthcheck run` asks as its timer would, and ends with 1 where it is not healthy.
        podman("healthcheck", "run", name)
        state = json.loads(podman("inspect", name).stdout)[0]
        assert state["State"].get("Health", state["State"].get("Healthcheck"))["Status"] == "healthy"
        url = ("--url", "http://127.0.0.1:8000", "--json")
        answer = podman("exec", "-i", name, *loaded, "predict", "-", *url, given=CASE)
        assert json.loads(answer.stdout)["prediction"] == [[[2.0, 4.0, 6.0, 8.0]]]
        assert podman("exec", name, *loaded, "_health", "--port=1", check=False).returncode == 50
        podman("stop", "--time=20", name)
        assert json.loads(podman("inspect", name).stdout)[0]["State"]["ExitCode"] == 0
        assert b"draining" in podman("logs", name).stderr
    finally:
        podman("rm", "--force", name)


def _wait_until_ready(name: str, command: list[str]) -> None:
    """The container says so itself; `logs --follow` ends when it does."""
    following = ["podman", "--cgroup-manager=cgroupfs", "logs", "--follow", name]
    with subprocess.Popen(following, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as logs:
        assert logs.stdout is not None
        said = logs.stdout.readline()
        logs.terminate()
    assert b"serving sealift-test-fraud@1.0 on http://0.0.0.0:8000" in said, podman("logs", name).stderr
    podman("exec", name, *command, "_health")


def test_too_little_memory_ends_it_before_it_serves(loaded: list[str]) -> None:
    done = podman(*container("--rm", "--memory=30m", "--memory-swap=30m"), check=False)
    assert done.returncode == 60, done.stderr
    assert b"is not served: 1 check(s) failed here" in done.stderr
    assert b"ended by SIGKILL (by the kernel, if memory ran out" in done.stderr


# ---------------------------------------------------------------------- the tree, without a container


def test_a_tree_is_served_where_it_lies_and_is_not_written_to(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text("drain_s = 7.5\n")
    before = sorted(str(path) for path in exported.tree.rglob("*"))
    command = exported.command("serve", str(exported.tree), "--port=0", "--site", str(tmp_path / "site.toml"))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().decode().strip().rpartition("http://")[2]
        asked = exported.command("predict", "-", "--url", f"http://{address}", "--json")
        answer = subprocess.run(asked, input=CASE, capture_output=True, check=True)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read().decode()
        assert process.wait(30) == 0, said
    assert json.loads(answer.stdout)["release"] == "sealift-test-fraud@1.0"
    assert "as recorded" in said
    assert sorted(str(path) for path in exported.tree.rglob("*")) == before


def test_a_tree_whose_check_fails_is_not_served(exported: Exported, tmp_path: Path) -> None:
    tree = tmp_path / "app"
    shutil.copytree(exported.tree, tree, copy_function=os.link)
    model = next((tree / "application" / "models").rglob("*.onnx"))
    data = model.read_bytes()
    model.unlink()
    model.write_bytes(data[:-8])
    command = release_command(exported.interpreter, tree, "serve", str(tree), "--port=0")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 60, done.stderr
    assert "sealift-test-fraud 1.0 is not served: 1 check(s) failed here" in done.stderr
    assert done.stdout == ""


def test_settings_that_are_not_there_are_refused(exported: Exported, tmp_path: Path) -> None:
    def said(*arguments: str) -> str:
        command = [sys.executable, "-m", "sealift", "serve", *arguments, f"--prefix={tmp_path}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 2
        return done.stderr

    assert "no such file" in said(str(exported.tree), "--site", str(tmp_path / "none.toml"))
    assert "--site is for a release served by its tree's path" in said("fraud", "--site", "x.toml")
