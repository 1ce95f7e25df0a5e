"""A box that has nothing: a minimal Debian without Python, without a network, `/tmp` and the stick mounted noexec."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.systemd.debian import _apt_sources, _os_release

TOOLS = ("mmdebstrap", "unshare", "nsenter", "chroot")

# $1 Debian, $2 an empty folder for what changes, $3 the medium. Ends with the namespaces' first process.
_START = """
set -eu
mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"
mount -t proc proc "$2/root/proc"
mount -t tmpfs -o noexec,nosuid,nodev,size=64m none "$2/root/tmp"
mkdir -p "$2/root/media/usb"
mount --bind "$3" "$2/root/media/usb"
mount -o remount,bind,ro,noexec "$2/root/media/usb"
ip link set lo up
echo ready
exec sleep 3600
"""


def missing_parts() -> str:
    """Why there can be no such box here; empty when there can."""
    if os.geteuid() != 0:
        return "a Debian root of its own needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def bare_debian() -> Path:
    """Debian's minimal variant from this machine's own package sources, built once; read-only for everybody."""
    codename = _os_release()["VERSION_CODENAME"]
    sources = [path for path in _apt_sources() if codename in path.read_text()]
    recipe = "\n".join([codename, *(path.read_text() for path in sources)])
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealift-tests"
    root = cache / f"bare-{codename}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            build_root(root, codename, sources)
    return root


def build_root(root: Path, codename: str, sources: list[Path]) -> None:
    """By mmdebstrap, complete or not there."""
    half_done = root.with_suffix(".half")
    shutil.rmtree(half_done, ignore_errors=True)
    old = "--aptopt=Acquire::Check-Valid-Until false"  # a snapshot of the archive is older than that
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        old,
        codename,
        str(half_done),
        *map(str, sources),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"mmdebstrap: {done.stderr[-2000:]}"
    half_done.rename(root)


@dataclass(frozen=True)
class Said:
    """How a command in the box ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class BareBox:
    """`pid` is the first process of its namespaces, `root` its file system."""

    pid: int
    root: Path

    def start(self, script: str) -> subprocess.Popen[str]:
        """Start a line of shell in it."""
        enter = [shutil.which("nsenter") or "nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-i", "-u"]
        return subprocess.Popen(
            [*enter, "chroot", str(self.root), "sh", "-c", script],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script: str, code: int = 0) -> Said:
        """A line of shell to its end. Raises: AssertionError: it ended otherwise than with `code`."""
        with self.start(script) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{script}: {process.returncode}\n{out}\n{err}"
        return Said(process.returncode, out, err)


@contextlib.contextmanager
def bare_box(debian: Path, folder: Path, medium: Path) -> Iterator[BareBox]:
    """Ended with everything that was started in it."""
    for name in ("upper", "work", "root"):
        (folder / name).mkdir(parents=True)
    command = [
        *(
            "setpriv",
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "--net",
            "--pid",
        ),
        *("--ipc", "--uts", "--fork", "--kill-child=KILL", "sh", "-c", _START, "sh"),
        *(str(debian), str(folder), str(medium)),
    ]
    outside = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert outside.stdout is not None
    try:
        assert outside.stdout.readline() == "ready\n"
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
        yield BareBox(int(children[0]), folder / "root")
    finally:
        outside.kill()
        outside.wait(30)
        outside.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)
