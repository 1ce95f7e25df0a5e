"""What a box may set and what it has set: settings.json and site file -> Schema -> Settings (standard library only).

The schema travels in the release (`application/settings.json`), so that a box's settings are judged by the
release that will run with them, before it is staged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from sealift.errors import MalformedBundle, StoreError
from sealift.model.schema import Schema, Settings, Source, refusal
from sealift.model.setting import Kind, Setting, Value
from sealift.model.toml_text import NotToml, TomlText, read_toml

__all__ = [
    "FILE_NAME",
    "Schema",
    "Settings",
    "Source",
    "decode_schema",
    "encode_schema",
    "parsed",
    "schema_in_bundle",
    "schema_of",
    "settings_of",
]

FORMAT: Final = "sealift-settings/1"
FILE_NAME: Final = "settings.json"
PLACE: Final = f"application/{FILE_NAME}"
"""Where it lies in a release; one without it lets a box set what sealift itself does."""

_KEYS: Final = {"kind", "default", "about", "minimum", "maximum", "choices", "declared"}


class SiteText(Protocol):
    """A site file as it was read; no bytes where there is none."""

    @property
    def path(self) -> Path:
        """Where it stands."""
        ...

    @property
    def data(self) -> bytes:
        """All of it."""
        ...


class Listed(Protocol):
    """A file of a bundle, by its digest."""

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        ...


class Listing(Protocol):
    """A bundle, as far as the schema is sought in it."""

    def files(self) -> Iterable[tuple[str, Listed]]:
        """(`layer/path`, entry) of every file."""
        ...


def encode_schema(schema: Schema, slo: Mapping[str, Any], limits: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with sorted keys and a final newline; equal schemas give equal bytes.

    Args:
        slo, limits: what the project file promises, for whoever reads the file; None is left out.
    """
    document = {
        "format": FORMAT,
        "limits": {name: value for name, value in limits.items() if value is not None},
        "settings": {name: _to_json(setting) for name, setting in schema.settings.items()},
        "slo": {name: value for name, value in slo.items() if value is not None},
    }
    return json.dumps(document, sort_keys=True, indent=1, allow_nan=False).encode() + b"\n"


def decode_schema(data: bytes | None) -> Schema:
    """The schema; None: the one of a release that says nothing. A setting that it leaves out is sealift's own.

    Raises: MalformedBundle: not this format, or an entry that is none.
    """
    if data is None:
        return Schema()
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise MalformedBundle(
                f"{PLACE} has format {document['format']!r}, this sealift reads {FORMAT!r}",
                next_step="use the sealift that the release brings, or a newer one",
            )
        found = {name: _from_json(name, entry) for name, entry in document["settings"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MalformedBundle(f"{PLACE} is not readable: {error!r}") from error
    return Schema({**Schema().settings, **found})


def schema_of(tree: Path) -> Schema:
    """The schema of a release's tree. Raises: MalformedBundle, StoreError: it is damaged."""
    try:
        return decode_schema((tree / PLACE).read_bytes())
    except FileNotFoundError:
        return Schema()
    except OSError as error:
        raise StoreError(f"{tree / PLACE}: {error.strerror}") from error


def schema_in_bundle(bundle: Listing, read: Callable[[str], bytes | None]) -> Schema:
    """The schema of a release that is not staged yet.

    Args:
        read: the bytes of an object by its digest, from the bundle or from this box; None: at neither.
    Raises: MalformedBundle: not readable. StoreError: the object is not at hand.
    """
    digest = next((entry.sha256 for path, entry in bundle.files() if path == PLACE), None)
    if digest is None:
        return Schema()
    data = read(digest)
    if data is None:
        raise StoreError(
            f"{PLACE} neither travels in this bundle nor is on this box", next_step="carry the full bundle"
        )
    return decode_schema(data)


def settings_of(
    schema: Schema,
    site: Mapping[str, Any] | SiteText,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Value] | None = None,
) -> Settings:
    """The settings of a box under a release's schema.

    Args:
        site: what `store.site.read_site` gives, or the tables of such a file.
        environ, flags: as for `Schema.resolve`.
    Raises: BadSettings: not TOML, unknown or not permitted; all problems with their lines.
    """
    if isinstance(site, Mapping):
        return schema.resolve(site, environ=environ, flags=flags)
    toml = parsed(site)
    return schema.resolve(toml.table, environ=environ, flags=flags, where=str(site.path), lines=toml.lines)


def parsed(site: SiteText) -> TomlText:
    """The tables of a site file. Raises: BadSettings: it is not TOML; says the line."""
    try:
        return read_toml(site.data)
    except NotToml as error:
        raise refusal(str(site.path), [str(error)]) from error


def _to_json(setting: Setting) -> dict[str, Any]:
    entry = {
        "about": setting.about,
        "choices": list(setting.choices),
        "declared": setting.declared,
        "default": list(setting.default) if isinstance(setting.default, tuple) else setting.default,
        "kind": setting.kind.value,
        "maximum": setting.maximum,
        "minimum": setting.minimum,
    }
    return {
        key: value for key, value in entry.items() if not (value is None or value is False or value == [])
    }


def _from_json(name: str, entry: Mapping[str, Any]) -> Setting:
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        raise ValueError(f"{name}: unknown keys {', '.join(unknown)}")
    own = Schema().settings.get(name)
    if own is not None and own.kind is not Kind(entry["kind"]):
        raise ValueError(f"{name}: expected kind {own.kind.value}")
    choices, declared = entry.get("choices", []), entry.get("declared", False)
    if not isinstance(entry["about"], str) or not isinstance(declared, bool) or not isinstance(choices, list):
        raise ValueError(f"{name}: about, choices or declared of another type")
    setting = Setting(
        name=name,
        kind=Kind(entry["kind"]),
        default=None,
        about=entry["about"],
        minimum=_bound(name, entry.get("minimum")),
        maximum=_bound(name, entry.get("maximum")),
        choices=tuple(map(str, choices)),
        declared=declared,
    )
    return _with_default(setting, entry.get("default"))


def _bound(name: str, value: object) -> float | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{name}: a bound is no number")
    return value


def _with_default(setting: Setting, default: Any) -> Setting:
    if default is None:
        return setting
    problem = setting.problem_with(default)
    if problem:
        raise ValueError(f"{setting.name}: default: {problem}")
    return setting.with_default(setting.typed(default), declared=setting.declared)
