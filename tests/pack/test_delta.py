"""What travels of a release for boxes that have an older one: no more than must, and never less."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.made_bundles import FILES, Signer, make_bundle, make_signer, tree_hash, write_tree

from sealift.bundle.bases import BundleObjects, manifest_in
from sealift.bundle.documents import LAYERS
from sealift.bundle.read import UnverifiedBundle, read_bundle, verify, verify_objects
from sealift.bundle.source import open_source
from sealift.bundle.write import hash_layer
from sealift.cli.explaining import as_json, as_text, carried, delta_notes
from sealift.errors import DigestMismatch, MissingPart, UsageError
from sealift.events import Silent
from sealift.pack.delta import (
    LARGER,
    NEW_FILE,
    NOT_IN_ALL,
    Plan,
    Predecessor,
    check_base,
    plan_delta,
    require_bases,
)
from sealift.pack.explain import Part
from sealift.pack.pack import Packed
from sealift.trust.vouch import Policy

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute

MODEL = "application/models/m/model.onnx"
LIB = "dependencies/foo.libs/libfoo-0cf96a72.so.1.30"
NEW_LIB = "dependencies/foo.libs/libfoo-15028c96.so.1.32"


def noise(size: int, seed: int = 1) -> bytes:
    return hashlib.shake_256(bytes([seed])).digest(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


WEIGHTS, CODE = noise(20_000), noise(30_000, 2)
OLD = FILES | {MODEL: WEIGHTS, LIB: CODE, "dependencies/foo-1.0.dist-info/METADATA": b"Version: 1.0\n" * 20}
NEW = {
    name: data for name, data in OLD.items() if name not in (LIB, "dependencies/foo-1.0.dist-info/METADATA")
} | {
    MODEL: WEIGHTS[:9000] + b"learned" + WEIGHTS[9007:],
    NEW_LIB: CODE[:100] + CODE[120:],
    "dependencies/foo-1.1.dist-info/METADATA": b"Version: 1.1\n" * 20,
    "dependencies/brand.new": noise(500, 3),
}


@pytest.fixture
def signer() -> Signer:
    return make_signer()


@pytest.fixture
def old(tmp_path: Path, signer: Signer) -> Packed:
    return make_bundle(tmp_path, signer, files=OLD)


def delta(
    folder: Path, signer: Signer, *olds: Packed, files: Mapping[str, bytes] = NEW, seq: int = 9
) -> Packed:
    paths = [old.path for old in olds]
    return make_bundle(folder, signer, version="2.0", seq=seq, files=files, olds=paths)


def opened(packed: Packed, *olds: Packed, may_lack: bool = False) -> UnverifiedBundle:
    bundles = [read_bundle(open_source(old.path)) for old in olds]

    def known(sha256: str) -> bytes | None:
        return next((data for bundle in bundles if (data := manifest_in(bundle, sha256))), None)

    return read_bundle(open_source(packed.path), known, may_lack=may_lack)


def applied(packed: Packed, old: Packed, folder: Path) -> dict[str, bytes]:
    """Every file of the release, on a box that has nothing but `old`."""
    base = opened(old)
    folder.mkdir(exist_ok=True)
    find = BundleObjects([base], folder)
    bundle = opened(packed, old)
    verified = verify(bundle, bundle.roots[-1].root, Policy())
    assert verify_objects(bundle, base=find) == ()
    found = {}
    for name in LAYERS:
        for path, entry in bundle.manifests[name].items():
            place = folder / f"{entry.sha256}.out"
            if entry.sha256 in bundle.objects:
                with place.open("wb") as sink:
                    verified.copy_object(entry.sha256, sink, find)
            else:
                source = find(entry.sha256)
                assert source is not None, f"{name}/{path} neither travels nor is in the base"
                place = source
            found[f"{name}/{path}"] = place.read_bytes()
    return found


def test_a_box_with_the_old_release_gets_the_new_one_whole(
    tmp_path: Path, signer: Signer, old: Packed
) -> None:
    packed = delta(tmp_path, signer, old)
    assert applied(packed, old, tmp_path / "box") == NEW | {"application/sbom.cdx.json": b"{}"}


def test_the_identity_is_that_of_the_full_bundle(tmp_path: Path, signer: Signer, old: Packed) -> None:
    full = make_bundle(tmp_path / "full", signer, version="2.0", seq=9, files=NEW)
    packed = delta(tmp_path, signer, old)
    assert packed.release.encode() == full.release.encode()
    assert packed.stored_size < full.stored_size / 5


def test_a_delta_made_twice_is_the_same_to_the_byte(tmp_path: Path, signer: Signer, old: Packed) -> None:
    one, two = (delta(tmp_path / name, signer, old) for name in "ab")
    assert tree_hash(one.path) == tree_hash(two.path)


def test_an_unchanged_layer_sends_neither_objects_nor_manifest(
    tmp_path: Path, signer: Signer, old: Packed
) -> None:
    packed = delta(tmp_path, signer, old, files=OLD | {MODEL: NEW[MODEL]})
    bundle = opened(packed, old)
    assert bundle.carried == {"application"}
    assert list(bundle.objects) == [digest(NEW[MODEL])]
    assert [layer.codecs for layer in packed.explanation.layers] == [{}, {}, {"zstd-prefix": 1}]


def test_each_object_says_what_it_was_made_from_or_why_it_was_not(
    tmp_path: Path, signer: Signer, old: Packed
) -> None:
    parts = {part.path: part for part in delta(tmp_path, signer, old).explanation.parts}
    assert (parts[NEW_LIB].codec, parts[NEW_LIB].source) == ("zstd-prefix", LIB)
    assert (parts[MODEL].codec, parts[MODEL].source) == ("zstd-prefix", MODEL)
    assert parts["dependencies/brand.new"].why == NEW_FILE
    metadata = parts["dependencies/foo-1.1.dist-info/METADATA"]
    assert (metadata.codec, metadata.source, metadata.why) == ("zstd", None, LARGER)
    assert len(parts) == 4


def test_the_explanation_is_a_table_the_costliest_first(tmp_path: Path, signer: Signer, old: Packed) -> None:
    packed = delta(tmp_path, signer, old)
    text = as_text(packed.explanation)
    rows = text.splitlines()
    assert rows[0].split() == ["layer", "files", "size", "the", "box", "has", "travels", "manifest", "as"]
    assert rows[1].endswith("nothing travels")
    costs = [part.stored_size for part in packed.explanation.parts]
    assert costs == sorted(costs, reverse=True)
    assert "objects that travel" in text
    line = next(row for row in rows if NEW_LIB in row)
    assert line.split() == [*line.split()[:2], "30.0", "kB", "zstd-prefix", NEW_LIB, "from", LIB]
    facts = as_json(packed.explanation)
    assert [item["path"] for item in facts["objects"]] == [part.path for part in packed.explanation.parts]
    assert (
        sum(item["stored_size"] for item in facts["objects"])
        + facts["documents_size"]
        + sum(layer["manifest_size"] for layer in facts["layers"].values())
        == packed.stored_size
    )


def test_a_full_bundle_is_explained_as_well(old: Packed) -> None:
    cost = old.explanation
    assert cost.full_size == cost.stored_size
    assert cost.parts[0] == Part(LIB, "raw", 30_000, 30_000, None, "")
    assert LIB in as_text(cost)
    assert delta_notes(old) == []
    assert carried(old).endswith("MB to carry")


def test_the_full_size_is_about_what_the_full_bundle_is(tmp_path: Path, signer: Signer, old: Packed) -> None:
    full = make_bundle(tmp_path / "full", signer, version="2.0", seq=9, files=NEW)
    packed = delta(tmp_path, signer, old)
    assert abs(packed.explanation.full_size - full.stored_size) < 2000
    assert "% of the full bundle's" in carried(packed)
    assert f"made for a box that has fraud 1.0 (sha256:{old.release.identity[:4]}" in carried(packed)


def test_with_several_bases_only_what_all_have_stays_at_home(
    tmp_path: Path, signer: Signer, old: Packed
) -> None:
    middle_files = OLD | {MODEL: NEW[MODEL], LIB: CODE + b"!"}
    middle = make_bundle(tmp_path, signer, version="1.5", seq=5, files=middle_files)
    packed = delta(tmp_path, signer, old, middle)
    bundle = opened(packed, old, middle)
    assert [base.version for base in sorted(bundle.bases, key=lambda base: base.seq)] == ["1.0", "1.5"]
    everything = NEW | {"application/sbom.cdx.json": b"{}"}
    assert applied(packed, old, tmp_path / "one") == everything
    assert applied(packed, middle, tmp_path / "two") == everything
    assert {part.path: part.why for part in packed.explanation.parts}[MODEL] == NOT_IN_ALL
    common = {digest(data) for data in OLD.values()} & {digest(data) for data in middle_files.values()}
    assert {stored.source for stored in bundle.objects.values() if stored.source} <= common


def test_a_file_that_only_became_executable_travels(tmp_path: Path, signer: Signer) -> None:
    """On a box its two modes are two objects."""
    old = make_bundle(tmp_path, signer, files={**FILES, "runtime/a/tool": b"x", "runtime/script": noise(900)})
    new = {**FILES, "runtime/a/tool": b"x", "runtime/b/tool": noise(900)}
    bundle = opened(delta(tmp_path, signer, old, files=new), old)
    assert set(bundle.objects) == {digest(noise(900))}


def test_no_source_travels_itself(tmp_path: Path, signer: Signer) -> None:
    """`x` becomes executable, so it travels; `y` looks like it and must not be made from it."""
    old = make_bundle(tmp_path, signer, files={**FILES, "runtime/x": noise(900)})
    bundle = opened(
        delta(tmp_path, signer, old, files={**FILES, "runtime/tool": noise(900), "runtime/x": noise(901)}),
        old,
    )
    assert set(bundle.objects) == {digest(noise(900)), digest(noise(901))}
    assert {stored.source for stored in bundle.objects.values()} == {None}


def test_where_nothing_is_shared_everything_travels_and_it_says_so(tmp_path: Path, signer: Signer) -> None:
    old = make_bundle(tmp_path, signer, files={"runtime/x": noise(500)})
    packed = delta(tmp_path, signer, old, files={"runtime/y": noise(500, 2), "application/z": noise(50, 3)})
    assert opened(packed, old).absent == {digest(b"{}"): 2}
    other = delta(tmp_path / "2", signer, old, files={"runtime/y": noise(90_000, 2)})
    assert "most of this release is new to the bases" in delta_notes(other)[0]
    all_new = replace(other, explanation=replace(other.explanation, full_size=other.stored_size))
    assert "the bases have nothing that this release needs: carry a full bundle" in delta_notes(all_new)[0]


def test_the_same_content_again_sends_nothing_but_documents(
    tmp_path: Path, signer: Signer, old: Packed
) -> None:
    packed = delta(tmp_path, signer, old, files=OLD)
    bundle = opened(packed, old)
    assert (dict(bundle.objects), bundle.carried) == ({}, frozenset())
    assert "objects that travel" not in as_text(packed.explanation)


FRAGMENTS = [noise(300, seed) for seed in range(4)]
CONTENT = st.lists(st.sampled_from([*FRAGMENTS, b"", b"x", b"word " * 30]), max_size=4).map(b"".join)
NAMES = st.sampled_from(
    [
        "runtime/a.so.1",
        "runtime/a.so.2",
        "runtime/tool",
        "dependencies/p-1.0/m",
        "dependencies/p-2.0/m",
        "application/m",
    ]
)
TREES = st.dictionaries(NAMES, CONTENT, max_size=6)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(trees=st.lists(TREES, min_size=2, max_size=3))
def test_whatever_two_releases_hold_the_delta_of_them_gives_the_second(
    tmp_path_factory: pytest.TempPathFactory, trees: list[dict[str, bytes]]
) -> None:
    """apply(base, delta(base, new)) == new, for every base."""
    folder, signer = tmp_path_factory.mktemp("delta"), make_signer()
    *bases, new = trees
    olds = [
        make_bundle(folder, signer, version=f"1.{at}", seq=at + 1, files=files)
        for at, files in enumerate(bases)
    ]
    packed = delta(folder, signer, *olds, files=new)
    for at, old in enumerate(olds):
        assert applied(packed, old, folder / f"box{at}") == new | {"application/sbom.cdx.json": b"{}"}


def flipped(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 1
    path.write_bytes(data)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_any_flipped_byte_of_a_delta_is_refused(
    tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("flip")
    signer = make_signer()
    old = make_bundle(folder, signer, files=OLD)
    packed = delta(folder, signer, old)
    parts = sorted(path for path in packed.path.rglob("*") if path.is_file())
    path = draw.draw(st.sampled_from(parts))
    flipped(path, draw.draw(st.integers(0, 10_000)))
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its exit code is what is looked at
        applied(packed, old, folder / "box")
    assert 10 <= getattr(caught.value, "exit_code", 0) < 30, caught.value


def test_without_its_base_a_delta_is_looked_at_in_part(tmp_path: Path, signer: Signer, old: Packed) -> None:
    packed = delta(tmp_path, signer, old)
    with pytest.raises(MissingPart) as caught:
        opened(packed)
    named = (
        f"made for a box that has fraud 1.0 (sha256:{old.release.identity[:4]}-{old.release.identity[4:8]})"
    )
    assert named in caught.value.message
    assert caught.value.next_step is not None
    assert (
        "carry the full bundle, or a delta from what this box has (sealift status shows it)"
        in caught.value.next_step
    )
    bundle = opened(packed, may_lack=True)
    assert bundle.lacking == {"runtime"}
    assert verify_objects(bundle) == tuple(sorted((digest(NEW[MODEL]), digest(NEW[NEW_LIB]))))
    with pytest.raises(MissingPart, match="files of runtime are not known"):
        verify(bundle, signer.signed.root, Policy())


def test_a_base_that_is_gone_or_damaged_is_named_with_what_to_carry(
    tmp_path: Path, signer: Signer, old: Packed
) -> None:
    packed = delta(tmp_path, signer, old)
    bundle = verify(opened(packed, old), signer.signed.root, Policy())
    damaged = tmp_path / "damaged"
    damaged.write_bytes(WEIGHTS[:-1] + b"?")
    with pytest.raises(MissingPart) as gone:
        bundle.copy_object(digest(NEW[MODEL]), None)
    with pytest.raises(DigestMismatch) as bad:
        bundle.copy_object(digest(NEW[MODEL]), None, lambda _: damaged)
    for caught in (gone, bad):
        assert "made for a box that has fraud 1.0 (sha256:" in caught.value.message
        assert "carry the full bundle, or a delta from" in str(caught.value.next_step)
    assert f"{damaged} is damaged" in bad.value.message
    with pytest.raises(MissingPart, match="does not travel in this bundle"):
        bundle.copy_object(digest(FILES["runtime/boot.py"]), None)


def test_a_damaged_base_is_refused_before_anything_is_packed(
    tmp_path: Path, signer: Signer, old: Packed
) -> None:
    part = max(
        (old.path / "objects").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0
    )
    flipped(part, 77)
    before = tree_hash(tmp_path)
    with pytest.raises(DigestMismatch):
        check_base(opened(old), Silent())
    assert tree_hash(tmp_path) == before


def test_bases_must_be_full_bundles_of_the_product(tmp_path: Path, signer: Signer, old: Packed) -> None:
    small = delta(tmp_path, signer, old)
    other = make_bundle(tmp_path / "other", signer, product="vision")
    given = [
        (packed.path, opened(packed, may_lack=True)) for packed in (other, small, old)
    ]  # fmt: skip
    with pytest.raises(UsageError) as caught:
        require_bases(given, "fraud")
    assert len(caught.value.problems) == 2
    assert f"{other.path}: is of vision, this project is fraud" in caught.value.problems[0]
    assert "does not hold all of fraud 2.0 (sha256:" in caught.value.problems[1]
    assert "give the full bundle of 2.0 (sha256:" in caught.value.problems[1]
    assert require_bases([given[2], given[2]], "fraud") == (given[2][1],)


def test_bases_are_ordered_by_sequence_and_bounded(tmp_path: Path, signer: Signer) -> None:
    made = [make_bundle(tmp_path, signer, version=f"1.{seq}", seq=seq) for seq in range(17, 0, -1)]
    given = [(packed.path, opened(packed)) for packed in made]
    assert [old.release.seq for old in require_bases(given[:3], "fraud")] == [15, 16, 17]
    with pytest.raises(UsageError, match="17 bases, at most 16"):
        require_bases(given, "fraud")


def test_the_plan_is_made_without_reading_an_object(tmp_path: Path, signer: Signer, old: Packed) -> None:
    bundle = opened(old)
    for path in (old.path / "objects").rglob("*/*"):
        path.unlink()
    tree = write_tree(tmp_path / "new", NEW)
    plan: Plan = plan_delta({name: hash_layer(tree / name, Silent()) for name in LAYERS}, [bundle])
    assert plan.objects[digest(NEW[NEW_LIB])] == Predecessor(digest(CODE), LIB)
    assert len(plan.manifests) == 2
