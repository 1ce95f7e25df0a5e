"""`sealift _worker`: one worker on an inherited socket; started by the supervisor, never by hand."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sealift.check.canary import load_canary
from sealift.cli.services import (
    Chosen,
    predictor_options,
    project_service,
    project_settings,
    release_service,
    release_settings,
)
from sealift.model.service import Service
from sealift.observe.exposition import render
from sealift.serve.canary import Canary
from sealift.serve.http.tls import tls_files
from sealift.serve.worker import WorkerOptions, run_worker

_PR_SET_PDEATHSIG = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_worker`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tree", type=Path, help="an installed release")
    source.add_argument("--project", type=Path, help="a project folder (the engineer's inner loop)")
    parser.add_argument("--site", type=Path, help="the box's own settings of that service")
    parser.add_argument(
        "--max-rows",
        action="append",
        default=[],
        type=_rows_of,
        metavar="MODEL=N",
        help="rows of a run, as the check of this release measured here",
    )
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        type=_variant_of,
        metavar="MODEL=NAME",
        help="the variant that was quickest here, as the check of this release measured",
    )
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--supervisor-fd", type=int, required=True)
    parser.add_argument("--drain-s", type=float, default=30.0)
    parser.add_argument("--tls-certificate")
    parser.add_argument("--tls-key")


def run(args: argparse.Namespace) -> int:
    """Serve until told to retire, SIGTERM or the supervisor's end, then drain."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    channel = socket.socket(fileno=args.supervisor_fd)
    if not _dies_with(channel):
        return 0
    with socket.socket(fileno=args.listen_fd) as listener, _grpc() as grpc, _service(args) as service:
        return run_worker(
            service,
            listener,
            _options(args),
            render_metrics=render,
            channel=channel,
            canary=_canary(args, service),
            grpc=grpc,
        )


@contextlib.contextmanager
def _grpc() -> Iterator[socket.socket | None]:
    """The second listening socket, if this worker was given one."""
    number = os.environ.get("SEALIFT_GRPC_FD")
    if number is None:
        yield None
        return
    with socket.socket(fileno=int(number)) as listener:
        yield listener


@contextlib.contextmanager
def _service(args: argparse.Namespace) -> Iterator[Service]:
    if args.tree is not None:
        yield release_service(args.tree, args.site, Chosen(dict(args.max_rows), dict(args.variant)))
        return
    with tempfile.TemporaryDirectory() as workspace:
        yield project_service(args.project, Path(workspace))


def _rows_of(text: str) -> tuple[str, int]:
    model, _, rows = text.rpartition("=")
    return model, int(rows)


def _variant_of(text: str) -> tuple[str, str]:
    model, _, variant = text.rpartition("=")
    return model, variant


def _options(args: argparse.Namespace) -> WorkerOptions:
    """How it serves: as the box's settings say, for a release; as the project declares, for a folder."""
    released = args.tree is not None
    settings = release_settings(args.tree, args.site) if released else project_settings(args.project)
    promised_ms = settings.slo.latency_p99_ms
    return WorkerOptions(
        run=predictor_options(settings),
        threads=settings.threads,
        promised_s=None if promised_ms is None else promised_ms / 1000,
        drain_s=args.drain_s,
        tls=tls_files(args.tls_certificate, args.tls_key),
    )


def _canary(args: argparse.Namespace, service: Service) -> Canary | None:
    """The golden inputs of a release; a project folder has none recorded yet."""
    if args.tree is None:
        return None
    return load_canary(service, args.tree / "application" / "goldens")


def _dies_with(channel: socket.socket) -> bool:
    """End when the supervisor dies while this loads, however it dies; False if it already has.

    Once it serves, it sees the end of the channel; the signal then only says so again.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    channel.setblocking(False)
    try:
        return channel.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
