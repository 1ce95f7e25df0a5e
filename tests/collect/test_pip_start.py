"""The start script reaches into pip: a release of pip that moves what it touches must fail here, loudly."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sealift.collect import pip_start
from sealift.collect.pip_run import run_pip, run_pips, without_secrets
from sealift.collect.tags import markers_of
from sealift.target.target import Target

FOREIGN = Target(platform="linux-aarch64", python="3.13", glibc="2.31")
CHECK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import pip_start
values = json.loads(sys.argv[2])
assert pip_start.patch_markers(values)
from pip._internal.req.constructors import install_req_from_line
for name, value in values.items():
    assert install_req_from_line(f'x; {name} == "{value}"').match_markers(), name
    assert not install_req_from_line(f'x; {name} == "another"').match_markers(), name
files = {}
pip_start.watch_pages(files)
from pip._internal.models.link import Link
assert Link.from_json({"url": "x-1.tar.gz", "filename": "x-1.tar.gz", "size": 7}, "https://host.example/simple/x/")
assert Link.from_element({"href": "x-2.tar.gz"}, "https://host.example/simple/x/", "https://host.example/simple/x/")
assert files == {"x-1.tar.gz": 7, "x-2.tar.gz": None}, files
"""


@pytest.mark.slow
def test_this_pip_takes_the_targets_markers_and_shows_its_pages() -> None:
    values = markers_of(FOREIGN) | {"platform_release": "5.4", "platform_version": "1"}
    here = Path(pip_start.__file__).parent
    command = [sys.executable, "-P", "-c", CHECK, str(here), json.dumps(values)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_pip_without_what_is_patched_says_so() -> None:
    code = "import sys; sys.modules['pip._vendor.packaging'] = None; sys.path.insert(0, sys.argv[1])\n"
    code += "import pip_start; assert not pip_start.patch_markers({'os_name': 'posix'})"
    here = Path(pip_start.__file__).parent
    subprocess.run([sys.executable, "-P", "-c", code, str(here)], check=True)


@pytest.mark.slow
def test_several_runs_share_a_process_and_keep_their_words_apart(tmp_path: Path) -> None:
    runs = [["--version"], ["index", "versions", "no-such-thing", "--no-index"], ["--version"]]
    first, second, third = run_pips(runs, replace(FOREIGN, python="3.12"))
    assert (first.code, second.code, third.code) == (0, 1, 0)
    assert first.lines == third.lines
    assert first.lines[-1].startswith("pip ")
    assert "No matching distribution found for no-such-thing" in second.text


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_ended() -> None:
    assert run_pip(["--version"], timeout_s=0.01).code < 0


def test_passwords_are_taken_out() -> None:
    assert (
        without_secrets("see https://me:s3cret@host/x and http://t0ken@h/")
        == "see https://****@host/x and http://****@h/"
    )
