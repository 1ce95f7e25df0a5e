"""Rotation drills, through the command line: what a bank does on the day a key is lost, stolen or a person leaves.

The box's own work (store, releases, what is active) is real; only its checks and its supervisor are told.
The words for people are in docs/how-to/keys.md.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.test_keys import Desk
from tests.install.scene import FakeBox
from tests.made_bundles import make_bundle, tree_hash

from sealift.cli.main import run
from sealift.cli.opening import open_for_install
from sealift.errors import TrustError
from sealift.install.trust import pin, pinned_root
from sealift.ledger.verify import records
from sealift.seal import keyring
from sealift.store.lock import exclusive
from sealift.store.prefix import private
from sealift.store.releases import active_release

pytestmark = pytest.mark.slow

Captured = pytest.CaptureFixture[str]


class Bank:
    """Keys on one desk, bundles on a shelf, one box."""

    def __init__(self, folder: Path, capsys: Captured, *init: str) -> None:
        self.folder, self.capsys = folder, capsys
        self.desk = Desk(folder, capsys)
        self.desk("init", "--product", "fraud*", *init)
        self.first_root = folder / "root-1.json"
        shutil.copy(self.desk.keys / "root.json", self.first_root)
        self.prefix = private(folder / "box")

    def pack(self, seq: int, *, keys: Path | None = None, key: str | None = None) -> Path:
        """A new bundle, signed with the release key that lies in `keys`."""
        path = make_bundle(self.folder / f"packed-{seq}", None, version=f"{seq}.0", seq=seq).path
        self.sign(path, *(["--key", key] if key else []), keys=keys)
        return path

    def sign(
        self, bundle: Path, *more: str, keys: Path | None = None, role: str = "release", code: int = 0
    ) -> str:
        phrase = self.desk.phrases["release" if role == "release" else "officer"]
        argv = ["sign", str(bundle), "--keys", str(keys or self.desk.keys), "--as", role, *more]
        found = run([*argv, "--passphrase-file", str(phrase)])
        said = self.capsys.readouterr()
        assert found == code, said.err
        return said.out + said.err

    def install(self, bundle: Path, trust: Path | None = None) -> None:
        """As `sealift install`, with a check that passes. Raises: TrustError."""
        verified, offered = open_for_install(bundle, trust, self.prefix)
        FakeBox(self.prefix).install(verified)
        with exclusive(self.prefix, "install"):
            pin(self.prefix, offered, verified.bundle.roots)

    def refuses(self, bundle: Path, code: int) -> str:
        """The box refuses the bundle, by library and by command, and nothing on it changes."""
        before = tree_hash(self.prefix.root, but_the_log=True)
        with pytest.raises(TrustError) as caught:
            self.install(bundle)
        assert caught.value.exit_code == code, caught.value.message
        assert self.verify(bundle) == code
        assert tree_hash(self.prefix.root, but_the_log=True) == before
        return "\n".join([caught.value.message, *caught.value.problems])

    def verify(self, bundle: Path) -> int:
        found = run(["verify", str(bundle), "--prefix", str(self.prefix.root)])
        self.capsys.readouterr()
        return found

    def serving(self) -> str:
        release = active_release(self.prefix, "fraud")
        assert release is not None
        assert (release.tree / "runtime" / "boot.py").is_file()
        return release.version

    def pinned(self) -> int:
        root = pinned_root(self.prefix)
        assert root is not None
        return root.version

    def release_key(self) -> str:
        return keyring.read_public(self.desk.keys / "release" / "key.pub").key_id


@pytest.fixture
def bank(tmp_path: Path, capsys: Captured) -> Bank:
    made = Bank(tmp_path, capsys, "--root", "2-of-3")
    made.install(made.pack(1), made.first_root)
    assert (made.serving(), made.pinned()) == ("1.0", 1)
    return made


def test_a_lost_release_key_is_replaced_and_its_bundles_stay_good(bank: Bank) -> None:
    older, lost = bank.pack(2), bank.release_key()
    (bank.desk.keys / "release" / "key.pem").unlink()
    assert "no key lies there" in bank.sign(older, code=2)
    bank.desk("rotate", "--remove", lost[:8], "--add-release")
    newer = bank.pack(3)
    assert bank.verify(older) == 0
    bank.install(older)
    assert (bank.serving(), bank.pinned()) == ("2.0", 1)
    bank.install(newer)
    assert (bank.serving(), bank.pinned()) == ("3.0", 2)


def test_after_a_rotation_the_lost_keys_bundles_need_a_signature_in_use(bank: Bank) -> None:
    older = bank.pack(4)
    bank.desk("rotate", "--remove", bank.release_key(), "--add-release")
    bank.install(bank.pack(3))
    assert "0 of them may sign fraud" in bank.refuses(older, 23)
    bank.sign(older)
    bank.install(older)
    assert (bank.serving(), bank.pinned()) == ("4.0", 2)


def test_a_stolen_release_key_signs_nothing_more_that_a_box_takes(bank: Bank) -> None:
    stolen = bank.folder / "stolen"
    shutil.copytree(bank.desk.keys, stolen)
    waiting = bank.pack(2)
    bank.desk("revoke", bank.release_key(), "--add-release")
    bank.install(bank.pack(3))
    assert (bank.serving(), bank.pinned()) == ("3.0", 2)

    thiefs = bank.pack(9, keys=stolen)
    assert "is revoked, its signature counts no more" in bank.refuses(thiefs, 26)
    assert "is revoked" in bank.refuses(waiting, 26)
    assert bank.serving() == "3.0"

    bank.sign(waiting, "--as-seq", "12")
    bank.install(waiting)
    assert bank.serving() == "2.0"


def test_what_the_stolen_key_signed_serves_on_until_it_is_replaced(bank: Bank) -> None:
    bank.desk("revoke", bank.release_key(), "--add-release")
    assert bank.serving() == "1.0"
    bank.install(bank.pack(2))
    release = active_release(bank.prefix, "fraud")
    assert release is not None
    assert release.version == "2.0"
    assert (bank.prefix.releases("fraud")).is_dir()
    assert len(list(bank.prefix.releases("fraud").iterdir())) == 2


def test_until_a_box_has_heard_of_a_theft_it_believes_the_thief(bank: Bank) -> None:
    """Said plainly: a revocation travels in a bundle; carry one to every box on the day of the theft."""
    stolen = bank.folder / "stolen"
    shutil.copytree(bank.desk.keys, stolen)
    bank.desk("revoke", bank.release_key(), "--add-release")
    assert bank.verify(bank.pack(9, keys=stolen)) == 0


def test_the_thief_cannot_bring_a_root_of_their_own(bank: Bank) -> None:
    stolen = bank.folder / "stolen"
    shutil.copytree(bank.desk.keys, stolen)
    shutil.rmtree(stolen / "root")
    said = bank.desk("rotate", "--add-release", keys=stolen, code=2)
    assert "signed by 0 of the 3 root keys of version 1, 2 are needed" in said
    made_up = bank.folder / "made-up"
    bank.desk("init", keys=made_up)
    assert "no chain of signatures" in bank.refuses(bank.pack(9, keys=made_up), 20)


def lose(bank: Bank, *numbers: int) -> list[str]:
    """Root keys burn; their ids are still known from root.json."""
    gone = []
    for number in numbers:
        path = bank.desk.keys / "root" / f"{number}.pem"
        gone.append(keyring.read_public(path.with_suffix(".pub")).key_id)
        path.unlink()
        path.with_suffix(".pub").unlink()
    return gone


def test_one_lost_root_key_of_three_is_replaced_by_the_other_two(bank: Bank) -> None:
    (lost,) = lose(bank, 2)
    bank.desk("rotate", "--remove", lost, "--add-root")
    root = bank.desk.root()
    assert (root.version, len(root.root_keys), root.root_threshold) == (2, 3, 2)
    assert lost not in root.root_keys
    bank.install(bank.pack(2))
    assert (bank.serving(), bank.pinned()) == ("2.0", 2)
    bank.desk("rotate", "--add-release")
    bank.install(bank.pack(3, key=bank.release_key()))
    assert bank.pinned() == 3


def test_with_two_of_three_root_keys_gone_releases_go_on_and_rotations_do_not(bank: Bank) -> None:
    lost = lose(bank, 1, 3)
    bank.install(bank.pack(2))
    assert (bank.serving(), bank.pinned()) == ("2.0", 1)

    before = tree_hash(bank.desk.keys)
    said = bank.desk("rotate", "--remove", lost[0], "--add-root", code=2)
    assert "signed by 1 of the 3 root keys of version 1, 2 are needed" in said
    assert "with too few left: docs/how-to/keys.md" in said
    said = bank.desk("revoke", bank.release_key(), "--add-release", code=2)
    assert "lacks signatures; nothing was changed" in said
    assert tree_hash(bank.desk.keys) == before


def test_then_a_new_root_goes_to_each_box_by_hand_as_the_last_resort(bank: Bank) -> None:
    lose(bank, 1, 3)
    new = bank.folder / "new-keys"
    bank.desk("init", "--root", "2-of-3", "--product", "fraud*", keys=new)
    bundle = bank.pack(2, keys=new)
    bank.refuses(bundle, 20)

    paper = bank.folder / "paper.txt"
    paper.write_text(keyring.read_root_file(new).root.fingerprint)
    argv = ["trust", "replace", str(new / "root.json"), "--prefix", str(bank.prefix.root)]
    assert run([*argv, "--no-input"]) == 25
    assert bank.serving() == "1.0"
    assert run([*argv, "--fingerprint-file", str(paper)]) == 0
    bank.install(bundle)
    assert bank.serving() == "2.0"
    logged = [line for line in records(bank.prefix.ledger) if line.event == "trust"]
    assert [line.facts["action"] for line in logged] == ["replace"]


@pytest.fixture
def two_officers(tmp_path: Path, capsys: Captured) -> Bank:
    made = Bank(tmp_path, capsys, "--officers", "2", "--officer-threshold", "1")
    bundle = made.pack(1)
    made.sign(bundle, "--key", _officer(made, 1), role="officer")
    made.install(bundle, made.first_root)
    assert run(["trust", "policy", "--officers", "2", "--prefix", str(made.prefix.root)]) == 0
    capsys.readouterr()
    return made


def _officer(bank: Bank, number: int) -> str:
    return keyring.read_public(bank.desk.keys / "officers" / f"{number}.pub").key_id


def test_an_officer_leaves_and_another_comes(two_officers: Bank) -> None:
    bank, leaving = two_officers, _officer(two_officers, 1)
    away = bank.folder / "new-officer" / "officers" / "1.pem"
    bank.desk("new", keys=away)
    shutil.copytree(bank.desk.keys / "officers", bank.folder / "left" / "officers")
    bank.desk("rotate", "--remove", leaving, "--add-officer", str(away.with_suffix(".pub")))
    for place in ("new-officer", "left"):
        shutil.copy(bank.desk.keys / "root.json", bank.folder / place / "root.json")

    bundle = bank.pack(2)
    assert "0 of them" not in bank.sign(bundle, "--key", _officer(bank, 2), role="officer")
    assert "(this box's own policy)" in bank.refuses(bundle, 27)
    assert "may not approve fraud under root version 2" in bank.sign(
        bundle, "--key", leaving, keys=bank.folder / "left", role="officer", code=23
    )
    bank.desk.phrases["officer"] = bank.desk.phrases["release"]
    bank.sign(bundle, keys=bank.folder / "new-officer", role="officer")
    bank.install(bundle)
    assert (bank.serving(), bank.pinned()) == ("2.0", 2)


def test_the_approval_of_somebody_who_left_counts_until_the_box_learns_of_it(two_officers: Bank) -> None:
    bank, leaving = two_officers, _officer(two_officers, 1)
    bundle = bank.pack(2)
    bank.sign(bundle, "--key", leaving, role="officer")
    bank.sign(bundle, "--key", _officer(bank, 2), role="officer")
    assert bank.verify(bundle) == 0
    bank.desk("revoke", leaving, "--add-officer")
    bank.sign(bundle)
    assert "is revoked, its signature counts no more" in bank.refuses(bundle, 26)
