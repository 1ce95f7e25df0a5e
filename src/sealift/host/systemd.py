"""Services of this machine: write the units, enable and start them, take them away again.

Every step may be repeated: a run that was cut off is finished by the next one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from sealift.errors import HostError
from sealift.host.units import (
    TEMPLATES,
    UNITS,
    USERS_FILE,
    address_file,
    files_of,
    service_unit,
    socket_unit,
)
from sealift.store.files import storing, sync_folder, write_file

LONGEST_START_S: Final = 300.0  # a person waits for it; systemd itself goes on for TimeoutStartSec=
_LAST_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command ended and what it said."""

    code: int
    out: str = ""
    err: str = ""

    @property
    def said(self) -> str:
        """Its complaint in one line."""
        return " ".join((self.err.strip() or self.out.strip() or f"it ended with {self.code}").split())


Run = Callable[[Sequence[str]], Completed]
"""Runs argv to its end. Raises: HostError: it cannot be started, or did not end."""


def run_command(argv: Sequence[str]) -> Completed:
    """Run `argv` on this machine."""
    plain = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    try:
        done = subprocess.run(
            list(argv), env=plain, capture_output=True, text=True, check=False, timeout=LONGEST_START_S
        )
    except OSError as error:
        raise HostError(
            f"{argv[0]}: {error.strerror}", next_step="install systemd's tools, or use --no-start"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise HostError(
            f"{' '.join(argv)}: not done in {LONGEST_START_S:.0f} s, it goes on",
            next_step="systemctl list-jobs",
        ) from error
    return Completed(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True, slots=True)
class Systemd:
    """The systemd of one machine: its root folder and how its commands are run."""

    root: Path = Path("/")
    run: Run = field(default=run_command)


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did.

    `changed`: files written and units enabled, in words. `started`: the service did not run and does now.
    `advice`: the command that makes a new address take effect, empty when nothing waits for one.
    """

    changed: tuple[str, ...]
    started: bool
    advice: str = ""


THIS: Final = Systemd()


def systemd_at_work(systemd: Systemd = THIS) -> bool:
    """True when this machine was booted with systemd (sd_booted(3))."""
    return (systemd.root / "run/systemd/system").is_dir()


def apply(
    name: str,
    host: str,
    port: int,
    grpc_port: int | None = None,
    *,
    start: bool = True,
    systemd: Systemd = THIS,
) -> Applied:
    """Make `name` a service of this machine that listens on `host`:`port` and comes back after a power cut.

    A service that runs is left running: a new address waits for `advice`.

    Args:
        grpc_port: where gRPC is answered too, None: nowhere.
        start: False writes the units and neither enables nor starts them.
    Raises:
        HostError: systemd refused, or the service did not get ready; what it said is in the text.
        StoreError: a unit file cannot be written.
    """
    files = files_of(name, host, port, grpc_port)
    written = [path for path, text in files.items() if _write(systemd.root / path, text)]
    changed = [f"wrote /{path}" for path in written]
    _must(systemd, "systemd-sysusers", str(systemd.root / USERS_FILE))
    _must(systemd, "systemctl", "daemon-reload")
    runs = _holds(systemd, "is-active", service_unit(name))
    moved = address_file(name) in written and _holds(systemd, "is-active", socket_unit(name))
    advice = f"systemctl restart {socket_unit(name)}" if moved else ""
    if not start:
        return Applied(tuple(changed), False, advice)
    for unit in (socket_unit(name), service_unit(name)):
        if not _holds(systemd, "is-enabled", unit):
            _must(systemd, "systemctl", "enable", unit)
            changed.append(f"enabled {unit}")
    _sync_links(systemd.root)
    if not runs:
        _start(systemd, name, moved)
    return Applied(tuple(changed), not runs, advice if runs else "")


def describe(
    name: str,
    host: str,
    port: int,
    grpc_port: int | None = None,
    *,
    start: bool = True,
    systemd: Systemd = THIS,
) -> tuple[str, ...]:
    """What `apply` would do, in its words; changes nothing. Raises: HostError: an impossible address."""
    files = files_of(name, host, port, grpc_port)
    steps = [f"write /{path}" for path, text in files.items() if not _same(systemd.root / path, text)]
    if start:
        units = (socket_unit(name), service_unit(name))
        steps += [f"enable {unit}" for unit in units if not _holds(systemd, "is-enabled", unit)]
        if not _holds(systemd, "is-active", service_unit(name)):
            steps.append(f"start {service_unit(name)}")
    return tuple(steps)


def forget(name: str, *, systemd: Systemd = THIS) -> tuple[str, ...]:
    """Stop and disable the service of `name` and take its files away; the last one takes the templates along.

    Returns: what changed, in words; nothing when it was no service of this machine.
    Raises: HostError: systemd refused. StoreError: a file cannot be removed.
    """
    changed: list[str] = []
    units = (service_unit(name), socket_unit(name))
    if (systemd.root / address_file(name)).exists():
        _must(systemd, "systemctl", "disable", "--now", *units)
        changed += [f"stopped and disabled {unit}" for unit in units]
    gone = [address_file(name)]
    if not _others(systemd.root, name):
        gone += TEMPLATES  # the user stays: a number that was given once must not become somebody else
    removed = [path for path in gone if _remove(systemd.root / path)]
    if removed:
        _must(systemd, "systemctl", "daemon-reload")
    return (*changed, *(f"removed /{path}" for path in removed))


def _start(systemd: Systemd, name: str, moved: bool) -> None:
    if moved:  # the socket still listens on the old address, and nobody serves it
        _must(systemd, "systemctl", "stop", socket_unit(name))
    taken = "`ss -ltnp` shows who holds the address; then run the same sealift command again"
    _start_unit(systemd, socket_unit(name), taken)
    again = f"journalctl -u {service_unit(name)} -n 50; systemd tries again by itself"
    _start_unit(systemd, service_unit(name), again)


def _start_unit(systemd: Systemd, unit: str, advice: str) -> None:
    done = systemd.run(("systemctl", "start", unit))
    if done.code != 0:
        words = _last_words(systemd, unit) or (done.said,)
        raise HostError(f"{unit} did not start", problems=words, next_step=advice)


def _last_words(systemd: Systemd, unit: str) -> tuple[str, ...]:
    """The end of its journal: what systemctl itself says is only where to look."""
    with contextlib.suppress(HostError):
        journal = ("journalctl", f"--unit={unit}", f"--lines={_LAST_LINES}", "--output=cat", "--no-pager")
        return tuple(line for line in systemd.run(journal).out.splitlines() if line.strip())
    return ()


def _must(systemd: Systemd, *argv: str) -> None:
    done = systemd.run(argv)
    if done.code != 0:
        raise HostError(
            f"{' '.join(argv)}: {done.said}",
            next_step="mend what it says and run the same sealift command again; it goes on from here",
        )


def _holds(systemd: Systemd, claim: str, unit: str) -> bool:
    return systemd.run(("systemctl", "--quiet", claim, unit)).code == 0


def _sync_links(root: Path) -> None:
    """systemctl does not: a power cut within seconds of `enable` would boot a machine without the service."""
    units = root / UNITS
    with storing(units):
        for folder in (*units.glob("*.wants"), units):
            sync_folder(folder)


def _same(path: Path, text: str) -> bool:
    with storing(path):
        try:
            return path.read_bytes() == text.encode()
        except FileNotFoundError:
            return False


def _write(path: Path, text: str) -> bool:
    """True when it was not like that before."""
    if _same(path, text):
        return False
    write_file(path, text.encode())
    return True


def _remove(path: Path) -> bool:
    with storing(path):
        if not path.is_file():
            return False
        path.unlink()
        sync_folder(path.parent)
    if path.parent.name.endswith(".d") and path.parent.parent.name == UNITS.name:
        with contextlib.suppress(OSError):  # drop-ins of the operator's own stay
            path.parent.rmdir()
    return True


def _others(root: Path, name: str) -> bool:
    """True when another service of this machine has an address."""
    mine = root / address_file(name)
    pattern = PurePosixPath(address_file("*")).relative_to(UNITS)
    return any(path != mine for path in (root / UNITS).glob(str(pattern)))
