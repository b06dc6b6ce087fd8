# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""A function's contract: its parameters and result as JSON Schema, and the codec of its calls."""

from __future__ import annotations

import contextlib
import functools
import inspect
import linecache
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any

from turbolift.contract import hints
from turbolift.contract.binding import binder, given
from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, Unsupported
from turbolift.contract.compiler import Compiler
from turbolift.contract.containers import VariadicTupleNode
from turbolift.contract.hints import Scope
from turbolift.contract.jsontext import Payload
from turbolift.contract.mappings import DictNode
from turbolift.contract.quick import QuickCodec
from turbolift.contract.scalars import StrNode
from turbolift.contract.schema import PYTHON_TYPE, Defs, digest_of
from turbolift.errors import DecodeError, EncodeError, UnsupportedTypeError

_STACK = "nested too deeply for the stack that is left at this call"


class Contract:
    """The compiled contract of one function.

    ``digest``: ``sha256:<hex>`` of both schemas without titles, descriptions and defaults; ``parameters``:
    JSON Schema of the object of arguments; ``result``: JSON Schema of the result; ``signature``: as
    ``inspect`` gives it; ``function``: identity, ``module:qualname``.
    """

    def __init__(
        self,
        function: str,
        signature: inspect.Signature,
        nodes: Mapping[str, Node],
        result: Node,
        doc: str = "",
    ) -> None:
        self.function = function
        self.signature = signature
        self._nodes = dict(nodes)
        self._result = result
        self._doc = doc
        self._kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
        self._required = frozenset(
            p.name
            for p in signature.parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        )
        # The usual function: each argument can be passed by its name.
        self._by_name = all(
            p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) for p in signature.parameters.values()
        )
        self._variadic = frozenset(
            p.name for p in signature.parameters.values() if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        )
        self._binder = binder(signature, function.partition(":")[2])

    def __repr__(self) -> str:
        return f"<Contract of {self.function} {self.digest[:19]}>"

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        defs = Defs()
        properties: dict[str, Any] = {}
        for name, node in self._nodes.items():
            schema = node.schema(defs)
            parameter = self.signature.parameters[name]
            if name in self._variadic:
                schema = {
                    **schema,
                    PYTHON_TYPE: "*args" if parameter.kind is parameter.VAR_POSITIONAL else "**kwargs",
                }
            elif parameter.default is not parameter.empty:
                run = EncodeRun()
                with contextlib.suppress(Mismatch):
                    default = node.encode(parameter.default, run, 0)
                    if not run.parts:
                        schema = {**schema, "default": default}
            properties[name] = schema
        document: dict[str, Any] = {"title": self.function, "type": "object", "properties": properties}
        if self._doc:
            document["description"] = self._doc
        document["required"] = [name for name in self._kinds if name in self._required]
        document["additionalProperties"] = False
        return defs.document(document)

    @functools.cached_property
    def result(self) -> dict[str, Any]:
        defs = Defs()
        return defs.document(self._result.schema(defs))

    @functools.cached_property
    def digest(self) -> str:
        return digest_of(self.parameters, self.result)

    @functools.cached_property
    def quick(self) -> QuickCodec:
        """The same codec from values to text and back, for what is usual."""
        return QuickCodec(self.signature, self._nodes, self._result, by_name=self._by_name)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, object]:
        """Return the arguments by parameter name, as given: what is left to its default is left out.

        ``*args`` is a tuple and ``**kwargs`` a dict under their own names. Raises the TypeError that the
        call would.
        """
        return given(self._binder(*args, **kwargs), self._variadic)

    def encode_args(self, bound: Mapping[str, object]) -> Payload:
        """Encode bound arguments. Raises EncodeError with the path; nothing is half sent."""
        run = EncodeRun()
        tree: dict[str, Any] = {}
        name = ""
        try:
            for name, value in bound.items():
                node = self._nodes.get(name)
                if node is None:
                    raise EncodeError(f"{name}: {self.function} has no such parameter", path=name)
                tree[name] = node.encode(value, run, 0)
        except Mismatch as error:
            raise _encode_error(error, name) from None
        except RecursionError:
            raise EncodeError(f"{name}: {_STACK}", path=name) from None
        return Payload(tree, run.parts)

    def decode_args(self, payload: Payload) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Decode into positional and keyword arguments for the function. Raises DecodeError with the path."""
        tree = payload.json
        if type(tree) is not dict:
            raise DecodeError("the arguments must be a JSON object, by parameter name")
        run = DecodeRun(payload.parts)
        values: dict[str, Any] = {}
        name = ""
        try:
            for name, item in tree.items():
                node = self._nodes.get(name)
                if node is None:
                    known = ", ".join(self._nodes) or "none"
                    raise DecodeError(
                        f"{name[:60]}: {self.function} has no such parameter (its parameters: {known})",
                        path=name[:60],
                    )
                values[name] = node.decode(item, run, 0)
            name = ""
            run.finish()
        except Mismatch as error:
            raise _decode_error(error, name) from error.__cause__
        except RecursionError:
            raise DecodeError(f"{name}: {_STACK}", path=name) from None
        if not self._required <= values.keys():
            name = next(n for n in self._kinds if n in self._required - values.keys())
            raise DecodeError(f"{name}: missing; {self.function} needs it", path=name)
        return ((), values) if self._by_name else self._call(values)

    def _call(self, values: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        more: tuple[Any, ...] = ()
        late: dict[str, Any] = {}
        positional = self._positional(values)
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                more = values.get(name, ())
            elif parameter.kind is parameter.VAR_KEYWORD:
                late = values.get(name, {})
            elif name in positional:
                args.append(values.get(name, parameter.default))
            elif name in values:
                kwargs[name] = values[name]
        clash = late.keys() & {
            n for n, kind in self._kinds.items() if kind is not inspect.Parameter.POSITIONAL_ONLY
        }
        clash -= self._variadic
        if clash:
            names = ", ".join(sorted(clash))
            raise DecodeError(
                f"{names}: given twice, as a parameter and among the further keyword arguments", path=names
            )
        return (*args, *more), {**kwargs, **late}

    def _positional(self, values: dict[str, Any]) -> set[str]:
        """Which parameters must go by position: positional-only ones up to the last given, all where
        ``*args`` follow.
        """
        names: list[str] = []
        last = 0
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_POSITIONAL:
                if values.get(name):
                    last = len(names)
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                names.append(name)
                if parameter.kind is parameter.POSITIONAL_ONLY and name in values:
                    last = len(names)
        return set(names[:last])

    def encode_result(self, value: object) -> Payload:
        """Encode what the function returned. Raises EncodeError; its path starts with ``result``."""
        run = EncodeRun()
        try:
            return Payload(self._result.encode(value, run, 0), run.parts)
        except Mismatch as error:
            raise _encode_error(error, "result") from None
        except RecursionError:
            raise EncodeError(f"result: {_STACK}", path="result") from None

    def decode_result(self, payload: Payload) -> object:
        """Decode a result. Raises DecodeError with the path, which starts with ``result``."""
        run = DecodeRun(payload.parts)
        try:
            value = self._result.decode(payload.json, run, 0)
            run.finish()
        except Mismatch as error:
            raise _decode_error(error, "result") from error.__cause__
        except RecursionError:
            raise DecodeError(f"result: {_STACK}", path="result") from None
        return value


def _encode_error(error: Mismatch, root: str) -> EncodeError:
    path = error.path(root)
    return EncodeError(f"{path}: {error.message}", path=path)


def _decode_error(error: Mismatch, root: str) -> DecodeError:
    path = error.path(root)
    return DecodeError(f"{path}: {error.message}" if path else error.message, path=path)


def build(fn: Callable[..., Any], *, owner: type | None = None) -> Contract:
    """Compile the contract of `fn`. Raises UnsupportedTypeError."""
    if isinstance(fn, staticmethod):
        fn = fn.__func__
    plain: Any = inspect.unwrap(fn)
    if not inspect.isfunction(plain):
        raise UnsupportedTypeError(
            f"{fn!r} is a {type(plain).__name__}, not a function: it has no type hints to read"
        )
    function = f"{plain.__module__}:{plain.__qualname__}"
    file, line = _location(plain)

    def refuse(parameter: str, message: str) -> UnsupportedTypeError:
        what = "the result" if parameter == "return" else f"parameter {parameter!r}"
        return UnsupportedTypeError(
            f"{file}:{line}: {what} of {function}: {message}", file=file, line=line, parameter=parameter
        )

    signature = inspect.signature(fn)
    try:
        written = hints.annotations_of(plain)
    except Unsupported as error:
        raise refuse("return", error.message) from None
    scope = hints.function_scope(plain, owner)
    compiler = Compiler()
    nodes: dict[str, Node] = {}
    for name, parameter in [*signature.parameters.items(), ("return", None)]:
        if name not in written:
            example = "-> None" if parameter is None else f"{name}: int"
            raise refuse(name, f"has no type hint; write what it is, as in `{example}`")
        try:
            nodes[name] = _node(compiler, parameter, written[name], scope)
        except Unsupported as error:
            where = f" (in {' -> '.join(reversed(error.where))})" if error.where else ""
            raise refuse(name, error.message + where) from None
    result = nodes.pop("return")
    return Contract(function, signature, nodes, result, inspect.getdoc(plain) or "")


def _node(compiler: Compiler, parameter: inspect.Parameter | None, hint: Any, scope: Scope) -> Node:
    if parameter is None or parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return compiler.compile(hint, scope)
    if isinstance(hint, str):
        # ``*args: *tuple[int, str]`` is no expression by itself.
        hint = hints.evaluate(f"({hint.strip()},)[0]" if hint.strip().startswith("*") else hint, scope)
    unpacked = getattr(hint, "__unpacked__", False) or (
        getattr(typing.get_origin(hint), "_name", getattr(typing.get_origin(hint), "__name__", ""))
        == "Unpack"
    )
    if parameter.kind is parameter.VAR_POSITIONAL:
        return (
            compiler.compile(tuple[hint], scope)
            if unpacked
            else VariadicTupleNode(compiler.compile(hint, scope))
        )
    if unpacked:
        return compiler.compile(typing.get_args(hint)[0], scope)
    return DictNode(StrNode(), compiler.compile(hint, scope))


def _location(fn: Any) -> tuple[str, int]:
    """The file and line of the function's ``def`` (its code starts at the first decorator)."""
    code = getattr(fn, "__code__", None)
    if code is None:
        return getattr(inspect.getmodule(fn), "__file__", None) or "<unknown>", 0
    file, line = code.co_filename, code.co_firstlineno
    for number in range(line, line + 50):
        text = linecache.getline(file, number)
        if re.match(r"\s*(async\s+)?def\s", text):
            return file, number
    return file, line
