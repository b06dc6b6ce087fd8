# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the rules decide, as plain functions over frozen dataclasses: no engine, no Pants, tested by itself.

CPython 3.9 syntax: this runs inside Pants.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import Any, Iterable, Mapping, Sequence

SHARED_BLOBS = "turbolift/blobs"
RUNTIME = "turbolift-runtime"
# Options of the deployer that take a value, which is no command.
VALUED_OPTIONS = frozenset(
    {
        "--deployment",
        "--workspace",
        "--bundle",
        "--platform",
        "--context",
        "--namespace",
        "--kubeconfig",
        "--registry",
        "--wait",
        "--ready-timeout",
        "--grace",
        "--check",
        "--retire-after",
    }
)


@dataclass(frozen=True)
class Tagged:
    """A tagged function as the parse saw it."""

    path: str
    qualname: str
    line: int
    platform: str


@dataclass(frozen=True)
class Finding:
    """One reason why something cannot be distributed, with its place."""

    path: str
    line: int
    column: int
    rule: str
    message: str
    function: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message} [{self.rule}]"


@dataclass(frozen=True)
class FileReport:
    """What the parse says of one file."""

    path: str
    parsed: bool
    functions: tuple[Tagged, ...] = ()
    findings: tuple[Finding, ...] = ()

    def entries(self) -> tuple[tuple[str, int], ...]:
        """Return (qualname, line) of what needs a target: the functions, and what is tagged but cannot be one (a method, a
        nested function), so that its packaging fails instead of leaving it out. The qualname is empty for the whole file.
        """
        if not self.parsed:
            return (("", 1),)
        lines = {finding.function: finding.line for finding in reversed(self.findings)}
        lines.update((function.qualname, function.line) for function in self.functions)
        if self.functions:
            lines.pop("", None)  # a finding on the whole file fails each of its functions
        return tuple(sorted(lines.items(), key=lambda entry: (entry[1], entry[0])))

    def findings_of(self, qualname: str) -> tuple[Finding, ...]:
        """Return the findings that concern one function, or the whole file."""
        return tuple(f for f in self.findings if f.function in ("", qualname) or not self.parsed)


def parse_report(text: bytes) -> tuple[FileReport, ...]:
    """Read the report of `python -m turbolift.closure find`."""
    return tuple(
        FileReport(
            file["path"],
            file["parsed"],
            tuple(Tagged(file["path"], f["qualname"], f["line"], f["platform"]) for f in file["functions"]),
            tuple(
                Finding(file["path"], f["line"], f["column"], f["rule"], f["message"], f["function"])
                for f in file["findings"]
            ),
        )
        for file in json.loads(text)["files"]
    )


def mentions(content: bytes) -> bool:
    """Return whether a file is worth a parse: it names turbolift and uses a decorator."""
    return b"turbolift" in content and b"@" in content


def ancestors(folder: str) -> tuple[str, ...]:
    """Return a folder and those above it, up to the repository's root.

    >>> ancestors("a/b")
    ('a/b', 'a', '')
    """
    parts = folder.split("/") if folder else []
    return tuple("/".join(parts[:end]) for end in range(len(parts), -1, -1))


def generated_name(file: str, qualname: str) -> str:
    """Return the name of a function's target below its generator, unique over the files and classes of a directory."""
    stem = file[:-3] if file.endswith(".py") else file
    return (
        f"{stem.replace(os.sep, '.')}.{qualname}" if qualname else f"{stem.replace(os.sep, '.')}.(unparsable)"
    )


def identity(stripped_path: str, qualname: str) -> str:
    """Return `module:qualname` for a file below its source root.

    >>> identity("pricing/quote.py", "quote")
    'pricing.quote:quote'
    """
    parts = stripped_path[: -len(".py")].split("/")
    if parts[-1] == "__init__":
        parts.pop()
    return f"{'.'.join(parts)}:{qualname}"


def repository_paths(files: Iterable[str], roots: Iterable[str]) -> dict[str, str]:
    """Return the path below its source root -> the path in the repository, of each file.

    >>> repository_paths(["src/py/a/b.py", "c.py"], [".", "src/py"])
    {'a/b.py': 'src/py/a/b.py', 'c.py': 'c.py'}
    """
    prefixes = sorted(("" if root in ("", ".") else f"{root}/" for root in roots), key=len, reverse=True)
    return {
        file[len(next((p for p in prefixes if file.startswith(p)), "")) :]: file
        for file in sorted(files, reverse=True)
    }


def runtime_extras(requirement: str) -> frozenset[str] | None:
    """Return the extras of a requirement of turbolift's runtime, however its name is spelt (PEP 503); None for others.

    >>> sorted(runtime_extras("Turbolift_Runtime[shim, client]>=0.1") or ())
    ['client', 'shim']
    """
    match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", requirement)
    if match is None or re.sub(r"[-_.]+", "-", match[1]).lower() != RUNTIME:
        return None
    return frozenset(extra.strip().lower() for extra in (match[2] or "").split(",") if extra.strip())


def brings_shim(extras: Iterable[str]) -> bool:
    """Return whether the runtime with these extras can serve a function."""
    return not {"shim", "all"}.isdisjoint(extras)


def no_runtime(resolve: str, without_shim: Sequence[str] = ()) -> str:
    """Return what to do where a resolve has no runtime that serves; `without_shim` are targets that lack the extra."""
    if without_shim:
        targets = ", ".join(without_shim)
        problem = (
            f"{targets}: {RUNTIME} without its `shim` extra, which serves a function in its image. Write"
        )
    else:
        problem = f"The resolve `{resolve}` has no requirement of {RUNTIME}, which serves a function in its image. Add"
    return f"""{problem}
    {RUNTIME}[shim]
in the requirements of that resolve, say which module it has, as
    python_requirements(module_mapping={{"{RUNTIME}": ["turbolift"]}})
or, on a python_requirement target of its own, modules=["turbolift"], and lock anew:
    pants generate-lockfiles --resolve={resolve}
To take the runtime from another target, name that by `[turbolift].runtime` in pants.toml."""


def unlike_versions(plugin: str | None, resolved: Iterable[Mapping[str, Any]]) -> str | None:
    """Return what is wrong where the plugin and the runtime of a resolve are not of one release; `plugin` is None where it is no
    installed distribution.
    """
    found = next((d["version"] for d in resolved if runtime_extras(d["name"]) is not None), None)
    if plugin is None or found is None or found == plugin:
        return None
    return (
        f"{RUNTIME} is {found} in the lockfile, but turbolift-pants is {plugin} in `[GLOBAL].plugins`: what they say to each other may "
        "differ. Take both from one release, and lock anew."
    )


def package_path(spec_path: str, name: str) -> str:
    """Return where `package` puts a function's layout below dist/."""
    return os.path.join(spec_path, name)


def with_parameters(name: str, parameters: Mapping[str, str]) -> str:
    """Return the name of a target's folder below dist/: parametrised targets get one each.

    >>> with_parameters("quote.quote", {"resolve": "ml"})
    'quote.quote@resolve=ml'
    """
    return "@".join(
        [name, *([",".join(f"{k}={v}" for k, v in sorted(parameters.items()))] if parameters else [])]
    )


def blobs_link(path: str) -> str:
    """Return the relative target of the `blobs` link in a layout at `path`: every distinct blob is in dist/ once."""
    return os.path.relpath(SHARED_BLOBS, path)


def entry_point(value: str) -> tuple[str, str]:
    """Return the file of an app's entry point, and what is called in it: a function's name, or `__main__` for the module itself.

    Raises ValueError.

    >>> entry_point("app.py"), entry_point("web/app.py:serve")
    (('app.py', '__main__'), ('web/app.py', 'serve'))
    """
    file, colon, name = value.partition(":")
    if not file.endswith(".py") or (colon and not name.isidentifier()):
        raise ValueError(f"{value!r}: not a file, as `app.py`, or a function in one, as `app.py:main`")
    return file, name if colon else "__main__"


def selected(spec_path: str, address: str, patterns: Sequence[str]) -> bool:
    """Return whether a function's target is meant by one of the `functions=` patterns (none means all).

    A pattern is `dir::` (the folder and those below), `dir:` (the folder) or an address.
    """
    if not patterns:
        return True
    for pattern in patterns:
        pattern = pattern[2:] if pattern.startswith("//") else pattern
        if pattern.endswith("::"):
            folder = pattern[:-2].rstrip("/")
            if not folder or spec_path == folder or spec_path.startswith(folder + "/"):
                return True
        elif pattern.endswith(":"):
            if spec_path == pattern[:-1].rstrip("/"):
                return True
        elif address in (pattern, "//" + pattern):
            return True
    return False


def place_options(
    platform: str | None,
    context: str | None,
    namespace: str | None,
    registry: str | None,
    insecure: bool,
    arguments: Sequence[str],
) -> tuple[str, ...]:
    """Return the options that a deployment's fields stand for; those of a cluster only where it goes to one.

    >>> place_options("k8s", None, "shop", None, False, [])
    ('--namespace=shop',)
    >>> place_options("k8s", None, "shop", None, False, ["--platform", "local"])
    ()
    """
    given = list(arguments)
    chosen = platform
    for number, word in enumerate(given):
        if word == "--platform" and number + 1 < len(given):
            chosen = given[number + 1]
        elif word.startswith("--platform="):
            chosen = word.partition("=")[2]
    if chosen not in (None, "k8s"):
        return ()
    fields = {"context": context, "namespace": namespace, "registry": registry}
    flags = ("--insecure-registry",) if insecure else ()
    return (*(f"--{name}={value}" for name, value in fields.items() if value), *flags)


def renders(platform: str | None, namespace: str | None, registry: str | None) -> bool:
    """Return whether `package` can write a deployment's manifests: it asks no cluster, and must know where all goes."""
    return platform == "k8s" and bool(namespace) and bool(registry)


def builds_nothing(arguments: Sequence[str]) -> bool:
    """Return whether the arguments of `run deploy` only ask, stop or go back: then nothing is packaged first.

    Only `up`, which is the default, `diff` and `render` need a bundle.
    """
    pending = list(arguments)
    while pending:
        word = pending.pop(0)
        if word in ("-h", "--help"):
            return True
        if word in VALUED_OPTIONS and pending:
            pending.pop(0)
        elif not word.startswith("-"):
            return word not in ("up", "diff", "render")
    return False
