"""A bundle folder is believed only when every document, signature and object fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.made_bundles import FILES, Signer, make_bundle, make_signer

from sealift import canonical
from sealift.bundle import layout
from sealift.bundle.read import VerifiedBundle, read_bundle, verify, verify_objects
from sealift.bundle.source import Folder, open_source
from sealift.errors import (
    BadSignature,
    DigestMismatch,
    MalformedBundle,
    MissingPart,
    SealiftError,
    UnknownKey,
    UsageError,
)
from sealift.trust.vouch import Policy


@pytest.fixture
def signer() -> Signer:
    return make_signer()


@pytest.fixture
def bundle(tmp_path: Path, signer: Signer) -> Path:
    return make_bundle(tmp_path, signer).path


def check(bundle: Path, signer: Signer) -> VerifiedBundle:
    unverified = read_bundle(open_source(bundle))
    verify_objects(unverified)
    return verify(unverified, signer.signed.root, Policy())


def an_object(bundle: Path) -> Path:
    return max(
        (path for path in (bundle / "objects").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )


def test_a_signed_bundle_verifies_and_names_every_file(bundle: Path, signer: Signer) -> None:
    verified = check(bundle, signer)
    assert {path for path, _ in verified.files()} == set(FILES)
    assert verified.signers == (signer.release_key.public.key_id,)
    assert {path for path, entry in verified.files() if entry.executable} == {"runtime/tool"}


def test_packing_the_same_tree_twice_gives_the_same_bytes(tmp_path: Path, signer: Signer) -> None:
    one = make_bundle(tmp_path / "a", signer).path
    two = make_bundle(tmp_path / "b", signer).path
    files = {path.relative_to(one): path.read_bytes() for path in one.rglob("*") if path.is_file()}
    assert files == {path.relative_to(two): path.read_bytes() for path in two.rglob("*") if path.is_file()}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


ATTACKS: dict[str, tuple[Callable[[Path], object], type[SealiftError]]] = {
    "edited object": (lambda b: flip(an_object(b)), DigestMismatch),
    "missing object": (lambda b: an_object(b).unlink(), MissingPart),
    "truncated object": (lambda b: an_object(b).write_bytes(b"x"), MalformedBundle),
    "extra object": (lambda b: (b / "objects" / "zz").write_bytes(b"x"), MalformedBundle),
    "extra file": (lambda b: (b / "autorun.sh").write_bytes(b"x"), MalformedBundle),
    "object is a link": (lambda b: relink(an_object(b)), MalformedBundle),
    "edited release": (lambda b: flip_version(b), SealiftError),
    "edited manifest": (lambda b: flip(next((b / "manifests").iterdir())), DigestMismatch),
    "missing manifest": (lambda b: next((b / "manifests").iterdir()).unlink(), MissingPart),
    "edited transport": (lambda b: flip(b / layout.TRANSPORT), MalformedBundle),
    "no signature": (lambda b: (b / layout.RELEASE_SIGNATURES).unlink(), UnknownKey),
    "no transport signature": (lambda b: (b / layout.TRANSPORT_SIGNATURES).unlink(), UnknownKey),
    "edited signature": (lambda b: swap_signature(b), BadSignature),
    "edited root inside": (lambda b: flip(b / "roots" / "1.json"), SealiftError),
}


def relink(path: Path) -> None:
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target.name)


def flip_version(bundle: Path) -> None:
    path = bundle / layout.RELEASE
    path.write_bytes(path.read_bytes().replace(b'"version":"1.0"', b'"version":"9.0"'))


def swap_signature(bundle: Path) -> None:
    """The transport's valid signature in place of the release's: a signature of another kind."""
    doc = canonical.decode((bundle / layout.TRANSPORT_SIGNATURES).read_bytes(), "x") | {"approvals": []}
    (bundle / layout.RELEASE_SIGNATURES).write_bytes(canonical.encode(doc))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attacked_bundle_is_refused(attack: str, bundle: Path, signer: Signer) -> None:
    change, expected = ATTACKS[attack]
    change(bundle)
    with pytest.raises(expected) as caught:
        check(bundle, signer)
    assert 10 <= caught.value.exit_code < 30


def test_a_bundle_of_a_stranger_is_refused(bundle: Path) -> None:
    with pytest.raises(UnknownKey, match="0 of them may sign fraud"):
        verify(read_bundle(Folder(bundle)), make_signer().signed.root, Policy())


def test_a_key_for_other_products_is_refused(tmp_path: Path) -> None:
    signer = make_signer(("vision*",))
    bundle = make_bundle(tmp_path, signer).path
    with pytest.raises(UnknownKey, match="0 of them may sign fraud"):
        check(bundle, signer)


def test_an_unsigned_bundle_can_be_read_but_not_verified(tmp_path: Path, signer: Signer) -> None:
    bundle = read_bundle(Folder(make_bundle(tmp_path, None).path))
    with pytest.raises(UnknownKey, match="not signed by anybody"):
        verify(bundle, signer.signed.root, Policy())


def test_the_release_of_another_bundle_is_refused(tmp_path: Path, bundle: Path, signer: Signer) -> None:
    other = make_bundle(tmp_path, signer, version="2.0", seq=2).path
    for name in (layout.RELEASE, layout.RELEASE_SIGNATURES):
        (bundle / name).write_bytes((other / name).read_bytes())
    with pytest.raises(MalformedBundle, match=r"transport\.json carries"):
        check(bundle, signer)


def test_a_medium_with_one_bundle_is_opened_and_one_with_two_is_not(tmp_path: Path, signer: Signer) -> None:
    medium = tmp_path / "usb"
    medium.mkdir()
    with pytest.raises(UsageError, match="no bundle there"):
        open_source(medium)
    make_bundle(tmp_path, signer).path.rename(medium / "one")
    assert open_source(medium).name == str(medium / "one")
    make_bundle(tmp_path, signer, seq=2).path.rename(medium / "two")
    with pytest.raises(UsageError) as caught:
        open_source(medium)
    assert caught.value.problems == (str(medium / "one"), str(medium / "two"))


def test_a_root_under_another_number_is_refused(bundle: Path, signer: Signer) -> None:
    (bundle / "roots" / "1.json").rename(bundle / "roots" / "2.json")
    with pytest.raises(MalformedBundle, match="holds version 1"):
        check(bundle, signer)


def test_the_identity_is_the_digest_of_release_json(bundle: Path) -> None:
    raw = (bundle / layout.RELEASE).read_bytes()
    assert read_bundle(Folder(bundle)).identity == canonical.digest(raw)
