"""`sealift config show|set|diff`: the settings of one service that belong to this box."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealift.cli.opening import open_to_look
from sealift.cli.options import add_common, add_prefix, prefix_of
from sealift.cli.screen import print_result, table
from sealift.cli.site_changes import Change, apply_changes, read_changes
from sealift.errors import BadSettings, NotServing, UsageError
from sealift.inspect.contents import Contents
from sealift.inspect.visible import visible
from sealift.ledger.log import require_writable
from sealift.model.schema import leaves
from sealift.model.setting import Setting, in_words
from sealift.model.settings import (
    FILE_NAME,
    Schema,
    Settings,
    Source,
    decode_schema,
    parsed,
    schema_of,
    settings_of,
)
from sealift.serve import control
from sealift.store.lock import exclusive
from sealift.store.objects import store_of
from sealift.store.prefix import Prefix, choose_service
from sealift.store.releases import InstalledRelease, active_release
from sealift.store.site import read_site

_FROM = {Source.DEFAULT: "sealift's default", Source.RELEASE: "the release", Source.SITE: "this box"}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `config`."""
    add_common(
        parser,
        "What this box sets for a service: address, port, threads, devices, threshold, limits, the watch of a new "
        "release. It stands in a site file that is kept over updates. set holds new values against what the active "
        "release permits before it writes anything, asks a running service to take them up without a pause, and "
        "puts the old ones back if that fails (exit code 60). Exit code 33: a value is not permitted.",
        "  sealift config show\n"
        "  sudo sealift config set fraud threads=2 threshold=0.8\n"
        "  sudo sealift config set fraud device=cuda,cpu\n"
        "  sudo sealift config set fraud threads=              (back to what the release says)\n"
        "  sealift config diff                                 (what this box sets otherwise)\n"
        "  sealift config diff --against /media/usb            (would that release take these settings?)",
    )
    parser.add_argument("action", choices=["show", "set", "diff"])
    parser.add_argument("words", nargs="*", metavar="NAME|KEY=VALUE", help="the service; set: what to set")
    parser.add_argument("--against", type=Path, metavar="BUNDLE", help="diff: a bundle that may come")
    add_prefix(parser)


@dataclass(frozen=True, slots=True)
class _Service:
    """One service of this box: its active release and what that permits."""

    prefix: Prefix
    release: InstalledRelease
    schema: Schema

    @property
    def name(self) -> str:
        return self.release.name

    @property
    def file(self) -> Path:
        return self.prefix.site(self.name)

    @property
    def title(self) -> str:
        return (
            f"{self.name} {self.release.version}, {self.file}{'' if self.file.exists() else ' (not there)'}"
        )


def run(args: argparse.Namespace) -> int:
    """Run `config`."""
    prefix = prefix_of(args)
    if args.against is not None and args.action != "diff":
        raise UsageError("--against BUNDLE belongs to config diff")
    name, pairs = _split(args.words)
    if bool(pairs) != (args.action == "set"):
        raise UsageError(
            "config set needs KEY=VALUE, show and diff take none",
            next_step="sealift config set fraud threads=2; sealift config show lists the keys",
        )
    release = active_release(prefix, choose_service(prefix, name))
    service = _Service(prefix, release, schema_of(release.tree))
    if args.action == "set":
        return _set(args, service, pairs)
    return _show(args, service) if args.action == "show" else _diff(args, service)


def _split(words: Sequence[str]) -> tuple[str | None, tuple[str, ...]]:
    """The service's name, if the first word is one, and the assignments."""
    name = words[0] if words and "=" not in words[0] else None
    pairs = tuple(words[1:] if name is not None else words)
    wrong = [word for word in pairs if "=" not in word]
    if wrong:
        raise UsageError(f"{wrong[0]!r}: expected KEY=VALUE", next_step="sealift config set fraud threads=2")
    return name, pairs


# ------------------------------------------------------------------ show


def _show(args: argparse.Namespace, service: _Service) -> int:
    settings = settings_of(service.schema, read_site(service.prefix, service.name), environ=os.environ)
    listening = _listening(service)
    rows = [("  name", "value", "from", "permitted")]
    rows += [
        (f"  {name}", in_words(settings.values[name]), settings.sources[name].value, visible(each.permitted))
        for name, each in service.schema.settings.items()
    ]
    result = {
        "file": str(service.file),
        "listening": listening,
        "name": service.name,
        "settings": {name: _facts(each, settings) for name, each in service.schema.settings.items()},
        "version": service.release.version,
    }
    lines = [service.title, table(rows)]
    if listening is not None and listening["port"] != settings.port:
        lines.append(
            f"  it listens on {listening['host']}:{listening['port']}: a flag of serve, or a restart is still to come"
        )
    print_result(args, result, "\n".join(lines))
    return 0


def _facts(setting: Setting, settings: Settings) -> dict[str, Any]:
    return {
        "about": setting.about,
        "choices": list(setting.choices),
        "default": setting.default,
        "from": settings.sources[setting.name].value,
        "kind": setting.kind.value,
        "maximum": setting.maximum,
        "minimum": setting.minimum,
        "value": settings.values[setting.name],
    }


def _listening(service: _Service) -> dict[str, Any] | None:
    """Where the running service listens, which a flag of `serve` or a pending restart may have made another place."""
    try:
        answer = control.ask(service.prefix.control(service.name), "status")
    except NotServing:
        return None
    return {"host": answer.get("host"), "port": answer.get("port")}


# ------------------------------------------------------------------ set


def _set(args: argparse.Namespace, service: _Service, pairs: Sequence[str]) -> int:
    require_writable(service.prefix.ledger)
    with exclusive(service.prefix, "config set"):
        site = read_site(service.prefix, service.name)
        changes = read_changes(service.schema, site, pairs)
        if not changes:
            print_result(args, _result(service, (), ()), f"{service.title}: nothing to do")
            return 0
        notes = apply_changes(service.prefix, service.release, site, changes)
    lines = [service.title, *(f"  {change.words}" for change in changes), *(f"  {note}" for note in notes)]
    print_result(args, _result(service, changes, notes), "\n".join(lines))
    return 0


def _result(service: _Service, changes: Sequence[Change], notes: Sequence[str]) -> dict[str, Any]:
    return {
        "changes": [
            {"after": change.after, "before": change.before, "name": change.name} for change in changes
        ],
        "file": str(service.file),
        "name": service.name,
        "notes": list(notes),
        "outcome": "changed" if changes else "nothing to do",
    }


# ------------------------------------------------------------------ diff


def _diff(args: argparse.Namespace, service: _Service) -> int:
    site = read_site(service.prefix, service.name)
    if args.against is not None:
        return _against(args, service, parsed(site).table)
    settings = settings_of(service.schema, site)
    rows = [
        (f"  {name}", in_words(settings.values[name]), f"{_FROM[_source(each)]}: {in_words(each.default)}")
        for name, each in service.schema.settings.items()
        if settings.sources[name] is Source.SITE
    ]
    result = {
        "differences": {
            name: {"default": each.default, "value": settings.values[name]}
            for name, each in service.schema.settings.items()
            if settings.sources[name] is Source.SITE
        },
        "file": str(service.file),
        "name": service.name,
    }
    print_result(
        args, result, f"{service.title}\n{table(rows) or '  nothing is set; all is as the release says'}"
    )
    return 0


def _source(setting: Setting) -> Source:
    return Source.RELEASE if setting.declared else Source.DEFAULT


def _against(args: argparse.Namespace, service: _Service, site: Mapping[str, Any]) -> int:
    """Print what another release would say to this box's settings. Returns: 33 if it would refuse them."""
    bundle = open_to_look(args.against, None, service.prefix).bundle
    if bundle.release.product != service.name:
        raise UsageError(
            f"{args.against} is a bundle of {visible(bundle.release.product)}, not of {service.name}"
        )
    contents = Contents(bundle, lambda entry: _stored(service.prefix, entry.sha256))
    data = contents.read(FILE_NAME)
    if data is None and contents.entry(FILE_NAME) is not None:
        raise UsageError(f"{args.against}: {FILE_NAME} neither travels in it nor is on this box")
    theirs = decode_schema(data)
    problems = [visible(problem) for problem in theirs.problems(site)]
    moved = [visible(line, 400) for line in _moved(service.schema, theirs, dict(leaves(site)))]
    version = visible(bundle.release.version)
    lines = [f"{service.title}, against {version}"]
    lines += [f"  refused: {problem}" for problem in problems] or [f"  {version} takes what this box sets"]
    lines += [f"  {line}" for line in moved]
    if problems:
        lines.append(
            f"  next: sealift config set {service.name} KEY=VALUE, before the install; KEY= takes one back"
        )
    result = {"against": version, "changes": moved, "name": service.name, "refused": problems}
    print_result(args, result, "\n".join(lines))
    return BadSettings.exit_code if problems else 0


def _stored(prefix: Prefix, sha256: str) -> bytes | None:
    path = store_of(prefix).base(sha256)
    return path.read_bytes() if path is not None else None


def _moved(ours: Schema, theirs: Schema, site: Mapping[str, Any]) -> Iterator[str]:
    """What else would be different: ranges, and defaults of what this box leaves alone."""
    for name, each in theirs.settings.items():
        before = ours.settings.get(name)
        if before is None:
            yield f"{name} is new: {in_words(each.default)}, {each.permitted}"
            continue
        if before.default != each.default and name not in site:
            yield f"{name} would be {in_words(each.default)}, now {in_words(before.default)}"
        if before.permitted != each.permitted:
            yield f"{name}: permitted would be {each.permitted}, now {before.permitted}"
    yield from (f"{name} would be gone" for name in ours.settings if name not in theirs.settings)
