# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Resolve dotted names of a module to what its imports make of them, without running it."""

from __future__ import annotations

import ast


def dotted(node: ast.expr) -> str | None:
    """Return `a.b.c` for a chain of attributes on a name, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


class Imports:
    """The names that the imports of a module bind, and which of them only type checkers see."""

    def __init__(self, tree: ast.Module) -> None:
        self.bound: dict[str, str] = {}
        self.typing_only: dict[str, int] = {}
        self._collect(tree, typing_only=False)

    def resolve(self, node: ast.expr) -> str | None:
        """Return the full dotted name that `node` refers to, as far as imports tell."""
        name = dotted(node)
        if name is None:
            return None
        head, _, rest = name.partition(".")
        full = self.bound.get(head, head)
        return f"{full}.{rest}" if rest else full

    def _collect(self, node: ast.AST, *, typing_only: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for name, full in _bindings(child):
                    self.bound[name] = full
                    if typing_only:
                        self.typing_only[name] = child.lineno
                    else:
                        self.typing_only.pop(name, None)
            elif isinstance(child, ast.If) and (dotted(child.test) or "").split(".")[-1] == "TYPE_CHECKING":
                for statement in child.body:
                    self._collect(ast.Module([statement], []), typing_only=True)
                for statement in child.orelse:
                    self._collect(ast.Module([statement], []), typing_only=typing_only)
            elif not isinstance(child, ast.expr):
                self._collect(child, typing_only=typing_only)


def _bindings(node: ast.Import | ast.ImportFrom) -> list[tuple[str, str]]:
    if isinstance(node, ast.Import):
        return [
            (alias.asname, alias.name) if alias.asname else (_top(alias.name), _top(alias.name))
            for alias in node.names
        ]
    module = "." * node.level + (node.module or "")
    return [(alias.asname or alias.name, f"{module}.{alias.name}") for alias in node.names]


def _top(module: str) -> str:
    return module.partition(".")[0]
