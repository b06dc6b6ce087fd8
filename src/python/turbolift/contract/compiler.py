# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Hints to nodes: decides what each hint is, and refuses, with advice, what cannot travel."""

from __future__ import annotations

import collections
import collections.abc as abc
import enum
import types
import typing
from typing import Any

from turbolift.contract import hints
from turbolift.contract.choices import LiteralNode
from turbolift.contract.codec import ALL_KINDS, DecodeRun, EncodeRun, Mismatch, Node, Unsupported, type_name
from turbolift.contract.containers import (
    DequeNode,
    ListNode,
    SetNode,
    TupleNode,
    VariadicTupleNode,
)
from turbolift.contract.hints import Argument, DescribedNode, Scope, short_name, shown
from turbolift.contract.mappings import DefaultDictNode, DictNode
from turbolift.contract.refusals import advice
from turbolift.contract.scalars import (
    BoolNode,
    BytesNode,
    ComplexNode,
    FloatNode,
    IntNode,
    NoneNode,
    StrNode,
)
from turbolift.contract.schema import Defs
from turbolift.contract.unions import AnyNode, UnionNode, same_type, union

_ANY = AnyNode()
_INT = IntNode()
_SCALARS: dict[Any, Node] = {
    None: NoneNode(),
    type(None): NoneNode(),
    bool: BoolNode(),
    int: _INT,
    float: FloatNode(),
    complex: ComplexNode(),
    str: StrNode(),
    bytes: BytesNode(bytes),
    bytearray: BytesNode(bytearray),
    Any: _ANY,
    object: _ANY,
}

_MAX_NESTING = 100


class Compiler:
    """Compiles the hints of one function: a record type that is met twice is one node (so recursive types
    end).
    """

    def __init__(self) -> None:
        self._records: dict[Any, Node] = {}
        self._arguments: list[Node] = []
        self._nesting = 0

    def compile(self, hint: Any, scope: Scope) -> Node:
        """Return the node of a hint. Raises Unsupported."""
        if self._nesting >= _MAX_NESTING:
            raise Unsupported(
                f"the hint is nested more than {_MAX_NESTING} levels deep (or a generic class grows)"
            )
        self._nesting += 1
        try:
            return self._compile(hint, scope)
        finally:
            self._nesting -= 1

    def _compile(self, hint: Any, scope: Scope) -> Node:
        try:
            scalar = _SCALARS.get(hint)
        except TypeError:  # an Annotated with metadata that cannot be hashed
            scalar = None
        if scalar is not None:
            return scalar
        if isinstance(hint, str):
            return self.compile(hints.evaluate(hint, scope), scope)
        if isinstance(hint, typing.ForwardRef):
            text, scope = hints.forward(hint, scope)
            return self.compile(hints.evaluate(text, scope), scope)
        special = self._special(hint, scope)
        if special is not None:
            return special
        origin = typing.get_origin(hint)
        if origin is None:
            return self._class(hint, (), scope)
        if origin is tuple and not typing.get_args(hint) and hint is not typing.Tuple:  # noqa: UP006
            return TupleNode([])
        return self._class(origin, typing.get_args(hint), scope)

    def _special(self, hint: Any, scope: Scope) -> Node | None:
        """The forms of typing that are no class."""
        origin = typing.get_origin(hint)
        arguments = typing.get_args(hint)
        if origin is typing.Union or origin is types.UnionType or isinstance(hint, types.UnionType):
            return self._union(arguments, scope)
        if origin is typing.Annotated:
            inner = self.compile(arguments[0], scope)
            text = hints.doc_of(hint.__metadata__)
            return DescribedNode(inner, text) if text else inner
        if _is_typing(origin, "Literal"):
            return self._literal(arguments)
        if isinstance(hint, typing.TypeVar) or type(hint).__name__ == "TypeVar":
            return self._type_variable(hint, scope)
        if isinstance(hint, typing.NewType) or (
            type(hint).__name__ == "NewType" and hasattr(hint, "__supertype__")
        ):
            return self.compile(hint.__supertype__, scope)
        if type(hint).__name__ == "TypeAliasType" or type(origin).__name__ == "TypeAliasType":
            return self._alias(hint if origin is None else origin, arguments, scope)
        if _is_typing(hint, "LiteralString"):
            return _SCALARS[str]
        if _is_typing(hint, "Self"):
            if scope.owner is None:
                raise Unsupported("Self has no meaning here: there is no class around it")
            return self._class(scope.owner, (), scope)
        if _is_typing(hint, "NoReturn", "Never"):
            return NeverNode()
        stripped, found = hints.qualifiers(hint)
        if found:
            return self.compile(stripped, scope)
        return None

    def _union(self, arguments: tuple[Any, ...], scope: Scope) -> Node:
        members: list[Node] = []
        for argument in arguments:
            node = self.compile(argument, scope)
            # A union inside of a union (by an alias, a NewType, a TypeVar) is one union.
            members.extend(node.members if type(node) is UnionNode and node.is_flat else [node])
        return union(members)

    def _literal(self, arguments: tuple[Any, ...]) -> Node:
        for value in arguments:
            if (
                value is not None
                and type(value) not in (str, int, bool, bytes)
                and not isinstance(value, enum.Enum)
            ):
                raise Unsupported(f"Literal[{value!r}] is not a valid literal")
        return LiteralNode(arguments)

    def _type_variable(self, variable: Any, scope: Scope) -> Node:
        argument = scope.typevars.get(variable)
        if argument is not None:
            return self._bound(argument)
        if getattr(variable, "__bound__", None) is not None:
            return self.compile(variable.__bound__, scope)
        if getattr(variable, "__constraints__", ()):
            return self._union(variable.__constraints__, scope)
        default = getattr(variable, "__default__", None)
        has_default = getattr(variable, "has_default", None)
        if has_default is not None and has_default():
            return self.compile(default, scope)
        return _ANY

    @staticmethod
    def _bound(argument: Argument) -> Node:
        if argument.node is None:
            raise argument.error or Unsupported(f"{shown(argument.hint)} cannot travel")
        return argument.node

    def _alias(self, alias: Any, arguments: tuple[Any, ...], scope: Scope) -> Node:
        typevars = hints.type_variables(alias, arguments, lambda a: self.argument(a, scope))
        key = (alias, *map(_identity, typevars.values()))
        known = self._records.get(key)
        if isinstance(known, AliasNode):
            known.used_inside = known.used_inside or known.target is None
            return known if known.used_inside or known.target is None else known.target
        node = AliasNode(short_name(alias.__name__))
        self._records[key] = node
        names = hints.module_names(getattr(alias, "__module__", "") or "")
        inner = scope._replace(names={**scope.names, **names}, typevars={**scope.typevars, **typevars})
        try:
            value = alias.__value__
        except NameError as error:
            raise Unsupported(
                f"the alias {alias.__name__} names {error.name!r}, which is not defined"
            ) from None
        node.target = self.compile(value, inner)
        return node if node.used_inside else node.target

    def _class(self, cls: Any, arguments: tuple[Any, ...], scope: Scope) -> Node:
        container = self._container(cls, arguments, scope)
        if container is not None:
            return container
        if not isinstance(cls, type):
            raise Unsupported(f"{shown(cls)} cannot travel: {advice(cls)}")
        from turbolift.contract.classes import class_node

        typevars = hints.type_variables(cls, arguments, lambda a: self.argument(a, scope))
        key = (cls, *map(_identity, typevars.values()))
        known = self._records.get(key)
        if known is not None:
            return known
        return class_node(self, cls, arguments, typevars, key, scope)

    def remember(self, key: Any, node: Node) -> None:
        """Let hints that are met while `node` is being filled refer to it."""
        self._records[key] = node

    def argument(self, argument: Any, scope: Scope) -> Argument | None:
        if isinstance(argument, list | types.EllipsisType):
            return None  # of a ParamSpec: it describes calls, never a value
        try:
            node = self.compile(argument, scope)
        except Unsupported as error:
            return Argument(argument, None, error)
        # ``Box[list[int]]`` written twice is one record, so its argument must be one node.
        known = next((other for other in self._arguments if same_type(other, node)), None)
        if known is None:
            self._arguments.append(node)
        return Argument(argument, known or node)

    # Builtin and abstract collections.

    def _container(self, cls: Any, arguments: tuple[Any, ...], scope: Scope) -> Node | None:
        if cls is tuple:
            return self._tuple(arguments, scope)
        if cls in _MAPPINGS:
            return self._mapping(cls, arguments, scope)
        if cls not in _ITERABLES:
            return None
        item = self.compile(arguments[0], scope) if arguments else _ANY
        if cls is list:
            return ListNode(item)
        if cls is set or cls is frozenset:
            return SetNode(cls, item)
        if cls is collections.deque:
            return DequeNode(item)
        makers: dict[str, Node] = {
            "list": ListNode(item),
            "tuple": VariadicTupleNode(item),
            "deque": DequeNode(item),
            "set": SetNode(set, item),
            "frozenset": SetNode(frozenset, item),
        }
        name = cls.__name__
        members = [makers[kind] for kind in _ITERABLES[cls]]
        return UnionNode(members, name=f"{name}[{item.name}]", python_type=name, tags=_ITERABLES[cls])

    def _tuple(self, arguments: tuple[Any, ...], scope: Scope) -> Node:
        if not arguments:
            return VariadicTupleNode(_ANY)
        before: list[Node] = []
        middle: Node | None = None
        after: list[Node] = []
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return VariadicTupleNode(self.compile(arguments[0], scope))
        for argument in arguments:
            if argument is Ellipsis:
                raise Unsupported("`...` in a tuple's hint must stand after its only type")
            unpacked = _unpacked(argument)
            nodes: list[Node]
            if unpacked is None:
                nodes = [self.compile(argument, scope)]
            elif isinstance(unpacked, typing.TypeVarTuple):
                bound = scope.typevars.get(unpacked)
                if bound is None:
                    middle, nodes = _ANY, []
                else:
                    nodes = [self._bound(argument) for argument in bound]
            else:
                inner = typing.get_args(unpacked)
                if len(inner) == 2 and inner[1] is Ellipsis:
                    middle, nodes = self.compile(inner[0], scope), []
                else:
                    nodes = [self.compile(a, scope) for a in inner]
            (before if middle is None else after).extend(nodes)
        return TupleNode(before, middle, after)

    def _mapping(self, cls: Any, arguments: tuple[Any, ...], scope: Scope) -> Node:
        if cls is collections.Counter:
            return DictNode(
                self.compile(arguments[0], scope) if arguments else _SCALARS[str], _INT, collections.Counter
            )
        key = self.compile(arguments[0], scope) if arguments else _ANY
        # A dict with keys of any type has str keys, as JSON does; other keys need a hint.
        key = _SCALARS[str] if key is _ANY else key
        value = self.compile(arguments[1], scope) if len(arguments) > 1 else _ANY
        if cls is dict:
            return DictNode(key, value)
        if cls is collections.OrderedDict:
            return DictNode(key, value, collections.OrderedDict)
        if cls is collections.defaultdict:
            return DefaultDictNode(key, value)
        members: list[Node] = [
            DictNode(key, value),
            DictNode(key, value, collections.OrderedDict),
            DefaultDictNode(key, value),
        ]
        name = cls.__name__
        tags = ("dict", "OrderedDict", "defaultdict")
        return UnionNode(members, name=f"{name}[{key.name}, {value.name}]", python_type=name, tags=tags)


_ITERABLES: dict[Any, tuple[str, ...]] = {
    list: (),
    set: (),
    frozenset: (),
    collections.deque: (),
    abc.Sequence: ("list", "tuple"),
    abc.MutableSequence: ("list", "deque"),
    abc.Reversible: ("list", "tuple", "deque"),
    abc.Iterable: ("list", "tuple", "set", "frozenset", "deque"),
    abc.Collection: ("list", "tuple", "set", "frozenset", "deque"),
    abc.Container: ("list", "tuple", "set", "frozenset", "deque"),
    abc.Set: ("set", "frozenset"),
    abc.MutableSet: ("set",),
}
_MAPPINGS = frozenset(
    {
        dict,
        collections.OrderedDict,
        collections.defaultdict,
        collections.Counter,
        abc.Mapping,
        abc.MutableMapping,
    }
)


class AliasNode(Node):
    """A ``type`` alias that refers to itself: looked up when it is used."""

    types = None
    weak = ALL_KINDS
    may_look_tagged = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.target: Node | None = None
        self.used_inside = False

    def _real(self) -> Node:
        assert self.target is not None
        return self.target

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        return self._real().encode(value, run, depth)

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        return self._real().decode(tree, run, depth)

    def schema(self, defs: Defs) -> dict[str, Any]:
        ref, new = defs.ref(self, self.name)
        if new:
            defs.put(ref, {"title": self.name, **self._real().schema(defs)})
        return ref


class NeverNode(Node):
    """NoReturn: the function never gives a value."""

    name = "NoReturn"
    types = ()

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        raise Mismatch(f"expected no value at all (NoReturn), got {type_name(value)}")

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        raise self.refuse_tree(tree)

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"not": {}}


def _identity(argument: Any) -> Any:
    """What tells apart the arguments of a generic class: their nodes, which live as long as the compiler."""
    if isinstance(argument, Argument):
        return argument.hint if argument.node is None else id(argument.node)
    return tuple(map(_identity, argument)) if isinstance(argument, list) else argument


def _is_typing(thing: Any, *names: str) -> bool:
    name = getattr(thing, "_name", None) or getattr(thing, "__name__", None)
    return name in names and getattr(thing, "__module__", "") in ("typing", "typing_extensions")


def _unpacked(argument: Any) -> Any:
    """What ``*X`` or ``Unpack[X]`` unpacks, or None."""
    if getattr(argument, "__unpacked__", False):
        return typing.get_origin(argument)[typing.get_args(argument)]
    if _is_typing(typing.get_origin(argument), "Unpack"):
        return typing.get_args(argument)[0]
    return None
