"""`sealift serve NAME|DIR`: supervise a worker on an installed release, or on a project while it changes."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import os
import pwd
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from sealift.cli.care import ReleaseCare
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.tree import checked_tree, is_tree
from sealift.errors import UsageError
from sealift.host.units import WORKER_USER
from sealift.model.setting import Value
from sealift.model.settings import Schema, Settings, schema_of, settings_of
from sealift.serve.care import Care, Unattended, WorkerLaunch
from sealift.serve.http.tls import check_tls, tls_files
from sealift.serve.listening import bind
from sealift.serve.notify import inherited_listeners
from sealift.serve.supervisor import Supervisor
from sealift.serve.watching import Watcher
from sealift.serve.workers import SupervisorOptions
from sealift.store.prefix import Prefix, choose_service, system
from sealift.store.releases import InstalledRelease, active_release
from sealift.store.site import read_site, read_site_file

log = logging.getLogger(__name__)

DEFAULT_HOST, DEFAULT_PORT, DEFAULT_GRPC_PORT = "127.0.0.1", 8000, 8001


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `serve`."""
    add_common(
        parser,
        "Serve an installed release by name, or a project folder on loopback (unsigned, reloaded on change).",
        "  sealift serve fraud                    the active release of fraud\n"
        "  sealift serve fraud --port 9000 --host 0.0.0.0\n"
        "  sealift serve ./fraud                  the project in that folder, while you edit it\n"
        "  sealift serve /opt/sealift/app         the release laid out there, as in a container\n"
        "  curl -s localhost:8000/predict -d '{\"amount\": 12.5}'",
    )
    parser.add_argument(
        "target",
        metavar="NAME|DIR",
        help="an installed release, or the path of a project folder or of a release's tree",
    )
    parser.add_argument(
        "--host", metavar="H", help=f"default: $SEALIFT_HOST, the site file, else {DEFAULT_HOST}"
    )
    parser.add_argument(
        "--port",
        metavar="N",
        help=f"default: $SEALIFT_PORT, the site file, else {DEFAULT_PORT}; 0: any free one",
    )
    parser.add_argument(
        "--grpc-port",
        metavar="N",
        nargs="?",
        const=str(DEFAULT_GRPC_PORT),
        help=f"answer gRPC too, on {DEFAULT_GRPC_PORT} or there; default: $SEALIFT_GRPC_PORT, the site file, else not "
        "at all; 0: any free one",
    )
    parser.add_argument("--drain-s", type=float, help="seconds to finish what is in flight; default: 30")
    parser.add_argument(
        "--tls-certificate", type=Path, metavar="F", help="serve HTTPS with this certificate chain (PEM)"
    )
    parser.add_argument("--tls-key", type=Path, metavar="F", help="its private key (PEM, no passphrase)")
    parser.add_argument(
        "--site", type=Path, metavar="F", help="settings of a release that is served by its tree's path"
    )
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `serve` until SIGTERM or Ctrl-C."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if args.quiet else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    prefix = prefix_of(args)
    flags = {
        "host": args.host,
        "port": _port(args.port or os.environ.get("SEALIFT_PORT")),
        "grpc_port": _port(args.grpc_port),
        "drain_s": args.drain_s,
        "tls.certificate": _absolute(args.tls_certificate),
        "tls.key": _absolute(args.tls_key),
    }
    if "/" in args.target and is_tree(Path(args.target)):
        return _serve_tree(args, Path(args.target).resolve(), flags)
    if args.site is not None:
        raise UsageError(
            "--site is for a release served by its tree's path; an installed one has a site file"
        )
    if _is_project(args.target, prefix):
        return _serve_project(args, Path(args.target), Schema().resolve({}, environ=os.environ, flags=flags))
    name = choose_service(prefix, args.target)
    settings = settings_of(
        schema_of(active_release(prefix, name).tree),
        read_site(prefix, name),
        environ=os.environ,
        flags=flags,
    )
    options = SupervisorOptions(drain_s=settings.drain_s, user=worker_user(prefix))
    flags_of_worker = (f"--drain-s={settings.drain_s}", *_tls_flags(settings, options.user))
    care = _care(prefix, name, partial(launch_of, prefix.site(name), flags_of_worker))
    return _supervise(args, settings, care, options, control_path=prefix.control(name))


def _is_project(target: str, prefix: Prefix) -> bool:
    """A path is a project; a bare word is an installed release first, then a folder of that name."""
    if "/" in target or target.startswith("."):
        return True
    return target not in prefix.services() and (Path(target) / "sealift.toml").is_file()


def _care(prefix: Prefix, name: str, launch: Callable[[InstalledRelease], WorkerLaunch]) -> Care:
    """Who decides what is served, and writes it down."""
    return ReleaseCare(prefix, name, launch)


def launch_of(site: Path, flags: Sequence[str], release: InstalledRelease) -> WorkerLaunch:
    """A worker of that release, in its own interpreter; the box's settings are read when it starts."""
    given = [f"--site={site}"] if site.is_file() else []
    argv = release.command("_worker", f"--tree={release.tree}", *flags, *_as_checked(release), *given)
    memory_kb = release.check.get("memory_kb")
    return WorkerLaunch(
        argv,
        f"{release.name}@{release.version}",
        release.identity,
        release.tree.name,
        memory_kb * 1000 if isinstance(memory_kb, int) else None,
    )


def _as_checked(release: InstalledRelease) -> list[str]:
    """What its own check measured and chose; a release whose sealift does not is not told either."""
    rows, variants = release.check.get("max_rows", {}), release.check.get("variants", {})
    return [
        *(f"--max-rows={model}={found}" for model, found in sorted(rows.items())),
        *(f"--variant={model}={chosen}" for model, chosen in sorted(variants.items())),
    ]


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path is not None else None


def _tls_flags(settings: Settings, user: str | None) -> tuple[str, ...]:
    """Where a worker finds certificate and key: paths, never what they hold. Nothing for plain HTTP.

    Raises: BadSettings: no worker could speak TLS with them; nothing listens yet.
    """
    files = tls_files(settings.tls.certificate, settings.tls.key)
    if files is None:
        return ()
    for warning in check_tls(files, user):
        log.warning("%s", warning)
    return f"--tls-certificate={files.certificate}", f"--tls-key={files.key}"


def worker_user(prefix: Prefix) -> str | None:
    """Workers of a system service get an account that owns nothing; None: they run as who serves."""
    if os.geteuid() != 0 or prefix != system():
        return None
    try:
        return pwd.getpwnam(WORKER_USER).pw_name
    except KeyError:
        return None


def _serve_tree(args: argparse.Namespace, tree: Path, flags: Mapping[str, Value]) -> int:
    """Check the release where it lies, then serve it; nothing is switched and nothing is written."""
    site = args.site.absolute() if args.site is not None else None
    if site is not None and not site.is_file():
        raise UsageError(f"--site {args.site}: no such file")
    settings = settings_of(
        schema_of(tree),
        {} if site is None else read_site_file(site),
        environ=os.environ,
        flags=flags,
    )
    tls = _tls_flags(settings, None)
    with _ends_at_once():
        release = checked_tree(tree, settings, site)
    for note in release.check["notes"]:
        log.info("check: %s", note)
    worker = (f"--drain-s={settings.drain_s}", *tls)
    care = Unattended(partial(launch_of, site or Path(os.devnull), worker, release))
    return _supervise(args, settings, care, SupervisorOptions(drain_s=settings.drain_s))


@contextlib.contextmanager
def _ends_at_once() -> Iterator[None]:
    """Before anything is served SIGTERM ends this process, also where it is a container's first one.

    The kernel keeps from process 1 every signal that it has no handler for (pid_namespaces(7)).
    """
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _serve_project(args: argparse.Namespace, directory: Path, settings: Settings) -> int:
    from sealift.project.file import load_project

    if not _is_loopback(settings.host):
        raise UsageError(
            f"--host {settings.host}: a project is served on loopback only (unsigned, unchecked)",
            next_step="sealift pack it and install it to serve other machines",
        )
    project = load_project(directory)
    flags = (f"--drain-s={settings.drain_s}", *_tls_flags(settings, None))

    def launch() -> WorkerLaunch:
        argv = [sys.executable, "-m", "sealift", "_worker", f"--project={directory.absolute()}"]
        return WorkerLaunch([*argv, *flags], f"{project.name}@{project.version}")

    options = SupervisorOptions(drain_s=settings.drain_s)
    return _supervise(args, settings, Unattended(launch), options, watcher=Watcher(directory))


def _supervise(
    args: argparse.Namespace,
    settings: Settings,
    care: Care,
    options: SupervisorOptions,
    *,
    control_path: Path | None = None,
    watcher: Watcher | None = None,
) -> int:
    with contextlib.ExitStack() as open_sockets:
        listener, grpc = _listeners(args, settings, open_sockets)
        supervisor = Supervisor(
            care, listener, control_path, options, certificate=settings.tls.certificate, grpc=grpc
        )
        return asyncio.run(_run(args, supervisor, watcher))


def _listeners(
    args: argparse.Namespace, settings: Settings, opened: contextlib.ExitStack
) -> tuple[socket.socket, socket.socket | None]:
    """HTTP's socket and gRPC's: those that systemd holds, else bound here."""
    held = [opened.enter_context(each) for each in inherited_listeners()]
    listener = held[0] if held else opened.enter_context(bind(settings.host, settings.port))
    flag = _port(args.grpc_port)
    wanted = settings.grpc_port if flag is None else flag
    if wanted is None:
        return listener, None
    if len(held) > 1:
        return listener, held[1]
    return listener, opened.enter_context(bind(settings.host, wanted, "--grpc-port"))


async def _run(args: argparse.Namespace, supervisor: Supervisor, watcher: Watcher | None) -> int:
    def announce() -> None:
        if not args.quiet:
            status = supervisor.status()
            host = f"[{status['host']}]" if ":" in status["host"] else status["host"]
            scheme = "https" if status["certificate"] else "http"
            also = f", gRPC on {host}:{status['grpc_port']}" if status["grpc_port"] else ""
            print(f"serving {status['release']} on {scheme}://{host}:{status['port']}{also}", flush=True)

    watching = asyncio.ensure_future(watcher.follow(supervisor)) if watcher is not None else None
    try:
        await supervisor.run(announce)
    finally:
        if watching is not None:
            watching.cancel()
    return 0


def _port(text: str | None) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and int(text) < 65536:
        return int(text)
    raise UsageError(f"port {text!r}: expected a number from 0 to 65535")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
