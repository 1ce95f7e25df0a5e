"""Schema: what a release lets a box set; with what the box has set it gives Settings (standard library only).

Order of precedence: flag, environment, site file, release, sealift's own default (DESIGN 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, cast

from sealift.errors import BadSettings, UsageError
from sealift.model.positions import KeyPath, line_of
from sealift.model.setting import Kind, Setting, Value
from sealift.model.words import listed, named, nearest, shown

ADVICE: Final = "correct them in the file, or: sealift config set NAME KEY=VALUE (KEY= takes a setting back)"

DEFAULTS: Final = (
    Setting("host", Kind.ADDRESS, "127.0.0.1", "address to listen on"),
    Setting("port", Kind.INTEGER, 8000, "port to listen on", 1, 65535),
    Setting("grpc_port", Kind.INTEGER, None, "port to listen on for gRPC; none or 0: gRPC is off", 0, 65535),
    Setting("threads", Kind.INTEGER, 0, "threads of one run of a model; 0: one per core", 0, 1024),
    Setting("device", Kind.DEVICES, None, "devices, tried strictly in this order; none: as each model says"),
    Setting("drain_s", Kind.NUMBER, 30.0, "seconds to finish what is in flight", 0, 3600),
    Setting("tls.certificate", Kind.PATH, None, "certificate chain in PEM form; none: plain HTTP"),
    Setting("tls.key", Kind.PATH, None, "its private key in PEM form; none: plain HTTP"),
    Setting("slo.latency_p99_ms", Kind.NUMBER, None, "99 of 100 answers within; none: only measured", 0.001),
    Setting("limits.max_memory_mb", Kind.NUMBER, None, "memory of a worker in 10^6 bytes; none: any", 1),
    Setting("watch.window_s", Kind.NUMBER, 600.0, "seconds that a new release is watched", 1, 86_400),
    Setting("watch.requests", Kind.INTEGER, 200, "requests that it must answer meanwhile", 1, 10**6),
    Setting("watch.quiet_s", Kind.NUMBER, 86_400.0, "seconds of watch where requests lack", 1, 604_800),
    Setting("watch.canary_s", Kind.NUMBER, 10.0, "seconds between golden inputs while watched", 0.1, 3600),
)
"""What every release lets a box set, unless it narrows it. A threshold is offered only where a model has one."""

THRESHOLD: Final = Setting("threshold", Kind.NUMBER, 0.5, "where the positive answer begins")

BATCHING: Final = (
    Setting(
        "batch_max",
        Kind.INTEGER,
        None,
        "rows of several requests in one run; none: as the check measured",
        1,
        32,
    ),
    Setting(
        "batch_wait_ms", Kind.NUMBER, 0.0, "how long a run that could begin waits for more rows", 0, 1000
    ),
)
"""Offered for each model, as `models.NAME.batch_max` where there are several."""


class Source(Enum):
    """Where a value comes from, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    SITE = "site"
    RELEASE = "release"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """`slo.*`: None where nothing is promised."""

    latency_p99_ms: float | None


@dataclass(frozen=True, slots=True)
class MemoryLimits:
    """`limits.*`: 10^6 bytes, None where there is no limit."""

    max_memory_mb: float | None


@dataclass(frozen=True, slots=True)
class Watch:
    """`watch.*`: how a new release is watched before it is committed."""

    window_s: float
    requests: int
    quiet_s: float
    canary_s: float


@dataclass(frozen=True, slots=True)
class Tls:
    """`tls.*`: paths, None where the front speaks plain HTTP."""

    certificate: str | None
    key: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting of one service on one box: permitted, typed, with where it comes from.

    `device` is None where each model keeps its own. `values` and `sources` hold all by name.
    """

    values: Mapping[str, Value]
    sources: Mapping[str, Source]
    host: str
    port: int
    grpc_port: int | None
    threads: int
    device: tuple[str, ...] | None
    drain_s: float
    tls: Tls
    slo: ServiceLevel
    limits: MemoryLimits
    watch: Watch

    def threshold_of(self, model: str) -> float | None:
        """The threshold of a model; None: as it declares."""
        return cast("float | None", self._of(model, "threshold"))

    def batch_max_of(self, model: str) -> int | None:
        """The most rows of a run of a model; None: as the check measured."""
        return cast("int | None", self._of(model, "batch_max"))

    def batch_wait_s_of(self, model: str) -> float:
        """How long a run of a model waits for more rows, in seconds."""
        return cast("float", self._of(model, "batch_wait_ms") or 0.0) / 1000

    def _of(self, model: str, name: str) -> Value:
        return self.values.get(f"models.{model}.{name}", self.values.get(name))


@dataclass(frozen=True, slots=True)
class Schema:
    """What a release lets a box set, by name."""

    settings: Mapping[str, Setting] = field(default_factory=lambda: {each.name: each for each in DEFAULTS})

    def resolve(
        self,
        site: Mapping[str, Any],
        *,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, Value] | None = None,
        where: str = "the settings of this box",
        lines: Mapping[KeyPath, int] | None = None,
    ) -> Settings:
        """Every value, from the strongest that gives one.

        Args:
            site: the tables of the site file.
            environ: the environment, for SEALIFT_HOST, SEALIFT_PORT and SEALIFT_GRPC_PORT; None: not looked at.
            flags: typed by whoever parsed them; None among them is no flag. Flags and environment belong to whoever
                starts the service: a release does not narrow them.
            where, lines: name the file in the refusal, and the line of each key.
        Raises: BadSettings: all of the site file that is unknown or not permitted. UsageError: the environment.
        """
        problems = list(self.problems(site, lines))
        if problems:
            raise refusal(where, problems)
        chosen: dict[str, tuple[Value, Source]] = {
            name: (each.default, Source.RELEASE if each.declared else Source.DEFAULT)
            for name, each in self.settings.items()
        }
        chosen |= {name: (self.settings[name].typed(value), Source.SITE) for name, value in leaves(site)}
        chosen |= {
            name: (value, Source.ENVIRONMENT) for name, value in from_environment(environ or {}).items()
        }
        chosen |= {name: (value, Source.FLAG) for name, value in (flags or {}).items() if value is not None}
        return _settings(chosen)

    def problems(self, site: Mapping[str, Any], lines: Mapping[KeyPath, int] | None = None) -> Iterator[str]:
        """What of a site file this release refuses, in the order of the file where `lines` are given."""
        if lines is None:
            yield from (text for _, text in self._found(site, ()))
            return
        known = dict(lines)
        placed = [(line_of(known, path), text) for path, text in self._found(site, ())]
        yield from (f"line {line}: {text}" for line, text in sorted(placed, key=lambda entry: entry[0]))

    def _found(self, table: Mapping[str, Any], above: KeyPath) -> Iterator[tuple[KeyPath, str]]:
        for key, value in table.items():
            path = (*above, key)
            name = ".".join(map(str, path))
            setting = self.settings.get(name)
            if setting is not None and setting.path != path:
                yield path, f"{named(name)}: a dot inside of quotes is no table; write {name}"
            elif setting is not None:
                problem = setting.problem_with(value)
                if problem:
                    yield path, f"{name}: {problem}"
            elif not self._is_group(path):
                yield path, self._stranger(name)
            elif isinstance(value, dict):
                yield from self._found(value, path)
            else:
                yield path, f"{name}: expected a table, [{name}], got {shown(value)}"

    def _is_group(self, path: KeyPath) -> bool:
        """True for `watch`, `models` and `models.NAME`: a table that holds settings."""
        return any(
            each.path[: len(path)] == path and len(each.path) > len(path) for each in self.settings.values()
        )

    def _stranger(self, name: str) -> str:
        """`'thread' is not a setting; did you mean 'threads'?`."""
        if name.rpartition(".")[2] == THRESHOLD.name:
            return f"{named(name)} is not a setting of this release: {self._thresholds()}"
        homes = [known for known in self.settings if known.endswith(f".{name}")]
        if homes:
            return f"{named(name)} is not a setting; it is written {listed(homes, mark='')}"
        near = nearest_setting(name, self.settings)
        return f"{named(name)} is not a setting" + (f"; did you mean {named(near)}?" if near else "")

    def _thresholds(self) -> str:
        known = [name for name in self.settings if name.rpartition(".")[2] == THRESHOLD.name]
        return f"it has {listed(known, mark='')}" if known else "no model of it answers with a threshold"


def nearest_setting(name: str, known: Iterable[str]) -> str | None:
    """The setting that `name` is likely a slip of: in a table that there is, one of that table; or the model's."""
    group, _, last = name.rpartition(".")
    if group == "models":
        models = {
            other.removeprefix("models.").rpartition(".")[0] for other in known if other.startswith("models.")
        }
        near = nearest(last, models)
        return f"models.{near}" if near else None
    inside = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == group}
    if group and inside:
        near = nearest(last, inside)
        return inside[near] if near else None
    return nearest(name, known)


def leaves(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested tables, with its name: `watch.window_s`."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def refusal(where: str, problems: list[str]) -> BadSettings:
    """All problems of one box's settings."""
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return BadSettings(f"{where}: {count}", problems=problems, next_step=ADVICE)


def from_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    """What SEALIFT_HOST, SEALIFT_PORT and SEALIFT_GRPC_PORT set; an empty variable is none.

    Raises: UsageError: no such port.
    """
    found: dict[str, Value] = {}
    host = environ.get("SEALIFT_HOST")
    if host:
        found["host"] = host
    ports = {"port": environ.get("SEALIFT_PORT"), "grpc_port": environ.get("SEALIFT_GRPC_PORT")}
    for setting, port in ports.items():
        if port:
            if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) < 65536):
                raise UsageError(f"SEALIFT_{setting.upper()} is {port!r}, expected a number from 0 to 65535")
            found[setting] = int(port)
    return found


def _settings(chosen: Mapping[str, tuple[Value, Source]]) -> Settings:
    # The types are those of the catalogue: every value went through its setting's `typed`.
    values: dict[str, Any] = {name: value for name, (value, _) in chosen.items()}
    return Settings(
        values=values,
        sources={name: source for name, (_, source) in chosen.items()},
        host=values["host"],
        port=values["port"],
        grpc_port=values["grpc_port"] or None,
        threads=values["threads"],
        device=values["device"],
        drain_s=values["drain_s"],
        tls=Tls(values["tls.certificate"], values["tls.key"]),
        slo=ServiceLevel(values["slo.latency_p99_ms"]),
        limits=MemoryLimits(values["limits.max_memory_mb"]),
        watch=Watch(
            window_s=values["watch.window_s"],
            requests=values["watch.requests"],
            quiet_s=values["watch.quiet_s"],
            canary_s=values["watch.canary_s"],
        ),
    )
