"""Every attack is refused with its own code and words, and leaves the box as it was."""

from __future__ import annotations

import re

import pytest
from tests.attacks.every import ATTACKS
from tests.attacks.forge import FILES, ROOT, Forge, delta, root_part, signed_root
from tests.attacks.scene import Scene, box_hash
from tests.attacks.table import Attack

from sealift.cli.main import run
from sealift.ledger.verify import records
from sealift.store.prefix import private

pytestmark = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=lambda attack: attack.name)
def test_refused(attack: Attack, scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = attack.make(scene)
    before = box_hash(scene.prefix)
    code = scene.install(bundle)
    said = capsys.readouterr().err
    assert (code, bool(re.search(attack.words, said))) == (attack.code, True), said
    assert "Traceback" not in said
    assert said.replace("\n", "").isprintable()  # nothing from the medium speaks to the terminal
    assert box_hash(scene.prefix) == before
    if scene.prefix.exists():
        last = list(records(private(scene.prefix).ledger))[-1]
        assert (last.event, last.facts["exit_code"]) == ("refusal", code)


def test_the_table_is_long_enough_and_every_name_is_its_own() -> None:
    assert len(ATTACKS) >= 45


def test_what_nobody_attacked_is_installed(scene: Scene) -> None:
    """Without this every refusal above could be for another reason than its own."""
    assert scene.install(scene.as_file(Forge().parts())) == 0
    assert scene.install(scene.as_folder(Forge(version="8.0", seq=8).parts())) == 0
    tree = (scene.prefix / "current" / "fraud").resolve()
    assert tree.name.startswith("8.0-")
    assert all((tree / name).read_bytes() == data for name, data in FILES.items())


def test_a_delta_that_nobody_attacked_is_installed(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    """And the box that has its base verifies all of it, with nothing named."""
    bundle = scene.as_folder(delta().parts())
    capsys.readouterr()
    assert run(["verify", str(bundle), "--prefix", str(scene.prefix)]) == 0
    assert capsys.readouterr().out.startswith("VERIFIED fraud 7.0 sha256:")
    assert scene.install(scene.as_file(delta().parts())) == 0
    tree = (scene.prefix / "current" / "fraud").resolve()
    assert all((tree / name).read_bytes() == data for name, data in FILES.items())


def test_a_good_rotation_leads_the_box_on_and_what_it_gave_up_is_refused_from_then_on(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    new = ("new1", "new2", "new3")
    part = root_part(2, roots=new, release={"ada": ["fraud*"], "cleo": ["*"]}, revoked=("ben", "thief"))
    roots = {1: ROOT, 2: signed_root(part, ("root1", "root2", "new1", "new2"))}
    both = ("ada", "cleo")
    good = Forge(signers=both, transport_signers=both, roots=roots)
    assert scene.install(scene.as_file(good.parts())) == 0
    assert scene.install(scene.as_file(Forge(version="9.0", seq=9).parts())) == 26
    assert "is revoked" in capsys.readouterr().err


@pytest.mark.slow
def test_a_rollback_to_an_installed_release_is_no_replay_until_a_floor_forbids_it(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    six, seven = Forge(version="6.0", seq=6), Forge(version="7.0", seq=7)
    assert scene.install(scene.as_file(six.parts())) == 0
    assert scene.install(scene.as_file(seven.parts())) == 0
    assert scene.install(scene.as_file(six.parts())) == 0
    assert scene.install(scene.as_file(Forge(version="8.0", seq=8, floor_seq=7).parts())) == 0
    before = box_hash(scene.prefix)
    capsys.readouterr()
    assert scene.install(scene.as_file(six.parts())) == 24
    assert "is below the floor: this box accepts 7 or higher, also for a rollback" in capsys.readouterr().err
    assert box_hash(scene.prefix) == before
