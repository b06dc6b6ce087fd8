# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Which node a class gets: enums, records, value types of the standard library, numpy and pydantic."""

from __future__ import annotations

import dataclasses
import enum
import functools
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from turbolift.contract import hints, stdtypes
from turbolift.contract.choices import EnumNode, FlagNode
from turbolift.contract.codec import Node, Unsupported
from turbolift.contract.hints import Scope, short_name, shown
from turbolift.contract.records import ClassNode, Field, NamedTupleNode, RecordNode, TypedDictNode
from turbolift.contract.refusals import advice
from turbolift.contract.unions import UnionNode

if TYPE_CHECKING:
    from turbolift.contract.compiler import Compiler


def class_node(
    compiler: Compiler,
    cls: type,
    arguments: tuple[Any, ...],
    typevars: Mapping[Any, Any],
    key: Any,
    scope: Scope,
) -> Node:
    """Return the node of a class with its type arguments compiled. Raises Unsupported."""
    if issubclass(cls, enum.Flag):
        return _remembered(compiler, key, FlagNode(cls, short_name(cls)))
    if issubclass(cls, enum.Enum):
        if not len(cls):
            raise Unsupported(f"{shown(cls)} has no members")
        return _remembered(compiler, key, EnumNode(cls, short_name(cls)))
    known: Any = cls
    standard = _standard(known)
    if standard is not None:
        return standard
    family = cls.__module__.partition(".")[0]
    if family == "numpy":
        from turbolift.contract.arrays import numpy_node

        node = numpy_node(cls, arguments, scope)
        if node is not None:
            return node
    title = short_name(cls)
    if typevars:
        names = [_argument_name(node) for node in typevars.values()]
        title += f"[{', '.join(names)}]"
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and issubclass(cls, pydantic.BaseModel):
        from turbolift.contract.models import model_node

        return model_node(compiler, cls, title, key)
    if hints.is_typed_dict(cls):
        return _typed_dict(compiler, cls, title, typevars, key)
    if hints.is_named_tuple(cls):
        return _named_tuple(compiler, cls, title, typevars, key)
    if dataclasses.is_dataclass(cls):
        return _dataclass(compiler, cls, title, typevars, key)
    if "__attrs_attrs__" in cls.__dict__:
        return _attrs(compiler, cls, title, typevars, key)
    raise Unsupported(f"{shown(cls)} cannot travel: {advice(cls)}")


def _remembered(compiler: Compiler, key: Any, node: Node) -> Node:
    compiler.remember(key, node)
    return node


def _argument_name(argument: Any) -> str:
    if isinstance(argument, list):
        return ", ".join(map(_argument_name, argument))
    if argument is None:
        return "..."
    return argument.node.name if argument.node is not None else shown(argument.hint)


def _compile_field(compiler: Compiler, cls: type, name: str, hint: Any, scope: Scope) -> Node:
    try:
        return compiler.compile(hint, scope)
    except Unsupported as error:
        error.where.append(f"{short_name(cls)}.{name}")
        raise


def _hints(compiler: Compiler, cls: type, typevars: Mapping[Any, Any]) -> dict[str, tuple[Any, Scope]]:
    try:
        return hints.field_hints(cls, typevars, compiler.argument)
    except Unsupported as error:
        error.where.append(short_name(cls))
        raise


def _hint_of(found: dict[str, tuple[Any, Scope]], cls: type, name: str) -> tuple[Any, Scope]:
    if name not in found:
        raise Unsupported(f"the field {short_name(cls)}.{name} has no type hint")
    return found[name]


def _dataclass(compiler: Compiler, cls: type, title: str, typevars: Mapping[Any, Any], key: Any) -> Node:
    _refuse_builtin_bases(cls)
    fields = dataclasses.fields(cls)
    for pseudo in cls.__dataclass_fields__.values():  # type: ignore[attr-defined]
        if pseudo._field_type.name == "_FIELD_INITVAR":
            raise Unsupported(
                f"the InitVar {short_name(cls)}.{pseudo.name} cannot travel: a value does not keep it; "
                "make it a field"
            )
    taken = [field.name for field in fields if field.init]
    by_init = _init_takes(cls, taken)
    node = ClassNode(cls, title, python_type="dataclass", by_init=by_init)
    compiler.remember(key, node)
    found = _hints(compiler, cls, typevars)
    made = []
    for field in fields:
        hint, scope = _hint_of(found, cls, field.name)
        has_default = not (
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )
        made.append(
            Field(
                field.name,
                _compile_field(compiler, cls, field.name, hint, scope),
                required=not by_init or (field.init and not has_default),
                init=field.name if field.init else None,
                description=_metadata_text(field.metadata),
            )
        )
    node.fill(made)
    return node


def _refuse_builtin_bases(cls: type) -> None:
    for base in cls.__mro__:
        if base.__module__ == "builtins" and base is not object:
            raise Unsupported(
                f"{shown(cls)} cannot travel: what it holds as a {base.__name__} is in none of its fields"
            )


def _init_takes(cls: type, names: list[str]) -> bool:
    """Whether the class can be called with just its init fields (not so where somebody wrote another
    ``__init__``).
    """
    code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    if code is None:
        return not names and cls.__init__ is object.__init__  # type: ignore[misc]
    count = code.co_argcount + code.co_kwonlyargcount
    plain = not code.co_flags & 0x0C  # *args, **kwargs
    return plain and {*code.co_varnames[1:count]} == {*names}


def _metadata_text(metadata: Mapping[Any, Any]) -> str:
    text = metadata.get("description")
    return text if isinstance(text, str) else ""


def _attrs(compiler: Compiler, cls: type, title: str, typevars: Mapping[Any, Any], key: Any) -> Node:
    _refuse_builtin_bases(cls)
    attributes: Any = cls.__attrs_attrs__  # type: ignore[attr-defined]
    by_init = _init_takes(cls, [a.alias for a in attributes if a.init])
    node = ClassNode(cls, title, python_type="attrs", by_init=by_init)
    compiler.remember(key, node)
    found = _hints(compiler, cls, typevars)
    made = []
    for attribute in attributes:
        hint, scope = (
            found[attribute.name]
            if attribute.name in found
            else (attribute.type, hints.class_scope(cls, typevars, cls))
        )
        if hint is None and attribute.name not in found:
            raise Unsupported(f"the field {short_name(cls)}.{attribute.name} has no type hint")
        has_default = type(attribute.default).__name__ != "_Nothing"
        made.append(
            Field(
                attribute.name,
                _compile_field(compiler, cls, attribute.name, hint, scope),
                required=not by_init or (attribute.init and not has_default),
                init=attribute.alias if attribute.init else None,
                description=_metadata_text(attribute.metadata),
            )
        )
    node.fill(made)
    return node


def _named_tuple(compiler: Compiler, cls: Any, title: str, typevars: Mapping[Any, Any], key: Any) -> Node:
    node = NamedTupleNode(cls, title)
    compiler.remember(key, node)
    found = _hints(compiler, cls, typevars)
    made = []
    for name in cls._fields:
        hint, scope = _hint_of(found, cls, name)
        made.append(
            Field(
                name,
                _compile_field(compiler, cls, name, hint, scope),
                required=name not in cls._field_defaults,
            )
        )
    node.fill(made)
    return node


def _typed_dict(compiler: Compiler, cls: Any, title: str, typevars: Mapping[Any, Any], key: Any) -> Node:
    found = _hints(compiler, cls, typevars)
    for base in reversed(_typed_dict_bases(cls)):
        found = {**_hints(compiler, base, {}), **found}
    node = TypedDictNode(cls, title, found)
    compiler.remember(key, node)
    made = []
    for name, (hint, scope) in found.items():
        hint, scope, marks = _typed_dict_marks(hint, scope)
        required = (name in cls.__required_keys__ and "NotRequired" not in marks) or "Required" in marks
        made.append(Field(name, _compile_field(compiler, cls, name, hint, scope), required=required))
    node.fill(made)
    return node


def _typed_dict_bases(cls: Any) -> list[Any]:
    return [base for base in getattr(cls, "__orig_bases__", ()) if hints.is_typed_dict(base)]


def _typed_dict_marks(hint: Any, scope: Scope) -> tuple[Any, Scope, set[str]]:
    """Required and NotRequired count from the hint itself: a TypedDict whose hints are strings did not see
    them.
    """
    from typing import ForwardRef

    if isinstance(hint, ForwardRef):
        text, scope = hints.forward(hint, scope)
        hint = hints.evaluate(text, scope)
    elif isinstance(hint, str):
        hint = hints.evaluate(hint, scope)
    hint, marks = hints.qualifiers(hint)
    return hint, scope, marks


@functools.cache
def _standard(cls: Any) -> Node | None:
    """The value types of the standard library, by name, so that their modules need not be imported to ask."""
    home = hints.HOMES.get(cls.__module__, cls.__module__)
    if cls is range or cls is slice:
        return stdtypes.IntsNode(cls)
    if home == "datetime":
        from turbolift.contract import times

        makers = {
            "datetime": times.DatetimeNode,
            "date": times.date_node,
            "time": times.TimeNode,
            "timedelta": times.timedelta_node,
        }
        return makers[cls.__name__]() if cls.__name__ in makers else None
    name = f"{home}.{cls.__name__}"
    if name == "decimal.Decimal":
        return stdtypes.TextNode(cls, "Decimal", pattern=stdtypes.DECIMAL)
    if name == "fractions.Fraction":
        return stdtypes.TextNode(
            cls,
            "Fraction",
            pattern=stdtypes.FRACTION,
            write=stdtypes.write_fraction,
            read=stdtypes.read_fraction(cls),
        )
    if name == "uuid.UUID":
        return stdtypes.TextNode(cls, "UUID", pattern=stdtypes.UUID, format="uuid")
    if name in ("zoneinfo.ZoneInfo", "zoneinfo._zoneinfo.ZoneInfo"):
        return stdtypes.TextNode(cls, "ZoneInfo", write=_zone_key)
    if home == "pathlib":
        return _path(cls)
    if home == "ipaddress" and cls.__name__ in _ADDRESSES:
        return stdtypes.TextNode(cls, cls.__name__, format=_ADDRESSES[cls.__name__])
    return None


_ADDRESSES = {
    "IPv4Address": "ipv4", "IPv6Address": "ipv6", "IPv4Network": "", "IPv6Network": "", "IPv4Interface": "",
    "IPv6Interface": "",
}  # fmt: skip


def _zone_key(zone: Any) -> str:
    from turbolift.contract.codec import Mismatch

    if not zone.key:
        raise Mismatch("a ZoneInfo without a key cannot travel")
    return str(zone.key)


def _path(cls: Any) -> Node | None:
    import pathlib

    # A Path is of another class on each system: it means the same only between machines of one kind.
    pure = {pathlib.PurePosixPath: "PurePosixPath", pathlib.PureWindowsPath: "PureWindowsPath"}
    if cls in pure:
        return stdtypes.TextNode(cls, pure[cls], verify=cls is pathlib.PureWindowsPath)
    real = type(pathlib.Path())
    if cls is pathlib.Path or cls is real:
        return stdtypes.TextNode(real, "Path", verify=real is not pathlib.PosixPath)
    if cls is pathlib.PurePath:
        nodes: list[Node] = [
            stdtypes.TextNode(pathlib.PurePosixPath, "PurePosixPath"),
            stdtypes.TextNode(pathlib.PureWindowsPath, "PureWindowsPath", verify=True),
            stdtypes.TextNode(real, "Path"),
        ]
        return UnionNode(nodes, name="PurePath")
    return None


__all__ = ["RecordNode", "class_node"]
