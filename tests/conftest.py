"""Fixtures for every room. Plain pytest: tests are imported by path, so shared material comes as fixtures."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import pytest


def _load(name: str) -> ModuleType:
    """A module that lies beside this file, which no test folder is a package of."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI every part is installed, so a skip is a failure (SEALIFT_REQUIRE_ALL, set by .ci/run)."""
    report = yield
    if report.skipped and os.environ.get("SEALIFT_REQUIRE_ALL"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but CI has every part: {report.longrepr}"
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `zoo_name` runs once per model of the zoo; those that train are marked slow."""
    if "zoo_name" in metafunc.fixturenames:
        models = _load("models_zoo")
        marks = {name: [pytest.mark.slow] for name in models.SLOW}
        names = [pytest.param(name, marks=marks.get(name, [])) for name in models.ZOO]
        metafunc.parametrize("zoo_name", names)


@pytest.fixture(scope="session")
def zoo() -> dict[str, Callable[[Path], Path]]:
    """Model name -> builder: takes a folder, writes the model into it, returns its path."""
    return dict(_load("models_zoo").ZOO)


@pytest.fixture(scope="session")
def zoo_module() -> ModuleType:
    """`tests/models_zoo.py` itself, for tests that write graphs of their own."""
    return _load("models_zoo")
