"""`sealift _worker`: one worker on an inherited socket; started by the supervisor, never by hand."""

from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from sealift.cli.services import project_service, release_service
from sealift.observe.exposition import render
from sealift.serve import control
from sealift.serve.worker import WorkerOptions, run_worker

_PR_SET_PDEATHSIG = 1


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_worker`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--tree", type=Path, help="an installed release")
    source.add_argument("--project", type=Path, help="a project folder (the engineer's inner loop)")
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int, required=True)
    parser.add_argument("--supervisor", type=int, required=True)
    parser.add_argument("--drain-s", type=float, default=30.0)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM, then drain."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    if not _dies_with(args.supervisor):
        return 0

    def report_ready() -> None:
        os.write(args.ready_fd, control.encode({"ready": True, "pid": os.getpid()}))
        os.close(args.ready_fd)

    with socket.socket(fileno=args.listen_fd) as listener, tempfile.TemporaryDirectory() as workspace:
        if args.tree is not None:
            service = release_service(args.tree)
        else:
            service = project_service(args.project, Path(workspace))
        options = WorkerOptions(drain_s=args.drain_s)
        return run_worker(service, listener, options, render_metrics=render, on_ready=report_ready)


def _dies_with(supervisor: int) -> bool:
    """Drain when the supervisor dies, however it dies; False if it already has."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    return os.getppid() == supervisor
