"""Releases that must not get into traffic, made as `pack` makes them and checked as a box checks them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from tests.bad_projects import BAD, LIMIT_MB, dies_as_worker, good, problem_of
from tests.release_trees import Runtime, build_runtime, stage

from sealift.check.launch import Bounds, check_release
from sealift.check.report import CheckReport
from sealift.model.settings import schema_of, settings_of
from sealift.store.prefix import private
from sealift.store.releases import InstalledRelease

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    return build_runtime(tmp_path_factory.mktemp("runtime"))


def check(release: InstalledRelease, site: str = "") -> CheckReport:
    """As `sealift install` does it."""
    arguments = [str(release.tree)]
    if site:
        file = release.tree.with_suffix(".toml")
        file.write_text(site)
        arguments.append(f"--site={file}")
    settings = settings_of(schema_of(release.tree), {})
    bounds = Bounds(timeout_s=120, memory_mb=settings.limits.max_memory_mb)
    return check_release(release.command("_check", *arguments), bounds)


def staged(runtime: Runtime, project: Path) -> InstalledRelease:
    return stage(runtime, project, private(project.parent / "box"))


def test_a_good_release_checks_out_whatever_its_handler_prints(runtime: Runtime, tmp_path: Path) -> None:
    report = check(staged(runtime, good(tmp_path)))
    assert report.problems == ()
    assert report.golden_checked
    summary = report.summary()
    assert summary["memory_kb"] > 20_000
    assert summary["max_rows"]["fraud"] > 1
    assert summary["latency_p99_us"]["fraud"] >= summary["latency_us"]["fraud"] > 0
    names = [note.partition(":")[0] for note in summary["notes"]]
    assert names == ["model fraud", "golden inputs of fraud", "latency of fraud", "batching of fraud"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_release_is_found_out_before_traffic(name: str, runtime: Runtime, tmp_path: Path) -> None:
    release = staged(runtime, BAD[name].make(tmp_path))
    began = time.monotonic()
    report = check(release)
    assert not report.ok
    problem_of(name, report.problems)
    assert time.monotonic() - began < 60
    if name == "far_over_memory":
        assert report.memory_mb > 1.25 * LIMIT_MB


def test_the_boxs_own_settings_are_what_is_checked(runtime: Runtime, tmp_path: Path) -> None:
    """A device that this box's site file asks for and does not have; a limit that it sets itself."""
    release = staged(runtime, good(tmp_path))
    assert "device cuda: cuda cannot be used: " in check(release, 'device = ["cuda"]\n').problems[0]
    slow, large = check(release, "slo.latency_p99_ms = 0.001\nlimits.max_memory_mb = 20\n").problems
    assert slow.startswith("latency of fraud: expected a p99 of at most 0.001 ms")
    assert large.startswith("memory: expected at most 20 MB (limits.max_memory_mb), found ")
    assert check(release, 'threads = 1\ndevice = ["cuda", "cpu"]\n').ok


def test_settings_that_the_release_does_not_permit_fail_the_check_too(
    runtime: Runtime, tmp_path: Path
) -> None:
    report = check(staged(runtime, good(tmp_path)), "thread = 1\n")
    assert "ended with 33" in report.problems[0]
    assert "'thread' is not a setting; did you mean 'threads'?" in report.problems[0]


def test_a_release_of_which_only_the_workers_die_checks_out(runtime: Runtime, tmp_path: Path) -> None:
    """That one is the supervisor's to find out: its worker never gets ready."""
    release = staged(runtime, dies_as_worker(tmp_path))
    assert check(release).ok
    assert json.loads((release.tree / "application" / "settings.json").read_text())["format"]
