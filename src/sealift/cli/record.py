"""`sealift _record TREE`: record the goldens of an assembled release; run in its own interpreter."""

from __future__ import annotations

import argparse
from pathlib import Path

from sealift.check.record import record_service
from sealift.model.service import Service
from sealift.model.service_json import load_models


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `_record`."""
    parser.add_argument("tree", type=Path)
    parser.add_argument("--payloads", type=Path)


def run(args: argparse.Namespace) -> int:
    """Write `application/goldens`; prints one note a line."""
    application = args.tree / "application"
    models = load_models((application / "service.json").read_bytes(), application)
    service = Service("packing", "0", models)
    for note in record_service(service, args.payloads, application / "goldens"):
        print(note)
    return 0
