# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a hint was written, and what the names in it mean there."""

from __future__ import annotations

import builtins
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from turbolift.contract.codec import Node, Unsupported

# Where CPython keeps the classes whose __module__ is another one in some versions.
HOMES = {
    "pathlib._local": "pathlib",
    "_decimal": "decimal",
    "_pydecimal": "decimal",
    "_pydatetime": "datetime",
}


class Argument(NamedTuple):
    """What a type variable stands for: the hint, and its node, or why it has none."""

    hint: Any
    node: Node | None
    error: Unsupported | None = None


class Scope(NamedTuple):
    """What a hint's names and type variables mean.

    ``typevars`` gives each type variable's Argument (a list for a TypeVarTuple, None for a ParamSpec).
    """

    names: Mapping[str, Any]
    typevars: Mapping[Any, Any]
    owner: type | None = None


def function_scope(fn: Callable[..., Any], owner: type | None) -> Scope:
    names: dict[str, Any] = dict(getattr(fn, "__globals__", {}))
    names.update((p.__name__, p) for p in _type_parameters(fn))
    if owner is not None:
        names = {**vars(owner), owner.__name__: owner, **names}
    return Scope(names, {}, owner)


def class_scope(cls: type, typevars: Mapping[Any, Any], owner: type) -> Scope:
    names = {cls.__name__: cls, **vars(cls), **module_names(cls.__module__)}
    names.update((p.__name__, p) for p in _type_parameters(cls))
    return Scope(names, typevars, owner)


def module_names(module: str) -> dict[str, Any]:
    return vars(sys.modules[module]) if module in sys.modules else {}


def annotations_of(thing: Any) -> dict[str, Any]:
    """The annotations of a class or a function as they were written (strings where they were strings)."""
    try:
        return inspect.get_annotations(thing)
    except NameError as error:  # CPython 3.14 evaluates here
        raise Unsupported(_unknown(error.name or str(error), str(error.name))) from None


def evaluate(text: str, scope: Scope) -> Any:
    """What a hint that is a string (as under ``from __future__ import annotations``) stands for."""
    try:
        code = compile(text.strip(), "<hint>", "eval", flags=0, dont_inherit=True)
    except SyntaxError:
        raise Unsupported(f"the hint {text!r} is not an expression") from None
    try:
        return eval(code, {"__builtins__": builtins, **scope.names})
    except NameError as error:
        raise Unsupported(_unknown(text, error.name or "")) from None
    except Exception as error:
        raise Unsupported(f"the hint {text!r} cannot be evaluated: {type(error).__name__}: {error}") from None


def _unknown(text: str, name: str) -> str:
    of = "" if text == name else f" of the hint {text!r}"
    return (
        f"the name {name!r}{of} is not defined when the module runs: if it is imported under "
        "`if TYPE_CHECKING:`, import it for real; if it is a class inside a function, move it to the module"
    )


def forward(reference: typing.ForwardRef, scope: Scope) -> tuple[str, Scope]:
    """The text of a forward reference, and the scope that it was written in."""
    module = getattr(reference, "__forward_module__", None)
    name = module if isinstance(module, str) else getattr(module, "__name__", None)
    if name is not None:
        scope = scope._replace(names={**scope.names, **module_names(name)})
    return reference.__forward_arg__, scope


def _type_parameters(thing: Any) -> tuple[Any, ...]:
    for name in ("__type_params__", "__parameters__"):
        parameters = getattr(thing, name, None)
        if isinstance(parameters, tuple) and parameters:  # on `type` itself they are descriptors
            return parameters
    return ()


def type_variables(
    cls: Any, arguments: tuple[Any, ...], compile_argument: Callable[[Any], Any]
) -> dict[Any, Any]:
    """Map the type variables of a generic class or alias to its compiled `arguments`."""
    parameters = _type_parameters(cls)
    if not parameters or not arguments:
        return {}
    return bind_type_variables(parameters, arguments, compile_argument)


def bind_type_variables(
    parameters: tuple[Any, ...], arguments: tuple[Any, ...], compile_argument: Callable[[Any], Any]
) -> dict[Any, Any]:
    variadic = next((i for i, p in enumerate(parameters) if isinstance(p, typing.TypeVarTuple)), None)
    result: dict[Any, Any] = {}
    if variadic is None:
        pairs = list(zip(parameters, arguments, strict=False))
    else:
        after = len(parameters) - variadic - 1
        end = len(arguments) - after
        result[parameters[variadic]] = [compile_argument(a) for a in arguments[variadic:end]]
        pairs = list(zip(parameters[:variadic], arguments[:variadic], strict=False))
        pairs += list(zip(parameters[variadic + 1 :], arguments[end:], strict=False))
    for parameter, argument in pairs:
        # A ParamSpec's argument describes calls, never a value.
        result[parameter] = None if isinstance(parameter, typing.ParamSpec) else compile_argument(argument)
    return result


def field_hints(
    cls: type, typevars: Mapping[Any, Any], compile_in: Callable[[Any, Scope], Any]
) -> dict[str, tuple[Any, Scope]]:
    """The hint of each field of a class and its bases, with the scope that it was written in.

    A base that is generic gets its own type variables: in ``class Prices(Table[int])`` the ``T`` of
    ``Table`` is int.
    """
    result: dict[str, tuple[Any, Scope]] = {}
    known: dict[type, Mapping[Any, Any]] = {cls: typevars}
    for base in cls.__mro__:
        own = known.get(base, {})
        for written in base.__dict__.get("__orig_bases__", ()):
            origin = typing.get_origin(written)
            if isinstance(origin, type) and origin not in known and origin is not typing.Generic:
                scope = class_scope(base, own, cls)
                known[origin] = type_variables(
                    origin,
                    typing.get_args(written),
                    lambda a, s=scope: compile_in(a, s),  # type: ignore[misc]
                )
    for base in reversed(cls.__mro__):
        if base is object or base.__module__ in ("typing", "builtins"):
            continue
        scope = class_scope(base, known.get(base, {}), cls)
        for name, hint in annotations_of(base).items():
            result[name] = (hint, scope)
    return result


def is_typed_dict(hint: Any) -> bool:
    return (
        isinstance(hint, type)
        and issubclass(hint, dict)
        and hasattr(hint, "__required_keys__")
        and hasattr(hint, "__total__")
    )


def is_named_tuple(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, tuple) and hasattr(hint, "_fields")


def qualifiers(hint: Any) -> tuple[Any, set[str]]:
    """Take Required, NotRequired, ReadOnly, Final (and the Annotated around them) off a hint; say which were
    there.
    """
    found: set[str] = set()
    while True:
        origin = typing.get_origin(hint)
        name = getattr(origin, "_name", None) or getattr(origin, "__name__", "")
        if getattr(origin, "__module__", "") not in ("typing", "typing_extensions"):
            return hint, found
        if name not in ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar"):
            return hint, found
        found.add(name)
        hint = typing.get_args(hint)[0]


def short_name(cls: Any) -> str:
    """``Outer.Inner`` of a class, without what a function around it is called."""
    return str(getattr(cls, "__qualname__", cls)).rpartition("<locals>.")[2]


def shown(hint: Any) -> str:
    """A hint as a person would write it."""
    # threading.Lock is a builtin function before CPython 3.13.
    if not isinstance(hint, type | types.BuiltinFunctionType) or isinstance(hint, types.GenericAlias):
        return str(hint)
    home = HOMES.get(hint.__module__, hint.__module__)
    return hint.__qualname__ if home == "builtins" else f"{home}.{hint.__qualname__}"


def doc_of(metadata: tuple[Any, ...]) -> str:
    """The description among an Annotated's metadata: a str, a ``Doc``, or what has a ``description``."""
    for item in metadata:
        text = item if isinstance(item, str) else getattr(item, "documentation", None)
        text = text if isinstance(text, str) else getattr(item, "description", None)
        if isinstance(text, str) and text:
            return text
    return ""


class DescribedNode(Node):
    """``Annotated[T, "what it is"]``: T, with a description in the schema."""

    def __init__(self, inner: Node, description: str) -> None:
        self.inner = inner
        self.name = inner.name
        self.types, self.promoted = inner.types, inner.promoted
        self.kinds, self.weak, self.may_look_tagged = inner.kinds, inner.weak, inner.may_look_tagged
        self._description = description
        self.encode, self.decode = inner.encode, inner.decode  # type: ignore[method-assign]
        self.encode_many, self.decode_many = inner.encode_many, inner.decode_many  # type: ignore[method-assign]

    def schema(self, defs: Any) -> dict[str, Any]:
        return self.inner.schema(defs) | {"description": self._description}
