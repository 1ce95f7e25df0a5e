"""`[project]`, `[target]`, `[python]`, `[optimize]`, `[slo]`, `[limits]`, `[checks]`, `[gates]` -> their values."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

from sealift.model.words import quoted, shown
from sealift.project.folder import Unfit
from sealift.project.keys import PACKAGES_KEYS, SECTION_KEYS
from sealift.project.project import (
    Gates,
    Limits,
    Optimize,
    PythonSources,
    Slo,
    SystemPackages,
    TargetWish,
)
from sealift.project.section import POSITIVE, Form, Range, Section
from sealift.target.presets import PRESETS

NAME: Final = Form(
    re.compile(r"[a-z0-9][a-z0-9._-]{0,63}"),
    'a name of a-z, 0-9, ".", "_" and "-" (first a letter or digit, at most 64 characters)',
)
VERSION: Final = Form(
    re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}"), 'a version such as "1.4.0" (at most 64 characters)'
)
RESERVED: Final = "sealift"
"""The product that is sealift itself (`sealift export bootstrap`)."""
PLATFORMS: Final = ("linux-x86_64", "linux-aarch64")
CANDIDATES: Final = ("fp32", "bf16", "fp16", "int8-static", "int8-nncf", "int8-dynamic", "onnx")
METRICS: Final = ("top1", "top5", "auc", "f1", "rmse", "cosine", "agreement")
"""What may stand as `[optimize] metric`, beside a Python file."""
PREFERENCES: Final[tuple[Literal["speed", "size"], ...]] = ("speed", "size")
UNPROVEN: Final[tuple[Literal["keep", "ship"], ...]] = ("keep", "ship")
MAX_MODEL_MB: Final = 1024

_GLIBC: Final = Form(re.compile(r"2\.[0-9]{1,2}"), 'a version of the C library such as "2.31"')
_KERNEL: Final = Form(re.compile(r"[0-9]{1,2}\.[0-9]{1,3}(\.[0-9]{1,3})?"), 'a kernel version such as "5.4"')
_CPU: Final = Form(re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}"), 'a processor feature such as "avx2"')
_PYTHON: Final = Form(re.compile(r"3\.(1[1-9]|[2-9][0-9])"), '"3.11" or a newer Python, such as "3.12"')
_CUDA: Final = Form(re.compile(r"[0-9]{1,2}\.[0-9]{1,2}"), 'a CUDA version such as "12.4"')
_DEB: Final = Form(re.compile(r"[a-z0-9][a-z0-9+.-]{1,99}"), 'a Debian package such as "libgl1"')
_DEB_SOURCE: Final = Form(
    re.compile(r"deb (\[[^\]\n]+\] )?\S+ \S+( \S+)*"), 'a line of apt such as "deb MIRROR bookworm main"'
)
_RPM: Final = Form(re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,99}"), 'an RPM package such as "mesa-libGL"')
_RPM_SOURCE: Final = Form(re.compile(r"(https?|file)://\S+"), "the address of a repository of RPM packages")
_INTERPRETER: Final = Form(
    re.compile(r"system|bundled|/[^\0]*[^/\0]"), '"system", "bundled" or an absolute path on the box'
)
_OBJECT: Final = Form(
    re.compile(r"[^\s/*\0][^\s\0]{0,199}"), 'a path inside the wheel, or a pattern such as "cv2/qt/plugins/*"'
)
_ARCHIVE_URL: Final = re.compile(r"(https|file)://[^\s\0]+")
_SHA256: Final = Form(re.compile(r"[0-9a-f]{64}"), "the sha256 of the archive, 64 hex digits")
_LICENCE: Final = Form(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}( WITH [A-Za-z0-9][A-Za-z0-9.-]{0,63})?"),
    'one SPDX identifier such as "Apache-2.0"',
)
_PACKAGE: Final = Form(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(==[0-9A-Za-z][0-9A-Za-z._+!-]{0,63})?"),
    'a package such as "name" or "name==1.4.0"',
)
_ADVISORY: Final = Form(
    re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{2,99}"), 'the id of an entry such as "GHSA-xxxx-xxxx-xxxx"'
)
_SHARE: Final = Range("a share above 0 and below 1, such as 0.9995", lambda x: 0 < x < 1)
_POINTS: Final = Range("a number from 0 to 100", lambda x: 0 <= x <= 100)
_ANY_SHARE: Final = Range("a share from 0 to 1, such as 0.95", lambda x: 0 <= x <= 1)
_AT_LEAST_ONCE: Final = Range("a number of at least 1, such as 1.05", lambda x: x >= 1)
_VARIANTS: Final = Range("an integer from 1 to 8", lambda x: 1 <= x <= 8)


VENDOR: Final = "vendor"
"""Beside sealift.toml: wheels that no index has."""


def read_name_and_version(document: Section) -> tuple[str, str]:
    """`[project]`; empty strings for what is missing or wrong."""
    section = document.child("project")
    section.allow_only(SECTION_KEYS["project"])
    name = section.text("name", "", NAME) if section.require("name") else ""
    if name == RESERVED:
        section.refuse("name", f"{RESERVED!r} is sealift itself; give the project another name")
    version = section.text("version", "", VERSION) if section.require("version") else ""
    return name, version


def read_target(document: Section) -> TargetWish:
    """`[target]`; a preset fills in the C library."""
    section = document.child("target")
    section.allow_only(SECTION_KEYS["target"])
    wish = TargetWish(
        preset=section.choice("preset", None, tuple(PRESETS)),
        platform=section.choice("platform", None, PLATFORMS),
        glibc=section.text("glibc", None, _GLIBC),
        kernel=section.text("kernel", None, _KERNEL),
        cpu=section.texts("cpu", (), _CPU),
        python=section.text("python", None, _PYTHON),
        interpreter=section.text("interpreter", None, _INTERPRETER),
        interpreter_archive=_interpreter_archive(section),
        interpreter_sha256=section.text("interpreter_sha256", None, _SHA256),
        cuda=section.text("cuda", None, _CUDA),
        never_loaded=section.texts("never_loaded", (), _OBJECT),
        driver_installer=section.path_to("driver_installer", "file"),
        packages=_system_packages(section),
    )
    if wish.interpreter_archive is not None and wish.interpreter not in (None, "bundled"):
        text = f'expected interpreter = "bundled" beside it, got {shown(wish.interpreter)}'
        section.refuse("interpreter_archive", f"{text}; leave one of the two out")
    return _with_preset(section, wish)


def _interpreter_archive(section: Section) -> Path | str | None:
    """A file of the project's, or a URL beside its sha256."""
    value = section.table.get("interpreter_archive")
    if "interpreter_sha256" in section and value is None:
        section.refuse("interpreter_sha256", "expected 'interpreter_archive' beside it")
    if not isinstance(value, str) or "://" not in value:
        return section.path_to("interpreter_archive", "file")
    if not _ARCHIVE_URL.fullmatch(value):
        section.refuse("interpreter_archive", f"expected a path, https:// or file://, got {shown(value)}")
    elif "interpreter_sha256" not in section:
        section.refuse("interpreter_archive", "expected 'interpreter_sha256' beside a URL")
    return value


def _system_packages(target: Section) -> SystemPackages:
    """`[target.packages]`; packages of one kind, for a box has one package manager."""
    section = target.child("packages")
    section.allow_only(PACKAGES_KEYS)
    if "deb" in section and "rpm" in section:
        section.refuse("rpm", "expected deb or rpm, not both: a box has one package manager")
    for kind in ("deb", "rpm"):
        if kind not in section and f"{kind}_sources" in section:
            section.refuse(f"{kind}_sources", f"expected '{kind}' beside it, the names of packages")
    return SystemPackages(
        deb=section.texts("deb", (), _DEB),
        deb_sources=section.texts("deb_sources", (), _DEB_SOURCE),
        rpm=section.texts("rpm", (), _RPM),
        rpm_sources=section.texts("rpm_sources", (), _RPM_SOURCE),
        keyring=section.path_to("keyring", "file"),
        installed=section.path_to("installed", "file"),
    )


def _with_preset(section: Section, wish: TargetWish) -> TargetWish:
    if wish.preset is None:
        return wish
    glibc = PRESETS[wish.preset]
    if wish.glibc not in (None, glibc):
        text = f"expected {quoted(glibc)}, which preset {quoted(wish.preset)} stands for"
        section.refuse("glibc", f"{text}, got {shown(wish.glibc)}; leave one of the two out")
    return replace(wish, glibc=glibc)


def read_python(document: Section) -> PythonSources:
    """`[python]`; one of the two files that say what is wanted. `vendor/` is looked at without being named."""
    section = document.child("python")
    section.allow_only(SECTION_KEYS["python"])
    named = [key for key in section.table if key in ("requirements", "freeze")]
    if len(named) > 1:
        section.refuse(named[-1], "expected at most one of requirements and freeze")
    return PythonSources(
        requirements=section.path_to("requirements", "file"),
        lock=section.path_to("lock", "file"),
        freeze=section.path_to("freeze", "file"),
        wheels=_wheels(section),
        find_links=_find_links(section),
    )


def _find_links(section: Section) -> tuple[str, ...]:
    """Folders as absolute paths, pages as they are; `vendor/` of the project last, where it has wheels."""
    found: dict[str, None] = {}
    for index, place in enumerate(section.texts("find_links", ())):
        if place.startswith(("https://", "file://")):
            found[place] = None
            continue
        try:
            found[str(section.folder.find(place, "folder"))] = None
        except Unfit as unfit:
            section.refuse("find_links", str(unfit), index)
    vendor = section.folder.root / VENDOR
    if any(vendor.glob("*.whl")):
        found[str(vendor)] = None
    return tuple(found)


def _wheels(section: Section) -> tuple[Path, ...]:
    """Every wheel that any of the globs means, each once, in the order of the globs."""
    found: dict[Path, None] = {}
    for index, pattern in enumerate(section.texts("wheels", ())):
        try:
            found.update(dict.fromkeys(section.folder.find_wheels(pattern)))
        except Unfit as unfit:
            section.refuse("wheels", str(unfit), index)
    return tuple(found)


def read_optimize(document: Section) -> Optimize:
    """`[optimize]`."""
    section = document.child("optimize")
    section.allow_only(SECTION_KEYS["optimize"])
    defaults = Optimize()
    return Optimize(
        candidates=section.choices("candidates", (), CANDIDATES),
        calibration=section.path_to("calibration", "file or folder"),
        evaluation=section.path_to("evaluation", "file or folder"),
        label=section.text("label", defaults.label),
        metric=_metric(section),
        max_accuracy_drop_points=section.number(
            "max_accuracy_drop_points", defaults.max_accuracy_drop_points, _POINTS
        ),
        min_agreement=section.number("min_agreement", defaults.min_agreement, _ANY_SHARE),
        min_speedup=section.number("min_speedup", defaults.min_speedup, _AT_LEAST_ONCE),
        prefer=section.choice("prefer", defaults.prefer, PREFERENCES),
        unproven=section.choice("unproven", defaults.unproven, UNPROVEN),
        travel=section.integer("travel", defaults.travel, _VARIANTS),
    )


def _metric(section: Section) -> str | Path | None:
    """A known name, or a Python file of the project's."""
    value = section.table.get("metric")
    if isinstance(value, str) and value.endswith(".py"):
        return section.path_to("metric", "file")
    return section.choice("metric", None, METRICS)


def read_slo(document: Section) -> Slo:
    """`[slo]`; absent keys refuse nothing."""
    section = document.child("slo")
    section.allow_only(SECTION_KEYS["slo"])
    return Slo(
        latency_p99_ms=section.number("latency_p99_ms", None, POSITIVE),
        availability=section.number("availability", None, _SHARE),
    )


def read_limits(document: Section) -> Limits:
    """`[limits]`; the model may be smaller than the promise allows, never larger."""
    section = document.child("limits")
    section.allow_only(SECTION_KEYS["limits"])
    defaults = Limits()
    return Limits(
        max_model_mb=section.number(
            "max_model_mb",
            defaults.max_model_mb,
            Range(
                f"a number above 0 and at most {MAX_MODEL_MB} (no model above 1 GB is carried)",
                lambda x: 0 < x <= MAX_MODEL_MB,
            ),
        ),
        max_memory_mb=section.number("max_memory_mb", defaults.max_memory_mb, POSITIVE),
    )


def read_golden(document: Section) -> Path | None:
    """`[checks] golden`."""
    section = document.child("checks")
    section.allow_only(SECTION_KEYS["checks"])
    return section.path_to("golden", "file or folder")


def read_gates(document: Section) -> Gates:
    """`[gates]`; absent keys refuse nothing, and an exception without its gate is refused."""
    section = document.child("gates")
    section.allow_only(SECTION_KEYS["gates"])
    for key, gate in (("licence_exceptions", "licences"), ("accepted_vulnerabilities", "vulnerabilities")):
        if key in section and gate not in section and not section.report.is_meant((*section.path, gate)):
            section.refuse(key, f"expected '{gate}' beside it; without that gate there is nothing to except")
    return Gates(
        licences=section.texts("licences", (), _LICENCE),
        licence_exceptions=section.texts("licence_exceptions", (), _PACKAGE),
        max_bundle_mb=section.number("max_bundle_mb", None, POSITIVE),
        vulnerabilities=section.path_to("vulnerabilities", "file or folder"),
        accepted_vulnerabilities=section.texts("accepted_vulnerabilities", (), _ADVISORY),
    )
