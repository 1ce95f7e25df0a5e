"""A bundle in volumes: the same bundle, whatever the cut; and nothing but the volumes of one writing."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.docs.second_reader import Refused, second_reader
from tests.made_bundles import FILES, Signer, make_bundle, make_signer, tree_hash
from tests.made_volumes import flip, write_volumes

from sealift.bundle import layout, tar
from sealift.bundle.read import VerifiedBundle, read_bundle, verify, verify_objects
from sealift.bundle.source import open_source
from sealift.bundle.volumes import Cut, Volume, Volumes, check_piece, read_volume
from sealift.carry.cut import cut
from sealift.errors import (
    BundleError,
    DigestMismatch,
    MalformedBundle,
    MissingPart,
    SealiftError,
    TrustError,
    UsageError,
)
from sealift.trust.vouch import Policy

BIG: Mapping[str, bytes] = FILES | {
    "application/models/m/model.onnx": random.Random(7).randbytes(7000),
    "application/models/m/more.bin": random.Random(8).randbytes(5000),
    "application/models/m/words.txt": b"many words, much the same " * 400,
}


@pytest.fixture(scope="module")
def signer() -> Signer:
    return make_signer()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, signer: Signer) -> Path:
    return make_bundle(tmp_path_factory.mktemp("whole"), signer, files=BIG).path


def bytes_of(volume: Volume, name: str) -> bytes:
    with volume.open(name) as stream:
        return stream.read()


@pytest.fixture
def volumes(tmp_path: Path, whole: Path) -> list[Path]:
    return write_volumes(tmp_path / "usb", whole, 1000)


def believed(path: Path, signer: Signer) -> VerifiedBundle:
    bundle = read_bundle(open_source(path))
    verify_objects(bundle)
    return verify(bundle, signer.signed.root, Policy())


@pytest.mark.parametrize("span", [40, 512, 1000, 10**6])
def test_volumes_are_the_bundle_whatever_the_cut(
    span: int, whole: Path, signer: Signer, tmp_path: Path
) -> None:
    total = sum(stored.stored_size for stored in read_bundle(open_source(whole)).objects.values())
    if total // span > 900:
        span = total // 900
    paths = write_volumes(tmp_path / "usb", whole, span)
    assert len(paths) == -(-total // span)
    assert believed(tmp_path / "usb", signer).identity == believed(whole, signer).identity
    assert believed(paths[-1], signer).identity == believed(whole, signer).identity
    assert open_source(tmp_path / "usb").parts() == open_source(whole).parts()
    assert second_reader(tmp_path / "usb", signer.signed.encode()) == believed(whole, signer).identity


@given(total=st.integers(1, 10**13), span=st.integers(1, 2**33 - 1), data=st.data())
def test_the_pieces_cover_the_stream_once(total: int, span: int, data: st.DataObject) -> None:
    found = Cut(total, span)
    number = data.draw(st.integers(1, found.count))
    offset, size = found.extent(number)
    assert 1 <= size <= span
    assert offset == (0 if number == 1 else sum(found.extent(number - 1)))
    assert sum(found.extent(found.count)) == total
    assert list(found.numbers(offset, size)) == [number]
    assert found.numbers(0, total) == range(1, found.count + 1)


@given(most=st.integers(15500, 40000))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_volume_is_larger_than_asked_for(most: int, whole: Path) -> None:
    cutting = cut(read_bundle(open_source(whole)), most)
    if cutting is not None:
        sizes = [cutting.size(number) for number in range(1, cutting.count + 1)]
        assert max(sizes) <= most
        assert len(sizes) < 3 or min(sizes[:-1]) > most - 3072  # nor much smaller


def test_a_size_that_holds_not_even_the_documents_is_refused(whole: Path) -> None:
    with pytest.raises(UsageError, match="volumes of 1000 bytes are too small"):
        cut(read_bundle(open_source(whole)), 1000)
    assert cut(read_bundle(open_source(whole)), 10**6) is None


def test_a_missing_volume_is_named_with_its_file(volumes: list[Path], signer: Signer) -> None:
    volumes[1].unlink()
    with pytest.raises(MissingPart, match=r"1 of \d+ volumes are not here") as caught:
        believed(volumes[0].parent, signer)
    assert caught.value.problems == (f"volume 2: {volumes[1].name}",)
    there = open_source(volumes[0].parent, may_lack=True)
    assert isinstance(there, Volumes)
    assert there.missing == (2,)
    held = next(sha for sha in there.stream.offsets if 2 in there.stream.numbers(sha))
    with pytest.raises(MissingPart, match=r"volumes are not here"):
        there.open(layout.object_(held))


def test_names_do_not_matter_and_other_files_are_nobody_s_business(
    volumes: list[Path], signer: Signer
) -> None:
    """Shuffled by their names, and as other systems and people leave a stick."""
    folder = volumes[0].parent
    for number, path in enumerate(reversed(volumes)):
        path.rename(folder / f"FRAUD~{number}.sealift")
    (folder / "SHA256SUMS").write_text("x")
    (folder / "._FRAUD~1.sealift").write_bytes(b"\0\5\x16\7")
    assert believed(folder, signer).release.version == "1.0"


def test_a_volume_that_lies_there_twice_is_taken_once(volumes: list[Path], signer: Signer) -> None:
    shutil.copy(volumes[1], volumes[1].with_name("Copy of 2.sealift"))
    assert believed(volumes[0].parent, signer).release.version == "1.0"


@pytest.mark.parametrize("what", ["bundle", "cut"])
def test_volumes_of_two_sets_in_one_folder_are_named(
    what: str, volumes: list[Path], whole: Path, signer: Signer, tmp_path: Path
) -> None:
    if what == "bundle":
        whole = make_bundle(tmp_path, signer, version="2.0", seq=2, files=BIG).path
    others = write_volumes(tmp_path / "other", whole, 1000 if what == "bundle" else 999, "b")
    shutil.copy(others[0], volumes[0].with_name("b.v01-of-99.sealift"))
    with pytest.raises(MalformedBundle, match=f"several {what}s") as caught:
        believed(volumes[0].parent, signer)
    assert len(caught.value.problems) == len(volumes) + 1
    assert believed(volumes[0], signer).release.version == "1.0"  # a file of the one that is meant


def test_volumes_beside_a_bundle_are_two_bundles(volumes: list[Path], whole: Path) -> None:
    shutil.copytree(whole, volumes[0].parent / "bundle")
    with pytest.raises(UsageError, match="bundles there"):
        open_source(volumes[0].parent)


def test_a_damaged_piece_is_found_with_the_name_of_its_file(volumes: list[Path], signer: Signer) -> None:
    flip(volumes[2], read_volume(volumes[2]).index[layout.PIECE].offset + 5)
    with pytest.raises(DigestMismatch):
        believed(volumes[0].parent, signer)
    for path in volumes:
        if path == volumes[2]:
            with pytest.raises(DigestMismatch, match=r"v03-of-\d\d\.sealift \(volume 3 of"):
                check_piece(read_volume(path))
        else:
            check_piece(read_volume(path))


def judged_alone(path: Path, signer: Signer) -> None:
    """As a box judges a medium with one volume."""
    alone = Volumes([read_volume(path)])
    verify(read_bundle(alone), signer.signed.root, Policy())
    check_piece(alone.volumes[min(alone.volumes)])


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_of_any_volume_is_refused_or_changes_nothing(
    data: st.DataObject, whole: Path, signer: Signer, tmp_path: Path
) -> None:
    """Looked at alone, a volume refuses every one; together, only the digest of a piece may go unseen."""
    folder = tmp_path / "usb"
    volumes = sorted(folder.iterdir()) if folder.exists() else write_volumes(folder, whole, 6000)
    path = data.draw(st.sampled_from(volumes))
    at, bit = data.draw(st.integers(0, path.stat().st_size - 1)), data.draw(st.integers(0, 7))
    flip(path, at, bit)
    try:
        with pytest.raises(SealiftError) as caught:
            judged_alone(path, signer)
        assert 10 <= caught.value.exit_code < 30, (at, bit, caught.value)
        with pytest.raises(Refused):
            second_reader(folder, signer.signed.encode())
        with contextlib.suppress(BundleError, TrustError):
            assert believed(folder, signer).identity == believed(whole, signer).identity
            assert 512 <= at < 1536  # inside volume.json: the digest of a piece, which only serves to refuse
    finally:
        flip(path, at, bit)


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(512), bytes(10240)])
def test_what_is_appended_to_a_volume_is_refused(more: bytes, volumes: list[Path], signer: Signer) -> None:
    with volumes[1].open("ab") as stream:
        stream.write(more)
    with pytest.raises(BundleError, match=r"v02-of-\d\d\.sealift.*expected the end of the container"):
        believed(volumes[0].parent, signer)


def test_a_truncated_volume_is_refused_with_its_name(volumes: list[Path], signer: Signer) -> None:
    size = volumes[1].stat().st_size
    for less in (1, 512, 1024, size - 512, size - 1):
        shutil.copy(volumes[1], volumes[1].with_suffix(".kept"))
        with volumes[1].open("r+b") as stream:
            stream.truncate(size - less)
        with pytest.raises(BundleError, match=r"v02-of-\d\d\.sealift"):
            believed(volumes[0].parent, signer)
        volumes[1].with_suffix(".kept").rename(volumes[1])


def rewritten(path: Path, **changes: object) -> None:
    """The volume with another volume.json, otherwise in its one encoding."""
    from sealift import canonical

    volume = read_volume(path)
    parts = {name: bytes_of(volume, name) for name in volume.index}
    document = canonical.decode(parts[layout.VOLUME], "volume") | changes
    parts[layout.VOLUME] = canonical.encode(
        {key: value for key, value in document.items() if value is not None}
    )
    with path.open("wb") as stream:
        tar.write_parts(
            stream, [(name, len(data), iter((data,))) for name, data in parts.items()], layout.volume_rank
        )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"number": 3}, "its piece is not the one that transport.json gives for volume 3"),
        ({"number": 0}, "number 0 of"),
        ({"number": 99}, "number 99 of"),
        ({"count": 998}, "its piece is not the one"),
        ({"offset": 1001}, "its piece is not the one"),
        ({"size": 999}, "its piece is not the one"),
        ({"span": 0}, "number 2 of"),
        ({"release": "0" * 64}, "release.json is not the one that its volume.json names"),
        ({"transport": "0" * 64}, "transport.json is not the one that its volume.json names"),
        ({"format": "sealift-volume/2"}, "expected format sealift-volume/1"),
        ({"more": 1}, "unknown keys"),
        ({"sha256": None}, "missing keys"),
    ],
)
def test_a_volume_that_says_another_thing_of_itself_is_refused(
    changes: dict[str, object], says: str, volumes: list[Path], signer: Signer
) -> None:
    rewritten(volumes[1], **changes)
    with pytest.raises(Refused):
        second_reader(volumes[0].parent, signer.signed.encode())
    with pytest.raises((BundleError, TrustError), match=says):
        Volumes([read_volume(volumes[1])])
    with pytest.raises(SealiftError):
        believed(volumes[0].parent, signer)


def test_a_volume_with_a_part_of_another_name_is_refused(volumes: list[Path]) -> None:
    volume = read_volume(volumes[0])
    parts = [(name, extent.size, iter((bytes_of(volume, name),))) for name, extent in volume.index.items()]
    with volumes[0].open("wb") as stream:
        for name, size, chunks in [*parts, ("surprise", 1, iter((b"x",)))]:
            stream.write(tar.header(name, size) + b"".join(chunks) + bytes(tar.padding(size)))
        stream.write(tar.END)
    with pytest.raises(MalformedBundle, match="'surprise'"):
        read_volume(volumes[0])


def test_a_bundle_with_the_parts_of_a_volume_is_refused(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "bundle")
    (tmp_path / "bundle" / "piece").write_bytes(b"x")
    with pytest.raises(MalformedBundle, match="a name that no bundle has"):
        read_bundle(open_source(tmp_path / "bundle"))


def test_other_signatures_in_one_of_the_volumes_are_named(
    volumes: list[Path], whole: Path, signer: Signer, tmp_path: Path
) -> None:
    from sealift.bundle.write import rewrite

    unsigned = tmp_path / "unsigned"
    shutil.copytree(whole, unsigned)
    rewrite(unsigned, {}, drop=(layout.RELEASE_SIGNATURES,))
    others = write_volumes(tmp_path / "other", unsigned, 1000)
    shutil.copy(others[1], volumes[1])
    with pytest.raises(MalformedBundle, match="different signatures, roots or manifests"):
        believed(volumes[0].parent, signer)


def test_volumes_are_never_written_over_by_a_signature(volumes: list[Path], signer: Signer) -> None:
    """The folder is a medium with other things on it."""
    from sealift.bundle.write import rewrite_signatures

    (volumes[0].parent / "holiday.jpg").write_bytes(b"x")
    before = tree_hash(volumes[0].parent)
    for place in (volumes[0].parent, volumes[0]):
        with pytest.raises(UsageError, match="a bundle in volumes stays as it was cut"):
            rewrite_signatures(place, (), (), (), (signer.signed,))
    assert tree_hash(volumes[0].parent) == before
