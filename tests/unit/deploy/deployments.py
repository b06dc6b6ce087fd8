# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the deploy room share: the workshop of bundles, and deployments that are destroyed at the
end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turbolift.deploy.local.process import start_time
from turbolift.deploy.local.records import Live
from turbolift.spec import deployment_dir
from unit.deploy import bundles

Status = dict[str, dict[str, Any]]
DOUBLE = "shop.double:double"


def double(factor: int = 2, *, tag: str = "", extra: str = "", before: str = "") -> dict[str, str]:
    """Return the sources of ``shop.double:double``, which returns ``factor * n``."""
    return {
        "shop/__init__.py": "",
        "shop/double.py": f"""
from turbolift import Local, on
{before}

@on(Local(), timeout=20.0{tag})
def double(n: int) -> int:
    if n < 0:
        raise ValueError(f"negative: {{n}}")
    {extra or "pass"}
    return {factor} * n
""",
    }


SLOW_START = "import os, time\nif os.environ['TURBOLIFT'] == 'on':\n    time.sleep(3)"
BROKEN_START = "import os\nif os.environ['TURBOLIFT'] == 'on':\n    import frobnicate"


class Deployment:
    """A workspace of its own, and the program to deploy it with."""

    def __init__(
        self, workshop: bundles.Workshop, root: Path, env: dict[str, str], name: str = "deploy"
    ) -> None:
        self.workshop = workshop
        self.root = root
        self.workspace = root / "clone"
        self.workspace.mkdir(parents=True)
        (self.workspace / "pants.toml").touch()
        self.env = env
        self.name = name
        self._bundles = 0

    @property
    def state(self) -> Path:
        """The deployment's folder."""
        home = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = self.env["XDG_STATE_HOME"]
        try:
            return deployment_dir(self.workspace, self.name)
        finally:
            del os.environ["XDG_STATE_HOME"]
            if home is not None:
                os.environ["XDG_STATE_HOME"] = home

    @property
    def routes(self) -> dict[str, Any]:
        """The route table."""
        found: dict[str, Any] = json.loads((self.state / "routes.json").read_text("utf-8"))
        return found

    def bundle(self, *functions: str, platform: str | None = "local", **sources: Any) -> Path:
        """Write a bundle: ``bundle("m:f", ..., f={sources})`` by the functions' names."""
        self._bundles += 1
        known = {name: sources[name.rpartition(":")[2].replace(".", "_")] for name in functions}
        return self.workshop.bundle(self.root / f"bundle{self._bundles}", known, platform=platform)

    def command(self, *arguments: str | Path, bundle: Path | None = None) -> list[str]:
        """Return the command line of the program."""
        given = ["--bundle", str(bundle)] if bundle is not None else []
        workspace = ["--deployment", self.name, "--workspace", str(self.workspace)]
        return [sys.executable, "-m", "turbolift.deploy", *workspace, *given, *map(str, arguments)]

    def start(self, *arguments: str | Path, bundle: Path | None = None) -> subprocess.Popen[str]:
        """Start the program and return its process."""
        return subprocess.Popen(
            self.command(*arguments, bundle=bundle),
            env=self.env,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(
        self, *arguments: str | Path, bundle: Path | None = None, code: int = 0
    ) -> subprocess.CompletedProcess[str]:
        """Run the program; its exit code must be `code`, and no traceback of ours may be seen."""
        with self.start(*arguments, bundle=bundle) as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == code, f"{arguments}: exit {process.returncode}\n{out}\n{err}"
        assert "turbolift/deploy/" not in err, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def status(self) -> Status:
        """Return ``status --json`` by function."""
        done = self.run("status", "--json")
        return {one["function"]: one for one in json.loads(done.stdout)}

    def call(self, function: str = "double", arguments: str = '{"n": 4}') -> Any:
        """Call by the program, and return the result."""
        return json.loads(self.run("call", function, arguments).stdout)

    def processes(self) -> list[Live]:
        """Return what the supervisors of this deployment last wrote."""
        found = []
        for path in self.state.glob("processes/*.live"):
            found.append(Live(**json.loads(path.read_text("utf-8"))))
        return found

    def running(self) -> list[int]:
        """Return every process that was started from this deployment's state or layers, by its command line."""
        marks = (os.fsencode(self.state),)
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                text = path.read_bytes() + (path.parent / "cmdline").read_bytes()
            except OSError:
                continue
            if any(mark in text for mark in marks) and start_time(int(path.parent.name)) is not None:
                found.append(int(path.parent.name))
        return found


def wait_for(check: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Return the first true result of `check`; fail after `seconds`."""
    until = time.monotonic() + seconds
    while not (result := check()):
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.05)
    return result


def environment(state: Path, runtime: Path) -> dict[str, str]:
    """Return the environment of programs and callers: homes of their own, the modules of this process."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(state / "home"),
        "PYTHONPATH": os.pathsep.join(os.path.abspath(one) for one in sys.path if one),
        "PYTHONDONTWRITEBYTECODE": "1",
        "XDG_STATE_HOME": str(state),
        "XDG_RUNTIME_DIR": str(runtime),
    }
