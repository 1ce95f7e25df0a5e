"""Disks and clocks as they are met: each is handled or refused with the sentence in the docs, and nothing is lost.

Mounts are real, in a mount namespace of their own that ends with the command; the release is the tiny one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.killing import tiny
from tests.made_bundles import make_signer, tree_hash

from sealift.store.prefix import private
from sealift.store.releases import active_tree

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0,
        reason="mounting needs root (unshare -m is refused here)",
    ),
]

PRELUDE = """
set -u
sealift() { "$PYTHON" -m sealift "$@" --prefix "$BOX" --no-input; }
say() { echo "== $1 $2"; }
install() { sealift install "$BUNDLES/bundle-$1-$1" --trust "$BUNDLES/root.json"; say install $?; }
active() { say active "$(readlink "$BOX/current/fraud" | sed 's,.*/,,; s,-.*,,')"; }
"""


@dataclass(frozen=True)
class Shell:
    """Runs shell scripts in a mount namespace; `$BOX` is the prefix, `$BUNDLES` has versions 1 to 3."""

    folder: Path

    @property
    def box(self) -> Path:
        return self.folder / "box"

    def run(self, script: str) -> str:
        """What it said, both streams; lines `== install 0` tell exit codes."""
        self.box.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "BOX": str(self.box),
            "BUNDLES": str(self.folder),
            "PYTHON": sys.executable,
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", PRELUDE + script],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    tiny.bundles(folder, make_signer(), 3)
    return folder


@pytest.fixture
def shell(bundles: Path, tmp_path: Path) -> Shell:
    for name in ("bundle-1-1", "bundle-2-2", "bundle-3-3", "root.json"):
        (tmp_path / name).symlink_to(bundles / name)
    return Shell(tmp_path)


FULL = """
mount -t tmpfs -o size=100m,mode=755 tmpfs "$BOX"
install 1; install 2
head -c 200m /dev/zero > "$BOX/fill" 2>/dev/null
"""


def test_a_full_disk_refuses_the_install_and_keeps_what_is_active(shell: Shell) -> None:
    said = shell.run(FULL + 'install 3; active; sealift status; rm "$BOX/fill"; install 3; active')
    assert "== install 32" in said
    assert "== active 2" in said
    assert "next: free space (sealift remove NAME VERSION gives up an old release), then again" in said
    assert said.rstrip().endswith("== active 3")


def test_a_disk_that_is_nearly_full_is_refused_before_anything_is_written(shell: Shell) -> None:
    said = shell.run(
        FULL.replace("head -c 200m", "head -c 28m") + 'install 3; active; ls "$BOX/releases/fraud"'
    )
    assert "== install 32" in said
    assert "not enough room" in said
    assert "== active 2\n1-" in said
    assert "3-" not in said.rpartition("== active 2")[2]


def test_a_rollback_works_on_a_full_disk(shell: Shell) -> None:
    said = shell.run(
        FULL + 'sealift rollback; say rollback $?; active; ls "$BOX/state"; sealift status --history'
    )
    assert "== rollback 0" in said
    assert "== active 1" in said
    assert "rolled back to 1" in said


def test_a_served_rollback_works_on_a_full_disk(shell: Shell) -> None:
    said = shell.run(
        FULL
        + """
rm "$BOX/fill"
"$PYTHON" -m sealift serve fraud --port 0 --prefix "$BOX" > "$BOX/../serve.log" 2>&1 &
until grep -q '^serving' "$BOX/../serve.log"; do sleep 0.05; done
head -c 200m /dev/zero > "$BOX/fill" 2>/dev/null
sealift rollback; say rollback $?; active
kill $!; wait $!; say serve $?
"""
    )
    assert "== rollback 0" in said
    assert "== active 1" in said
    assert "== serve 0" in said


def test_the_reserve_is_spent_and_made_again(shell: Shell) -> None:
    said = shell.run(
        FULL
        + """
sealift rollback > /dev/null; say kept "$(ls "$BOX/state" | grep -c reserve)"
sealift status | grep reserve
rm "$BOX/fill"; sealift rollback > /dev/null; say kept "$(ls "$BOX/state" | grep -c reserve)"
"""
    )
    assert "== kept 0" in said
    assert "the rollback reserve is spent" in said
    assert said.rstrip().endswith("== kept 1")


def test_too_few_inodes_are_said_before_anything_is_written(shell: Shell) -> None:
    said = shell.run(
        'mount -t tmpfs -o size=200m,nr_inodes=30 tmpfs "$BOX"; install 1; ls -A "$BOX"; say end 0'
    )
    assert "== install 32" in said
    assert "inodes" in said


def test_a_read_only_prefix_is_said_and_can_be_looked_at(shell: Shell) -> None:
    shell.run("install 1")
    before = tree_hash(shell.box)
    said = shell.run(
        'mount --bind "$BOX" "$BOX"; mount -o remount,ro,bind "$BOX"; install 2; '
        "sealift rollback; say rollback $?; sealift status; say status $?"
    )
    assert "== install 40" in said
    assert "read-only" in said.lower()
    assert "== status 50" in said
    assert tree_hash(shell.box) == before


def test_a_noexec_file_system_is_refused_before_anything_is_written(shell: Shell) -> None:
    said = shell.run(
        'mount -t tmpfs -o noexec tmpfs "$BOX"; install 1; ls -A "$BOX/releases" 2>/dev/null; say end 0'
    )
    assert "== install 30" in said
    assert "is on a file system mounted noexec" in said
    assert "mount -o remount,exec" in said


def test_releases_on_another_file_system_than_the_store_are_copied(shell: Shell) -> None:
    said = shell.run(
        'mkdir -p "$BOX/releases"; mount -t tmpfs tmpfs "$BOX/releases"; install 1; install 2; active; '
        'stat -c %h "$BOX"/releases/fraud/2-*/runtime/boot.py; sealift status; say status $?'
    )
    assert said.count("== install 0") == 2
    assert "\n1\n" in said  # one name only: a copy, no hard link
    assert "== active 2" in said


CLOCK = """
import sys, time
now = {now}
time.time = lambda: now
from sealift.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(("now", "said"), [(60.0, "CLOCK BEHIND"), (4_070_908_800.0, "CLOCK AHEAD")])
def test_a_box_in_1970_or_2099_installs_updates_and_says_so(now: float, said: str, shell: Shell) -> None:
    def at(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CLOCK.format(now=now), *argv, "--prefix", str(shell.box)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    for version in ("1", "2"):
        bundle = shell.folder / f"bundle-{version}-{version}"
        done = at("install", str(bundle), "--trust", str(shell.folder / "root.json"), "--no-input")
        assert done.returncode == 0, done.stderr
    assert said in at("status").stdout
    assert at("rollback").returncode == 0
    assert (active_tree(private(shell.box), "fraud") or "").startswith("1-")


def test_of_two_installs_at_once_one_is_told_who_works(shell: Shell) -> None:
    """The first one is stopped in its check, which here waits for a file."""
    slow = shell.folder / "slow"
    slow.mkdir()
    gate = shell.folder / "gate"
    os.mkfifo(gate)
    head = b"def check(tree: str) -> None:\n"
    boot = tiny.BOOT.replace(head, head + f"    open({str(gate)!r}).read()\n".encode())
    made = tiny.bundle(slow, make_signer(), "7", {**tiny.files("7"), "runtime/boot.py": boot})
    command = [sys.executable, "-m", "sealift", "install", str(made), "--trust", str(slow / "root.json")]
    first = subprocess.Popen([*command, "--prefix", str(shell.box), "--no-input"], stderr=subprocess.DEVNULL)
    with gate.open("w") as opened:  # opens when the check reads: so the first one holds the prefix now
        said = shell.run('install 1; ls -A "$BOX/current" 2>/dev/null; say end 0')
        opened.write("go")
    assert first.wait(60) == 0
    assert "== install 41" in said
    assert f"is held by install (process {first.pid})" in said
    assert "next: wait for it to end, then again" in said


def test_a_prefix_of_a_newer_sealift_is_left_alone(shell: Shell) -> None:
    shell.run("install 1")
    stamp = private(shell.box).stamp
    stamp.write_text(json.dumps({"format": 2, "sealift": "9.1"}, separators=(",", ":")))
    before = tree_hash(shell.box)
    said = shell.run("install 2; sealift rollback; say rollback $?; sealift status; say status $?")
    for verb in ("install", "rollback", "status"):
        assert f"== {verb} 44" in said
    assert "was written by sealift 9.1 in format 2" in said
    assert f"next: use that prefix's own command, {shell.box}/bin/sealift" in said
    assert tree_hash(shell.box) == before


def test_a_copied_prefix_still_serves_what_it_held(shell: Shell, tmp_path: Path) -> None:
    """Nothing of the box's state depends on inode numbers or times."""
    shell.run("install 1; install 2")
    copy = tmp_path / "copy"
    shutil.copytree(shell.box, copy, symlinks=True)
    assert tiny.wholeness(private(copy)) == "2"
