"""From a box with nothing to predictions, then newer sealifts: one that is good, and two that are not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.journey.conftest import make_keys, sealift
from tests.serve.nets import mlp
from tests.systemd.machine import until
from tests.tool.bare_box import BareBox, bare_box, bare_debian, missing_parts

from sealift import __version__
from sealift.bundle.write import Endorse, Uncompressed
from sealift.events import Silent
from sealift.pack.pack import Parts, pack
from sealift.pack.sequence import Entry
from sealift.seal import keyfile
from sealift.seal.keyring import read_roots
from sealift.store.prefix import TOOL, private
from sealift.tool.make import OLDEST
from sealift.tool.unpacked import TREE

pytestmark = pytest.mark.slow
RUN = f"sealift-{__version__}.run"
SIGNING = ("--keys", "keys", "--passphrase-file", "phrase")
STICK, COMMAND = "/media/usb", "/opt/sealift/bin/sealift"
Swap = tuple[str, str]


@dataclass(frozen=True)
class Stick:
    """What is carried: keys, the bootstrap file, and newer sealifts as update bundles."""

    folder: Path
    exported: Mapping[str, str]
    target: Mapping[str, object]

    def newer(self, version: str, seq: int, swaps: Mapping[str, Swap]) -> None:
        """`sealift-VERSION.sealift`: the carried one with other texts in some of its files."""
        tree = self.folder / f"tree-{version}"
        shutil.copytree(self.folder / "unpacked" / TREE, tree, copy_function=os.link)
        (tree / "dependencies").mkdir(exist_ok=True)
        (tree / "application" / "sbom.cdx.json").unlink()  # pack writes it, and here it is a link
        for name, (old, new) in {"__init__": (f'"{__version__}"', f'"{version}"'), **swaps}.items():
            path = tree / f"runtime/sealift/{name}.py"
            text = path.read_text()
            assert old in text
            path.unlink()
            path.write_text(text.replace(old, new))
            compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"
            compiled.unlink()  # it would be believed unseen
        key = keyfile.load(self.folder / "keys/release/key.pem", b"only-for-this-test")
        parts = Parts(TOOL, version, tree, self.target, {}, {}, lambda _: b"{}", OLDEST, Uncompressed())
        endorse = Endorse(lambda message: (key.sign(message),), read_roots(self.folder / "keys"))
        file = self.folder / f"sealift-{version}.sealift"
        pack(parts, file, endorse, lambda _: Entry(seq, "2026-11-29T17:00:00Z"), Silent())
        shutil.rmtree(tree)


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Stick:
    folder = tmp_path_factory.mktemp("stick")
    make_keys(folder)
    exported = json.loads(sealift("export", "bootstrap", "-o", RUN, *SIGNING, "--json", cwd=folder))
    start = (folder / RUN).read_bytes().index(b"\x1f\x8b\x08\x00") + 1
    (folder / "unpacked").mkdir()
    unpack = f"tail -c +{start} {RUN} | gzip -dc | tar -xof - -C unpacked"
    subprocess.run(["sh", "-c", unpack], cwd=folder, check=True)
    target = json.loads((folder / "unpacked/documents/release.json").read_text())["target"]
    return Stick(folder, exported, target)


@pytest.fixture(scope="module")
def full_stick(stick: Stick) -> Stick:
    """With a service, a good sealift, one that does not import, and one that breaks when it is typed."""
    mlp(stick.folder / "fraud.onnx")
    (stick.folder / "sealift.toml").write_text(
        '[project]\nname = "fraud"\nversion = "1.0"\n[model]\npath = "fraud.onnx"\n'
        '[target]\npython = "3.11"\ninterpreter = "bundled"\n'
    )
    (stick.folder / "case.json").write_text('{"inputs": {"x": [[1.0, 2.0, 3.0]]}}')
    update = ("export", "bootstrap", "-o", "same.sealift", *SIGNING, "--json")
    assert json.loads(sealift(*update, cwd=stick.folder))["identity"] == stick.exported["identity"]
    sealift("pack", ".", "-o", "fraud-1.0.sealift", *SIGNING, cwd=stick.folder)
    stick.newer("9.1", 11, {})
    future = "from __future__ import annotations\n"
    stick.newer("9.2", 12, {"serve/backoff": (future, f"{future}import what_nobody_carries\n")})
    run = "def run(args: argparse.Namespace) -> int:\n"
    stick.newer("9.3", 13, {"cli/status": (run, f"{run}    raise SystemExit(3)\n")})
    return stick


@pytest.fixture
def box(full_stick: Stick, tmp_path: Path) -> Iterator[BareBox]:
    if reason := missing_parts():
        pytest.skip(reason)
    with bare_box(bare_debian(), tmp_path / "box", full_stick.folder) as made:
        yield made


def test_a_box_with_nothing_serves_and_changes_its_sealift_under_way(box: BareBox, full_stick: Stick) -> None:
    box.run("! ls /usr/bin/python* 2>/dev/null && ! grep -q eth /proc/net/dev")
    box.run(f"touch /marker; cp {STICK}/{RUN} /tmp/x.run; /tmp/x.run", code=126)  # noexec
    assert box.run(f"sha256sum {STICK}/{RUN}").out.split()[0] == full_stick.exported["sha256"]

    said = box.run(f"sh {STICK}/{RUN} --no-input")
    assert f"sealift {__version__} sha256:" in said.out
    assert "trust root pinned, compare with the paper: " in said.out
    assert "is this box's sealift now" in said.out
    elsewhere = "find / -xdev -newer /marker -type f ! -path '/opt/sealift/*' ! -path '/var/lib/sealift/*'"
    assert box.run(elsewhere).out == ""
    assert box.run("ls -A /opt/sealift").out.split() == ["bin", "current", "releases", "store"]
    assert "is active already, nothing to do" in box.run(f"sh {STICK}/{RUN} --no-input").out

    said = box.run(f"{COMMAND} install {STICK}/same.sealift --no-input")
    assert "is active already, nothing to do" in said.out

    box.run(f"{COMMAND} install {STICK}/fraud-1.0.sealift --no-input")
    with _served(box):
        _predicts(box)
        said = box.run(f"{COMMAND} install {STICK}/sealift-9.1.sealift --no-input")
        assert f"before: {__version__} (kept: sealift rollback sealift)" in said.out
        assert "fraud serves on with the sealift it was started by; at your convenience: " in said.out
        assert box.run(f"{COMMAND} --version").out == "sealift 9.1\n"
        screen = box.run(f"{COMMAND} status").out
        assert f"sealift 9.1 (back to {__version__}: sealift rollback sealift)" in screen
        assert "fraud  SERVING" in screen
        _predicts(box)

        said = box.run(f"sh {STICK}/{RUN} --no-input", code=24)
        assert f"sealift {__version__} (sequence 1) is older than sealift 9.1" in said.err

        said = box.run(f"{COMMAND} install {STICK}/sealift-9.2.sealift --no-input", code=60)
        assert "sealift 9.2 was not activated" in said.err
        assert "No module named 'what_nobody_carries'" in said.err
        assert box.run(f"{COMMAND} --version").out == "sealift 9.1\n"
        _predicts(box)

        said = box.run(f"{COMMAND} install {STICK}/sealift-9.3.sealift --no-input", code=61)
        assert "sealift 9.3 sha256:" in said.err
        assert "status: ended with 3" in said.err
        assert box.run(f"{COMMAND} --version").out == "sealift 9.1\n"
        _predicts(box)

        box.run(f"{COMMAND} rollback sealift --no-input")
        assert box.run(f"{COMMAND} --version").out == f"sealift {__version__}\n"
        _predicts(box)
        box.run(f"{COMMAND} activate sealift 9.1 --no-input")
        assert box.run(f"{COMMAND} --version").out == "sealift 9.1\n"


@contextlib.contextmanager
def _served(box: BareBox) -> Iterator[None]:
    """`sealift serve fraud` in the box, until the end of the block."""
    with box.start(f"echo $$ >/run/serve.pid; exec {COMMAND} serve fraud") as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        try:
            assert line.startswith("serving fraud@1.0 on "), line
            yield
        finally:
            box.run("kill $(cat /run/serve.pid)")
            process.communicate(timeout=60)


def _predicts(box: BareBox) -> None:
    answer = json.loads(box.run(f"{COMMAND} predict {STICK}/case.json --json").out)
    assert "fraud@1.0" in json.dumps(answer)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(
            lambda box: box.root / f".sealift-{__version__}.partial/tree/application", id="unpacking"
        ),
        pytest.param(lambda box: box.staging, id="objects come in"),
        pytest.param(lambda box: box.current(TOOL), id="switched, not yet asked"),
    ],
)
def test_a_kill_at_any_moment_is_mended_by_running_it_again(
    stick: Stick, tmp_path: Path, seen: Callable[[object], Path]
) -> None:
    prefix = private(tmp_path / "box")
    command = ["sh", str(stick.folder / RUN), "--prefix", str(prefix.root), "--no-input", "-q"]
    process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    until(lambda: os.path.lexists(seen(prefix)) or process.poll() is not None, 60, "it came so far")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(sealift("status", "--json", "--prefix", prefix.root, cwd=tmp_path))
    assert found["tool"] == {"back_to": None, "version": __version__}
    assert found["staging"] is None
    assert sorted(path.name for path in prefix.root.glob(".*")) == []
    assert [path.suffix for path in prefix.releases(TOOL).iterdir() if path.suffix == ".partial"] == []
    shutil.rmtree(tmp_path / "box")
