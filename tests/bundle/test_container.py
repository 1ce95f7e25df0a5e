"""A bundle as one file: the same bundle, and no changed bit of it gets in."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from tests.made_bundles import Signer, make_bundle, make_signer

from sealift.bundle import layout
from sealift.bundle.documents import LAYERS
from sealift.bundle.read import VerifiedBundle, read_bundle, verify, verify_objects
from sealift.bundle.source import Container, Folder, document, open_source
from sealift.bundle.transport import decode_transport
from sealift.bundle.write import Parts, hash_layer, reissue, rewrite, rewrite_signatures, write_parts
from sealift.errors import MalformedBundle, MissingPart, SealiftError, TrustError
from sealift.events import Silent
from sealift.trust.keys import RELEASE_CONTEXT, TRANSPORT_CONTEXT
from sealift.trust.vouch import Policy

POSITIONS = 4000


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer()


def as_file(folder: Path) -> Path:
    source = Folder(folder)
    path = folder.with_name(folder.name + layout.SUFFIX)
    write_parts(path, Parts({name: document(source, name) for name in source.parts()}, {}))
    return path


def folder_of(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(layout.SUFFIX))


@pytest.fixture
def file(tmp_path: Path, signer: Signer) -> Path:
    return as_file(make_bundle(tmp_path, signer).path)


def believed(path: Path, signer: Signer) -> VerifiedBundle:
    bundle = read_bundle(open_source(path))
    verify_objects(bundle)
    return verify(bundle, signer.signed.root, Policy())


def test_file_and_folder_are_the_same_bundle(file: Path, signer: Signer) -> None:
    folder = folder_of(file)
    assert isinstance(open_source(file), Container)
    assert believed(file, signer).identity == believed(folder, signer).identity
    assert open_source(file).parts() == open_source(folder).parts()


def flips(size: int, signer: Signer) -> list[tuple[int, int]]:
    """Seeded random positions; every bit of the file with SEALIFT_EVERY_BIT=1 (a quarter of an hour)."""
    if os.environ.get("SEALIFT_EVERY_BIT"):
        return [(byte, bit) for byte in range(size) for bit in range(8)]
    draw = random.Random(20261122)
    return [(draw.randrange(size), draw.randrange(8)) for _ in range(POSITIONS)]


@pytest.mark.slow
def test_every_flipped_bit_is_refused_with_a_10s_or_20s_code(file: Path, signer: Signer) -> None:
    believed(file, signer)
    whole = file.read_bytes()
    changed = bytearray(whole)
    for byte, bit in flips(len(whole), signer):
        changed[byte] ^= 1 << bit
        with file.open("r+b") as stream:
            stream.seek(byte)
            stream.write(changed[byte : byte + 1])
        with pytest.raises(SealiftError) as caught:
            believed(file, signer)
        assert 10 <= caught.value.exit_code < 30, (byte, bit, caught.value)
        changed[byte] ^= 1 << bit
        with file.open("r+b") as stream:
            stream.seek(byte)
            stream.write(changed[byte : byte + 1])


@pytest.mark.slow
def test_every_truncation_at_a_block_and_every_appended_byte_is_refused(file: Path, signer: Signer) -> None:
    whole = file.read_bytes()
    for size in {*range(0, len(whole), 512), len(whole) - 1, 1}:
        file.write_bytes(whole[:size])
        with pytest.raises(SealiftError) as caught:
            believed(file, signer)
        assert 10 <= caught.value.exit_code < 30
    for more in (b"\0", b"x", bytes(512), bytes(10240)):
        file.write_bytes(whole + more)
        with pytest.raises(MalformedBundle, match="expected the end of the container"):
            believed(file, signer)


def test_other_signatures_leave_every_other_part_as_it_was(file: Path, signer: Signer) -> None:
    bundle = read_bundle(open_source(file))
    before = {name: document(open_source(file), name) for name in open_source(file).parts()}
    rewrite_signatures(file, bundle.signatures, (), (), (signer.signed,))
    after = {name: document(open_source(file), name) for name in open_source(file).parts()}
    assert {name for name in before if before[name] != after.get(name)} == {layout.TRANSPORT_SIGNATURES}
    with pytest.raises(TrustError):
        believed(file, signer)
    rewrite_signatures(file, bundle.signatures, (), bundle.transport_signatures, ())
    assert {name: document(open_source(file), name) for name in open_source(file).parts()} == before


@pytest.mark.parametrize("is_file", [True, False])
def test_a_reissue_keeps_the_objects_and_drops_the_signatures(
    is_file: bool, file: Path, signer: Signer
) -> None:
    from dataclasses import replace

    path = file if is_file else folder_of(file)
    old = read_bundle(open_source(path))
    reissue(path, replace(old.release, seq=9))
    new = read_bundle(open_source(path))
    assert (new.release.seq, new.signatures, new.transport_signatures) == (9, (), ())
    assert new.objects == old.objects
    message = TRANSPORT_CONTEXT + new.transport
    release = RELEASE_CONTEXT + new.release.encode()
    sign = signer.release_key.sign
    rewrite_signatures(path, (sign(release),), (), (sign(message),), ())
    assert believed(path, signer).release.seq == 9


def test_a_failed_rewrite_leaves_the_bundle_as_it_was(file: Path, signer: Signer) -> None:
    whole = file.read_bytes()
    with pytest.raises(TypeError):
        rewrite(file, {"release.json": None})  # type: ignore[dict-item]
    assert file.read_bytes() == whole
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def leave_out(path: Path, layer: str, signer: Signer) -> None:
    """What a bundle for a box with an earlier release looks like: a layer's manifest and objects stay at home."""
    from dataclasses import replace

    bundle = read_bundle(open_source(path))
    others = {entry.sha256 for name in LAYERS if name != layer for entry in bundle.manifests[name].values()}
    gone = {entry.sha256 for entry in bundle.manifests[layer].values()} - others
    digest = bundle.release.layers[layer].manifest
    transport = decode_transport(bundle.transport)
    less = replace(
        transport,
        manifests=tuple(item for item in transport.manifests if item != digest),
        objects={sha256: stored for sha256, stored in transport.objects.items() if sha256 not in gone},
    )
    drop = [layout.manifest(digest), *(layout.object_(sha256) for sha256 in gone)]
    rewrite(path, {layout.TRANSPORT: less.encode()}, drop)
    signature = signer.release_key.sign(TRANSPORT_CONTEXT + less.encode())
    rewrite_signatures(path, bundle.signatures, (), (signature,), ())


def test_a_bundle_may_leave_a_layer_out_that_the_box_knows(file: Path, signer: Signer) -> None:
    whole = read_bundle(open_source(file))
    digest = whole.release.layers["runtime"].manifest
    manifest = document(open_source(file), layout.manifest(digest))
    leave_out(file, "runtime", signer)
    with pytest.raises(MissingPart, match=r"the manifest of runtime .* neither travels nor is on this box"):
        read_bundle(open_source(file))
    bundle = read_bundle(open_source(file), lambda wanted: manifest if wanted == digest else None)
    assert bundle.identity == whole.identity
    assert bundle.carried == {"dependencies", "application"}
    assert set(bundle.absent) == set(whole.objects) - set(bundle.objects)
    with pytest.raises(SealiftError):
        read_bundle(open_source(file), lambda wanted: manifest.replace(b"boot", b"root"))


def test_links_in_a_layer_do_not_travel_and_all_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "c\\d").write_text("x")
    with pytest.raises(SealiftError) as caught:
        hash_layer(tmp_path, Silent())
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["b", "c\\d"]
