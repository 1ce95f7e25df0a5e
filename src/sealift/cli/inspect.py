"""`sealift inspect`: what a bundle holds, and who signed it; changes nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sealift import canonical
from sealift.bundle.read import UnverifiedBundle, VerifiedBundle, read_object
from sealift.cli.opening import open_to_look
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import megabytes, print_result, table
from sealift.errors import MalformedBundle

SBOM, SERVICE = "sbom.cdx.json", "service.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `inspect`."""
    add_common(
        parser,
        "Show what a bundle holds: identity, signers, layers, every package with version and licence, the "
        "models with their inputs and outputs. Reads only; says NOT VERIFIED until a trusted root vouches.",
        "  sealift inspect /media/usb\n"
        "  sealift inspect /media/usb --trust root.json\n"
        "  sealift inspect bundle/ --sbom bill.cdx.json",
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--trust", type=Path, metavar="ROOT.json")
    parser.add_argument(
        "--sbom", type=Path, metavar="F", help="also write the bill of materials (CycloneDX) there"
    )
    add_prefix(parser)


def run(args: argparse.Namespace) -> int:
    """Run `inspect`."""
    bundle, verified = open_to_look(args.bundle, args.trust, prefix_of(args))
    bill = _application_json(bundle, SBOM)
    if args.sbom is not None:
        args.sbom.write_bytes(_application_file(bundle, SBOM))
    facts = describe(bundle, verified, bill)
    print_result(args, facts, render(facts))
    return 0


def describe(
    bundle: UnverifiedBundle, verified: VerifiedBundle | None, bill: dict[str, Any]
) -> dict[str, Any]:
    """Everything the page shows, as JSON."""
    release = bundle.release
    return {
        "checks": dict(release.checks),
        "created": release.created,
        "identity": bundle.identity,
        "layers": {
            name: {"files": ref.files, "manifest": ref.manifest, "size": ref.size}
            for name, ref in release.layers.items()
        },
        "models": _models(bundle),
        "name": release.product,
        "packages": _packages(bill),
        "seq": release.seq,
        "signed_by": [signature.key_id for signature in bundle.signatures],
        "target": dict(release.target),
        "verified_by": list(verified.signers) if verified else [],
        "version": release.version,
    }


def render(facts: dict[str, Any]) -> str:
    """One page of text; the first line says whether anybody vouches."""
    lines = [_first_line(facts), f"  created {facts['created']}   sequence {facts['seq']}"]
    lines.append(f"  for {_target(facts['target'])}")
    signers = [canonical.short(key) for key in facts["signed_by"]] or ["nobody"]
    lines.append(f"  signed by {', '.join(signers)}")
    lines += ["", "layers", _indented(table(_layer_rows(facts), right=(1, 2)))]
    for model in facts["models"]:
        lines += [
            "",
            f"model {model['name']}  {canonical.short(model['sha256'])}  {megabytes(model['size'])}",
        ]
        lines += [f"  input   {_tensor(spec)}" for spec in model["inputs"]]
        lines += [f"  output  {_tensor(spec)}" for spec in model["outputs"]]
    lines += [
        "",
        "checks",
        *(f"  {name}: {_shown(value)}" for name, value in sorted(facts["checks"].items())),
    ]
    rows = [(item["name"], item["version"], item["licence"], item["layer"]) for item in facts["packages"]]
    lines += ["", f"packages ({len(rows)})", _indented(table(rows))]
    return "\n".join(lines)


def _first_line(facts: dict[str, Any]) -> str:
    state = "VERIFIED" if facts["verified_by"] else "NOT VERIFIED"
    return f"{state}  {facts['name']} {facts['version']}  sha256:{facts['identity']}"


def _target(target: dict[str, Any]) -> str:
    interpreter = target.get("interpreter")
    return (
        f"{target.get('platform')}, glibc {target.get('glibc')} or newer, "
        f"{target.get('implementation')} {target.get('python')} ({interpreter} interpreter)"
    )


def _layer_rows(facts: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, f"{layer['files']} files", megabytes(layer["size"]), canonical.short(layer["manifest"]))
        for name, layer in facts["layers"].items()
    ]


def _tensor(spec: dict[str, Any]) -> str:
    shape = spec["shape"]
    text = "any shape" if shape is None else f"[{', '.join(str(axis) for axis in shape)}]"
    return f"{spec['name']}  {spec['datatype']}  {text}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(str(item) for item in value) or "none"
    return str(value)


def _models(bundle: UnverifiedBundle) -> list[dict[str, Any]]:
    manifest = bundle.manifests["application"]
    found = []
    for model in _application_json(bundle, SERVICE)["models"]:
        entry = manifest[model["path"]]
        signature = model["signature"]
        found.append(
            {
                "inputs": signature["inputs"],
                "name": model["name"],
                "outputs": signature["outputs"],
                "sha256": entry.sha256,
                "size": entry.size,
            }
        )
    return found


def _packages(bill: dict[str, Any]) -> list[dict[str, str]]:
    found = []
    for component in bill.get("components", []):
        if component["type"] == "machine-learning-model":
            continue
        properties = {item["name"]: item["value"] for item in component.get("properties", [])}
        found.append(
            {
                "layer": properties.get("sealift:layer", ""),
                "licence": _licence(component.get("licenses", [])),
                "name": component["name"],
                "version": component.get("version", ""),
            }
        )
    return sorted(found, key=lambda item: (item["layer"], item["name"]))


def _licence(entries: list[dict[str, Any]]) -> str:
    names = [
        entry.get("expression") or entry["license"].get("id") or entry["license"].get("name", "?")
        for entry in entries
    ]
    return " AND ".join(names) or "not stated"


def _application_json(bundle: UnverifiedBundle, name: str) -> dict[str, Any]:
    try:
        value = json.loads(_application_file(bundle, name))
    except ValueError as error:
        raise MalformedBundle(f"application/{name} is not JSON") from error
    if not isinstance(value, dict):
        raise MalformedBundle(f"application/{name} is not an object")
    return value


def _application_file(bundle: UnverifiedBundle, name: str) -> bytes:
    entry = bundle.manifests["application"].get(name)
    if entry is None:
        raise MalformedBundle(f"application/{name} is missing from the release")
    return read_object(bundle, entry.sha256)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
