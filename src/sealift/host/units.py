"""The texts of sealift's systemd units, and where they lie. Pure: nothing here touches the machine."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import PurePosixPath
from typing import Final

from sealift.errors import HostError
from sealift.store.prefix import system

WORKER_USER: Final = "sealift"
"""Who the workers run as; the supervisor itself is root: it turns `current` and writes the journal."""

UNITS: Final = PurePosixPath("etc/systemd/system")
SERVICE_FILE: Final = UNITS / "sealift@.service"
SOCKET_FILE: Final = UNITS / "sealift@.socket"
USERS_FILE: Final = PurePosixPath("etc/sysusers.d/sealift.conf")
TEMPLATES: Final = (SERVICE_FILE, SOCKET_FILE, USERS_FILE)

_WRITTEN = (
    "# Written by `sealift install`, which puts it back. Changes of your own: systemctl edit sealift@NAME"
)
_PREFIX = system()

SERVICE_TEXT: Final = f"""\
{_WRITTEN}
[Unit]
Description=%i, served by sealift
Requires=sealift@%i.socket
After=sealift@%i.socket network.target
RequiresMountsFor={_PREFIX.root} {_PREFIX.state}
# No number of failures is a reason to stop trying: a bank without service is worse than a busy log.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={_PREFIX.bin}/sealift serve %i
Restart=always
RestartSec=100ms
# What paces the restarts, because a connection that waits at the socket does not wait for RestartSec=.
# 3 s: it could not start and said why. 1 s: it was killed or hung; the worker of a hung one drains meanwhile.
ExecStopPost=/bin/sh -c 'case "$$SERVICE_RESULT" in success) ;; exit-code) sleep 3 ;; *) sleep 1 ;; esac'
# Loading and warming up a large model, after a power cut also re-hashing what was written last.
TimeoutStartSec=15min
# The supervisor ends its worker by itself when `drain_s` is over; this is for one that hangs.
TimeoutStopSec=5min
# A stopped process does not take the default SIGABRT.
WatchdogSec=30
WatchdogSignal=SIGKILL
KillMode=mixed
# The kernel killed a worker for memory: the supervisor counts the crash and starts the next.
OOMPolicy=continue
LimitNOFILE=65536
# Shared by all services of this box, so it stays when one of them stops.
RuntimeDirectory={_PREFIX.run.name}
RuntimeDirectoryMode=0755
RuntimeDirectoryPreserve=yes

# -- hardening: a profile goes into sealift@.service.d/50-hardening.conf, never into this file --

[Install]
WantedBy=multi-user.target
"""

SOCKET_TEXT: Final = f"""\
{_WRITTEN}
[Unit]
Description=Address of %i, open while sealift restarts

[Socket]
# ListenStream= comes from sealift@NAME.socket.d/10-address.conf
Backlog=4096
# At boot the address may come later than this unit.
FreeBind=yes
# A service that cannot start must not cost the box its address.
TriggerLimitIntervalSec=0

[Install]
WantedBy=sockets.target
"""

USERS_TEXT: Final = f"""\
# Written by `sealift install`: workers run as this user, who owns nothing.
u {WORKER_USER} - "sealift workers"
"""


def service_unit(name: str) -> str:
    """`sealift@NAME.service`."""
    return f"sealift@{name}.service"


def socket_unit(name: str) -> str:
    """`sealift@NAME.socket`."""
    return f"sealift@{name}.socket"


def address_file(name: str) -> PurePosixPath:
    """The drop-in that gives one service its address."""
    return UNITS / f"{socket_unit(name)}.d" / "10-address.conf"


def files_of(name: str, host: str, port: int, grpc_port: int | None = None) -> dict[PurePosixPath, str]:
    """Every file that `name` needs, by its path below the machine's root.

    Raises: HostError: systemd cannot listen on that address.
    """
    return {
        SERVICE_FILE: SERVICE_TEXT,
        SOCKET_FILE: SOCKET_TEXT,
        USERS_FILE: USERS_TEXT,
        address_file(name): address_text(name, host, port, grpc_port),
    }


def address_text(name: str, host: str, port: int, grpc_port: int | None = None) -> str:
    """The drop-in's text: HTTP's address, then gRPC's if it has a port (`serve.notify` relies on the order).

    Raises: HostError: no fixed port, the same one twice, or `host` is no address and has none.
    """
    for setting, number, example in (("port", port, 8000), ("grpc_port", grpc_port, 8001)):
        if number is not None and not 0 < number < 65536:
            raise HostError(
                f"{name}: {setting} {number}: a service of this machine needs a fixed one, 1 to 65535",
                next_step=f"sealift config set {name} {setting}={example}",
            )
    if port == grpc_port:
        raise HostError(
            f"{name}: port and grpc_port are both {port}: HTTP and gRPC need one each",
            next_step=f"sealift config set {name} grpc_port={port + 1}",
        )
    address = _numeric(name, host)
    ports = [number for number in (port, grpc_port) if number is not None]
    return (
        f"# From {_PREFIX.etc}/{name}.toml; change it with `sealift config set {name} port=N`.\n"
        "[Socket]\n" + "".join(f"ListenStream={address}:{number}\n" for number in ports)
    )


def _numeric(name: str, host: str) -> str:
    """systemd takes numbers only; a name is looked up now, and stays what it was found to be."""
    try:
        found = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        try:
            answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise HostError(
                f"{name}: host {host!r} is no address of this machine: {error}",
                next_step=f"sealift config set {name} host=127.0.0.1",
            ) from error
        # As `sealift serve` binds it: IPv4 unless only IPv6 is there.
        addresses = [ipaddress.ip_address(str(answer[4][0])) for answer in answers]
        found = min(addresses, key=lambda address: address.version)
    return f"[{found}]" if found.version == 6 else str(found)
