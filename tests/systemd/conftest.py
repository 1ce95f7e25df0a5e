"""Machines for the tests of this folder; without root or the packages they are skipped with the reason."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.journey.conftest import make_keys, sealift
from tests.serve.nets import mlp
from tests.systemd.box import Box
from tests.systemd.machine import Machine, machine, missing_parts

REPOSITORY = Path(__file__).parents[2]
CODE = {
    "/tool/src": REPOSITORY / "src",
    "/tool/tests": REPOSITORY / "tests",
    "/tool/packages": Path(sysconfig.get_paths()["purelib"]),
}

NewMachine = Callable[..., Machine]


@pytest.fixture(scope="session")
def parts() -> None:
    """Everything that a machine is made of; skips where something is missing."""
    if reason := missing_parts():
        pytest.skip(reason)


@pytest.fixture
def new_machine(parts: None, tmp_path: Path) -> Iterator[Callable[[], Machine]]:
    """Boots a fresh machine that sees this repository under /tool; ended with the test."""
    with ExitStack() as running:

        def boot() -> Machine:
            folder = tmp_path / f"machine-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return running.enter_context(machine(folder, CODE))

        yield boot


@pytest.fixture(scope="session")
def medium(parts: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is carried: `keys/root.json`, and `fraud` in the versions `1.0` and `2.0`."""
    folder = tmp_path_factory.mktemp("medium")
    make_keys(folder)
    for version, hidden in (("1.0", 8), ("2.0", 16)):
        project = folder / f"project-{version}"
        project.mkdir()
        mlp(project / "fraud.onnx", hidden=hidden)
        head = f'[project]\nname = "fraud"\nversion = "{version}"\n'
        (project / "sealift.toml").write_text(f'{head}[model]\npath = "fraud.onnx"\n')
        signing = ("--keys", "keys", "--passphrase-file", "phrase")
        sealift("pack", project.name, "-o", version, *signing, cwd=folder)
    return folder


@pytest.fixture
def empty_box(medium: Path, tmp_path: Path) -> Iterator[Box]:
    """A booted machine with the medium in it; nothing is installed yet."""
    with machine(tmp_path, {**CODE, "/media": medium}) as booted:
        yield Box(booted)


@pytest.fixture(scope="session")
def installed_disk(medium: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of a machine on which 1.0 was installed and that was shut down in order."""
    folder = tmp_path_factory.mktemp("installed")
    made = Machine(folder, {**CODE, "/media": medium})
    try:
        made.boot()
        Box(made).install("1.0", "--trust", "/media/keys/root.json")
        made.shut_down()
    except BaseException:
        made.end()
        raise
    return made.disk


@pytest.fixture
def box(installed_disk: Path, medium: Path, tmp_path: Path) -> Iterator[Box]:
    """A booted machine on which 1.0 is installed and serves."""
    subprocess.run(["cp", "--sparse=always", installed_disk, tmp_path / "disk.img"], check=True)
    with machine(tmp_path, {**CODE, "/media": medium}) as booted:
        yield Box(booted)


assert sys.version_info[:2] == (3, 11), "the machines' Python loads the packages of this one"
