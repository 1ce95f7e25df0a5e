"""Must show: the demo's monthly delta, its size and its bases, and ten seeded kills while it is installed."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from tests.journey.conftest import Lite0, Server, sealift
from tests.killing import tiny
from tests.killing.forks import Forks
from tests.made_bundles import tree_hash

from sealift.demo.finetune import fine_tune
from sealift.demo.project import MONTHLY_VERSION, change_monthly
from sealift.store.prefix import private

pytestmark = pytest.mark.slow

SEED, KILLS = 20261122, 10
SIGNING = ("--keys", "keys", "--passphrase-file", "phrase")


@pytest.fixture(scope="module")
def update(lite0: Lite0) -> Path:
    """The demo's monthly change as a delta: a fine-tuned model and two newer wheels."""
    project = lite0.folder / "lite0-monthly"
    shutil.copytree(lite0.folder / "lite0", project)
    tuned = fine_tune((project / "model.onnx").read_bytes(), lite0.material.photos)
    change_monthly(project, tuned.model)
    bundle = lite0.folder / "monthly.sealift"
    sealift("pack", project, "-o", bundle, "--from", "bundle", *SIGNING, cwd=lite0.folder)
    return bundle


def test_the_monthly_delta_is_at_most_15_percent_of_the_full_bundle(lite0: Lite0, update: Path) -> None:
    full = sum(path.stat().st_size for path in (lite0.folder / "bundle").rglob("*") if path.is_file())
    assert update.stat().st_size <= 0.15 * full, f"{update.stat().st_size} of {full} bytes"


def test_applying_the_delta_takes_at_most_300_mb(lite0: Lite0, update: Path, tmp_path: Path) -> None:
    """Peak resident memory of the whole `install` process; the release's own check runs in another one."""
    trust = ("--trust", "keys/root.json", "--prefix", str(tmp_path / "box"))
    sealift("install", "bundle", *trust, cwd=lite0.folder)
    command = [
        sys.executable,
        "-c",
        PEAK,
        "install",
        str(update),
        "--prefix",
        str(tmp_path / "box"),
        "--stage",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak_kb = int(done.stderr.rpartition("VmHWM:")[2].split()[0])
    assert peak_kb * 1024 <= 300e6


PEAK = """
import sys
from pathlib import Path
from sealift.cli.main import run
code = run(sys.argv[1:])
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line), file=sys.stderr)
sys.exit(code)
"""


def test_a_base_that_is_not_here_or_damaged_is_named_with_what_to_carry(
    lite0: Lite0, update: Path, tmp_path: Path
) -> None:
    said = sealift(
        "install",
        update,
        "--trust",
        "keys/root.json",
        "--prefix",
        tmp_path / "empty",
        cwd=lite0.folder,
        ok=False,
    )
    assert said.startswith("12 ")
    assert "carry the full bundle" in said
    assert "lite0 1.0.0" in said
    box = tmp_path / "box"
    sealift("install", "bundle", "--trust", "keys/root.json", "--prefix", box, cwd=lite0.folder)
    model = (box / "current" / "lite0" / "application" / "models").rglob("*.onnx")
    path = next(model).resolve()
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    before = tree_hash(box, but_the_log=True)
    said = sealift("install", update, "--prefix", box, cwd=lite0.folder, ok=False)
    assert said.startswith("22 ")
    assert "carry the full bundle" in said
    assert tree_hash(box, but_the_log=True) == before


def test_ten_kills_in_an_update_of_the_demos_release(lite0: Lite0, update: Path, tmp_path: Path) -> None:
    """The update is the delta, so decoding from the base is among what is cut off."""
    template, box = tmp_path / "template", tmp_path / "box"
    argv: list[str | Path] = ["install", update, "--prefix", box, "--no-input"]
    trust = ("--trust", "keys/root.json", "--prefix", str(box))
    sealift("install", "bundle", *trust, cwd=lite0.folder)
    tiny.copy_prefix(box, template)
    with Forks(tmp_path) as forks:
        whole = forks.run(*argv)
        assert whole.code == 0, whole.said
        choose = random.Random(SEED)
        for number in sorted(choose.sample(range(1, len(whole.steps) + 1), KILLS)):
            prefix = tiny.copy_prefix(template, box)
            assert forks.run(*argv, kill_at=number).code == -9
            where = f"killed after step {number}: {whole.steps[number - 1]}"
            found = tiny.wholeness(prefix, "lite0")
            assert found in {"1.0.0", MONTHLY_VERSION}, where
            again = forks.run(*argv)
            assert again.code == 0, f"{where}: {again.said}"
            assert tiny.wholeness(prefix, "lite0") == MONTHLY_VERSION, where
        serves_the_new_one(lite0, private(box).bin / "sealift", tmp_path)


def serves_the_new_one(lite0: Lite0, command: Path, folder: Path) -> None:
    server = Server([str(command), "serve", "lite0", "--port", "0"], folder)
    try:
        photo = lite0.material.photos["chelsea.png"]
        answer = requests.post(
            server.url + "/predict", data=photo, headers={"Content-Type": "image/png"}, timeout=60
        )
        assert answer.json()["prediction"] == 282
        assert answer.headers["X-Sealift-Release"] == f"lite0@{MONTHLY_VERSION}"
    finally:
        assert server.stop() == 0
        server.log.close()
