"""`sealift status`: what is installed and how it serves; needs no root."""

from __future__ import annotations

import argparse
import shutil
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import print_result
from sealift.errors import NotServing
from sealift.observe.status import BoxStatus, observe_service, render, to_json
from sealift.serve import control
from sealift.store.prefix import Prefix, choose_service
from sealift.store.releases import active_release, installed_releases


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `status`."""
    add_common(
        parser,
        "What is installed under a prefix and how it serves. Exit code 0: all serve; 50: one does not.",
        "  sealift status\n  sealift status fraud --json",
    )
    parser.add_argument("name", nargs="?", metavar="NAME")
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `status`."""
    prefix = prefix_of(args)
    status = observe(prefix, args.name)
    print_result(args, to_json(status), render(status))
    return status.exit_code


def observe(prefix: Prefix, name: str | None) -> BoxStatus:
    """The status of one service, or of all."""
    names = (choose_service(prefix, name),) if name else prefix.services()

    def ask(service: str) -> Mapping[str, Any] | None:
        try:
            return control.ask(prefix.control(service), "status")
        except NotServing:
            return None

    services = tuple(
        observe_service(found, installed_releases(prefix, found), active_release(prefix, found), ask)
        for found in names
    )
    free = shutil.disk_usage(_existing(prefix.root)).free
    return BoxStatus(str(prefix.root), socket.gethostname(), services, free, time.time())


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
