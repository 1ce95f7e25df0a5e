"""Project + Target -> a complete release tree, and what release.json and the engineer are told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sealift import __version__
from sealift.cli.recording import Hands, hands_for, record
from sealift.collect.driver import carry_driver
from sealift.collect.import_test import try_tree
from sealift.collect.interpreter.bring import Brought, bring_interpreter
from sealift.collect.layers import write_layers
from sealift.collect.lock import Collected, collect_wheels
from sealift.collect.pip_download import CollectOptions
from sealift.collect.runtime import box_side_for
from sealift.collect.sbom import BilledModel, BilledPart, software_bill
from sealift.collect.shared_objects import check_shared_objects, glibc_floor_of
from sealift.collect.system_packages.collect import collect_packages
from sealift.collect.wheel import sha256_of
from sealift.errors import UsageError
from sealift.events import Progress
from sealift.inspect.quality import CHECK
from sealift.model.engine_limits import check_models
from sealift.model.service import ServedModel
from sealift.pack.application import write_application
from sealift.pack.gates import GateReport, Package, check_gates
from sealift.project.project import Project
from sealift.target.interpreter import bundled_interpreter
from sealift.target.system_packages import FOLDER, LIST, decode_list
from sealift.target.target import BUNDLED, Target, version_key

CPYTHON_LICENCE: Final = "PSF-2.0"


@dataclass(frozen=True, slots=True)
class Assembled:
    """`tree` has one folder per layer, complete. `target`, `checks` and `provenance` go into release.json;
    `bill` makes the bill of materials for a time of creation; `notes` are for the engineer."""

    tree: Path
    target: Target
    checks: Mapping[str, Any]
    provenance: Mapping[str, Any]
    bill: Callable[[str], bytes]
    notes: tuple[str, ...]


def assemble(project: Project, target: Target, tree: Path, options: CollectOptions) -> Assembled:
    """Bring together everything the service needs on its box, and record what it answers.

    Args:
        tree: a folder that does not exist yet.
    Raises: UsageError: something cannot travel to the target, all problems of a step at once.
        GateFailed: a gate of the project. IncompatibleHost: this machine lacks the target's Python.
    """
    (tree / "application").mkdir(parents=True)
    options.progress.start("read the models")
    application = write_application(project, tree / "application")
    box = box_side_for(application.models, target)
    told = box.notes(target)
    collected = collect_wheels(project.python, target, options, box=box)
    _check_engines(application.models, collected)
    gates = check_gates(project.gates, _packages(project, target, collected), None)
    gates.require_passed()
    carried = carry_driver(project, target, tree / "application")
    carried += collect_packages(project, target, tree / "application", options.progress)
    brought = _bring(project, target, tree, options.progress)
    hands = hands_for(target, collected, tree)
    left_out = write_layers(collected, tree, hands.interpreter.path, options.progress)
    unresolved = check_shared_objects(tree, target, project.target.never_loaded)
    imports = _imports(hands, collected, tree, options.progress)
    options.progress.start("record golden inputs")
    golden_notes = record(hands, tree, project.golden, collected, options)
    notes = (
        *application.notes,
        *golden_notes,
        *told,
        *collected.notes,
        *carried,
        *left_out,
        *unresolved,
        *imports,
    )
    return Assembled(
        tree=tree,
        target=_narrowed(target, project, collected, tree),
        checks=_checks(golden_notes, gates, application.notes, application.quality),
        provenance=_provenance(hands, brought),
        bill=_bill(project, application.models, collected, _parts(brought, tree / "application")),
        notes=notes + (brought.notes if brought else ()),
    )


def _bring(project: Project, target: Target, tree: Path, progress: Progress) -> Brought | None:
    """The release's own interpreter, where it has one."""
    if target.interpreter != BUNDLED:
        return None
    folder = bundled_interpreter(tree, target.python).parent.parent
    return bring_interpreter(project.target, target, folder, progress)


def _imports(hands: Hands, collected: Collected, tree: Path, progress: Progress) -> tuple[str, ...]:
    """What was asked for and does not import; a note, for the handler may never import it: recording decides."""
    if not hands.native:
        return ()
    progress.start("import what was asked for")
    imports = try_tree(collected, tree, hands.interpreter.path)
    return (*imports.notes, *(f"does not import here: {failure}" for failure in imports.failures))


def _provenance(hands: Hands, brought: Brought | None) -> dict[str, Any]:
    made = {"packer": f"sealift {__version__}", "python": hands.interpreter.version}
    return made if brought is None else made | {"interpreter": brought.source, "python": brought.version}


def _checks(
    golden_notes: Sequence[str],
    gates: GateReport,
    model_notes: Sequence[str],
    quality: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    return {
        "golden_checked": not any("not golden-checked" in note for note in golden_notes),
        "golden_notes": list(golden_notes),
        "gates": dict(gates.results),
        "model_notes": list(model_notes),
        **({CHECK: dict(quality)} if quality else {}),
    }


def _check_engines(models: Sequence[ServedModel], collected: Collected) -> None:
    """Raises: UsageError: an engine that no wheel brings, or one that is older than a model; said before an hour of
    packing is over."""
    carried = {wheel.name: wheel.version for wheel in collected.wheels}
    check_models(models, carried)
    needed = {each.engine for model in models for each in model.variants if each.engine} - carried.keys()
    if needed:
        raise UsageError(
            f"what sealift optimize chose runs on {', '.join(sorted(needed))}, which the release would lack",
            next_step=f"add {' and '.join(sorted(needed))} to [python] requirements, or leave its candidates out",
        )


def _packages(project: Project, target: Target, collected: Collected) -> list[Package]:
    """Everything with a licence: wheels, sealift itself, and models that state one (one's own need not)."""
    parts = (("runtime", collected.runtime), ("dependencies", collected.dependencies))
    found = [
        Package(wheel.name, wheel.version, wheel.licence, layer)
        for layer, wheels in parts
        for wheel in wheels
    ]
    found.append(Package("sealift", __version__, "Apache-2.0", "runtime"))
    if target.interpreter == BUNDLED:
        found.append(Package("cpython", target.python, CPYTHON_LICENCE, "runtime"))
    found += [
        Package(model.name, project.version, model.license, "application")
        for model in project.models
        if model.license
    ]
    return found


def _parts(brought: Brought | None, application: Path) -> list[BilledPart]:
    """The interpreter and the system packages, for the bill."""
    found = []
    if brought is not None:
        purl = f"pkg:generic/python@{brought.version}"
        found.append(
            BilledPart(
                "cpython", brought.version, "runtime", purl, CPYTHON_LICENCE, libraries=brought.libraries
            )
        )
    listed = application / FOLDER / LIST
    if listed.is_file():
        carried = decode_list(listed.read_bytes())
        for each in carried.packages:
            purl = f"pkg:{carried.kind}/{each.name}@{quote(each.version)}?arch={each.architecture}"
            found.append(BilledPart(each.name, each.version, "application", purl, sha256=each.sha256))
    return found


def _bill(
    project: Project, models: Sequence[ServedModel], collected: Collected, parts: Sequence[BilledPart]
) -> Callable[[str], bytes]:
    licences = {entry.name: entry.license for entry in project.models}
    billed = [
        BilledModel(
            name=model.name,
            sha256=sha256_of(model.path),
            size=model.path.stat().st_size,
            licence=licences[model.name],
            signature=model.signature,
        )
        for model in models
    ]

    def bill(created: str) -> bytes:
        return software_bill(
            project.name, project.version, collected, billed, datetime.fromisoformat(created), parts
        )

    return bill


def _narrowed(target: Target, project: Project, collected: Collected, tree: Path) -> Target:
    """The oldest C library that everything runs with, where the project states none; a wheel's name may promise
    more than its objects keep."""
    if project.target.glibc or project.target.preset:
        return target
    return replace(
        target, glibc=max(collected.glibc, glibc_floor_of(tree, project.target.never_loaded), key=version_key)
    )
