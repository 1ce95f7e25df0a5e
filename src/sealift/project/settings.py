"""`[settings]`: what a box may set of this service, narrower than sealift's own bounds -> Schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sealift.model.declaration import ScoresOutput
from sealift.model.schema import BATCHING, THRESHOLD, Schema, nearest_setting
from sealift.model.setting import Kind, Setting, figure, in_words
from sealift.model.words import named, quoted, shown
from sealift.project.keys import NARROWING_KEYS, advice_on
from sealift.project.models import DEVICE
from sealift.project.project import Limits, ModelEntry, Slo
from sealift.project.section import Range, Section


def read_settings(document: Section, models: Sequence[ModelEntry], slo: Slo, limits: Limits) -> Schema:
    """What a box may set: all that sealift offers, with the defaults and ranges of the project."""
    offered = {setting.name: setting for setting in _offered(models, slo, limits)}
    section = document.child("settings")
    for found, name in _narrowings(section, offered):
        offered[name] = _narrowed(found, offered[name])
    return Schema(offered)


def _offered(models: Sequence[ModelEntry], slo: Slo, limits: Limits) -> list[Setting]:
    """Every setting with the default that other sections of the project file state."""
    declared: dict[str, Any] = {
        "slo.latency_p99_ms": slo.latency_p99_ms,
        "limits.max_memory_mb": limits.max_memory_mb,
    }
    devices = {model.device for model in models}
    if len(devices) == 1:
        declared["device"] = devices.pop()
    offered = [
        setting if declared.get(setting.name) is None else setting.with_default(declared[setting.name])
        for setting in Schema().settings.values()
    ]
    return offered + _thresholds(models) + _batching(models)


def _thresholds(models: Sequence[ModelEntry]) -> list[Setting]:
    """`threshold` where one model answers with a score, `models.NAME.threshold` where several do."""
    scores = [(model.name, model.output) for model in models if isinstance(model.output, ScoresOutput)]
    found = []
    for name, output in scores:
        setting = THRESHOLD if len(scores) == 1 else replace(THRESHOLD, name=f"models.{name}.threshold")
        about = f"{setting.about}, {output.positive}"
        found.append(replace(setting, about=about).with_default(output.threshold))
    return found


def _batching(models: Sequence[ModelEntry]) -> list[Setting]:
    """`batch_max` and `batch_wait_ms`, with the model's name before them where there are several."""
    if len(models) == 1:
        return list(BATCHING)
    return [replace(each, name=f"models.{model.name}.{each.name}") for model in models for each in BATCHING]


def _narrowings(section: Section, offered: dict[str, Setting]) -> list[tuple[Section, str]]:
    """Every table that narrows a setting, with the setting's name; anything else is noted."""
    found: list[tuple[Section, str]] = []
    for key in section.table:
        name = ".".join(map(str, (*section.path[1:], key)))
        below = [other for other in offered if other.startswith(f"{name}.")]
        if name not in offered and not below:
            _refuse_stranger(section, key, name, offered)
        elif not isinstance(section.table[key], dict):
            section.refuse(
                key,
                f"expected a table such as {_example(offered.get(name))}, got {shown(section.table[key])}",
            )
        elif name in offered:
            found.append((section.child(key), name))
        else:
            found += _narrowings(section.child(key), offered)
    return found


def _example(setting: Setting | None) -> str:
    if setting is None:
        return "{ NAME = { maximum = 8 } }"
    by_kind = {
        Kind.DEVICES: '{ choices = ["cpu"] }',
        Kind.ADDRESS: '{ default = "127.0.0.1" }',
        Kind.PATH: '{ default = "/etc/sealift/box.pem" }',
    }
    return by_kind.get(setting.kind, "{ minimum = 1, maximum = 8 }")


def _refuse_stranger(section: Section, key: str, name: str, offered: dict[str, Setting]) -> None:
    near = nearest_setting(name, offered)
    advice = f"; did you mean {named(near)}?" if near else ""
    if key == THRESHOLD.name:
        known = [other for other in offered if other.endswith(key)]
        advice = f"; it is {' and '.join(known)}" if known else '; no model has an output of kind "scores"'
    section.report.add((*section.path, key), f"{section.title} {named(key)} is not a setting{advice}")


def _narrowed(section: Section, setting: Setting) -> Setting:
    if setting.kind is Kind.DEVICES:
        return _narrowed_devices(section, setting)
    if setting.kind in (Kind.ADDRESS, Kind.PATH):
        return _narrowed_address(section, setting)
    return _narrowed_number(section, setting)


def _narrowed_address(section: Section, setting: Setting) -> Setting:
    _allow_only(section, NARROWING_KEYS["address"])
    default = section.table.get("default", setting.default)
    problem = setting.problem_with(default) if "default" in section else None
    if problem:
        section.refuse("default", problem)
        return setting
    return setting.with_default(default) if "default" in section else setting


def _narrowed_devices(section: Section, setting: Setting) -> Setting:
    _allow_only(section, NARROWING_KEYS["device"])
    choices = section.texts("choices", (), DEVICE)
    default = section.texts("default", None, DEVICE)
    narrowed = replace(setting, choices=choices)
    if default is not None:
        narrowed = narrowed.with_default(default)
    standing = narrowed.default if isinstance(narrowed.default, tuple) else ()
    strangers = [word for word in standing if choices and word not in choices]
    if strangers:
        text = f"{quoted(strangers[0])} stands in the default, so it must be among them"
        section.refuse("choices" if default is None else "default", text)
    return narrowed


def _narrowed_number(section: Section, setting: Setting) -> Setting:
    _allow_only(section, NARROWING_KEYS["number"])
    whole = setting.kind is Kind.INTEGER
    within = Range(setting.expected, lambda x: setting.problem_with(int(x) if whole else x) is None)
    low, high, default = (
        section.integer(key, None, within) if whole else section.number(key, None, within)
        for key in NARROWING_KEYS["number"]
    )
    narrowed = replace(
        setting,
        minimum=setting.minimum if low is None else low,
        maximum=setting.maximum if high is None else high,
    )
    if default is not None:
        narrowed = narrowed.with_default(default)
    if low is not None and high is not None and low > high:
        section.refuse("maximum", f"expected at least {figure(low)}, the minimum, got {figure(high)}")
    elif narrowed.default is not None and narrowed.problem_with(narrowed.default):
        _refuse_default(section, narrowed, stated=default is not None)
    return narrowed


def _refuse_default(section: Section, setting: Setting, *, stated: bool) -> None:
    value = setting.default
    below = setting.minimum is not None and isinstance(value, int | float) and value < setting.minimum
    key = "default" if stated else "minimum" if below else "maximum"
    if stated:
        section.refuse(key, f"expected {setting.expected}, got {shown(value)}")
        return
    whose = "that the project states" if setting.declared else "of sealift; add a default within the range"
    section.refuse(key, f"expected at {'most' if below else 'least'} {in_words(value)}, the default {whose}")


def _allow_only(section: Section, keys: tuple[str, ...]) -> None:
    for key in section.table:
        if key not in keys:
            advice, _ = advice_on(key, keys)
            section.report.add((*section.path, key), f"{section.title} {named(key)} is not a key{advice}")
