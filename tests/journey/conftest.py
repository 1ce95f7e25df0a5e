"""One real service, packed, installed and served once for all tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sealift.demo.material import Material, default_cache, fetch_wheels, read_material
from sealift.demo.project import build_model, write_project

PASSPHRASE = "only-for-this-test\n"


def sealift(*arguments: str | Path, cwd: Path, python: Path = Path(sys.executable), ok: bool = True) -> str:
    """Run the command line as a person would; returns what it printed."""
    command = [str(python), "-m", "sealift", *map(str, arguments), "--no-input"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert not ok or done.returncode == 0, f"{command}: {done.returncode}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout if ok else f"{done.returncode} {done.stderr}"


def make_keys(folder: Path) -> None:
    """`keys/` and the file with its passphrase."""
    (folder / "phrase").write_text(PASSPHRASE)
    sealift("keys", "init", "keys", "--passphrase-file", "phrase", cwd=folder)


def pack_and_install(folder: Path, project: str, bundle: str = "bundle") -> dict[str, Any]:
    """Pack `project` and install it under `box/`; returns what `pack --json` says."""
    signing = ("--keys", "keys", "--passphrase-file", "phrase")
    packed = sealift("pack", project, "-o", bundle, *signing, "--json", cwd=folder)
    sealift("install", bundle, "--trust", "keys/root.json", "--prefix", "box", cwd=folder)
    result: dict[str, Any] = json.loads(packed)
    return result


class Server:
    """`sealift serve` as a process of ours; `address` is host:port."""

    def __init__(self, command: list[str], cwd: Path) -> None:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.log = (cwd / "serve.log").open("w+")
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.address = line.strip().rpartition("http://")[2]
        if not self.address:
            self.stop()
            self.log.seek(0)
            raise AssertionError(f"{command} did not serve: {self.log.read()}")

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://{self.address}"

    def stop(self) -> int:
        """Ask it to end and wait."""
        self.process.terminate()
        code = self.process.wait(40)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def said(self) -> str:
        """Everything on its stderr so far."""
        return Path(self.log.name).read_text()


@dataclass(frozen=True)
class Lite0:
    """The demo's service: its folder (project, keys, bundle, box) and its running server."""

    folder: Path
    material: Material
    model: Path
    packed: dict[str, Any]
    server: Server


@pytest.fixture(scope="session")
def lite0(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lite0]:
    """EfficientNet-Lite0 from its package, through the command line, served by the prefix's own sealift."""
    folder = tmp_path_factory.mktemp("lite0")
    fetch_wheels(default_cache())
    material = read_material(default_cache())
    write_project(folder / "lite0", material, build_model(material))
    make_keys(folder)
    packed = pack_and_install(folder, "lite0")
    server = Server([str(folder / "box" / "bin" / "sealift"), "serve", "lite0", "--port", "0"], folder)
    yield Lite0(folder, material, folder / "lite0" / "model.onnx", packed, server)
    assert server.stop() == 0
    server.log.close()
