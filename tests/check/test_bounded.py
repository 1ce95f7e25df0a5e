"""A command within bounds: ended when it passes them, with all that it started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sealift.check.bounded import Bounds, run_bounded

pytestmark = pytest.mark.slow  # together more than a second: the fast suite stays under a minute


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code, *arguments]


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def eventually_ends(pid: int) -> bool:
    until = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.01)
    return not is_running(pid)


def test_what_it_says_and_how_it_ends_come_back() -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"
    ended = run_bounded(python(code), Bounds())
    assert (ended.code, ended.stdout, ended.stderr, ended.why) == (3, "out\n", "err\n", "")
    assert ended.words == "ended with 3"


def test_a_signal_is_named() -> None:
    ended = run_bounded(python("import os; os.kill(os.getpid(), 11)"), Bounds())
    assert ended.words == "ended by SIGSEGV"


def test_memory_above_its_bound_ends_it_long_before_its_time() -> None:
    code = "import time; x = bytearray(400_000_000); time.sleep(60)"
    began = time.monotonic()
    ended = run_bounded(python(code), Bounds(timeout_s=60, memory_mb=200))
    assert ended.why.startswith("took more than ")
    assert ended.why.endswith(" MB of memory, permitted are 200: it was ended")
    assert ended.peak_mb > 250
    assert time.monotonic() - began < 30


def test_memory_a_little_above_is_left_to_the_commands_own_report() -> None:
    """1.1 times the limit: the check itself says the figure, nobody is killed."""
    ended = run_bounded(python("x = bytearray(200_000_000); print('done')"), Bounds(memory_mb=190))
    assert (ended.why, ended.stdout) == ("", "done\n")


def test_pages_that_children_share_are_not_counted_for_each() -> None:
    code = (
        "import os, time\n"
        "x = bytearray(150_000_000)\n"
        "children = [os.fork() for _ in range(1)]\n"
        "if 0 in children: time.sleep(0.5); os._exit(0)\n"
        "os.wait(); print('done')\n"
    )
    ended = run_bounded(python(code), Bounds(memory_mb=200))
    assert (ended.why, ended.stdout) == ("", "done\n")


@pytest.mark.slow
def test_nothing_that_it_started_outlives_it(tmp_path: Path) -> None:
    """Neither a plain child nor one in a process group of its own, whether it ends or is ended."""
    child = "import os, sys, time; os.setpgid(0, int(sys.argv[1])); time.sleep(600)"
    start = (
        "import subprocess, sys, time\n"
        f"run = lambda group: subprocess.Popen([sys.executable, '-I', '-S', '-c', {child!r}, group]).pid\n"
        "open(sys.argv[1], 'w').write(f\"{run('0')} {run(str(__import__('os').getpgid(0)))}\")\n"
    )
    for end in ("", "time.sleep(600)"):
        run_bounded(python(start + end, str(tmp_path / "pids")), Bounds(timeout_s=2))
        pids = [int(word) for word in (tmp_path / "pids").read_text().split()]
        assert len(pids) == 2
        assert all(eventually_ends(pid) for pid in pids)


def test_a_flood_of_words_is_cut_to_its_end() -> None:
    code = (
        "import sys\nfor n in range(300): sys.stderr.write('x' * 9999 + '\\n')\nsys.stderr.write('the end')"
    )
    ended = run_bounded(python(code), Bounds())
    assert len(ended.stderr) == 2**20
    assert ended.stderr.endswith("the end")


def test_the_kernel_takes_it_first_when_memory_runs_out() -> None:
    code = "while int(open('/proc/self/oom_score_adj').read()) != 1000: pass"
    assert run_bounded(python(code), Bounds(timeout_s=20)).why == ""


def test_an_interrupted_caller_leaves_nothing_behind(tmp_path: Path) -> None:
    """Ctrl-C reaches the caller alone: the command has a session of its own."""
    inner = (  # once it is the kernel's first victim its caller looks after it
        "import os, sys, time\n"
        "while int(open('/proc/self/oom_score_adj').read()) != 1000: time.sleep(0.01)\n"
        "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    )
    code = (
        "import sys\nfrom sealift.check.bounded import Bounds, run_bounded\n"
        f"run_bounded([sys.executable, '-I', '-S', '-c', {inner!r}, sys.argv[1]], Bounds())\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "pid")], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 20
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(caller.pid, 2)
    assert caller.wait(20) != 0
    assert eventually_ends(int((tmp_path / "pid").read_text()))


def test_a_command_that_is_not_there_is_the_callers_affair() -> None:
    with pytest.raises(FileNotFoundError):
        run_bounded(["/nowhere/python"], Bounds())
