"""The attack suite has teeth: without any one rule, an attack is no longer refused as the table says."""

from __future__ import annotations
import __future__

import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.attacks.every import ATTACKS
from tests.attacks.rules import RULES, Change, Rule
from tests.attacks.scene import Scene, copy_box


def disable(patch: pytest.MonkeyPatch, where: str, words: Iterable[tuple[str, str]]) -> None:
    """Compile a function anew with other words, and put it in place of the old one everywhere."""
    module_name, _, path = f"sealift.{where}".partition(":")
    module = importlib.import_module(module_name)
    *classes, name = path.split(".")
    owner: Any = module
    for part in classes:
        owner = getattr(owner, part)
    original = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(original))
    for old, new in words:
        assert source.count(old) == 1, f"{where} has changed: {old!r} stands there {source.count(old)} times"
        source = source.replace(old, new)
    code = compile(source, f"<{where}>", "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    found: dict[str, Any] = {}
    exec(code, module.__dict__, found)
    if classes:
        patch.setattr(owner, name, found[name])
        return
    for loaded in [item for key, item in sys.modules.items() if key.split(".")[0] == "sealift"]:
        if getattr(loaded, name, None) is original:
            patch.setattr(loaded, name, found[name])


def disable_all(patch: pytest.MonkeyPatch, changes: Iterable[Change]) -> None:
    by_place: dict[str, list[tuple[str, str]]] = {}
    for where, old, new in changes:
        by_place.setdefault(where, []).append((old, new))
    for where, words in by_place.items():
        disable(patch, where, words)


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_an_attack_gets_further_without_the_rule(
    rule: Rule,
    box: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outcomes = []
    for name in rule.attacks:
        attack = ATTACKS[name]
        with pytest.MonkeyPatch.context() as patch:
            folder = tmp_path_factory.mktemp("scene")
            scene = Scene(folder, copy_box(box, folder), patch)
            bundle = attack.make(scene)
            disable_all(patch, rule.changes)
            capsys.readouterr()
            code = scene.install(bundle)
            said = capsys.readouterr().err
        outcomes.append((name, code, said))
        if code != attack.code or not re.search(attack.words, said):
            return
    pytest.fail(f"without {rule.name!r} everything is refused as before: {outcomes}")


def test_every_rule_names_attacks_of_the_table() -> None:
    assert all(rule.attacks for rule in RULES)
    assert {name for rule in RULES for name in rule.attacks} <= ATTACKS.keys()
    assert len({rule.name for rule in RULES}) == len(RULES)
