"""Decide, without I/O, whether a box fits a release. Standard library only."""

from __future__ import annotations

from sealift.target.cuda import driver_problem
from sealift.target.host import Host
from sealift.target.interpreter import Interpreter, misfits
from sealift.target.target import Target, version_key


def incompatibilities(target: Target, host: Host, interpreter: Interpreter | None) -> tuple[str, ...]:
    """Everything about this box that the release cannot live with, each with expected and found.

    Args:
        interpreter: the one found for `target`; None leaves the interpreter out.
    Returns: empty when the box fits.
    """
    problems: list[str] = []
    if host.platform != target.platform:
        problems.append(f"platform: expected {target.platform}, found {host.platform}")
    problems += _older("C library", "glibc", target.glibc, host.glibc)
    problems += _older("kernel", "Linux", target.kernel, host.kernel)
    lacking = [flag for flag in target.cpu if _flag(flag) not in host.cpu]
    if lacking:
        problems.append(f"processor: expected {', '.join(lacking)}, found a processor without")
    if target.cuda is not None and (problem := driver_problem(target.cuda, host.driver)) is not None:
        problems.append(f"{problem}; install that driver, or pack for an older CUDA or without [target] cuda")
    if interpreter is None:
        return tuple(problems)
    problems += [f"interpreter {interpreter.path}: {problem}" for problem in misfits(target, interpreter)]
    if interpreter.glibc != host.glibc:  # a bundled or foreign-rooted interpreter brings its own
        problems += _older(f"C library of {interpreter.path}", "glibc", target.glibc, interpreter.glibc)
    return tuple(problems)


def _older(what: str, name: str, wanted: str | None, found: str | None) -> list[str]:
    if wanted is None:
        return []
    if found is None:
        return [f"{what}: expected {name} {wanted} or newer, found another one (not {name})"]
    if version_key(found) < version_key(wanted):
        return [f"{what}: expected {name} {wanted} or newer, found {found}"]
    return []


def _flag(name: str) -> str:
    """As /proc/cpuinfo spells it: `SSE4.2` -> `sse4_2`, `avx512` -> `avx512f` (its base)."""
    spelled = name.lower().replace(".", "_").replace("-", "_")
    return {"avx512": "avx512f", "neon": "asimd", "fma3": "fma"}.get(spelled, spelled)
