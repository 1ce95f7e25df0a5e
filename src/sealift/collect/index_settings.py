"""uv's settings for where packages come from -> arguments for pip, which reads its own by itself."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from sealift.collect.wheel import normalised
from sealift.errors import UsageError

_TRUE = ("1", "true", "yes", "on", "y", "t")


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """`arguments` may hold passwords: they go to pip in a file, and nowhere else. `told_by` names what said so."""

    arguments: tuple[str, ...] = ()
    told_by: tuple[str, ...] = ()


@dataclass(slots=True)
class _Places:
    """What was found so far, the strongest source first. `default` and `indexes` are (name, URL)."""

    default: tuple[str, str] | None = None
    indexes: list[tuple[str, str]] = field(default_factory=list)
    explicit: dict[str, str] = field(default_factory=dict)
    pinned: dict[str, str] = field(default_factory=dict)
    find_links: list[str] = field(default_factory=list)
    trusted: list[str] = field(default_factory=list)
    no_index: bool = False
    told_by: list[str] = field(default_factory=list)


def index_settings(project: Path, environ: Mapping[str, str] | None = None) -> IndexSettings:
    """Where uv would look for the packages of the project in this folder.

    The environment (`UV_DEFAULT_INDEX`, `UV_INDEX`, `UV_FIND_LINKS` ...) comes before `uv.toml` or `[tool.uv]` of the
    nearest `pyproject.toml`, and these before the user's own uv.toml. An index that is `explicit` is asked only for
    the packages that `[tool.uv.sources]` gives it. What uv calls the order of indexes has no meaning: pip takes the
    best version of all of them.

    Source: https://docs.astral.sh/uv/reference/settings/ and .../reference/environment/
    Raises: UsageError: a file of these is not readable.
    """
    environ = os.environ if environ is None else environ
    places = _Places()
    _from_environment(environ, places)
    for file in _files(project.resolve(), environ):
        _from_file(file, places)
    return IndexSettings(tuple(_arguments(places, environ)), tuple(places.told_by))


def _arguments(places: _Places, environ: Mapping[str, str]) -> Iterator[str]:
    if places.no_index:
        yield "--no-index"
    if places.default is not None:
        yield from ("--index-url", _with_credentials(*places.default, environ))
    for name, url in dict.fromkeys(places.indexes):
        yield from ("--extra-index-url", _with_credentials(name, url, environ))
    for package, name in places.pinned.items():
        if name in places.explicit:
            # The page of one package, by its address: pip reads its links like any folder's.
            url = _with_credentials(name, places.explicit[name], environ)
            yield from ("--find-links", f"{url.rstrip('/')}/{package}/")
    for link in dict.fromkeys(places.find_links):
        yield from ("--find-links", link)
    for host in dict.fromkeys(places.trusted):
        yield from ("--trusted-host", host)


def _from_environment(environ: Mapping[str, str], places: _Places) -> None:
    here = Path.cwd()
    told = {name: value for name in _NAMES if (value := environ.get(name, "").strip())}
    default = told.get("UV_DEFAULT_INDEX") or told.get("UV_INDEX_URL")
    if default:
        places.default = _named(default, here)
    for entry in told.get("UV_INDEX", "").split():
        places.indexes.append(_named(entry, here))
    places.indexes += [("", _address(url, here)) for url in told.get("UV_EXTRA_INDEX_URL", "").split()]
    places.find_links += [
        _link(place, here) for place in re.split(r"[,\s]+", told.get("UV_FIND_LINKS", "")) if place
    ]
    places.trusted += told.get("UV_INSECURE_HOST", "").split()
    places.no_index = told.get("UV_NO_INDEX", "").lower() in _TRUE
    places.told_by += told


_NAMES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
    "UV_INSECURE_HOST",
)


def _named(entry: str, base: Path) -> tuple[str, str]:
    """`internal=https://...` -> its name and address; the name may be missing."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)=(.+)", entry)
    return (match[1], _address(match[2], base)) if match else ("", _address(entry, base))


def _files(project: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """The files that uv reads for a project, the strongest first."""
    if environ.get("UV_NO_CONFIG", "").lower() in _TRUE:
        return
    if chosen := environ.get("UV_CONFIG_FILE"):
        yield Path(chosen)
        return
    if nearest := next(filter(None, map(_of_folder, (project, *project.parents))), None):
        yield nearest
    home = Path(environ.get("HOME", "/nonexistent"))
    own = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    yield from (path for path in (own / "uv" / "uv.toml", Path("/etc/uv/uv.toml")) if path.is_file())


def _of_folder(folder: Path) -> Path | None:
    """uv.toml, or a pyproject.toml that speaks of uv."""
    if (folder / "uv.toml").is_file():
        return folder / "uv.toml"
    project = folder / "pyproject.toml"
    return (
        project if project.is_file() and "tool" in (told := _read(project)) and "uv" in told["tool"] else None
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"{file}, which may say where packages come from, cannot be read: {error}"
        ) from error


def _from_file(file: Path, places: _Places) -> None:
    document = _read(file)
    told = document if file.name != "pyproject.toml" else document["tool"]["uv"]
    before = _state(places)
    for table in (told.get("pip", {}), told):
        _from_table(table, file.parent, places)
    for package, source in told.get("sources", {}).items():
        for entry in source if isinstance(source, list) else [source]:
            if isinstance(entry, dict) and isinstance(entry.get("index"), str):
                places.pinned.setdefault(normalised(package), entry["index"])
    if _state(places) != before:
        places.told_by.append(str(file))


def _state(places: _Places) -> tuple[object, ...]:
    counted = (places.indexes, places.explicit, places.pinned, places.find_links, places.trusted)
    return (places.default, places.no_index, *map(len, counted))


def _from_table(table: Mapping[str, Any], base: Path, places: _Places) -> None:
    for entry in _dicts(table.get("index")):
        name, url = str(entry.get("name", "")), _address(str(entry.get("url", "")), base)
        if entry.get("default") is True:
            places.default = places.default or (name, url)
        elif entry.get("explicit") is True:
            places.explicit.setdefault(name, url)
        else:
            places.indexes.append((name, url))
    if isinstance(table.get("index-url"), str):
        places.default = places.default or ("", _address(table["index-url"], base))
    places.indexes += [("", _address(url, base)) for url in _strings(table.get("extra-index-url"))]
    places.find_links += [_link(place, base) for place in _strings(table.get("find-links"))]
    places.trusted += _strings(table.get("allow-insecure-host"))
    places.no_index = places.no_index or table.get("no-index") is True


def _dicts(value: object) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _strings(value: object) -> list[str]:
    return [entry for entry in value if isinstance(entry, str)] if isinstance(value, list) else []


def _address(text: str, base: Path) -> str:
    """An address as it is; a path, which counts from the file that names it, as one."""
    return text if "://" in text else (base / text).resolve().as_uri()


def _link(text: str, base: Path) -> str:
    return text if "://" in text else str((base / text).resolve())


def _with_credentials(name: str, url: str, environ: Mapping[str, str]) -> str:
    """`url` with `UV_INDEX_NAME_USERNAME` and `UV_INDEX_NAME_PASSWORD`, where they are set and it has none."""
    key = re.sub(r"[^A-Z0-9]", "_", name.upper())
    user, password = (environ.get(f"UV_INDEX_{key}_{what}", "") for what in ("USERNAME", "PASSWORD"))
    parts = urlsplit(url)
    if not name or not (user or password) or "@" in parts.netloc:
        return url
    secret = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit(parts._replace(netloc=f"{secret}@{parts.netloc}"))
