# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls of functions with plain hints, from values to JSON text and back in one pass by msgspec.

Everything here answers None where it is not sure: what is wrong, or unusual, is for the nodes of the contract, which
do the same step by step, and say what is wrong.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NotRequired, TypedDict, cast

from turbolift.contract import heavy
from turbolift.contract.codec import Node
from turbolift.contract.jsontext import quick_encoder

_ABSENT: Any = object()


class QuickCodec:
    """The codec of one function, where its hints let it. Each way is made when it is first used."""

    def __init__(
        self, signature: inspect.Signature, nodes: Mapping[str, Node], result: Node, *, by_name: bool
    ) -> None:
        self._nodes = nodes
        self._result = result
        encoder = quick_encoder()
        self._encode = encoder
        named = by_name and encoder is not None and all(node.fast is not None for node in nodes.values())
        self._tree = _tree_maker(signature, nodes) if named else None
        self._arguments = _arguments_decoder(signature, nodes) if named else None
        quick_result = encoder is not None and result.fast is not None
        self._encode_result = result.encode if quick_result else None
        self._decode_result = _result_decoder(result) if quick_result else None
        late = heavy.late_nodes(signature, nodes) if named else None
        self._late_tree = _tree_maker(signature, late) if late is not None else None
        self.has_lists = late is not None
        """Whether an argument may be a list that is long, and cannot change in its items."""

    def is_heavy(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
        """Whether a call has a long list (``heavy``)."""
        return any(map(heavy.is_long, args)) or (bool(kwargs) and any(map(heavy.is_long, kwargs.values())))

    def later(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Callable[[], list[bytes] | None]:
        """Return a function that gives the pieces of a call with long lists as they are now, from whatever thread."""
        tree: dict[str, Any] = {}
        if self._late_tree is not None:
            try:
                tree = self._late_tree(*args, **kwargs)["args"]
            except Exception:
                tree = {}

        def pieces() -> list[bytes] | None:
            try:
                return heavy.object_pieces("args", tree, cast("heavy.Encode", self._encode)) if tree else None
            except Exception:
                return None

        return pieces

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes | None:
        """Return ``{"args": {...}}`` of a call."""
        tree = self._tree
        if tree is None:
            return None
        try:
            text: bytes = self._encode(tree(*args, **kwargs))  # type: ignore[misc]
        except Exception:
            return None
        return text if text.isascii() else None

    def arguments(self, body: bytes | bytearray) -> dict[str, Any] | None:
        """Return the arguments by name in ``{"args": {...}}``."""
        decode = self._arguments
        if decode is None:
            return None
        if len(body) >= heavy.TEXT:
            hints = {name: node.fast for name, node in self._nodes.items()}
            found = heavy.arguments(body, decode, hints)
            if found is not None:
                return found
        try:
            values: dict[str, Any] = decode(body).args
        except Exception:
            return None
        # Each key has a colon: with as many as there are keys, none was there twice, and none is unknown.
        return values if body.count(b":") == len(values) + 1 else None

    def returned(self, value: Any) -> bytes | None:
        """Return ``{"result": ...}``."""
        encode = self._encode_result
        if encode is None:
            return None
        try:
            text: bytes = self._encode({"result": encode(value, None, 0)})  # type: ignore[misc, arg-type]
        except Exception:
            return None
        return text if text.isascii() else None

    def long_result(self, value: Any) -> list[bytes] | None:
        """Return ``{"result": ...}`` in pieces, where that is a long list."""
        node = self._result
        if self._encode_result is None or not heavy.is_long(value) or not heavy.is_flat(node):
            return None
        try:
            late = heavy.LateNode(node).encode(value, None, 0)
            return [b'{"result":', *late.pieces(self._encode), b"}"]
        except Exception:
            return None

    def result(self, body: bytes | bytearray) -> tuple[Any] | None:
        """Return what is in ``{"result": ...}``, in a tuple."""
        decode = self._decode_result
        if decode is not None and len(body) >= heavy.TEXT:
            found = heavy.result(body, decode, self._result.fast)
            if found is not None:
                return found
        if decode is None or body.count(b":") != 1:
            return None
        try:
            return (decode(body).result,)
        except Exception:
            return None


def _tree_maker(
    signature: inspect.Signature, nodes: Mapping[str, Node]
) -> Callable[..., dict[str, dict[str, Any]]]:
    """Return a function with this signature that binds and encodes a call."""
    parts: list[str] = []
    always: list[str] = []
    optional: list[str] = []
    taken = {*signature.parameters}
    prefix = "_"
    while any(name.startswith(prefix) for name in taken):
        prefix += "_"
    namespace: dict[str, Any] = {f"{prefix}absent": _ABSENT}
    starred = False
    for i, (name, parameter) in enumerate(signature.parameters.items()):
        namespace[f"{prefix}{i}"] = nodes[name].encode
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        value = f"{prefix}{i}({name}, None, 0)"
        if parameter.default is parameter.empty and not optional:
            parts.append(name)
            always.append(f"{name!r}: {value}")
        elif parameter.default is parameter.empty:
            parts.append(name)
            optional.append(f" {prefix}tree[{name!r}] = {value}")
        else:
            parts.append(f"{name}={prefix}absent")
            optional.append(f" if {name} is not {prefix}absent: {prefix}tree[{name!r}] = {value}")
    lines = [
        f"def call({', '.join(parts)}):",
        f" {prefix}tree = {{{', '.join(always)}}}",
        *optional,
        f" return {{'args': {prefix}tree}}",
    ]
    # Names of parameters are identifiers that Python has accepted already; nothing else goes into this text.
    exec("\n".join(lines), namespace)
    maker: Callable[..., dict[str, dict[str, Any]]] = namespace["call"]
    return maker


def _arguments_decoder(signature: inspect.Signature, nodes: Mapping[str, Node]) -> Callable[[Any], Any]:
    import msgspec

    fields = {
        name: nodes[name].fast if parameter.default is parameter.empty else NotRequired[nodes[name].fast]
        for name, parameter in signature.parameters.items()
    }
    arguments = TypedDict("Arguments", fields)  # type: ignore[misc]
    call = msgspec.defstruct("Call", [("args", arguments)], forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(call).decode


def _result_decoder(result: Node) -> Callable[[Any], Any]:
    import msgspec

    answer = msgspec.defstruct("Answer", [("result", result.fast)], forbid_unknown_fields=True, gc=False)
    return msgspec.json.Decoder(answer).decode
