"""`export oci`: what is in the image, that it is the same every time, and what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from tests.made_bundles import tree_hash
from tests.scale.oci_images import PYTHON, TARGET, Bench, base_layout, blob, new_bench, own_libc, read_image

from sealift.bundle.documents import LAYERS, FileEntry, decode_release, encode_manifest
from sealift.canonical import digest
from sealift.cli.main import run
from sealift.errors import IncompatibleHost, NoSpace, UsageError
from sealift.scale.oci.export import spdx
from sealift.scale.oci.layout import new_layout, require_room
from sealift.scale.oci.machine import Machine, c_library, loaded_libc
from sealift.target.system_packages import FOLDER, PLACE, SystemPackage, SystemPackages, encode_list
from sealift.target.target import Target

Captured = pytest.CaptureFixture[str]
APP = "opt/sealift/app"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return new_bench(tmp_path)


@pytest.fixture
def exported(bench: Bench, tmp_path: Path) -> Path:
    assert bench.export(bench.bundle(), tmp_path / "image") == 0
    return tmp_path / "image"


# ---------------------------------------------------------------------- what it is


def test_the_image_holds_the_release_and_its_digests_can_be_made_again(exported: Path) -> None:
    files = read_image(exported).files()
    release = decode_release(files[f"{APP}/release.json"][0])
    for layer in LAYERS:
        found = {
            name.removeprefix(f"{APP}/{layer}/"): FileEntry(
                hashlib.sha256(data).hexdigest(), len(data), bool(member.mode & 0o111)
            )
            for name, (data, member) in files.items()
            if name.startswith(f"{APP}/{layer}/")
        }
        assert digest(encode_manifest(found)) == release.layers[layer].manifest


def test_layers_lie_from_what_seldom_changes_to_what_often_does(exported: Path) -> None:
    image = read_image(exported)
    held = [{name for name, member in image.members(i).items() if member.isfile()} for i in range(5)]
    assert "lib64/ld-linux-x86-64.so.2" in held[0]
    assert f"{APP}/{PYTHON}" in held[1]
    assert held[2] == {f"{APP}/dependencies/pkg/__init__.py"}
    assert held[3] == {f"{APP}/application/models/m/model.onnx"}
    assert f"{APP}/release.json" in held[4]
    assert len(image.layers) == len(image.config["history"]) == 5


def test_nobody_owns_a_file_that_runs_there_and_nothing_tells_when_it_was_made(exported: Path) -> None:
    image = read_image(exported)
    members = {name: member for i in range(5) for name, member in image.members(i).items()}
    assert {(m.uid, m.gid, m.mtime, m.uname, m.gname) for m in members.values()} == {(0, 0, 0, "", "")}
    assert {m.mode for m in members.values() if m.isfile()} == {0o444, 0o555}
    assert members[f"{APP}/runtime/tool"].mode == 0o555
    assert members[f"{APP}/runtime/boot.py"].mode == 0o444
    assert members["tmp"].mode == 0o1777
    assert not [name for name, member in members.items() if not (member.isfile() or member.isdir())]


def test_the_configuration_runs_the_release_as_nobody_in_particular(exported: Path) -> None:
    config = read_image(exported).config
    run = config["config"]
    command = [f"/{APP}/{PYTHON}", "-I", "-S", "-B", f"/{APP}/runtime/boot.py"]
    assert run["Entrypoint"] == [*command, "serve", f"/{APP}"]
    assert run["Healthcheck"]["Test"] == ["CMD", *command, "_health"]
    assert (run["User"], run["StopSignal"], run["ExposedPorts"]) == (
        "65532:65532",
        "SIGTERM",
        {"8000/tcp": {}},
    )
    assert "SEALIFT_HOST=0.0.0.0" in run["Env"]
    assert (config["os"], config["architecture"], config["created"]) == (
        "linux",
        "amd64",
        "2026-11-22T17:00:00Z",
    )


def test_a_release_for_a_gpu_asks_for_the_driver(bench: Bench, tmp_path: Path) -> None:
    assert bench.export(bench.bundle(target=replace(TARGET, cuda="12.4")), tmp_path / "image") == 0
    assert "NVIDIA_VISIBLE_DEVICES=all" in read_image(tmp_path / "image").config["config"]["Env"]


def test_the_labels_name_release_licences_and_the_c_librarys_packages(exported: Path) -> None:
    image = read_image(exported)
    labels = image.config["config"]["Labels"]
    release = image.files()[f"{APP}/release.json"][0]
    assert labels["org.opencontainers.image.title"] == "fraud"
    assert labels["org.opencontainers.image.version"] == "1.0"
    assert labels["org.opencontainers.image.revision"] == f"sha256:{digest(release)}"
    assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause AND LicenseRef-our-own-terms"
    assert labels["sealift.base.packages"].startswith("libc6 ")
    assert image.manifest["annotations"] == labels
    assert b"GNU Lesser General Public" in image.files()["usr/share/doc/libc6/copyright"][0]


def test_the_model_is_a_modelpack_artifact_over_the_images_own_blob(exported: Path) -> None:
    image = read_image(exported)
    model = image.model
    assert model is not None
    assert model["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert model["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    (weights,) = model["layers"]
    assert weights["mediaType"] == "application/vnd.cncf.model.weight.v1.tar"
    assert weights["digest"] == image.layers[3] == image.config["rootfs"]["diff_ids"][3]
    assert weights["annotations"] == {"org.cncf.model.filepath": f"{APP}/application/models/m/model.onnx"}
    config = json.loads(blob(exported, model["config"]))
    assert config["modelfs"] == {"diffIds": [weights["digest"]], "type": "layers"}
    assert config["config"] == {"format": "onnx"}
    assert config["descriptor"]["name"] == "fraud"


def test_licences_become_one_expression() -> None:
    assert spdx(["MIT", "Apache-2.0", "MIT"]) == "Apache-2.0 AND MIT"
    assert spdx(["MIT OR Apache-2.0", "BSD License (3 clause)"]) == (
        "(MIT OR Apache-2.0) AND LicenseRef-BSD-License-3-clause"
    )
    assert spdx([]) == ""


# ---------------------------------------------------------------------- the same every time


def test_two_exports_are_the_same_bytes_whoever_makes_them(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bench.bundle()
    assert bench.export(bundle, tmp_path / "a.tar") == 0
    assert bench.export(bundle, tmp_path / "a") == 0
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    monkeypatch.setenv("TZ", "Asia/Shanghai")
    before = os.umask(0o077)
    try:
        assert bench.export(bundle, tmp_path / "b.tar") == 0
        assert bench.export(bundle, tmp_path / "b") == 0
    finally:
        os.umask(before)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    names = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert names == {
        path.relative_to(tmp_path / "b") for path in (tmp_path / "b").rglob("*") if path.is_file()
    }
    assert [n for n in names if (tmp_path / "a" / n).read_bytes() != (tmp_path / "b" / n).read_bytes()] == []


def test_file_and_folder_hold_the_same(bench: Bench, tmp_path: Path, exported: Path) -> None:
    assert bench.export(next(tmp_path.glob("bundle-*")), tmp_path / "a.tar") == 0
    with tarfile.open(tmp_path / "a.tar") as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    assert read_image(tmp_path / "unpacked").descriptor == read_image(exported).descriptor
    assert tree_hash(tmp_path / "unpacked") == tree_hash(exported)


def test_a_new_model_changes_the_last_layers_only(bench: Bench, tmp_path: Path, exported: Path) -> None:
    newer = bench.bundle("1.1", {"application/models/m/model.onnx": b"\x08\x07another"})
    assert bench.export(newer, exported) == 0
    old, new = read_image(exported), read_image(exported, "fraud:1.1")
    assert new.layers[:3] == old.layers[:3]
    assert set(new.layers[3:]).isdisjoint(old.layers)
    blobs = len(list((exported / "blobs" / "sha256").iterdir()))
    assert blobs == 3 + 2 * (2 + 5)  # shared; two layers, and config, manifest, index and the model's two


def test_a_new_handler_leaves_the_models_blob_as_it_is(bench: Bench, tmp_path: Path, exported: Path) -> None:
    newer = bench.bundle("1.1", {"application/handler.py": b"pass\n"})
    assert bench.export(newer, tmp_path / "new") == 0
    old, new = read_image(exported), read_image(tmp_path / "new", "fraud:1.1")
    assert new.layers[:4] == old.layers[:4]
    assert new.layers[4] != old.layers[4]


def test_the_same_name_again_replaces_it(bench: Bench, exported: Path) -> None:
    index = (exported / "index.json").read_bytes()
    assert bench.export(next(bench.folder.glob("bundle-*")), exported) == 0
    assert (exported / "index.json").read_bytes() == index


def test_a_bundle_in_volumes_gives_the_same_image(bench: Bench, tmp_path: Path, capsys: Captured) -> None:
    bundle = bench.bundle(changes={"application/models/m/model.onnx": random.Random(7).randbytes(90_000)})
    (tmp_path / "usb").mkdir()
    assert run(["export", "medium", str(bundle), "-o", str(tmp_path / "usb"), "--volumes", "80kB"]) == 0
    assert bench.export(bundle, tmp_path / "whole.tar") == 0
    assert bench.export(tmp_path / "usb", tmp_path / "cut.tar") == 0
    assert (tmp_path / "cut.tar").read_bytes() == (tmp_path / "whole.tar").read_bytes()
    gone = sorted((tmp_path / "usb").glob("*.sealift"))[-1]
    gone.unlink()
    capsys.readouterr()
    assert bench.export(tmp_path / "usb", tmp_path / "less.tar") == 12
    assert gone.name in capsys.readouterr().err
    assert not (tmp_path / "less.tar").exists()


# ---------------------------------------------------------------------- on a base


def test_a_base_lies_below_as_it_is_and_may_bring_the_interpreter(bench: Bench, tmp_path: Path) -> None:
    base = base_layout(
        tmp_path / "base", {"lib/libc.so.6": own_libc(), "usr/bin/python3.11": b"ELF"}, compress=False
    )
    system = Target("linux-x86_64", "3.11", "2.28", interpreter="system")
    assert bench.export(bench.bundle(target=system), tmp_path / "image", "--base", str(base)) == 0
    image = read_image(tmp_path / "image")
    assert {name for name, member in image.members(0).items() if member.isfile()} == {
        "lib/libc.so.6",
        "usr/bin/python3.11",
    }
    assert image.config["config"]["Entrypoint"][0] == "/usr/bin/python3.11"
    assert image.config["config"]["Labels"]["org.opencontainers.image.base.name"] == "base:1"


def test_an_image_can_be_built_on_a_foreign_base(bench: Bench, tmp_path: Path) -> None:
    base = base_layout(tmp_path / "base", {"lib/libc.so.6": foreign_libc()}, architecture="arm64")
    bundle = bench.bundle(target=Target("linux-aarch64", "3.11", "2.28", interpreter="bundled"))
    assert bench.export(bundle, tmp_path / "image", "--base", str(base)) == 0
    image = read_image(tmp_path / "image")
    assert image.config["architecture"] == "arm64"
    assert image.descriptor["platform"] == {"architecture": "arm64", "os": "linux"}


def foreign_libc() -> bytes:
    """This machine's with another machine's number in its header (ELF e_machine, 183: AArch64)."""
    data = bytearray(own_libc())
    data[18:20] = (183).to_bytes(2, "little")
    return bytes(data)


def test_nothing_below_is_possible_and_said(bench: Bench, tmp_path: Path, capsys: Captured) -> None:
    assert bench.export(bench.bundle(), tmp_path / "image", "--base", "none") == 0
    assert "does not run by itself" in capsys.readouterr().out
    assert len(read_image(tmp_path / "image").layers) == 4


# ---------------------------------------------------------------------- refused


def refused(bench: Bench, bundle: Path, code: int, capsys: Captured, *more: str) -> str:
    """What it says; nothing may be left behind."""
    before = tree_hash(bench.folder)
    assert bench.export(bundle, bench.folder / "image", *more) == code
    assert tree_hash(bench.folder) == before
    return capsys.readouterr().err


def test_an_unsigned_bundle_is_refused(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle(signed=False)
    said = refused(bench, bundle, 23, capsys)
    assert "sign" in said


def test_a_bundle_of_somebody_else_is_refused(bench: Bench, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "other").mkdir()
    bundle = new_bench(tmp_path / "other").bundle()
    assert "no chain of signatures leads" in refused(bench, bundle, 20, capsys)


def test_a_delta_is_refused_with_the_way_out(bench: Bench, capsys: Captured) -> None:
    old = bench.bundle()
    delta = bench.bundle("1.1", {"application/models/m/model.onnx": b"\x08\x07more"}, olds=(old,))
    said = refused(bench, delta, 12, capsys)
    assert "made for a box that has fraud 1.0" in said
    assert "next: export the full bundle" in said


def test_an_interpreter_of_the_box_needs_a_base_that_has_it(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle(target=Target("linux-x86_64", "3.11", "2.28", interpreter="/opt/py/bin/python3.11"))
    base = base_layout(bench.folder / "base", {"lib/libc.so.6": own_libc()})
    for more in ((), ("--base", str(base))):
        said = refused(bench, bundle, 2, capsys, *more)
        assert "it runs on /opt/py/bin/python3.11" in said
        assert 'interpreter = "bundled"' in said
        assert "--base LAYOUT" in said


def test_a_bundle_that_says_bundled_and_brings_none_is_refused(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle(target=Target("linux-x86_64", "3.12", "2.28", interpreter="bundled"))
    assert "runtime/python/bin/python3.12 is not there" in refused(bench, bundle, 11, capsys)


def test_system_packages_need_a_base_that_has_them(bench: Bench, capsys: Captured) -> None:
    deb = SystemPackage(
        "libgl1", "1.6.0-1", "amd64", "deb/libgl1.deb", hashlib.sha256(b"deb").hexdigest(), 3, "asked for"
    )
    carried = {
        f"application/{FOLDER}/deb/libgl1.deb": b"deb",
        PLACE: encode_list(SystemPackages("deb", (deb,))),
    }
    bundle = bench.bundle(changes=carried)
    said = refused(bench, bundle, 2, capsys)
    assert "- libgl1 1.6.0-1" in said
    assert "--base LAYOUT" in said
    base = base_layout(bench.folder / "base", {"lib/libc.so.6": own_libc()})
    assert bench.export(bundle, bench.folder / "image", "--base", str(base)) == 0
    assert "the base must have libgl1 1.6.0-1" in capsys.readouterr().out


def test_a_bundle_without_a_service_is_refused(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle(changes={"application/service.json": None})
    assert "fraud 1.0 holds no service" in refused(bench, bundle, 2, capsys)


def test_another_machines_bundle_needs_a_base(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle(target=Target("linux-aarch64", "3.11", "2.28", interpreter="bundled"))
    said = refused(bench, bundle, 31, capsys)
    assert "the release is for linux-aarch64" in said
    assert "--base LAYOUT" in said


def test_a_c_library_that_is_too_old_is_refused(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle(target=Target("linux-x86_64", "3.11", "2.99", interpreter="bundled"))
    assert "this release needs 2.99 or newer" in refused(bench, bundle, 31, capsys)


@pytest.mark.parametrize("libc", [b"not ELF", b""])
def test_a_base_without_glibc_is_refused(bench: Bench, capsys: Captured, libc: bytes) -> None:
    base = base_layout(bench.folder / "base", {"lib/libc.so.6" if libc else "lib/ld-musl.so.1": libc})
    bundle = bench.bundle()
    assert "the base has no glibc" in refused(bench, bundle, 31, capsys, "--base", str(base))


def test_a_base_for_another_architecture_is_refused(bench: Bench, capsys: Captured) -> None:
    base = base_layout(bench.folder / "base", {"lib/libc.so.6": own_libc()}, architecture="arm64")
    bundle = bench.bundle()
    said = refused(bench, bundle, 2, capsys, "--base", str(base))
    assert "expected an image for linux/amd64, found linux/arm64" in said


def test_a_base_with_several_images_is_refused_by_their_names(bench: Bench, capsys: Captured) -> None:
    base = base_layout(bench.folder / "base", {"lib/libc.so.6": own_libc()}, names=("a:1", "b:1"))
    bundle = bench.bundle()
    said = refused(bench, bundle, 2, capsys, "--base", str(base))
    assert "expected one image in it, found 2" in said
    assert "- a:1" in said


def test_a_base_that_is_no_layout_is_refused(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle()
    assert "expected an OCI layout" in refused(bench, bundle, 2, capsys, "--base", str(bench.folder))


@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_base_is_refused(bench: Bench, capsys: Captured, damage: str) -> None:
    base = base_layout(bench.folder / "base", {"lib/libc.so.6": own_libc()})
    largest = max((base / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = largest.read_bytes()
    if damage == "gone":
        largest.unlink()
    else:
        largest.write_bytes(data[:-100] if damage == "cut" else data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    bundle = bench.bundle()
    code = 12 if damage == "gone" else 11
    assert largest.name[:12] in refused(bench, bundle, code, capsys, "--base", str(base))


def test_a_damaged_bundle_leaves_what_was_there(bench: Bench, capsys: Captured, exported: Path) -> None:
    newer = bench.bundle("1.1", {"application/models/m/model.onnx": b"\x08\x07another"})
    files = sorted((newer / "objects").rglob("*"), key=str) if newer.is_dir() else []
    victim = next(path for path in files if path.is_file() and b"another" in path.read_bytes())
    victim.write_bytes(victim.read_bytes().replace(b"another", b"amother"))
    before = tree_hash(exported)
    assert bench.export(newer, exported) == 22
    assert tree_hash(exported) == before
    assert not list(bench.folder.glob(".*"))
    archive = bench.folder / "old.tar"
    assert bench.export(next(bench.folder.glob("bundle-1.0*")), archive) == 0
    old = archive.read_bytes()
    assert bench.export(newer, archive) == 22
    assert archive.read_bytes() == old
    assert not list(bench.folder.glob(".*"))


def test_what_is_no_layout_is_never_written_into(bench: Bench, tmp_path: Path, capsys: Captured) -> None:
    bundle = bench.bundle()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "mine.txt").write_text("mine")
    (tmp_path / "mine.tar").write_text("mine")
    broken = base_layout(tmp_path / "broken", {"a": b""})
    (broken / "index.json").write_text('{"manifests": [1]}')
    for output in (tmp_path / "docs", tmp_path / "mine.tar", tmp_path / "docs" / "mine.txt", broken):
        assert bench.export(bundle, output) == 2
        assert "it was left as it is" in capsys.readouterr().err
    assert bench.export(bundle, tmp_path / "no" / "image.tar") == 2
    assert "mkdir -p" in capsys.readouterr().err
    assert (tmp_path / "mine.tar").read_text() == "mine"
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["mine.txt"]


def test_a_bundle_is_not_spoilt(bench: Bench, capsys: Captured) -> None:
    bundle = bench.bundle()
    for output in (bundle, bundle / "image", bundle / "objects" / "image.tar"):
        before = tree_hash(bundle)
        assert bench.export(bundle, output) == 2
        assert "lies in a bundle and would spoil it" in capsys.readouterr().err
        assert tree_hash(bundle) == before


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"manifests": {}}', '{"manifests": [{}]}', '{"manifests": [{"digest": 3}]}']
)
def test_a_base_whose_documents_make_no_sense_is_refused_in_words(
    bench: Bench, capsys: Captured, index: str
) -> None:
    base = base_layout(bench.folder / "base", {"lib/libc.so.6": own_libc()})
    (base / "index.json").write_text(index)
    said = refused(
        bench, bench.bundle(), 2 if index == '{"manifests": {}}' else 11, capsys, "--base", str(base)
    )
    assert f"--base {base}" in said


def test_a_place_that_may_not_be_written_is_an_error_in_words(tmp_path: Path) -> None:
    output = tmp_path / f"{'n' * 250}.tar"  # the name of the file beside it is too long
    with pytest.raises(UsageError, match="File name too long"), new_layout(output):
        pass


def test_not_enough_room_is_said_before_the_first_byte(tmp_path: Path) -> None:
    with pytest.raises(NoSpace, match="not enough room") as caught:
        require_room(tmp_path / "image", 1 << 60)
    assert caught.value.problems[0].startswith("needs up to 1152921504607 MB, ")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    def full(sink: object) -> None:
        raise OSError(28, "No space left on device")

    for output in (tmp_path / "image", tmp_path / "image.tar"):
        with pytest.raises(NoSpace, match="the disk is full"), new_layout(output) as layout:  # noqa: PT012
            layout.blob(lambda sink: sink.write(b"first"))
            layout.blob(full)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_whose_packages_are_unknown_is_told_all_that_lacks(tmp_path: Path) -> None:
    libc = loaded_libc()
    assert libc is not None
    folder = tmp_path / "usr/lib"
    folder.mkdir(parents=True)
    (folder / "libc.so.6").write_bytes(b"")
    with pytest.raises(IncompatibleHost) as caught:
        c_library(Machine(folder / "libc.so.6", "x86_64", tmp_path))
    assert len(caught.value.problems) == 1 + 5 + 2  # loader, libraries; libc.so.6 without package
    assert caught.value.next_step is not None
    assert "--base" in caught.value.next_step
