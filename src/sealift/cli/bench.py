"""`sealift bench [NAME]`: how much a box can take, in a table and a plot of latency against rate."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import platform
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from sealift.bench.asked import Asked, of_file, of_goldens
from sealift.bench.ladder import CONNECTIONS, Curve, Plan, measure
from sealift.bench.line import Address
from sealift.bench.load import Generator
from sealift.bench.picture import page, svg
from sealift.bench.plot import text_plot
from sealift.bench.report import rows, sentences
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import megabytes, print_result, table
from sealift.cli.serve import launch_of, worker_user
from sealift.errors import HostError, NotServing, UsageError
from sealift.model.settings import schema_of, settings_of
from sealift.serve import control
from sealift.serve.care import WorkerLaunch
from sealift.serve.listening import bind
from sealift.serve.memory import available_bytes
from sealift.serve.workers import SupervisorOptions, Workers
from sealift.store.prefix import Prefix, choose_service
from sealift.store.releases import InstalledRelease, active_release
from sealift.store.site import read_site

MOST_STEPS: Final = 32
LONGEST_STEP_S: Final = 600.0
MOST_CONNECTIONS: Final = 1024
ROOM: Final = 1.2
"""So much of its measured memory must be free before a worker more is started, as for a worker of an update."""

Result = TypeVar("Result")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `bench`."""
    add_common(
        parser,
        "Measure how a service answers to load: so many clients at a time, then so many requests a second, up to "
        "beyond what it can do. Latency at a rate counts from the moment a request was due. Without --live and "
        "--url a worker of the active release is started for it, on a port of its own and with this box's "
        "settings: the running service is not asked, but shares the processor.",
        "  sealift bench fraud                          the golden inputs of the release, about a minute\n"
        "  sealift bench fraud --input case.json --slo-ms 50\n"
        "  sealift bench fraud --rates 100,200,400 --connections 8 --seconds 10\n"
        "  sealift bench fraud --live --html report.html\n"
        "  sealift bench --url http://10.0.0.7:8000 --input cat.jpg",
    )
    parser.add_argument("name", nargs="?", metavar="NAME")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--live", action="store_true", help="load the service that runs; its users will notice"
    )
    where.add_argument(
        "--url", metavar="U", help="any server; a path in it is where requests go (default: /predict)"
    )
    parser.add_argument(
        "--input", type=Path, metavar="FILE", help="send this file instead of the golden inputs"
    )
    parser.add_argument("--model", metavar="NAME", help="only the golden inputs of this model of the release")
    parser.add_argument(
        "--connections",
        metavar="N,N",
        help=f"clients at a time; default: {','.join(map(str, CONNECTIONS))}; 'none'",
    )
    parser.add_argument(
        "--rates", metavar="R,R", help="requests/s; default: 10 to 150 %% of what the clients reached; 'none'"
    )
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of every step; default: 3")
    parser.add_argument(
        "--slo-ms", type=float, metavar="MS", help="p99 to hold; default: the box's slo.latency_p99_ms"
    )
    parser.add_argument("--svg", type=Path, metavar="F", help="write the plot as a picture")
    parser.add_argument("--html", type=Path, metavar="F", help="write table and plot as one page")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `bench`."""
    for path in filter(None, (args.svg, args.html)):
        _write(path, "")  # before the minute of measuring, not after it
    prefix = prefix_of(args)
    release = _release(args, prefix)
    slo_ms = args.slo_ms if args.slo_ms is not None else _declared_slo(prefix, release)
    plan = Plan(_connections(args.connections), _rates(args.rates), _seconds(args.seconds), slo_ms)
    if not plan.connections and not plan.rates:
        raise UsageError("nothing to measure", next_step="name --rates where --connections is none")
    if len(plan.connections) + len(plan.rates or ()) > MOST_STEPS:
        raise UsageError(f"more than {MOST_STEPS} steps", next_step="name fewer --connections and --rates")
    asked = _asked(args, release)
    if args.url is not None:
        _elsewhere(args.url)
    curve = _run_loop(_measured(args, prefix, release, asked, plan))
    _report(args, curve, release)
    return 0


def _release(args: argparse.Namespace, prefix: Prefix) -> InstalledRelease | None:
    """The active release; None: only a server elsewhere is meant."""
    if args.url is not None and args.name is None:
        if args.input is None:
            raise UsageError(
                "--url without NAME: what to send is not known", next_step="name a file with --input FILE"
            )
        return None
    return active_release(prefix, choose_service(prefix, args.name))


def _declared_slo(prefix: Prefix, release: InstalledRelease | None) -> float | None:
    if release is None:
        return None
    return settings_of(schema_of(release.tree), read_site(prefix, release.name)).slo.latency_p99_ms


def _asked(args: argparse.Namespace, release: InstalledRelease | None) -> tuple[Asked, ...]:
    if args.input is not None:
        path = urlsplit(args.url).path if args.url is not None else ""
        return (of_file(args.input, path if path not in ("", "/") else "/predict"),)
    if release is None:
        return ()
    return of_goldens(release.tree / "application" / "goldens", args.model)


async def _measured(
    args: argparse.Namespace,
    prefix: Prefix,
    release: InstalledRelease | None,
    asked: tuple[Asked, ...],
    plan: Plan,
) -> Curve:
    def tell(what: str, number: int, count: int) -> None:
        if not (args.quiet or args.json):
            print(f"{number:>3}/{count}  {what}", file=sys.stderr, flush=True)

    async with _server(args, prefix, release) as address:
        generator = Generator(address, asked)
        try:
            return await measure(generator, plan, tell)
        finally:
            await generator.close()


@contextlib.asynccontextmanager
async def _server(
    args: argparse.Namespace, prefix: Prefix, release: InstalledRelease | None
) -> AsyncIterator[Address]:
    """Where to send: the given URL, the running service, or a worker of our own that ends with us."""
    if args.url is not None:
        yield _elsewhere(args.url)
    elif release is not None and args.live:
        yield _live(prefix, release.name)
    elif release is not None:
        _note_a_running_service(args, prefix, release)
        async with _own_worker(prefix, release) as address:
            yield address


def _elsewhere(url: str) -> Address:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise UsageError(f"--url {url}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--url {url}: expected http://HOST:PORT or https://HOST:PORT")
    if parts.scheme == "http":
        return Address(parts.hostname, port or 80)
    return Address(parts.hostname, port or 443, ssl.create_default_context())


def _live(prefix: Prefix, name: str) -> Address:
    """The running service's address. Raises: NotServing: it is down."""
    status = control.ask(prefix.control(name), "status")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(status["host"], status["host"])  # noqa: S104 - asked, not bound
    return Address(host, status["port"], _unchecked_tls() if status.get("certificate") else None)


def _unchecked_tls() -> ssl.SSLContext:
    """For this box's own service, found by its control socket: its certificate names it by another address."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@contextlib.asynccontextmanager
async def _own_worker(prefix: Prefix, release: InstalledRelease) -> AsyncIterator[Address]:
    """A worker on a free loopback port, plain HTTP, with the box's other settings; gone afterwards.

    Raises: NotServing: it does not get ready.
    """
    options = SupervisorOptions(user=worker_user(prefix), drain_s=1.0)
    with bind("127.0.0.1", 0) as listener:
        workers = Workers(listener, options, asyncio.Event(), lambda _worker: None)
        launch = launch_of(prefix.site(release.name), ("--drain-s=1",), release)
        require_room(launch, available_bytes())
        worker = await workers.start(launch, beside=False)
        worker.is_expected_to_end = True
        try:
            yield Address("127.0.0.1", listener.getsockname()[1])
        finally:
            worker.terminate()
            await asyncio.shield(worker.ended(options.drain_s + options.exit_s))


def require_room(launch: WorkerLaunch, free: int | None) -> None:
    """A worker more must not take the memory of what runs here.

    Args:
        free: bytes that can be had, None when unknown.
    Raises: HostError: it may not fit.
    """
    needed = None if launch.memory_bytes is None else round(launch.memory_bytes * ROOM)
    if free is not None and needed is not None and free < needed:
        raise HostError(
            f"{launch.release}: a worker for the measurement needs {megabytes(needed)} of memory, "
            f"{megabytes(free)} are free",
            next_step="measure the running service itself with --live, or stop it first",
        )


def _note_a_running_service(args: argparse.Namespace, prefix: Prefix, release: InstalledRelease) -> None:
    with contextlib.suppress(NotServing):
        control.ask(prefix.control(release.name), "status")
        if not args.quiet:
            print(
                f"note: {release.name} is serving on this box: its users share the processor with the measurement",
                file=sys.stderr,
            )


def _run_loop(work: Coroutine[Any, Any, Result]) -> Result:
    """On uvloop where it is installed: the generator should not be the limit."""
    try:
        import uvloop
    except ModuleNotFoundError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def _report(args: argparse.Namespace, curve: Curve, release: InstalledRelease | None) -> None:
    how = "elsewhere" if args.url else "the running service" if args.live else "a worker of its own"
    what = args.url if args.url or release is None else f"{release.name} {release.version}"
    machine = f"{socket.gethostname()}, {curve.cores} cores, {platform.machine()}"
    beside = "load generator on" if args.url else f"{how}; with the load generator on"
    facts = [f"{what}; {beside} {machine}; {time.strftime('%Y-%m-%d %H:%M')}"]
    title = f"sealift bench: {what}"
    for path, text in ((args.svg, svg(curve, title)), (args.html, page(curve, title, facts))):
        if path is not None:
            _write(path, text)
    parts = [*facts, "", table(rows(curve), right=range(1, len(rows(curve)[0]))), "", text_plot(curve), ""]
    text = "\n".join([*parts, *sentences(curve)])
    print_result(args, {"release": what, "server": how, **curve.as_json()}, text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HostError(f"{path}: {error.strerror}") from error


def _connections(text: str | None) -> tuple[int, ...]:
    if text is None:
        return CONNECTIONS
    if text == "none":
        return ()
    words = text.split(",")
    if not all(word.isascii() and word.isdigit() and 0 < int(word) <= MOST_CONNECTIONS for word in words):
        raise UsageError(
            f"--connections {text}: expected whole numbers from 1 to {MOST_CONNECTIONS}, like 1,8,32"
        )
    return tuple(int(word) for word in words)


def _rates(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    if text == "none":
        return ()
    try:
        rates = tuple(sorted(float(word) for word in text.split(",")))
    except ValueError:
        rates = ()
    if not rates or not all(0 < rate <= 1e6 for rate in rates):
        raise UsageError(f"--rates {text}: expected requests per second, like 100,200,400, or none")
    return rates


def _seconds(seconds: float) -> float:
    if not 0.1 <= seconds <= LONGEST_STEP_S:
        raise UsageError(f"--seconds {seconds:g}: expected 0.1 to {LONGEST_STEP_S:g}")
    return seconds
