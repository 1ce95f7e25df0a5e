"""The bootstrap file's head: what it refuses, what it leaves behind, and what it hands over to."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.made_bundles import tree_hash
from tests.tool.small_tools import SAYS_WHAT_IT_GETS, Tools, sh

from sealift.errors import UsageError
from sealift.target.host import read_host
from sealift.tool.runfile import HEAD

SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    (tmp_path / "made").mkdir()
    return Tools(tmp_path / "made")


@pytest.mark.parametrize("shell", SHELLS)
def test_it_unpacks_under_the_prefix_and_hands_over_to_its_own_interpreter(
    tools: Tools, tmp_path: Path, shell: str
) -> None:
    made = tools.run_file()
    prefix = tmp_path / "a box"
    done = sh(made.path, "--prefix", prefix, "--yes", "--json", shell=shell)
    assert done.returncode == 0, done.stderr
    partial = f"{prefix}/.sealift-1.0.partial"
    words = f"-I -S -B {partial}/tree/runtime/boot.py _bootstrap --unpacked {partial} --file {made.path} --parent "
    assert done.stdout.startswith(words)
    assert done.stdout.endswith(f" --prefix {prefix} --no-input --json\n")
    assert done.stderr == ""
    assert list(prefix.iterdir()) == []


@pytest.mark.parametrize("shell", SHELLS)
def test_it_ends_as_what_it_hands_over_to_ended(tools: Tools, tmp_path: Path, shell: str) -> None:
    made = tools.run_file(interpreter=SAYS_WHAT_IT_GETS + "exit 61\n")
    assert sh(made.path, "--prefix", tmp_path / "box", shell=shell).returncode == 61
    assert list((tmp_path / "box").iterdir()) == []


def test_nothing_is_written_outside_the_prefix(tools: Tools, tmp_path: Path) -> None:
    """Not even a shell's own here-documents: TMPDIR is nowhere, and the folder that it is run in stays empty."""
    made = tools.run_file()
    here = tmp_path / "here"
    here.mkdir()
    before = tree_hash(tools.folder)
    done = sh(made.path, "--prefix", tmp_path / "box", cwd=here, shell="bash", TMPDIR="/nowhere")
    assert done.returncode == 0, done.stderr
    assert list(here.iterdir()) == []
    assert tree_hash(tools.folder) == before


def test_the_prefix_comes_from_the_environment_too_and_may_be_relative(tools: Tools, tmp_path: Path) -> None:
    made = tools.run_file()
    done = sh(made.path, cwd=tmp_path, SEALIFT_PREFIX="box")
    assert f" --prefix {tmp_path}/box\n" in done.stdout


def test_two_files_of_the_same_release_are_the_same_bytes(tools: Tools, tmp_path: Path) -> None:
    made = tools.run_file()
    first = made.path.read_bytes()
    again = Tools(tmp_path / "again", tools.signer).run_file()
    assert again.path.read_bytes() == first
    assert (again.sha256, again.size) == (made.sha256, made.size)
    assert made.size == len(first)


def test_a_flipped_byte_of_the_payload_is_refused_before_anything_is_written(
    tools: Tools, tmp_path: Path
) -> None:
    made = tools.run_file()
    data = bytearray(made.path.read_bytes())
    data[-1000] ^= 1
    made.path.write_bytes(data)
    done = sh(made.path, "--prefix", tmp_path / "box")
    assert done.returncode == 22
    assert "sealift 1.0: this file is damaged: expected payload" in done.stderr
    assert "next: copy it to the medium again" in done.stderr
    assert not (tmp_path / "box").exists()


def test_a_file_that_was_not_copied_to_its_end_is_refused(tools: Tools, tmp_path: Path) -> None:
    made = tools.run_file()
    made.path.write_bytes(made.path.read_bytes()[:-7])
    done = sh(made.path, "--prefix", tmp_path / "box")
    assert done.returncode == 22
    assert f"expected {made.size} bytes, found {made.size - 7}" in done.stderr
    assert not (tmp_path / "box").exists()


def test_without_sha256sum_a_damaged_payload_is_refused_after_it_was_unpacked(
    tools: Tools, tmp_path: Path
) -> None:
    noise = random.Random(1).randbytes(20_000).hex()
    made = tools.run_file(interpreter=f"{SAYS_WHAT_IT_GETS}# {noise}\n")
    data = bytearray(made.path.read_bytes())
    data[-10_000] ^= 1
    made.path.write_bytes(data)
    path = _tools_but("sha256sum", tmp_path / "path")
    done = sh(made.path, "--prefix", tmp_path / "box", PATH=str(path), shell=str(shutil.which("dash")))
    assert done.returncode in (22, 40), done.stderr  # 40: tar saw it first
    assert "no sha256sum on this box" in done.stderr
    assert list((tmp_path / "box").iterdir()) == []


@pytest.mark.parametrize(
    ("swap", "code", "message"),
    [
        (
            (f"platform='{read_host().platform}'", "platform='linux-riscv64'"),
            31,
            "expected linux-riscv64, found Linux",
        ),
        (("glibc='2.17'", "glibc='2.99'"), 31, "expected glibc 2.99 or newer, found"),
        (("glibc='2.17'", "glibc='3.0'"), 31, "expected glibc 3.0 or newer, found"),
    ],
)
def test_another_kind_of_box_is_refused_before_anything_is_written(
    tools: Tools, tmp_path: Path, swap: tuple[str, str], code: int, message: str
) -> None:
    made = tools.run_file()
    data = made.path.read_bytes()
    assert swap[0].encode() in data
    made.path.write_bytes(data.replace(swap[0].encode(), swap[1].encode(), 1))
    done = sh(made.path, "--prefix", tmp_path / "box")
    assert done.returncode == code
    assert message in done.stderr
    assert "  next: " in done.stderr
    assert not (tmp_path / "box").exists()


def test_an_interpreter_that_does_not_start_is_explained(tools: Tools, tmp_path: Path) -> None:
    made = tools.run_file(interpreter="#!/lib/ld-of-another-system.so\n")
    done = sh(made.path, "--prefix", tmp_path / "box")
    assert done.returncode == 31
    assert "the interpreter inside does not run on this box (glibc 2.17 or newer is needed): " in done.stderr
    assert list((tmp_path / "box").iterdir()) == []


def test_a_prefix_that_cannot_be_made_is_refused(tools: Tools, tmp_path: Path) -> None:
    made = tools.run_file()
    (tmp_path / "box").write_text("a file")
    done = sh(made.path, "--prefix", tmp_path / "box")
    assert done.returncode == 40
    assert f"{tmp_path}/box cannot be written; nothing was changed" in done.stderr
    assert (tmp_path / "box").read_text() == "a file"


@pytest.mark.parametrize("words", [["--frefix", "x"], ["--prefix"]])
def test_an_option_that_it_does_not_know_is_refused(tools: Tools, words: list[str]) -> None:
    done = sh(tools.run_file().path, *words)
    assert done.returncode == 2
    assert "--help" in done.stderr


def test_help_and_info_change_nothing(tools: Tools, tmp_path: Path) -> None:
    made = tools.run_file()
    told = sh(made.path, "--help", cwd=tmp_path)
    assert told.returncode == 0
    assert "Compare its SHA-256 with the carry sheet first" in told.stdout
    info = sh(made.path, "--info", "--prefix", tmp_path / "box")
    assert info.returncode == 0
    assert f"trust root   {tools.signer.signed.root.fingerprint}" in info.stdout
    assert not (tmp_path / "box").exists()


def test_what_a_killed_run_left_is_removed_by_the_next(tools: Tools, tmp_path: Path) -> None:
    """SIGKILL while the interpreter runs: the folder stays behind, and nobody holds it."""
    made = tools.run_file(interpreter=SAYS_WHAT_IT_GETS + "kill -9 $PPID\n")
    box = tmp_path / "box"
    assert sh(made.path, "--prefix", box).returncode == -signal.SIGKILL
    assert [path.name for path in box.iterdir()] == [".sealift-1.0.partial"]
    (box / ".sealift-1.0.partial/tree/runtime/boot.py").write_text("half")
    mended = Tools(tmp_path / "mended", tools.signer).run_file()
    done = sh(mended.path, "--prefix", box)
    assert done.returncode == 0, done.stderr
    assert "an earlier run was cut off: its files are removed" in done.stderr
    assert list(box.iterdir()) == []


def test_a_run_beside_a_living_one_is_refused(tools: Tools, tmp_path: Path) -> None:
    made = tools.run_file()
    partial = tmp_path / "box" / ".sealift-1.0.partial"
    partial.mkdir(parents=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (partial / "holder").write_text(f"{os.getpid()} {boot}\n")
    done = sh(made.path, "--prefix", tmp_path / "box")
    assert done.returncode == 41
    assert f"held by another run of this file (process {os.getpid()})" in done.stderr
    assert partial.is_dir()
    (partial / "holder").write_text(f"{os.getpid()} another-boot\n")
    assert sh(made.path, "--prefix", tmp_path / "box").returncode == 0


def test_a_prefix_without_exec_is_refused(tools: Tools, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    made = tools.run_file()
    script = f'mount -t tmpfs -o noexec none {box} && exec dash {made.path} --prefix {box}; echo "no mount"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if "no mount" in done.stdout or "unshare" in done.stderr:
        pytest.skip("mounting needs root (unshare --mount is refused here)")
    assert done.returncode == 30
    assert f"{box} is on a file system mounted noexec" in done.stderr


def test_a_full_prefix_is_refused(tools: Tools, tmp_path: Path) -> None:
    box = tmp_path / "box"
    box.mkdir()
    made = tools.run_file(interpreter=SAYS_WHAT_IT_GETS + "# " + "x" * 300_000)
    script = (
        f'mount -t tmpfs -o size=400k none {box} && exec dash {made.path} --prefix {box}; echo "no mount"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    if "no mount" in done.stdout or "unshare" in done.stderr:
        pytest.skip("mounting needs root (unshare --mount is refused here)")
    assert done.returncode == 32
    assert "KiB are free; nothing was changed" in done.stderr


def test_a_file_that_is_something_else_is_not_written_over(tools: Tools) -> None:
    (tools.folder / "sealift-1.0.run").write_text("a letter")
    with pytest.raises(UsageError, match="exists and is no bootstrap file"):
        tools.run_file()
    assert (tools.folder / "sealift-1.0.run").read_text() == "a letter"
    assert sorted(path.name for path in tools.folder.glob(".*")) == []


def test_the_head_is_plain_posix_shell() -> None:
    text = HEAD.read_text()
    assert "<<" not in text, "a here-document is a file in TMPDIR for some shells"
    for bashism in ("[[", "function ", "local ", "$'", "&>"):
        assert bashism not in text


def _tools_but(name: str, folder: Path) -> Path:
    """A PATH with what the head uses, and not `name`."""
    folder.mkdir()
    for tool in ("tail", "tar", "gzip", "mkdir", "rm", "uname", "wc", "df", "chmod", "getconf"):
        found = shutil.which(tool)
        if found and tool != name:
            (folder / tool).symlink_to(found)
    return folder
