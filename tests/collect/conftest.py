"""Wheels made by hand, a small box side, and pip cut off from every index."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import BoxSide
from sealift.target.host import own_python, read_host
from sealift.target.target import Target


def write_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    files: Mapping[str, str | bytes] | None = None,
    requires: Sequence[str] = (),
    metadata: Sequence[str] = ("License-Expression: MIT",),
    tag: str = "py3-none-any",
    modes: Mapping[str, int] | None = None,
) -> Path:
    """A valid wheel with one module of the package's own name, unless `files` says otherwise."""
    base = f"{name.replace('-', '_')}-{version}"
    header = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *metadata]
    header += [f"Requires-Dist: {text}" for text in requires]
    content = {f"{name.replace('-', '_')}.py": f"VERSION = {version!r}\n"} if files is None else dict(files)
    content[f"{base}.dist-info/METADATA"] = "\n".join(header) + "\n"
    content[f"{base}.dist-info/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{base}-{tag}.whl"
    rows = []
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in content.items():
            data = text.encode() if isinstance(text, str) else text
            entry = zipfile.ZipInfo(member)
            entry.external_attr = (modes or {}).get(member, 0o100644) << 16
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{member},sha256={digest},{len(data)}")
        record = zipfile.ZipInfo(f"{base}.dist-info/RECORD")
        archive.writestr(record, "\n".join([*rows, f"{base}.dist-info/RECORD,,"]) + "\n")
    return path


@pytest.fixture(autouse=True)
def _hermetic_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """No index, mirror or folder of this machine takes part."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


@pytest.fixture
def make_wheel() -> Callable[..., Path]:
    return write_wheel


@pytest.fixture
def target() -> Target:
    """This machine."""
    host = read_host()
    return Target(platform=host.platform, python=own_python(), glibc=host.glibc or "2.28")


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A folder of wheels that stands for the index: the box side's own, and an application's."""
    shelf = tmp_path / "shelf"
    write_wheel(shelf, "boxnum", "1.0")
    write_wheel(shelf, "boxnum", "2.0")
    write_wheel(shelf, "boxrun", "1.0", requires=["boxnum>=1", "boxflat"])
    write_wheel(shelf, "boxflat", "1.0")
    write_wheel(shelf, "boxflat", "1.5")
    write_wheel(shelf, "boxflat", "1.9")
    write_wheel(shelf, "app-web", "3.0", requires=["app-core>=1", 'app-old; python_version<"3"'])
    write_wheel(shelf, "app-core", "1.2")
    write_wheel(shelf, "needs-old", "1.0", requires=["boxnum<2"])
    write_wheel(shelf, "needs-ancient", "1.0", requires=["boxnum<1"])
    return shelf


@pytest.fixture
def box(tmp_path: Path, shelf: Path) -> BoxSide:
    """A box side of three packages, locked at boxnum 2.0, boxrun 1.0 and boxflat 1.5."""
    lines = ['lock-version = "1.0"', 'created-by = "test"']
    for name, version in (("boxnum", "2.0"), ("boxrun", "1.0"), ("boxflat", "1.5")):
        wheel = shelf / f"{name}-{version}-py3-none-any.whl"
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines += ["[[packages]]", f'name = "{name}"', f'version = "{version}"']
        lines += [f'wheels = [{{path = "{wheel.name}", hashes = {{sha256 = "{digest}"}}}}]']
    lock = tmp_path / "box.lock"
    lock.write_text("\n".join(lines) + "\n")
    return BoxSide(lock, {"boxnum": SpecifierSet(">=1,<3"), "boxrun": SpecifierSet(">=1")})


@pytest.fixture
def options(tmp_path: Path, shelf: Path) -> CollectOptions:
    return CollectOptions(tmp_path / "wheels", find_links=(str(shelf),), no_index=True)
