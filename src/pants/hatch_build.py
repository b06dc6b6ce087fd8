# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the plugin's wheel holds from outside its folder: the programs that it runs, their locks, the licence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# `turbolift_pants.get.tools` and `.find` run these rooms as programs; the plugin never imports them.
ROOMS = ("closure", "image", "deploy", "client", "contract", "wire", "spec", "errors.py")
LOCKS = ("image-tool.txt", "deploy-tool.txt")


class PluginBuildHook(BuildHookInterface[Any]):
    """Names the files one by one: a folder would bring its BUILD files along."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add to `force_include`: absolute path -> path in the wheel."""
        repository = Path(self.root).parents[1]
        sources = repository / "src/python/turbolift"
        files = {repository / "LICENSE": "turbolift_pants/LICENSE"}
        for name in LOCKS:
            files[repository / "build-support/locks" / name] = f"turbolift_pants/locks/{name}"
        for room in ROOMS:
            found = [sources / room] if room.endswith(".py") else sorted(_files(sources / room))
            if not found:
                raise FileNotFoundError(f"{sources / room}: no such room")
            for path in found:
                files[path] = f"turbolift_pants/_rooms/turbolift/{path.relative_to(sources)}"
        build_data["force_include"].update({str(source): target for source, target in files.items()})


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".py", ".json") and path.is_file()]
