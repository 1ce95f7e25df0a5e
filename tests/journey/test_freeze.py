"""Must show: the `pip freeze` of another machine with a conflict and a package without a wheel, until it serves."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest
from tests.collect.conftest import write_wheel
from tests.journey.conftest import Server, make_keys, pack_and_install, sealift
from tests.journey.versions import write_version
from tests.local_index import LocalIndex, serving

pytestmark = pytest.mark.slow
HANDLER = """
import shop_rules

def preprocess(payload):
    return {"x": [shop_rules.scaled(payload["amounts"])]}
"""
FREEZE = "shop-core==1.0\nshop-gone==2.0\nshop-rules==1.0\n"


def test_a_freeze_with_a_conflict_is_mended_locked_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = tmp_path / "shelf"
    write_wheel(shelf, "shop-core", "1.0")
    write_wheel(shelf, "shop-core", "1.5", files={"shop_core.py": "FACTOR = 10\n"})
    write_wheel(shelf, "shop-gone", "2.1")
    rules = (
        "import shop_core\n\ndef scaled(values):\n    return [shop_core.FACTOR * value for value in values]\n"
    )
    write_wheel(shelf, "shop-rules", "1.0", files={"shop_rules.py": rules}, requires=["shop-core>=1.2"])
    project = write_version(tmp_path, "1.0", 2.0, HANDLER, '[python]\nrequirements = "requirements.txt"\n')
    requirements = project / "requirements.txt"
    requirements.write_text(FREEZE)
    make_keys(tmp_path)
    with serving(LocalIndex(shelf)) as index:
        monkeypatch.setenv("UV_INDEX", f"http://{index.host}/simple")
        said = sealift("lock", project, cwd=tmp_path, ok=False)
        changes = [line.strip() for line in said.splitlines() if " -> " in line]
        assert said.startswith("2 ")
        assert changes == [
            "requirements.txt line 1: shop-core==1.0 -> shop-core==1.5",
            "requirements.txt line 2: shop-gone==2.0 -> shop-gone==2.1",
        ]
        assert not (project / "pylock.toml").exists()
        for change in changes:
            old, _, new = change.partition(": ")[2].partition(" -> ")
            requirements.write_text(requirements.read_text().replace(old, new))
        locked = json.loads(sealift("lock", project, "--json", cwd=tmp_path))
        assert {"shop_core", "shop_gone", "shop_rules"} <= set(locked["imported"])
        with (project / "sealift.toml").open("a") as file:
            file.write('lock = "pylock.toml"\n')
        pack_and_install(tmp_path, project.name)
    server = Server([str(tmp_path / "box" / "bin" / "sealift"), "serve", "times", "--port", "0"], tmp_path)
    try:
        body = json.dumps({"amounts": [1, 2, 3]}).encode()
        request = urllib.request.Request(f"{server.url}/predict", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert "20" in answer.read().decode()
    finally:
        server.stop()
        server.log.close()
