"""docs/reference/bundle-format.md is precise: a second reader, written from its clauses alone, agrees with ours."""

from __future__ import annotations

import ast
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.attacks.every import ATTACKS
from tests.attacks.forge import (
    FILES,
    MODEL,
    OLD_FILES,
    ONE_PATH,
    ROOT,
    Forge,
    container,
    delta,
    old_base,
    old_box,
    patch_of,
    root_part,
    signed_root,
    write_folder,
)
from tests.attacks.scene import Scene
from tests.attacks.table import Attack
from tests.docs import second_reader as page
from tests.docs.second_reader import Refused, digest, second_reader

from sealift.bundle import documents, frames, layout, read, transport
from sealift.bundle.read import read_bundle, verify, verify_objects
from sealift.bundle.source import open_source
from sealift.errors import SealiftError
from sealift.trust import keys, root
from sealift.trust.chain import follow
from sealift.trust.root import decode_root
from sealift.trust.vouch import Policy

FLIPS = 150


BOX = old_box()


def our_reader(path: Path, pinned: bytes, officers: int = 0) -> str:
    """sealift's own, on a box that has `BOX`. Raises: SealiftError."""
    with tempfile.TemporaryDirectory() as folder:

        def base(sha256: str) -> Path | None:
            if sha256 not in BOX:
                return None
            place = Path(folder, sha256)
            place.write_bytes(BOX[sha256])
            return place

        bundle = read_bundle(open_source(path), BOX.get)
        trusted = follow(decode_root(pinned).root, bundle.roots)
        verified = verify(bundle, trusted, Policy(officers))
        for sha256 in verified.bundle.objects:
            verified.copy_object(sha256, None, base)
        assert verify_objects(bundle, base=base) == ()
    return bundle.identity


def their_reader(path: Path, pinned: bytes, officers: int = 0) -> str:
    """The second one, on the same box. Raises: Refused."""
    return second_reader(path, pinned, officers, BOX)


def both_refuse(path: Path, pinned: bytes = ROOT, officers: int = 0) -> None:
    with pytest.raises(SealiftError) as caught:
        our_reader(path, pinned, officers)
    assert 10 <= caught.value.exit_code < 30, caught.value
    with pytest.raises(Refused):
        their_reader(path, pinned, officers)


NEW = ("new1", "new2", "new3")
SECOND = signed_root(root_part(2, roots=NEW), ("root1", "root2", "new2", "new3"))
THIRD_PART = root_part(
    3, roots=NEW, release={"cleo": ["f?a*"]}, release_threshold=1, revoked=("ben", "thief")
)
THIRD = signed_root(THIRD_PART, NEW)
ALONE = signed_root(
    root_part(release={"ada": ["*"]}, release_threshold=1, officers=(), officer_threshold=0),
    ("root1", "root3"),
)


@dataclass(frozen=True)
class Good:
    """A bundle that is let in, by the root that the box pinned and by how many officers it asks for."""

    forge: Forge
    pinned: bytes = ROOT
    officers: int = 0


BY_CLEO = Forge(signers=("cleo",), transport_signers=("cleo",), roots={1: ROOT, 2: SECOND, 3: THIRD})
LARGE_NEW = FILES[ONE_PATH] * 3000
LARGE = delta(
    files=FILES | {"application/large": LARGE_NEW},
    stored={
        digest(LARGE_NEW): (
            "zstd-prefix",
            patch_of(LARGE_NEW[: 1 << 23], OLD_FILES[ONE_PATH])
            + patch_of(LARGE_NEW[1 << 23 :], OLD_FILES[ONE_PATH]),
        )
    },
    of={digest(LARGE_NEW): digest(OLD_FILES[ONE_PATH])},
)
SAME = {name: data for name, data in FILES.items() if name.startswith("runtime/")}
GOOD = {
    "two release keys and an officer": Good(Forge()),
    "more signatures than are needed": Good(Forge(approvers=("officer", "deputy")), officers=2),
    "signatures that count for nothing": Good(
        Forge(signers=("ada", "ben", "mallory", "other"), approvers=("officer", "mallory"))
    ),
    "one release key, no officer, no roots": Good(
        Forge(signers=("ada",), transport_signers=("ada",), approvers=(), roots={}), ALONE
    ),
    "a chain of roots from the first": Good(BY_CLEO),
    "a chain of roots from the second": Good(BY_CLEO, SECOND),
    "a chain of roots, all of it history": Good(BY_CLEO, THIRD),
    "every object raw": Good(Forge(stored={MODEL: ("raw", FILES["application/models/m/model.onnx"])})),
    "files that are empty, nested, foreign and executable": Good(
        Forge(files=FILES | {"application/\u6a21\u578b/a/b/c/tool": b"x", "application/{,[": b""})
    ),
    "three equal layers": Good(
        Forge(files={f"{layer}/x": b"x" for layer in ("runtime", "dependencies", "application")})
    ),
    "no files at all": Good(Forge(files={})),
    "a delta with a patch": Good(delta()),
    "a delta from two releases": Good(
        delta(
            bases=sorted(
                [old_base(), old_base(identity="5" * 64, seq=4, version="4")],
                key=lambda base: base["identity"],
            )
        )
    ),
    "a delta with a patch of several blocks": Good(LARGE),
    "a delta that is nothing but patches": Good(delta(files=SAME | {ONE_PATH: FILES[ONE_PATH]})),
}


@pytest.mark.parametrize("what", GOOD)
def test_both_readers_accept_as_folder_and_as_file_and_name_it_alike(tmp_path: Path, what: str) -> None:
    good = GOOD[what]
    parts = good.forge.parts()
    file = tmp_path / "x.sealift"
    file.write_bytes(container(parts))
    folder = write_folder(tmp_path / "folder", parts)
    found = {
        reader(path, good.pinned, good.officers)
        for reader in (our_reader, their_reader)
        for path in (file, folder)
    }
    assert found == {page.digest(parts["release.json"])}


@pytest.mark.slow
@pytest.mark.parametrize(
    "attack", [item for item in ATTACKS.values() if item.about_bytes], ids=lambda attack: attack.name
)
def test_both_readers_refuse(attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, tmp_path / "box", monkeypatch)
    both_refuse(attack.make(scene), ROOT, scene.officers)


def test_both_readers_refuse_another_root(tmp_path: Path) -> None:
    bundle = tmp_path / "x.sealift"
    bundle.write_bytes(container(Forge(roots={}).parts()))
    assert our_reader(bundle, ROOT) == their_reader(bundle, ROOT)
    evil = signed_root(root_part(release={"mallory": ["*"]}, release_threshold=1))
    both_refuse(bundle, evil)


@pytest.mark.parametrize("product", ["frau", "afraud", "Fraud", "other-fraud"])
def test_both_readers_refuse_a_product_that_no_key_may_sign(tmp_path: Path, product: str) -> None:
    bundle = tmp_path / "x.sealift"
    bundle.write_bytes(container(Forge(product=product).parts()))
    both_refuse(bundle)


def change_container(data: bytes, draw: random.Random) -> bytes:
    """One bit flipped, one byte cut out, put in or moved."""
    at = draw.randrange(len(data))
    changes: list[Callable[[], bytes]] = [
        lambda: data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :],
        lambda: data[:at],
        lambda: data[:at] + data[at + 1 :],
        lambda: data[:at] + bytes([draw.randrange(256)]) + data[at:],
        lambda: data + bytes([draw.randrange(256)]),
        lambda: data[:at] + data[at : at + 512] + data[at:],
    ]
    return draw.choice(changes[:1] * 5 + changes[1:])()


@pytest.mark.slow
@pytest.mark.parametrize("forge", [BY_CLEO, delta()], ids=["a full bundle", "a delta"])
def test_both_readers_refuse_a_file_changed_anywhere(tmp_path: Path, forge: Forge) -> None:
    whole, file, draw = container(forge.parts()), tmp_path / "x.sealift", random.Random(20261122)
    for _ in range(FLIPS):
        file.write_bytes(change_container(whole, draw))
        both_refuse(file)


def change_part(parts: dict[str, bytes], draw: random.Random) -> dict[str, bytes]:
    """One bit of one part flipped; or a part dropped, emptied, swapped with another."""
    name, other = draw.sample(sorted(parts), 2)
    data = bytearray(parts[name])
    if data:
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return parts | draw.choice([{name: bytes(data)}, {name: parts[other], other: parts[name]}])


@pytest.mark.slow
@pytest.mark.parametrize("forge", [BY_CLEO, delta()], ids=["a full bundle", "a delta"])
def test_both_readers_say_the_same_of_a_folder_with_a_changed_part(tmp_path: Path, forge: Forge) -> None:
    parts, draw = forge.parts(), random.Random(20261122)
    for number in range(FLIPS):
        changed = change_part(parts, draw)
        if changed != parts:
            both_refuse(write_folder(tmp_path / str(number), changed))


def test_the_page_has_every_cap_and_context_of_the_code() -> None:
    words = Path(__file__).parents[2].joinpath("docs/reference/bundle-format.md").read_text(encoding="utf-8")
    caps = [
        layout.MAX_DOCUMENT_BYTES, layout.MAX_RELEASE_BYTES, layout.MAX_SIGNATURE_BYTES, layout.MAX_MARKS,
        layout.MAX_PARTS, frames.MAX_WINDOW, frames.BLOCK, frames.BASE_WINDOW, transport.MAX_BASES,
        documents.MAX_OBJECT_BYTES, documents.MAX_FILES, documents.MAX_PATH_BYTES,
        documents.MAX_NAME_BYTES, documents.MAX_PATH_DEPTH, read.MAX_ROOTS, keys.MAX_SIGNATURES, root.MAX_ROLE_KEYS,
        root.MAX_REVOKED,
    ]  # fmt: skip
    contexts = [keys.RELEASE_CONTEXT, keys.APPROVAL_CONTEXT, keys.TRANSPORT_CONTEXT, keys.ROOT_CONTEXT]
    named = [f"{cap:,}" for cap in caps] + [repr(context.decode())[1:-1] for context in contexts]
    assert [name for name in named if name not in words] == []


def test_the_second_reader_uses_nothing_of_sealift() -> None:
    tree = ast.parse(Path(page.__file__).read_text(encoding="utf-8"))
    names = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not [name for name in names if name is None or name.startswith(("sealift", "tests"))]
    assert len(Path(page.__file__).read_text(encoding="utf-8").splitlines()) < 450
