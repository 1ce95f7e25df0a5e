"""A script's statements, followed from what a client sends to what it is answered, without running any."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sealift.migrate.script_eval import Evaluator, Followers, Scope
from sealift.migrate.script_names import Function, Route, Script
from sealift.migrate.symbols import (
    Arguments,
    Fields,
    Instance,
    Known,
    Model,
    Opened,
    Photo,
    Result,
    Symbol,
    Table,
    Unknown,
)

_DEEPEST: Final = 8
_HARMLESS: Final = frozenset(("print", "logging", "logger", "log", "app", "time", "warnings"))
_MOST_CALLS: Final = 500
"""Functions of the script that are followed, one in another: a service has few, and time is bounded."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """What a model was given, and where."""

    model: Model
    given: Symbol
    line: int


@dataclass(frozen=True, slots=True)
class CallOfOwn:
    """A function of the script that a route called, with what, and what it gave."""

    function: Function
    arguments: Arguments
    given_back: Symbol


@dataclass(slots=True)
class Walked:
    """What was seen on the way, in its order."""

    models: list[Model] = field(default_factory=list)
    calls: list[ModelCall] = field(default_factory=list)
    own: list[CallOfOwn] = field(default_factory=list)
    answer: Table | Result | None = None


class Walker:
    """Follows one script. `walked` fills while it does."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.walked = Walked()
        self._globals: dict[str, Symbol] = {"__file__": Known(script.path)}
        self._evaluator = Evaluator(
            script, Followers(self._call_own, self._make, self._note_model, self._note_call)
        )
        self._active: list[str] = []
        self._left = _MOST_CALLS

    def read_module(self) -> None:
        """The constants and models of the whole file: first the top level, then what its functions load."""
        top = Scope(self._globals, self._globals, {})
        self._walk(self.script.tree.body, top)
        answering = {route.function.name for route in self.script.routes}
        for function in (*self.script.methods.values(), *self.script.functions.values()):
            if function.name not in answering and function.name != "__init__":
                self._left = max(self._left, _DEEPEST)
                self._walk_function(function, Arguments())
        self.walked.calls.clear()
        self.walked.own.clear()

    def follow(self, route: Route) -> Walked:
        """What the route does with a request."""
        self._left = _MOST_CALLS
        self.walked.calls.clear()
        self.walked.own.clear()
        given = self._walk_function(route.function, Arguments())
        self.walked.answer = given if isinstance(given, Table | Result) else None
        return self.walked

    def _call_own(self, function: Function, arguments: Arguments) -> Symbol:
        given_back = self._walk_function(function, arguments)
        self.walked.own.append(CallOfOwn(function, arguments, given_back))
        return given_back

    def _make(self, node: ast.ClassDef, arguments: Arguments) -> Symbol:
        """An object: what its class and its `__init__` set stands under `self.NAME`."""
        scope = Scope({}, self._globals, {})
        self._walk([each for each in node.body if isinstance(each, ast.Assign | ast.AnnAssign)], scope)
        self._globals.update({f"self.{name}": value for name, value in scope.local.items()})
        init = next(
            (each for each in node.body if isinstance(each, Function) and each.name == "__init__"), None
        )
        if init is not None:
            self._walk_function(init, arguments)
        return Instance(node.name)

    def _note_model(self, model: Model) -> None:
        if model not in self.walked.models:
            self.walked.models.append(model)

    def _note_call(self, model: Model, given: Symbol, line: int) -> None:
        self.walked.calls.append(ModelCall(model, given, line))

    def _walk_function(self, function: Function, arguments: Arguments) -> Symbol:
        if function.name in self._active or len(self._active) >= _DEEPEST or not self._left:
            return Unknown(function.lineno, function.name)
        self._left -= 1
        self._active.append(function.name)
        try:
            local = self._bound(function, arguments)
            returned = self._walk(function.body, Scope(local, self._globals, {}))
        finally:
            self._active.pop()
        return _most_telling(returned, function)

    def _bound(self, function: Function, arguments: Arguments) -> dict[str, Symbol]:
        names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
        if names[:1] == ["self"] and len(arguments.given) < len(names):
            names = names[1:]
        bound: dict[str, Symbol] = {name: Unknown(function.lineno, name) for name in names}
        defaults = function.args.defaults
        scope = Scope({}, self._globals, {})
        for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=False):
            bound[name] = self._evaluator.value(default, scope)
        bound.update(zip(names, arguments.given, strict=False))
        bound.update({name: value for name, value in (arguments.named or {}).items() if name in bound})
        return bound

    def _walk(self, body: Sequence[ast.stmt], scope: Scope) -> list[Symbol]:
        """Follow statements; returns what their `return`s give."""
        returned: list[Symbol] = []
        for statement in body:
            returned += self._statement(statement, scope)
        return returned

    def _statement(self, statement: ast.stmt, scope: Scope) -> list[Symbol]:
        match statement:
            case ast.Assign(targets=targets, value=value):
                found = self._evaluator.value(value, scope)
                for target in targets:
                    self._assign(target, found, scope)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, self._evaluator.value(value, scope), scope)
            case ast.AugAssign(target=target, op=operator, value=value):
                whole = ast.copy_location(
                    ast.BinOp(left=_loaded(target), op=operator, right=value), statement
                )
                self._assign(target, self._evaluator.value(whole, scope), scope)
            case ast.Expr(value=value):
                self._forget_changed(value, self._evaluator.value(value, scope), scope)
            case ast.Return(value=ast.expr() as value):
                return [self._returned(value, scope)]
            case ast.Global(names=names):
                scope.shared.update(dict.fromkeys(names, True))
            case ast.If():
                return self._if(statement, scope)
            case ast.With() | ast.AsyncWith():
                return self._with(statement, scope)
            case ast.Try():
                return self._walk([*statement.body, *statement.orelse, *statement.finalbody], scope)
            case ast.For() | ast.While() | ast.AsyncFor():
                return self._loop(statement, scope)
            case _:
                pass
        return []

    def _forget_changed(self, value: ast.expr, found: Symbol, scope: Scope) -> None:
        """After `image.thumbnail(...)` or `shuffle(x)`, which were not understood, nobody knows what they changed."""
        if not isinstance(value, ast.Call) or not isinstance(found, Unknown):
            return
        touched = [*value.args, *(each.value for each in value.keywords)]
        if isinstance(value.func, ast.Attribute):
            touched.append(value.func.value)
        if self.script.dotted(value.func).partition(".")[0] in _HARMLESS:
            return
        for each in touched:
            if isinstance(each, ast.Name) and isinstance(
                scope.local.get(each.id), Photo | Fields | Result | Known
            ):
                scope.local[each.id] = Unknown(value.lineno, self.script.text(value))

    def _returned(self, value: ast.expr, scope: Scope) -> Symbol:
        """Of `return jsonify(...), 200` the answer."""
        if isinstance(value, ast.Tuple) and value.elts:
            first = self._evaluator.value(value.elts[0], scope)
            if isinstance(first, Table | Result):
                return first
        return self._evaluator.value(value, scope)

    def _assign(self, target: ast.expr, found: Symbol, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            home = scope.all if target.id in scope.shared else scope.local
            home[target.id] = found
        elif isinstance(target, ast.Attribute):
            self._globals[ast.unparse(target)] = found
        elif isinstance(target, ast.Tuple | ast.List):
            for number, each in enumerate(target.elts):
                self._assign(each, self._evaluator.item(found, number, target), scope)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self._assign(target.value, Unknown(target.lineno, self.script.text(target)), scope)

    def _if(self, statement: ast.If, scope: Scope) -> list[Symbol]:
        test = self._evaluator.value(statement.test, scope)
        first, second = scope.copy(), scope.copy()
        returned = self._walk(statement.body, first)
        returned += self._walk(statement.orelse, second)
        if _leaves(statement.body):
            first = second
        elif statement.orelse and _leaves(statement.orelse):
            second = first
        is_mode_guard = ".mode" in self.script.text(statement.test)
        for name in {*first.local, *second.local}:
            scope.local[name] = self._joined(
                (test, first.local.get(name), second.local.get(name)), statement, is_mode_guard
            )
        return returned

    def _joined(
        self, ways: tuple[Symbol, Symbol | None, Symbol | None], statement: ast.If, is_mode_guard: bool
    ) -> Symbol:
        """What a name is after both branches."""
        test, first, second = ways
        if first == second and first is not None:
            return first
        if first is None or second is None:
            return first or second or Unknown(statement.lineno, "if")
        if is_mode_guard and isinstance(first, Photo) and isinstance(second, Photo):
            return (
                first
                if replace(second, channels=first.channels) == first
                else Unknown(statement.lineno, "if")
            )
        return self._evaluator.either(test, first, second) or Unknown(
            statement.lineno, f"if {self.script.text(statement.test)}"
        )

    def _with(self, statement: ast.With | ast.AsyncWith, scope: Scope) -> list[Symbol]:
        for item in statement.items:
            found = self._evaluator.value(item.context_expr, scope)
            if item.optional_vars is not None:
                self._assign(item.optional_vars, found, scope)
        return self._walk(statement.body, scope)

    def _loop(self, statement: ast.For | ast.AsyncFor | ast.While, scope: Scope) -> list[Symbol]:
        """A loop may run any number of times: what it assigns is not known after it."""
        inner = scope.copy()
        if isinstance(statement, ast.For | ast.AsyncFor):
            self._assign(statement.target, Unknown(statement.lineno, "for"), inner)
        returned = self._walk(statement.body, inner)
        for name, value in inner.local.items():
            if scope.local.get(name) != value:
                scope.local[name] = Unknown(statement.lineno, f"a loop that changes {name}")
        return returned


def _loaded(target: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(target), mode="eval").body


def _leaves(body: Sequence[ast.stmt]) -> bool:
    return bool(body) and isinstance(body[-1], ast.Return | ast.Raise | ast.Continue | ast.Break)


def _most_telling(returned: Sequence[Symbol], function: Function) -> Symbol:
    """Of several returns the one that carries on: an answer with results, a photo, a model."""
    if not returned:
        return Unknown(function.lineno, f"{function.name} returns nothing")

    def telling(symbol: Symbol) -> int:
        if isinstance(symbol, Table):
            return 3 if any(isinstance(each, Result) for each in symbol.entries.values()) else 0
        return 1 if isinstance(symbol, Known | Unknown) else 2

    return max(reversed(returned), key=telling)


def file_of(symbol: Opened | Known | None) -> Path | None:
    """The file behind labels, if they are one."""
    return symbol.path if isinstance(symbol, Opened) else None
