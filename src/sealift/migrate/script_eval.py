"""One expression of a script -> what it stands for."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sealift.migrate import photo_rules, script_calls, script_methods
from sealift.migrate.script_names import Function, Script
from sealift.migrate.symbols import (
    Arguments,
    Chain,
    Fields,
    Instance,
    Known,
    Model,
    Opened,
    Photo,
    Result,
    Sent,
    Symbol,
    Table,
    Unknown,
    numbers_of,
)

_OPERATORS: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
_KEEPING: Final = ("to", "numpy", "cpu", "cuda", "float", "contiguous", "detach")
"""What does not change the numbers of a tensor, whatever it is."""
_RUNS: Final = ("run", "forward", "predict", "infer", "infer_new_request", "__call__")


@dataclass(frozen=True, slots=True)
class Scope:
    """Names of a function and of the module. `shared`: what the function declares `global`."""

    local: dict[str, Symbol]
    all: dict[str, Symbol]
    shared: dict[str, bool]

    def copy(self) -> Scope:
        """To follow one of two branches."""
        return Scope(dict(self.local), self.all, dict(self.shared))

    def get(self, name: str) -> Symbol | None:
        """The function's own name before the module's."""
        return self.local.get(name, self.all.get(name))


@dataclass(frozen=True, slots=True)
class Followers:
    """Who is told: functions of the script are followed, its classes made, models loaded and called."""

    call_own: Callable[[Function, Arguments], Symbol]
    make: Callable[[ast.ClassDef, Arguments], Symbol]
    note_model: Callable[[Model], None]
    note_call: Callable[[Model, Symbol, int], None]


class Evaluator:
    """Evaluates expressions, and tells its followers what it meets."""

    def __init__(self, script: Script, followers: Followers) -> None:
        self._script = script
        self._followers = followers

    def value(self, node: ast.expr, scope: Scope) -> Symbol:
        """What the expression stands for; Unknown with the place of the first thing that was not understood."""
        match node:
            case ast.Constant(value=constant):
                return Known(constant)
            case ast.Name(id=name):
                imported = self._script.imports.get(name)
                return scope.get(name) or (Known(imported) if imported else self._unknown(node))
            case ast.Await(value=inner) | ast.Starred(value=inner):
                return self.value(inner, scope)
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return self._sequence(node, [self.value(part, scope) for part in parts])
            case ast.Dict(keys=keys, values=values):
                return self._dict(keys, [self.value(each, scope) for each in values])
            case ast.JoinedStr(values=values):
                return self._text(node, values, scope)
            case ast.ListComp():
                return self._comprehension(node, scope)
            case _:
                return self._operation(node, scope)

    def either(self, test: Symbol, first: Symbol, second: Symbol) -> Symbol | None:
        """`first if test else second`."""
        words = [
            each.value for each in (first, second) if isinstance(each, Known) and isinstance(each.value, str)
        ]
        if isinstance(test, Result) and test.what == "decision" and len(words) == 2:
            return replace(test, words=(str(words[0]), str(words[1])))
        return first if first == second else None

    def item(self, found: Symbol, number: int, node: ast.expr) -> Symbol:
        """The value of one name in `a, b = found`."""
        if isinstance(found, Unknown):
            return found
        return script_methods.indexed(found, number) or self._unknown(node)

    def _operation(self, node: ast.expr, scope: Scope) -> Symbol:
        match node:
            case ast.Attribute():
                return self._attribute(node, scope)
            case ast.Subscript():
                return self._subscript(node, scope)
            case ast.Call():
                return self._call(node, scope)
            case ast.BinOp(left=left, op=operator, right=right):
                sign = _OPERATORS.get(type(operator), "")
                return self._arithmetic(node, self.value(left, scope), sign, self.value(right, scope))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                inner = self.value(operand, scope)
                number = inner.value if isinstance(inner, Known) else None
                return Known(-number) if isinstance(number, int | float) else self._unknown(node, inner)
            case ast.Compare(left=left, ops=[ast.GtE() | ast.Gt()], comparators=[right]):
                return self._compare(node, self.value(left, scope), self.value(right, scope))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                values = (self.value(test, scope), self.value(body, scope), self.value(orelse, scope))
                return self.either(*values) or self._unknown(node, *values)
            case _:
                return self._unknown(node)

    def _unknown(self, node: ast.AST, *operands: Symbol) -> Unknown:
        """A new object each time: what is the same object was not changed on the way."""
        before = next((each for each in operands if isinstance(each, Unknown)), None)
        if before is not None:
            return replace(before)
        return Unknown(getattr(node, "lineno", 0), self._script.text(node))

    def _sequence(self, node: ast.expr, parts: list[Symbol]) -> Symbol:
        """Constants by value; what was sent and transforms as they are."""
        if any(not isinstance(part, Known | Sent | Chain | Photo | Result) for part in parts):
            return self._unknown(node, *parts)
        if len(parts) == 1 and isinstance(parts[0], Photo | Result):  # a batch of one
            return (
                photo_rules.indexed(parts[0], None) or parts[0] if isinstance(parts[0], Photo) else parts[0]
            )
        if any(isinstance(part, Photo | Result) for part in parts):
            return self._unknown(node)
        return Known([part.value if isinstance(part, Known) else part for part in parts])

    def _dict(self, keys: list[ast.expr | None], values: list[Symbol]) -> Symbol:
        names = [key.value if isinstance(key, ast.Constant) else None for key in keys]
        if values and all(isinstance(each, Known) for each in values) and None not in names:
            return Known(
                dict(zip(names, [each.value for each in values if isinstance(each, Known)], strict=True))
            )
        return Table(
            {str(name or number): each for number, (name, each) in enumerate(zip(names, values, strict=True))}
        )

    def _text(self, node: ast.expr, parts: list[ast.expr], scope: Scope) -> Symbol:
        texts = []
        for part in parts:
            found = self.value(part.value if isinstance(part, ast.FormattedValue) else part, scope)
            if not isinstance(found, Known):
                return self._unknown(node, found)
            texts.append(str(found.value))
        return Known("".join(texts))

    def _comprehension(self, node: ast.ListComp, scope: Scope) -> Symbol:
        """Over a list that is known, as in `[data[name] for name in COLUMNS]`; the lines of a file stay the file."""
        loop = node.generators[0]
        source = self.value(loop.iter, scope)
        if isinstance(source, Opened):
            return source
        if len(node.generators) > 1 or not isinstance(source, Known) or not isinstance(source.value, list):
            return self._unknown(node, source)
        parts = []
        for each in source.value[:1000]:
            inner = scope.copy()
            if isinstance(loop.target, ast.Name):
                inner.local[loop.target.id] = each if isinstance(each, Sent | Chain) else Known(each)
            parts.append(self.value(node.elt, inner))
        return self._sequence(node, parts)

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Symbol:
        dotted = self._script.dotted(node)
        if dotted in ("flask.request.json", "flask.request.data"):
            return Sent("json" if dotted.endswith("json") else "raw")
        if (found := scope.all.get(ast.unparse(node))) is not None:
            return found
        root = dotted.partition(".")[0]
        if dotted and root in {name.partition(".")[0] for name in self._script.imports.values()}:
            return Known(dotted)
        receiver = self.value(node.value, scope)
        return script_methods.attribute(receiver, node.attr) or self._unknown(node, receiver)

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Symbol:
        key = self._key(node.slice, scope)
        if self._script.dotted(node.value) == "flask.request.files":
            return Sent("file", key, is_stream=True) if isinstance(key, str) else self._unknown(node)
        receiver = self.value(node.value, scope)
        return script_methods.indexed(receiver, key) or self._unknown(node, receiver)

    def _key(self, node: ast.expr, scope: Scope) -> object:
        if isinstance(node, ast.Tuple):
            return tuple(self._key(each, scope) for each in node.elts)
        if isinstance(node, ast.Slice):
            bounds = [each and self._key(each, scope) for each in (node.lower, node.upper, node.step)]
            return slice(*bounds)
        if self._script.dotted(node) == "numpy.newaxis":
            return None
        found = self.value(node, scope)
        return found.value if isinstance(found, Known) else found

    def _call(self, node: ast.Call, scope: Scope) -> Symbol:
        arguments = self._arguments(node, scope)
        name = self._script.dotted(node.func)
        if name in script_calls.LOADERS:
            return self._loaded(script_calls.LOADERS[name], node, arguments)
        if name == "flask.request.files.get":
            return Sent("file", str(arguments.constant(0)), is_stream=True)
        found = script_calls.function(name, arguments) if name else None
        if isinstance(found, Chain):
            return _placed(found, node.lineno)
        if found is not None:
            return found
        return self._call_of_value(node, scope, name, arguments)

    def _call_of_value(self, node: ast.Call, scope: Scope, name: str, arguments: Arguments) -> Symbol:
        if name in self._script.classes:
            return self._followers.make(self._script.classes[name], arguments)
        own = self._script.functions.get(name)
        if name.startswith("self."):
            own = self._script.methods.get(name[5:])
        if own is not None and scope.get(name) is None:
            return self._own(own, arguments)
        if isinstance(node.func, ast.Attribute):
            called, method = self.value(node.func.value, scope), node.func.attr
            if isinstance(called, Instance) and method in self._script.methods:
                return self._own(self._script.methods[method], arguments)
            if isinstance(called, Unknown) and method in _KEEPING:
                return called
            if method in script_calls.LOADING_METHODS and not isinstance(called, Photo):
                return self._compiled(node, arguments)
            if not isinstance(called, Model) or method not in _RUNS:
                found = script_methods.method(called, method, arguments)
                return found or self._unknown(node, called, *arguments.given)
        else:
            called = self.value(node.func, scope)
        if isinstance(called, Model):
            self._followers.note_call(called, _model_input(arguments), node.lineno)
            return Result()
        photo = arguments.get(0)
        if isinstance(called, Chain) and isinstance(photo, Photo):
            after = photo_rules.transformed(photo, called)
            return after if isinstance(after, Photo) else Unknown(after[1], f"transforms.{after[0]}")
        return self._unknown(node, *arguments.given)

    def _own(self, function: Function, arguments: Arguments) -> Symbol:
        activation = next((word for word in ("softmax", "sigmoid") if word in function.name.lower()), None)
        first = arguments.get(0)
        if activation and isinstance(first, Result):
            return replace(first, activation=activation)
        return self._followers.call_own(function, arguments)

    def _arguments(self, node: ast.Call, scope: Scope) -> Arguments:
        named = {each.arg: self.value(each.value, scope) for each in node.keywords if each.arg}
        return Arguments(tuple(self.value(each, scope) for each in node.args), named)

    def _loaded(self, loader: str, node: ast.Call, arguments: Arguments) -> Model:
        path = arguments.get(0)
        file = path.path if isinstance(path, Opened) else path.value if isinstance(path, Known) else None
        model = Model(loader, Path(file) if isinstance(file, str | Path) else None, node.lineno)
        self._followers.note_model(model)
        return model

    def _compiled(self, node: ast.Call, arguments: Arguments) -> Symbol:
        first = arguments.get(0) or arguments.get(9, "model")
        if isinstance(first, Model):
            return first
        return self._loaded("openvino", node, arguments)

    def _arithmetic(self, node: ast.expr, left: Symbol, sign: str, right: Symbol) -> Symbol:
        fields = script_methods.fields_of(left)
        subject = fields or left
        if isinstance(subject, Photo | Fields) and isinstance(right, Known) and sign:
            return photo_rules.arithmetic(subject, sign, right.value) or self._unknown(node)
        if isinstance(right, Photo) and isinstance(left, Known) and sign:
            return photo_rules.arithmetic(right, sign, left.value, is_reversed=sign in "-/") or self._unknown(
                node
            )
        if isinstance(left, Known) and isinstance(right, Known):
            found = _constant(left.value, sign, right.value)
            return Known(found) if found is not None else self._unknown(node)
        if isinstance(left, Result) and isinstance(right, Result):
            return _softmax_step(left, sign, right) or self._unknown(node)
        if isinstance(left, Result) and isinstance(right, Known):
            return left if sign in "*/" and numbers_of(right.value) in ((1.0,),) else self._unknown(node)
        return self._unknown(node, left, right)

    def _compare(self, node: ast.expr, left: Symbol, right: Symbol) -> Symbol:
        threshold = numbers_of(right.value) if isinstance(right, Known) else None
        if (
            isinstance(left, Result)
            and left.what in ("score", "values")
            and threshold
            and len(threshold) == 1
        ):
            return replace(left, what="decision", threshold=threshold[0])
        return self._unknown(node, left, right)


def _softmax_step(left: Result, sign: str, right: Result) -> Result | None:
    """Of `e = exp(x - x.max())`, `e / e.sum()`."""
    if sign == "-" and right.what == "best" and left.what == "values" and not left.activation:
        return replace(left, activation="shifted")
    if sign == "/" and left.activation == right.activation == "exp":
        return replace(left, activation="softmax")
    return None


def _placed(chain: Chain, line: int) -> Chain:
    return Chain(tuple((name, arguments, at or line) for name, arguments, at in chain.steps))


def _model_input(arguments: Arguments) -> Symbol:
    """Of `model(x)`, `model([x])`, `session.run(None, {name: x})`."""
    for symbol in arguments.given:
        if isinstance(symbol, Table) and len(symbol.entries) == 1:
            return next(iter(symbol.entries.values()))
        if isinstance(symbol, Known) and isinstance(symbol.value, dict) and len(symbol.value) == 1:
            return Known(next(iter(symbol.value.values())))
        if not isinstance(symbol, Known) or isinstance(symbol.value, list):
            return symbol
    return Unknown(0, "what the model is given")


def _constant(left: object, sign: str, right: object) -> object:
    if isinstance(left, Path) and isinstance(right, str) and sign == "/":
        return left / right
    if isinstance(left, str) and isinstance(right, str) and sign == "+":
        return left + right
    first, second = numbers_of(left), numbers_of(right)
    if first is None or second is None or not sign or len({1, len(first), len(second)}) > 2:
        return None
    count = max(len(first), len(second))
    pairs = zip(first * (count // len(first)), second * (count // len(second)), strict=True)
    try:
        found = [_calculated(a, sign, b) for a, b in pairs]
    except ZeroDivisionError:
        return None
    whole = isinstance(left, int) and isinstance(right, int) and sign != "/"
    return (int(found[0]) if whole else found[0]) if count == 1 else found


def _calculated(a: float, sign: str, b: float) -> float:
    return a + b if sign == "+" else a - b if sign == "-" else a * b if sign == "*" else a / b
