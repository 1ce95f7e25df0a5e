"""A release brings its system packages to a box without network: real dpkg, in a Debian root of its own."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
from tests.journey.conftest import make_keys, sealift
from tests.made_bundles import FILES, make_bundle
from tests.serve.nets import mlp
from tests.systemd.box import CARRIED
from tests.systemd.conftest import CODE
from tests.systemd.debian import debian_root

from sealift.target.system_packages import FOLDER, PLACE, SystemPackage, SystemPackages, encode_list

pytestmark = pytest.mark.slow

CONTROL = (
    "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: x\n{more}"
)
SIGNING = ("--keys", "keys", "--passphrase-file", "phrase")
BROKEN = "#!/bin/sh\necho no licence >&2\nexit 3\n"
# $1 the root, then what to run inside; no interface but loopback exists in there.
ENTER = """
set -eu
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for pair in $BINDS; do mount --bind "${pair#*=}" "$root${pair%%=*}"; done
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Said:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class OfflineBox:
    """A Debian root that is entered without network; `shared`: path inside -> folder here."""

    root: Path
    shared: dict[str, Path]

    def run(self, *command: str) -> Said:
        """Run `command` inside to its end."""
        binds = " ".join(f"{inside}={here}" for inside, here in self.shared.items())
        enter = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh"]
        done = subprocess.run(
            [*enter, str(self.root), *command],
            env={"BINDS": binds, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    def install(self, version: str, *options: str) -> Said:
        """`sealift install` from the medium."""
        trust = ("--trust", "/media/keys/root.json", "--no-input")
        return self.run(*CARRIED, "install", f"/media/{version}", *trust, *options)


def deb(folder: Path, name: str, version: str, more: str = "", script: str = "") -> str:
    """Build a package; returns its stanza of the list of packages."""
    control = CONTROL.format(name=name, version=version, more=more)
    source = folder / "source" / f"{name}-{version}"
    (source / "DEBIAN").mkdir(parents=True)
    (source / "DEBIAN/control").write_text(control)
    if script:
        (source / "DEBIAN/postinst").write_text(script)
        (source / "DEBIAN/postinst").chmod(0o755)
    path = folder / f"{name}_{version}_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(source), str(path)]
    subprocess.run(command, check=True, capture_output=True)
    data = path.read_bytes()
    return (
        f"{control}Filename: ./{path.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
    )


def repository(folder: Path, stanzas: list[str]) -> None:
    packages = "\n".join(stanzas).encode()
    (folder / "Packages").write_bytes(packages)
    digest = f" {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n"
    (folder / "Release").write_text(f"Suite: x\nDate: {formatdate(usegmt=True)}\nSHA256:\n{digest}")


def pack(folder: Path, archive: Path) -> str:
    """1.0, which needs `st-app`; returns what pack said."""
    project = folder / "project"
    project.mkdir()
    mlp(project / "fraud.onnx")
    shutil.copyfile(debian_root() / "var/lib/dpkg/status", project / "status")
    (project / "sealift.toml").write_text(
        '[project]\nname = "fraud"\nversion = "1.0"\n[model]\npath = "fraud.onnx"\n'
        f'[target.packages]\ndeb = ["st-app", "libc6"]\ndeb_sources = ["deb [trusted=yes] file:{archive} ./"]\n'
        'installed = "status"\n'
    )
    return sealift("pack", "project", "-o", "1.0", *SIGNING, cwd=folder)


def make_bad(folder: Path, archive: Path) -> None:
    """2.0, whose package cannot be configured: it never comes as far as its check, so it need not run."""
    file = archive / "st-bad_1.0_all.deb"
    data, place = file.read_bytes(), f"deb/{file.name}"
    package = SystemPackage(
        "st-bad", "1.0", "all", place, hashlib.sha256(data).hexdigest(), len(data), "asked for"
    )
    listed = encode_list(SystemPackages("deb", (package,)))
    files = {**FILES, PLACE: listed, f"application/{FOLDER}/{place}": data}
    target = json.loads((folder / "1.0/release.json").read_text())["target"]
    made = make_bundle(folder / "made", None, version="2.0", seq=2, files=files, target=target)
    made.path.rename(folder / "2.0")
    sealift("sign", "2.0", *SIGNING, cwd=folder)


@pytest.fixture
def box(parts: None, tmp_path: Path) -> Iterator[OfflineBox]:
    """An empty box, and a medium with 1.0 (two packages) and 2.0 (one whose own script fails)."""
    medium, archive, root = tmp_path / "medium", tmp_path / "archive", tmp_path / "root"
    medium.mkdir()
    make_keys(medium)
    needs = deb(archive, "st-app", "1.0", "Depends: st-lib (>= 2), libc6\n")
    repository(archive, [needs, deb(archive, "st-lib", "2.0")])
    deb(archive, "st-bad", "1.0", script=BROKEN)
    said = pack(medium, archive)
    assert "2 system packages travel" in said
    assert "the box has already, so it does not travel: libc6" in said
    make_bad(medium, archive)
    subprocess.run(["cp", "--archive", "--reflink=auto", str(debian_root()), str(root)], check=True)
    for inside in (*CODE, "/media"):
        (root / inside.lstrip("/")).mkdir(parents=True, exist_ok=True)
    yield OfflineBox(root, {**CODE, "/media": medium})
    shutil.rmtree(root)


def test_packages_come_from_the_bundle_only_when_asked_and_a_failure_leaves_the_old_release(
    box: OfflineBox,
) -> None:
    refused = box.install("1.0")
    assert refused.code == 31, refused.err
    assert "system package: expected st-app 1.0 or newer, found none" in refused.err
    assert "next: sudo sealift install /media/1.0 --with-packages" in refused.err
    assert box.run("dpkg-query", "-W", "st-app").code == 1

    planned = box.install("1.0", "--with-packages", "--dry-run")
    assert "install 2 system packages from the bundle" in planned.out, planned.err
    assert box.run("dpkg-query", "-W", "st-app").code == 1

    done = box.install("1.0", "--with-packages")
    assert done.code == 0, done.err
    assert box.run("dpkg-query", "-W", "st-app", "st-lib").out.split() == ["st-app", "1.0", "st-lib", "2.0"]
    assert active(box) == "1.0"

    failed = box.install("2.0", "--with-packages")
    assert failed.code == 30, failed.err
    assert "system packages are not all installed; the release was not activated" in failed.err
    assert "st-bad" in failed.err
    assert active(box) == "1.0"
    assert [each["outcome"] for each in told(box)] == ["installed", "failed"]
    assert told(box)[0]["packages"] == ["st-app 1.0", "st-lib 2.0"]


def active(box: OfflineBox) -> str:
    """The version that the prefix's own command calls active."""
    answer = json.loads(box.run("/opt/sealift/bin/sealift", "status", "--json", "--no-input").out)
    version: str = answer["services"][0]["version"]
    return version


def told(box: OfflineBox) -> list[dict[str, object]]:
    """What the ledger says of packages."""
    lines = (box.root / "var/lib/sealift/ledger.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [record["facts"] for record in records if record["event"] == "packages"]
