"""The boxes that the how-to pages are read on: what is installed, what lies on the medium, what went wrong.

Releases are small (`small_release.py`), signed and installed by the real commands under a prefix of their own; the
system's paths in a page mean that prefix.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.docs.pages import ROOT
from tests.docs.running import Place, free_port
from tests.made_bundles import Signer, make_signer, write_tree

from sealift.bundle.write import Endorse
from sealift.events import Silent
from sealift.model.schema import THRESHOLD, Schema
from sealift.model.settings import encode_schema
from sealift.pack.pack import Parts, pack
from sealift.pack.sequence import Entry
from sealift.project.project import TargetWish
from sealift.target.host import own_python, read_host
from sealift.target.wish import target_for

BOOT = (Path(__file__).parent / "small_release.py").read_bytes()
CREATED: Final = "2026-09-01T12:00:00Z"
SETTINGS: Final = encode_schema(Schema({**Schema().settings, "threshold": THRESHOLD}), {}, {})
BULK: Final = 24_000_000
"""The oldest release is large, so that giving it up makes room."""

SITE: Final = "[watch]\nwindow_s = 1\nrequests = 20\ncanary_s = 0.2\n"


def make_shelf(folder: Path, signer: Signer | None = None) -> Path:
    """Bundles `fraud-VERSION[-MANNER].sealift` and the `root.json` that vouches for them."""
    signer = signer or make_signer()
    (folder / "root.json").write_bytes(signer.signed.encode())
    for month in (9, 10, 11, 12):
        version = f"2026.{month:02}.0"
        _pack(folder / f"fraud-{version}.sealift", signer, version, month, "good")
    for manner in ("differs", "dies", "errs"):
        _pack(folder / f"fraud-2026.12.0-{manner}.sealift", signer, "2026.12.0", 12, manner)
    for month in (11, 12):
        _pack(folder / f"unsigned-2026.{month}.0.sealift", None, f"2026.{month}.0", month, "good")
    _pack(folder / "unsigned-2027.01.0.sealift", None, "2027.01.0", 13, "errs")
    return folder


def _pack(path: Path, signer: Signer | None, version: str, seq: int, manner: str) -> None:
    files = {
        "runtime/boot.py": BOOT,
        "dependencies/pkg/__init__.py": b"",
        "application/manner": f"{manner}\n".encode(),
        "application/settings.json": SETTINGS,
        "application/version": version.encode(),
        "application/bulk": os.urandom(BULK) if seq == 9 else b"",
    }
    tree = write_tree(path.parent / ".trees" / path.stem, files)
    target = target_for(TargetWish(), read_host(), own_python()).to_json()
    parts = Parts("fraud", version, tree, target, {"goldens": True}, {}, lambda _: b"{}")
    endorse = Endorse(
        lambda message: (signer.release_key.sign(message),) if signer else (),
        (signer.signed,) if signer else (),
    )
    pack(parts, path, endorse, lambda _: Entry(seq, CREATED), Silent())


@dataclass(frozen=True)
class Scene:
    """The box as a page finds it.

    `installed`: versions, in order, committed. `served`: a supervisor serves. `carried`: bundles on `/media/usb`,
    each under the name it has there. `site`: this box's settings. `then`: typed last, unseen, before the page.
    """

    installed: Sequence[str] = ()
    served: bool = False
    carried: Mapping[str, str] = field(default_factory=dict)
    site: str = SITE
    then: str = ""
    first: str = ""
    wrap: Sequence[str] = ()
    shims: Mapping[str, str] = field(default_factory=dict)

    def place(self, folder: Path, shelf: Path) -> Place:
        """Make it below `folder`."""
        box, usb = folder / "box", folder / "usb"
        for made in (box / "etc", usb):
            made.mkdir(parents=True)
        for name, bundle in self.carried.items():
            shutil.copy(shelf / bundle, usb / name)
        shutil.copy(shelf / "root.json", folder)
        swaps = {
            "/media/usb": str(usb),
            "/var/lib/sealift": str(box / "state"),
            "/etc/sealift": str(box / "etc"),
            "/run/sealift": str(box / "run"),
            "/opt/sealift": str(box),
            "8000": free_port(),
        }
        return Place(
            folder,
            ROOT,
            swaps=swaps,
            before=self._before(box, shelf),
            environment={"SEALIFT_PREFIX": str(box), "SHELF": str(shelf), "BOX": str(box)},
            wrap=self.wrap,
            shims=self.shims,
        )

    def _before(self, box: Path, shelf: Path) -> str:
        lines = [self.first, f"mkdir -p {box}/etc\ncat > {box}/etc/fraud.toml <<'END'\n{self.site}END"]
        for version in self.installed:
            lines.append(f"sealift install -q {shelf}/fraud-{version}.sealift --trust {shelf}/root.json")
        if self.served:
            lines.append(SERVE)
        quiet = "\n".join([*lines, self.then])
        return f"{{\n{quiet}\n}} > .before 2>&1"


SERVE: Final = """\
sealift serve fraud --port 0 > .served 2>&1 &
until grep -qs '^serving' .served || ! kill -0 $!; do sleep 0.05; done
"""


def killed_after(step: str, *argv: str) -> str:
    """A line that runs `sealift argv` and ends it with SIGKILL after its first durable step of that name."""
    program = (
        "import os, sys; from sealift.store.steps import watch_steps; from sealift.cli.main import run; "
        f"watch_steps(lambda step, path: step.name == '{step}' and os.kill(os.getpid(), 9)); run(sys.argv[1:])"
    )
    return f'{sys.executable} -c "{program}" {" ".join(argv)}'


NEWER: Final = {"fraud-2026.12.0.sealift": "fraud-2026.12.0.sealift"}
OLDER: Final = ("2026.10.0", "2026.11.0")
_NEARLY_FULL: Final = """\
free=$(df --output=avail -B1 "$BOX" | tail -n 1)
head -c $((free - 5000000)) /dev/zero > "$BOX/fill"
"""
_IN_1970: Final = (
    f"exec {sys.executable} -c "
    "\"import sys, time; now = float(open('.clock').read()); time.time = lambda: now; "
    'from sealift.cli.main import run; sys.exit(run(sys.argv[1:]))" "$@"'
)
_DATE: Final = """\
[ "$1" != -s ] || exec /bin/date -u -d "$2" +%s > .clock
exec /bin/date -u -d "@$(cat .clock)"
"""
_THEFT: Final = """\
echo 'correct horse battery' > .phrase
keys() { verb=$1; shift; sealift keys $verb .keys "$@" --passphrase-file .phrase; }
sign() { cp "$SHELF/unsigned-$1.sealift" "$2"; sealift sign "$2" --keys "$3" --passphrase-file .phrase; }
keys init --product 'fraud*'
sign 2026.11.0 first.sealift .keys
sealift install first.sealift --trust .keys/root.json
cp -r .keys .thief
keys revoke $(sealift keys show .keys --json | grep -A1 release_keys | grep -o '[0-9a-f]\\{64\\}') --add-release
sign 2026.12.0 usb/fraud-2026.12.0.sealift .keys
sign 2027.01.0 usb/fraud-2027.01.0.sealift .thief
"""

SCENES: Final = {
    "install-a-release": Scene(carried={"fraud-2026.11.0.sealift": "fraud-2026.11.0.sealift"}, site=""),
    "monthly-update": Scene(installed=("2026.09.0", *OLDER), served=True, carried=NEWER),
    "bad-update": Scene(
        installed=OLDER,
        served=True,
        carried={manner: f"fraud-2026.12.0-{manner}.sealift" for manner in ("differs", "dies", "errs")},
    ),
    "power-cut": Scene(
        installed=OLDER,
        carried=NEWER,
        then=killed_after("OBJECT_NAMED", "install", "$SHELF/fraud-2026.12.0.sealift") + "\n" + SERVE,
    ),
    "full-disk": Scene(
        installed=("2026.09.0", *OLDER),
        served=True,
        carried=NEWER,
        first='mount -t tmpfs -o size=125m,mode=755 tmpfs "$BOX"',
        then=_NEARLY_FULL,
        wrap=("unshare", "-m"),
    ),
    "wrong-clock": Scene(
        installed=OLDER,
        served=True,
        carried=NEWER,
        first="echo 60 > .clock",
        shims={"sealift": _IN_1970, "date": _DATE},
    ),
    "lost-key": Scene(then=_THEFT + SERVE),
    "settings": Scene(installed=OLDER, served=True, carried=NEWER),
    "approve-a-bundle": Scene(
        installed=(*OLDER, "2026.12.0"),
        carried=NEWER,
        then="cp $SHELF/fraud-2026.12.0.sealift fraud-2.0.sealift\n"
        "cp $SHELF/fraud-2026.11.0.sealift fraud-1.0.sealift\nln -s ../SHA256SUMS usb/SHA256SUMS",
    ),
}
"""Page of docs/how-to -> the box that it is read on."""
