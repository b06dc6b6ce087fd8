# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Rooms import only what the architecture lets them, and `import turbolift` stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import turbolift

ROOT = Path(turbolift.__file__).parent

# room -> the rooms that it may import, beside itself and errors
ALLOWED = {
    "errors": set(),
    "spec": set(),
    "contract": set(),
    "wire": {"contract"},
    "client": {"wire", "spec", "contract"},
    "api": {"client", "contract", "spec"},
    "shim": {"api", "wire", "spec", "contract", "client"},
    "closure": {"spec"},
    "image": {"spec"},
    "deploy": {"image", "spec", "client", "wire", "contract"},
    "testing": {"api", "client", "shim", "wire", "contract", "spec"},
}


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "turbolift" and len(parts) > 1 else None


def _imports(path: Path) -> set[tuple[int, str]]:
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {(node.lineno, alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add((node.lineno, node.module))
            if node.module == "turbolift":
                found |= {(node.lineno, f"turbolift.{alias.name}") for alias in node.names}
    return found


def _files() -> list[Path]:
    return sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT or path.name == "errors.py")


def test_there_are_files_to_look_at() -> None:
    assert len(_files()) > 50


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(path: Path) -> None:
    relative = path.relative_to(ROOT)
    room = relative.parts[0].removesuffix(".py")
    allowed = ALLOWED[room] | {room, "errors"}
    wrong = [
        f"{relative}:{line}: {room} imports {module}"
        for line, module in sorted(_imports(path))
        if _room(module) is not None and _room(module) in ALLOWED and _room(module) not in allowed
    ]
    assert wrong == []


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 450


def _imports_of(program: str) -> set[str]:
    """Return what a program has imported at its end, beyond what every interpreter here starts with."""
    program = f"import sys; before = set(sys.modules); {program}; print(*sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


HEAVY = {
    "aiohttp", "asyncio", "docker", "inspect", "jsonschema", "kubernetes", "msgspec", "numpy", "pydantic", "rich", "uvloop",
}  # fmt: skip


def test_importing_turbolift_imports_nothing_heavy() -> None:
    # Each of the standard library's here takes as long as all of turbolift that is imported, or longer.
    dear = {"collections", "contextlib", "dataclasses", "enum", "functools", "json", "re", "typing"}
    assert _imports_of("import turbolift") & (HEAVY | dear) == set()


def test_a_tag_imports_nothing_heavy() -> None:
    program = "import turbolift; turbolift.on(turbolift.Local())(turbolift.is_distributed)"
    assert _imports_of(program) & (HEAVY | {"dataclasses", "re", "typing"}) == set()
