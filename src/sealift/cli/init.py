"""`sealift init DIR --model F`: start a project from a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from sealift.cli.options import add_common
from sealift.cli.screen import print_result
from sealift.project.scaffold import init_project


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `init`."""
    add_common(
        parser,
        "Start a project: copies the model, reads its inputs and outputs, writes a commented sealift.toml.",
        "  sealift init fraud --model fraud.onnx\n"
        "  sealift init photos --model net.onnx --template image\n"
        "  sealift init later --template tabular      (put model.onnx there yourself)",
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--model", type=Path, metavar="F", help="an ONNX file; its external data comes along")
    parser.add_argument(
        "--template", choices=["image", "tabular", "tensor"], help="default: what the model looks like"
    )
    parser.add_argument("--name", help="the service's name (default: the folder's)")


def run(args: argparse.Namespace) -> int:
    """Run `init`."""
    files = init_project(args.directory, model=args.model, template=args.template, name=args.name)
    shown = "\n".join(f"  {path}" for path in files)
    text = f"wrote\n{shown}\n  next: sealift serve {args.directory}/   or   sealift keys init keys"
    print_result(args, {"files": [str(path) for path in files]}, text)
    return 0
