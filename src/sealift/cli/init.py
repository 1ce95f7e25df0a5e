"""`sealift init DIR --model F | --from PATH`: start a project from a model, or from a service that runs today."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sealift.cli.options import add_common
from sealift.cli.screen import print_result
from sealift.errors import UsageError
from sealift.project.scaffold import init_project


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `init`."""
    add_common(
        parser,
        "Start a project: copies the model, reads its inputs and outputs, writes a commented sealift.toml. With --from "
        "it takes over a service of today: a Flask script, a TorchServe archive, a Triton model repository or an "
        "MLflow model. That is read and never run; what was understood and what to check is printed.",
        "  sealift init fraud --model fraud.onnx\n"
        "  sealift init photos --model net.onnx --template image\n"
        "  sealift init later --template tabular      (put model.onnx there yourself)\n"
        "  sealift init marks --model weights.safetensors --architecture net.py:Net\n"
        "  sealift init photos --from service.py\n"
        "  sealift init photos --from resnet.mar --name photos",
    )
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--model", type=Path, metavar="F", help="the model; its data files come along")
    parser.add_argument(
        "--architecture", metavar="FILE.py:NAME", help="what builds the module, where F is weights alone"
    )
    parser.add_argument(
        "--from",
        type=Path,
        metavar="PATH",
        dest="source",
        help="an old service: its script, archive or folder",
    )
    parser.add_argument(
        "--template", choices=["image", "tabular", "tensor"], help="default: what the model looks like"
    )
    parser.add_argument("--name", help="the service's name (default: the folder's)")


def run(args: argparse.Namespace) -> int:
    """Run `init`."""
    if args.source is not None:
        return _take_over(args)
    files = init_project(
        args.directory,
        model=args.model,
        architecture=args.architecture,
        template=args.template,
        name=args.name,
    )
    first = "optimize" if args.architecture else "serve"
    text = f"{_wrote(files)}\n  next: sealift {first} {args.directory}/   or   sealift keys init keys"
    print_result(args, {"files": [str(path) for path in files]}, text)
    return 0


def _take_over(args: argparse.Namespace) -> int:
    from sealift.migrate.take_over import take_over

    given = [
        flag
        for flag, value in (
            ("--model", args.model),
            ("--architecture", args.architecture),
            ("--template", args.template),
        )
        if value is not None
    ]
    if given:
        raise UsageError(f"--from reads the model and its inputs itself; leave {' and '.join(given)} out")
    taken = take_over(args.directory, args.source, name=args.name)
    draft = taken.draft
    result = {
        "files": [str(path) for path in taken.files],
        "kind": draft.kind,
        "understood": list(draft.understood),
        "check": list(draft.check),
    }
    told = [f"understood, from {draft.kind}", *(f"  {text}" for text in draft.understood)]
    told += ["check this", *(f"  {text}" for text in draft.check)] if draft.check else []
    next_step = f"  next: sealift predict INPUT... --project {args.directory}/ --against http://HOST:PORT"
    print_result(args, result, "\n".join([*told, _wrote(taken.files), next_step]))
    return 0


def _wrote(files: Sequence[Path]) -> str:
    return "\n".join(["wrote", *(f"  {path}" for path in files)])
