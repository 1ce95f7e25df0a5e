"""`sealift serve NAME|DIR`: supervise a worker on an installed release, or on a project while it changes."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.errors import UsageError
from sealift.serve.supervisor import Supervisor, SupervisorOptions, WorkerLaunch, bind
from sealift.serve.watching import Watcher
from sealift.store.prefix import Prefix, choose_service
from sealift.store.releases import active_release

DEFAULT_HOST, DEFAULT_PORT = "127.0.0.1", 8000


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `serve`."""
    add_common(
        parser,
        "Serve an installed release by name, or a project folder on loopback (unsigned, reloaded on change).",
        "  sealift serve fraud                    the active release of fraud\n"
        "  sealift serve fraud --port 9000 --host 0.0.0.0\n"
        "  sealift serve ./fraud                  the project in that folder, while you edit it\n"
        "  curl -s localhost:8000/predict -d '{\"amount\": 12.5}'",
    )
    parser.add_argument(
        "target", metavar="NAME|DIR", help="an installed release, or the path of a project folder"
    )
    parser.add_argument("--host", metavar="H", help=f"default: $SEALIFT_HOST, else {DEFAULT_HOST}")
    parser.add_argument(
        "--port", metavar="N", help=f"default: $SEALIFT_PORT, else {DEFAULT_PORT}; 0: any free one"
    )
    parser.add_argument("--drain-s", type=float, default=30.0, help="seconds to finish what is in flight")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `serve` until SIGTERM or Ctrl-C."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if args.quiet else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    prefix = prefix_of(args)
    args.host = args.host or os.environ.get("SEALIFT_HOST") or DEFAULT_HOST
    args.port = _port(args.port or os.environ.get("SEALIFT_PORT") or str(DEFAULT_PORT))
    if _is_project(args.target, prefix):
        return _serve_project(args, Path(args.target))
    name = choose_service(prefix, args.target)
    active_release(prefix, name)
    return _supervise(args, lambda: _release_launch(args, prefix, name), prefix.control(name), None)


def _is_project(target: str, prefix: Prefix) -> bool:
    """A path is a project; a bare word is an installed release first, then a folder of that name."""
    if "/" in target or target.startswith("."):
        return True
    return target not in prefix.services() and (Path(target) / "sealift.toml").is_file()


def _release_launch(args: argparse.Namespace, prefix: Prefix, name: str) -> WorkerLaunch:
    release = active_release(prefix, name)
    argv = release.command("_worker", f"--tree={release.tree}", *_common(args))
    return WorkerLaunch(argv, f"{release.name}@{release.version}", release.identity)


def _serve_project(args: argparse.Namespace, directory: Path) -> int:
    from sealift.project.file import load_project

    if not _is_loopback(args.host):
        raise UsageError(
            f"--host {args.host}: a project is served on loopback only (unsigned, unchecked)",
            next_step="sealift pack it and install it to serve other machines",
        )
    project = load_project(directory)

    def launch() -> WorkerLaunch:
        argv = [
            sys.executable,
            "-m",
            "sealift",
            "_worker",
            f"--project={directory.absolute()}",
            *_common(args),
        ]
        return WorkerLaunch(argv, f"{project.name}@{project.version}")

    return _supervise(args, launch, None, Watcher(directory))


def _supervise(
    args: argparse.Namespace,
    launch: Callable[[], WorkerLaunch],
    control_path: Path | None,
    watcher: Watcher | None,
) -> int:
    listener = bind(args.host, args.port)
    try:
        return asyncio.run(_run(args, listener, launch, control_path, watcher))
    finally:
        listener.close()


async def _run(
    args: argparse.Namespace,
    listener: socket.socket,
    launch: Callable[[], WorkerLaunch],
    control_path: Path | None,
    watcher: Watcher | None,
) -> int:
    supervisor = Supervisor(launch, listener, control_path, SupervisorOptions(drain_s=args.drain_s))
    host, port = listener.getsockname()[:2]

    def announce() -> None:
        if not args.quiet:
            shown = f"[{host}]" if ":" in host else host
            print(f"serving {supervisor.status()['release']} on http://{shown}:{port}", flush=True)

    watching = asyncio.ensure_future(watcher.follow(supervisor)) if watcher is not None else None
    try:
        await supervisor.run(announce)
    finally:
        if watching is not None:
            watching.cancel()
    return 0


def _common(args: argparse.Namespace) -> list[str]:
    return [f"--supervisor={os.getpid()}", f"--drain-s={args.drain_s}"]


def _port(text: str) -> int:
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
