# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Find the tagged functions of one file, and everything that keeps them from being distributed."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from turbolift.closure.model import FileReport, Finding, TaggedFunction
from turbolift.closure.names import Imports, dotted

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

# The names under which turbolift offers the tag; a re-export by another module is not followed.
TAGS = frozenset({"turbolift.on", "turbolift.api.on"})
_ENVIRONMENT = frozenset({"os.environ", "os.getenv", "os.environb", "os.environ.get"})


def analyse(source: bytes, path: str) -> FileReport:
    """Parse the file `path`, whose content is `source`, and report on it; never raises on what a user can write."""
    try:
        tree = ast.parse(source, filename=path)
    except SyntaxError as error:
        finding = Finding(
            path,
            error.lineno or 1,
            error.offset or 1,
            "syntax-error",
            f"cannot be parsed: {error.msg}; its tagged functions, if any, are neither packaged nor deployed",
        )
        return FileReport(path, False, (), (finding,))
    except (ValueError, RecursionError, MemoryError) as error:
        return FileReport(
            path, False, (), (Finding(path, 1, 1, "syntax-error", f"cannot be parsed: {error}"),)
        )
    return _Analysis(tree, path).report()


class _Analysis:
    def __init__(self, tree: ast.Module, path: str) -> None:
        self.tree = tree
        self.path = path
        self.imports = Imports(tree)
        self.functions: list[TaggedFunction] = []
        self.findings: list[Finding] = []
        self.constants = {
            target.id: statement.value
            for statement in ast.walk(tree)
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        self.decorators: set[int] = set()

    def report(self) -> FileReport:
        self._scope(self.tree.body, (), inside=None)
        self._calls_elsewhere()
        seen: dict[str, int] = {}
        for function in self.functions:
            if function.qualname in seen:
                self._find(
                    function.line,
                    1,
                    "duplicate",
                    f"{function.qualname} is tagged twice in this file (also on line {seen[function.qualname]}): "
                    "only the last would exist; rename one",
                    function.qualname,
                )
            seen[function.qualname] = function.line
        unique = {function.qualname: function for function in self.functions}
        functions = sorted(unique.values(), key=lambda function: function.line)
        findings = sorted(self.findings, key=lambda finding: (finding.line, finding.column, finding.rule))
        return FileReport(self.path, True, tuple(functions), tuple(findings))

    def _find(self, line: int, column: int, rule: str, message: str, function: str = "") -> None:
        self.findings.append(Finding(self.path, line, column, rule, message, function))

    def _scope(self, body: Sequence[ast.stmt], prefix: tuple[str, ...], inside: str | None) -> None:
        """Walk statements; `inside` says what encloses them: None, "class" or "function"."""
        for statement in body:
            if isinstance(statement, FunctionNode):
                tag = self._tag(statement)
                if tag is not None:
                    self._tagged(statement, tag, prefix, inside)
                self._scope(statement.body, (*prefix, statement.name, "<locals>"), "function")
            elif isinstance(statement, ast.ClassDef):
                self._tagged_class(statement)
                nested = "function" if inside == "function" else "class"
                self._scope(statement.body, (*prefix, statement.name), nested)
            else:
                # if, try, with, for at module level: what they define is still the module's.
                for inner in _blocks(statement):
                    self._scope(inner, prefix, inside)

    def _tag(self, node: FunctionNode | ast.ClassDef) -> ast.expr | None:
        for decorator in node.decorator_list:
            target = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self.imports.resolve(target) in TAGS:
                self.decorators.add(id(decorator))
                return decorator
        return None

    def _tagged_class(self, node: ast.ClassDef) -> None:
        if self._tag(node) is not None:
            self._find(
                node.lineno,
                node.col_offset + 1,
                "class",
                f"class {node.name} is tagged, but only functions and static methods can be distributed: "
                "tag a static method, or a function that makes the object and uses it",
                node.name,
            )

    def _tagged(self, node: FunctionNode, tag: ast.expr, prefix: tuple[str, ...], inside: str | None) -> None:
        qualname = ".".join((*prefix, node.name))
        line, column = node.lineno, node.col_offset + 1

        def find(rule: str, message: str, at: ast.expr | ast.arg | None = None) -> None:
            place = (at.lineno, at.col_offset + 1) if at is not None else (line, column)
            self._find(*place, rule, message, qualname)

        if inside == "function":
            find(
                "nested-function",
                f"{qualname} is nested in a function: it may capture variables, and no other process can find it; "
                "move it to the module's level and pass what it needs as parameters",
            )
            return
        arguments = node.args
        if inside == "class" and not self._is_static(node):
            find(
                "method",
                f"{qualname} is a method, whose object would have to travel: make it a @staticmethod, or a function that takes "
                "the object's data as parameters",
            )
            return
        if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in _own(node)):
            find(
                "generator",
                f"{qualname} is a generator: return a list, or tag the function that makes one item and use .map()",
            )
        for argument in _arguments(arguments):
            if argument.annotation is None:
                find(
                    "untyped-parameter",
                    f"parameter {argument.arg!r} of {qualname} has no type hint: its contract cannot be derived; add one",
                    argument,
                )
        if node.returns is None:
            find(
                "untyped-result",
                f"{qualname} has no result type hint: add one (-> None where it returns nothing)",
            )
        for annotation in _annotations(node):
            for name in _annotation_names(annotation):
                if name in self.imports.typing_only:
                    find(
                        "typing-only-name",
                        f"{name!r} in the type hints of {qualname} is imported under TYPE_CHECKING alone (line "
                        f"{self.imports.typing_only[name]}), so that it does not exist at run time: import it plainly",
                        annotation,
                    )
        platform = self._options(tag, qualname)
        self.functions.append(
            TaggedFunction(node.name, qualname, line, isinstance(node, ast.AsyncFunctionDef), platform)
        )

    def _is_static(self, node: FunctionNode) -> bool:
        return any(
            self.imports.resolve(decorator) in ("staticmethod", "builtins.staticmethod")
            for decorator in node.decorator_list
        )

    def _options(self, tag: ast.expr, qualname: str) -> str:
        """Check the tag's arguments; return the platform's expression as text."""
        if not isinstance(tag, ast.Call) or not (tag.args or tag.keywords):
            self._find(
                tag.lineno,
                tag.col_offset + 1,
                "no-platform",
                f"the tag of {qualname} names no platform: write @on(Local()) or @on(CLUSTER)",
                qualname,
            )
            return ""
        values = [*tag.args, *(keyword.value for keyword in tag.keywords)]
        for value in values:
            origin = self._from_environment(value, set())
            if origin is not None:
                self._find(
                    value.lineno,
                    value.col_offset + 1,
                    "environment-option",
                    f"an option of {qualname} is read from the environment (line {origin}): the package would depend on who "
                    "builds it; write a literal, and set what differs by deployment in the turbolift_deployment target",
                    qualname,
                )
        platform = tag.args[0] if tag.args else None
        for keyword in tag.keywords:
            if keyword.arg == "platform":
                platform = keyword.value
        return ast.unparse(platform) if platform is not None else ""

    def _from_environment(self, value: ast.expr, seen: set[str]) -> int | None:
        for node in ast.walk(value):
            if isinstance(node, ast.Attribute | ast.Name) and self.imports.resolve(node) in _ENVIRONMENT:
                return node.lineno
            if isinstance(node, ast.Name) and node.id in self.constants and node.id not in seen:
                origin = self._from_environment(self.constants[node.id], seen | {node.id})
                if origin is not None:
                    return origin
        return None

    def _calls_elsewhere(self) -> None:
        for node in ast.walk(self.tree):
            if (
                isinstance(node, ast.Call)
                and id(node) not in self.decorators
                and self.imports.resolve(node.func) in TAGS
            ):
                self._find(
                    node.lineno,
                    node.col_offset + 1,
                    "call-form",
                    "on(...) is used other than as a decorator of a function: the parse that finds tagged functions does not see it; "
                    "write @on(...) above the def",
                )


def _blocks(statement: ast.stmt) -> Iterator[Sequence[ast.stmt]]:
    for field in ("body", "orelse", "finalbody"):
        inner = getattr(statement, field, None)
        if inner:
            yield inner
    for handler in getattr(statement, "handlers", ()):
        yield handler.body
    for case in getattr(statement, "cases", ()):
        yield case.body


def _own(node: FunctionNode) -> Iterator[ast.AST]:
    """The nodes of a function's own body, without those of functions and classes inside it."""
    pending: list[ast.AST] = list(node.body)
    while pending:
        current = pending.pop()
        yield current
        if not isinstance(current, FunctionNode | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(current))


def _arguments(arguments: ast.arguments) -> list[ast.arg]:
    rest = [argument for argument in (arguments.vararg, arguments.kwarg) if argument is not None]
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, *rest]


def _annotations(node: FunctionNode) -> list[ast.expr]:
    hints = [argument.annotation for argument in _arguments(node.args)] + [node.returns]
    return [hint for hint in hints if hint is not None]


def _annotation_names(annotation: ast.expr) -> Iterator[str]:
    """The first parts of the names in a hint, those in string hints included."""
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                inner = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                continue  # a Literal's text, most likely
            if dotted(inner) or isinstance(inner, ast.Subscript | ast.BinOp):
                yield from _annotation_names(inner)
