"""A Debian machine with systemd as process 1 on a disk of its own, whose power can be cut.

The disk is an ext4 image under an overlay: a power cut shuts the file system down first (FS_IOC_SHUTDOWN), so
what was not synced is lost as on a real machine. Everything lives in a mount and a process namespace of its
own: when their first process ends, and it ends with the test run, so do the others, the mounts and the loop.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.systemd.debian import debian_root

TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "unshare", "setpriv", "mkfs.ext4", "losetup")
DISK_BYTES = 6 << 30
BOOT_S = 90.0
_SHUTDOWN, _WITHOUT_FLUSH = 0x8004587D, 2  # FS_IOC_SHUTDOWN and FS_SHUTDOWN_FLAGS_NOLOGFLUSH

# Runs in the machine's own namespaces; $1 folder, $2 Debian, $3 name, $4 control groups, then options of nspawn.
_START = """
set -eu
folder=$1 root=$2 name=$3
for group in $4; do
  mkdir -p "$group"
  echo $$ >"$group/cgroup.procs"
done
shift 4
mount -o loop "$folder/disk.img" "$folder/disk"
mkdir -p "$folder/disk/upper" "$folder/disk/work"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$folder/disk/upper,workdir=$folder/disk/work" "$folder/root"
exec systemd-nspawn --quiet --register=no --keep-unit --private-network --machine="$name" \\
  --directory="$folder/root" --console=pipe "$@" --boot
"""


def missing_parts() -> str:
    """Why no machine can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "a machine with systemd needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def until(happens: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Poll until `happens()` is true and return it. Raises: AssertionError: not within `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while not (answer := happens()):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.02)
    return answer


@dataclass(frozen=True)
class Said:
    """How a command inside ended."""

    code: int
    out: str
    err: str


class Machine:
    """One machine; `boot()`, `run()`, `cut_power()`, `boot()` again, `end()`.

    Args:
        folder: empty, or with a copy of the `disk.img` of another machine that was shut down.
        shared: path inside -> folder here, read-only.
    """

    def __init__(self, folder: Path, shared: Mapping[str, Path]) -> None:
        self.folder = folder
        self._shared = shared
        # Short: nspawn cuts a machine's name, and derives those of its network from it.
        self._name = f"sealift-{hashlib.sha256(str(folder).encode()).hexdigest()[:10]}"
        self._outside: subprocess.Popen[bytes] | None = None
        self._nspawn = self._leader = 0
        self._console = folder / "console.log"
        for name in ("disk", "root"):
            (folder / name).mkdir(exist_ok=True)
        if not self.disk.exists():
            with self.disk.open("wb") as image:
                image.truncate(DISK_BYTES)
            subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", self.disk], check=True)

    @property
    def disk(self) -> Path:
        """The image that outlives a power cut."""
        return self.folder / "disk.img"

    def boot(self) -> None:
        """Power on; returns when systemd says that the boot is over."""
        assert self._outside is None, "it is running"
        command = [
            *("setpriv", "--pdeathsig", "KILL"),  # a test run that is killed takes its machines along
            *("unshare", "--mount", "--propagation", "private", "--pid", "--mount-proc"),
            *("--fork", "--kill-child=KILL", "sh", "-c", _START, "sh"),
            *(str(self.folder), str(debian_root()), self._name, " ".join(map(str, self._cgroups()))),
            *(f"--bind-ro={here}:{inside}" for inside, here in self._shared.items()),
        ]
        with self._console.open("ab") as console:
            self._outside = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=console, stderr=console
            )
        until(self._find_leader, BOOT_S, "systemd became process 1")
        until(lambda: self.path("/run/systemd/private").exists(), BOOT_S, "systemd listens")
        state = self.run("systemctl", "is-system-running", "--wait", ok=False, timeout_s=BOOT_S).out.strip()
        assert state in ("running", "degraded"), f"{state}\n{self.console()}"

    def _find_leader(self) -> bool:
        assert self._outside is not None
        assert self._outside.poll() is None, self.console()
        for nspawn in _children(self._outside.pid):
            for pid in _children(nspawn):
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                        self._nspawn, self._leader = nspawn, pid
        return self._leader > 0

    def console(self) -> str:
        """What it printed, all boots."""
        return self._console.read_text(errors="replace")

    def path(self, inside: str) -> Path:
        """A file inside, as seen from here; only while it runs, and only for paths without absolute links."""
        return Path(f"/proc/{self._leader}/root{inside}")

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a command inside, as root."""
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
        }
        command = [shutil.which("nsenter") or "nsenter", "-t", str(self._leader), "-a", "-r", "-w", *argv]
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    def run(self, *argv: str, ok: bool = True, timeout_s: float = 300) -> Said:
        """Run a command inside, as root, to its end. Raises: AssertionError: it failed though `ok`."""
        with self.start(*argv) as process:
            try:
                out, err = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        said = Said(process.returncode, out, err)
        assert not ok or said.code == 0, f"{argv}: {said.code}\n{said.out}\n{said.err}"
        return said

    def connect(self, port: int, timeout_s: float = 60) -> socket.socket:
        """A connection to a port of its loopback."""
        connection = self._socket_inside()
        try:
            connection.settimeout(timeout_s)
            connection.connect(("127.0.0.1", port))
        except OSError:
            connection.close()
            raise
        return connection

    def ask(
        self, port: int, path: str, body: object = None, timeout_s: float = 60
    ) -> tuple[int, http.client.HTTPMessage, Any]:
        """GET, or POST a JSON body: status, headers and the decoded answer."""
        client = http.client.HTTPConnection("machine")
        with contextlib.closing(self.connect(port, timeout_s)) as client.sock:
            data = None if body is None else json.dumps(body)
            client.request("GET" if body is None else "POST", path, data, {"Connection": "close"})
            answer = client.getresponse()
            return answer.status, answer.headers, json.loads(answer.read())

    def _socket_inside(self) -> socket.socket:
        """A socket belongs to the namespace of the thread that made it; that thread ends at once."""

        def make() -> socket.socket:
            with Path(f"/proc/{self._leader}/ns/net").open() as namespace:
                assert ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0) == 0
            return socket.socket()

        with ThreadPoolExecutor(1) as pool:
            return pool.submit(make).result()

    def cut_power(self) -> None:
        """From one moment to the next nothing reaches the disk any more, and everything inside is gone."""
        folder = os.open(f"/proc/{self._nspawn}/root{self.folder}/disk", os.O_RDONLY)
        try:
            fcntl.ioctl(folder, _SHUTDOWN, struct.pack("I", _WITHOUT_FLUSH))
        finally:
            os.close(folder)
        self._kill()

    def shut_down(self) -> None:
        """Power off in order; the image can be copied then."""
        assert self._outside is not None
        self.run("systemctl", "poweroff")
        self._outside.wait(BOOT_S)
        self._kill()

    def end(self) -> None:
        """Stop it and everything inside, and give its disk back."""
        self._kill()
        self.disk.unlink(missing_ok=True)

    def _kill(self) -> None:
        outside, self._outside = self._outside, None
        self._nspawn = self._leader = 0
        if outside is None:
            return
        outside.kill()
        outside.wait(30)
        until(lambda: not _loops(self.disk), 30, "the disk was let go")
        for folder in self._cgroups():
            _remove_cgroup(folder)

    def _cgroups(self) -> list[Path]:
        """The folders of its own control group: two machines must not meet in one.

        systemd needs the unified hierarchy, and on an older layout its own named one as well.
        """
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        tops = [at for _, at, kind, options, *_ in mounts if kind == "cgroup2" or "name=systemd" in options]
        return [Path(top) / self._name for top in tops]


@contextlib.contextmanager
def machine(folder: Path, shared: Mapping[str, Path]) -> Iterator[Machine]:
    """A machine that runs; ended with everything in it, also when the test fails."""
    made = Machine(folder, shared)
    try:
        made.boot()
        yield made
    finally:
        made.end()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _loops(disk: Path) -> str:
    command = ["losetup", "--noheadings", "--associated", str(disk)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _remove_cgroup(folder: Path) -> None:
    def is_gone() -> bool:
        for inner, _, _ in os.walk(folder, topdown=False):
            with contextlib.suppress(OSError):  # its last process is on its way out
                Path(inner).rmdir()
        return not folder.exists()

    until(is_gone, 10, f"{folder} was let go")
