"""A Debian tree with systemd and Python 3.11, built once from this machine's own package sources."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

PACKAGES = ("systemd", "systemd-sysv", "dbus", "python3.11")
QUIET = (
    "console-getty.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
)


def debian_root() -> Path:
    """The tree, read-only for everybody: machines lay a disk of their own over it. 15 s to build, 250 MB."""
    codename = _os_release()["VERSION_CODENAME"]
    sources = [path for path in _apt_sources() if codename in path.read_text()]
    recipe = [codename, *PACKAGES, *QUIET, *(path.read_text() for path in sources)]
    digest = hashlib.sha256("\n".join(recipe).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealift-tests"
    root = cache / f"nspawn-{codename}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _build(root, codename, sources)
    return root


def _build(root: Path, codename: str, sources: list[Path]) -> None:
    half_done = root.with_suffix(".half")
    shutil.rmtree(half_done, ignore_errors=True)
    mask = f'chroot "$1" systemctl --quiet mask {" ".join(QUIET)}'
    command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        "--aptopt=Acquire::Check-Valid-Until false",  # a snapshot of the archive is older than that
        f"--customize-hook={mask}",
        '--customize-hook=mkdir -p "$1/var/log/journal"',  # the journal outlives a power cut
        codename,
        str(half_done),
        *map(str, sources),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"mmdebstrap: {done.stderr[-2000:]}"
    half_done.rename(root)


def _apt_sources() -> list[Path]:
    folder = Path("/etc/apt/sources.list.d")
    found = [Path("/etc/apt/sources.list"), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]
    return [path for path in found if path.is_file()]


def _os_release() -> dict[str, str]:
    pairs = (line.partition("=") for line in Path("/etc/os-release").read_text().splitlines())
    return {key: value.strip('"') for key, _, value in pairs}
