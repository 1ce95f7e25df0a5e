"""Project: `sealift.toml` as values. Paths are absolute and were checked to exist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from sealift.model.declaration import Input, Output, TensorInput, TensorOutput
from sealift.model.schema import Schema
from sealift.model.signature import TensorSpec


@dataclass(frozen=True, slots=True)
class SystemPackages:
    """`[target.packages]`: packages of the box's own distribution that the release needs there.

    `deb` and `rpm` are names. `deb_sources` are lines as apt's sources.list has them, `rpm_sources` addresses of
    repositories; none: this machine's own. `keyring` holds the keys that sign them. `installed` says what the box
    has already: its /var/lib/dpkg/status, or what `dpkg-query -W` or `rpm -qa` printed there.
    """

    deb: tuple[str, ...] = ()
    deb_sources: tuple[str, ...] = ()
    rpm: tuple[str, ...] = ()
    rpm_sources: tuple[str, ...] = ()
    keyring: Path | None = None
    installed: Path | None = None


@dataclass(frozen=True, slots=True)
class TargetWish:
    """`[target]`: what the box will be. None: take the packing machine's.

    `interpreter` is `"system"`, `"bundled"` or an absolute path *on the box*; None: bundled where the preset's
    own Python is another than `python`, else system. `interpreter_archive` is what a bundled one is taken from, a
    file or the URL of one with its `interpreter_sha256`; None: this machine's CPython of that X.Y.
    `python` is `"3.11"`; `glibc` is `"2.31"`; `platform` is `"linux-x86_64"`. `never_loaded` are patterns of
    shared objects, by their path inside a layer, that are not held against the target.
    """

    preset: str | None = None
    platform: str | None = None
    glibc: str | None = None
    kernel: str | None = None
    cpu: tuple[str, ...] = ()
    python: str | None = None
    interpreter: str | None = None
    interpreter_archive: Path | str | None = None
    interpreter_sha256: str | None = None
    cuda: str | None = None
    never_loaded: tuple[str, ...] = ()
    driver_installer: Path | None = None
    packages: SystemPackages = field(default_factory=SystemPackages)


@dataclass(frozen=True, slots=True)
class PythonSources:
    """`[python]`: where the application's own dependencies come from; `requirements` or `freeze`, and a `lock` that
    was made of it; `wheels` beside any of them. `find_links`: folders and pages with more wheels."""

    requirements: Path | None = None
    lock: Path | None = None
    freeze: Path | None = None
    wheels: tuple[Path, ...] = ()
    find_links: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Architecture:
    """`[model] architecture = "net.py:Net"`: the class or function that builds the module of some weights.

    `module` is the Python file, `name` what is called in it, `arguments` what it is given by name.
    """

    module: Path
    name: str
    arguments: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """`[model]` (name = the project's) or `[models.NAME]`.

    `engine` is empty where the file's suffix says it. `inputs` and `outputs` are what a TorchScript file or
    weights do not tell; empty: from `input`, and from a run. `architecture`: `path` is weights alone.
    """

    name: str
    path: Path
    license: str | None = None
    device: tuple[str, ...] = ("cpu",)
    input: Input = field(default_factory=TensorInput)
    output: Output = field(default_factory=TensorOutput)
    handler: Path | None = None
    tokenizer: Path | None = None
    engine: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    architecture: Architecture | None = None

    @property
    def needs_export(self) -> bool:
        """No engine loads it until `sealift optimize` has made ONNX of it."""
        return self.architecture is not None


@dataclass(frozen=True, slots=True)
class Optimize:
    """`[optimize]`: what `sealift optimize` tries, and what a variant has to meet.

    `metric` is a name of `METRICS` or a Python file; None: what the kind of output asks for. `unproven` says what
    becomes of a variant that the data can neither prove nor refute: `keep` the reference, or `ship` it. `travel`: how
    many variants the bundle carries at most, for the box to choose from.
    """

    candidates: tuple[str, ...] = ()
    calibration: Path | None = None
    evaluation: Path | None = None
    label: str = "label"
    metric: str | Path | None = None
    max_accuracy_drop_points: float = 1.0
    min_agreement: float = 0.95
    min_speedup: float = 1.05
    prefer: Literal["speed", "size"] = "speed"
    unproven: Literal["keep", "ship"] = "keep"
    travel: int = 1


@dataclass(frozen=True, slots=True)
class Slo:
    """`[slo]`: absent means measured and recorded, nothing refused."""

    latency_p99_ms: float | None = None
    availability: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """`[limits]`. `max_model_mb` counts 10^6 bytes of one model with its external data."""

    max_model_mb: float = 1024
    max_memory_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Gates:
    """`[gates]`: what `pack` refuses. An absent key refuses nothing.

    `licences` are SPDX identifiers; `licence_exceptions` are `name` or `name==version`; `max_bundle_mb` counts
    10^6 bytes on the medium; `vulnerabilities` is a folder or zip of OSV files.
    """

    licences: tuple[str, ...] = ()
    licence_exceptions: tuple[str, ...] = ()
    max_bundle_mb: float | None = None
    vulnerabilities: Path | None = None
    accepted_vulnerabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Project:
    """One service as its engineer declares it. `root` is the project folder; `settings` what a box may set."""

    root: Path
    name: str
    version: str
    models: tuple[ModelEntry, ...]
    target: TargetWish = TargetWish()
    python: PythonSources = PythonSources()
    optimize: Optimize = Optimize()
    slo: Slo = Slo()
    limits: Limits = Limits()
    golden: Path | None = None
    gates: Gates = Gates()
    settings: Schema = field(default_factory=Schema)
