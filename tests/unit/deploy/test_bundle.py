# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What is refused of a bundle, and how platforms are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from turbolift.deploy import bundle, registry
from turbolift.deploy.bundle import version_of
from turbolift.errors import ConfigurationError, DeployError, DocumentError, PackagingError
from turbolift.image.layout import write_index

IMAGE = f"sha256:{'1' * 64}"


def function_spec(function: str = "m:f", **changes: Any) -> dict[str, Any]:
    """Return a valid function spec."""
    return {
        "version": 1,
        "function": function,
        "target": "src:f",
        "source": "src/m.py",
        "line": 3,
        "contract": {"digest": f"sha256:{'c' * 64}", "parameters": {}, "result": {}},
        "options": {},
        "platform": {"kind": "k8s"},
        "python": "3.11.2",
        "closure": {"digest": f"sha256:{'d' * 64}"},
        **changes,
    }


def write(
    folder: Path, *, platform: str | None = None, entry: dict[str, Any] | None = None, twice: bool = False
) -> Path:
    """Write a bundle of one function; `entry` changes its entry."""
    document = function_spec()
    (folder / "specs").mkdir(parents=True)
    (folder / "specs" / "f.json").write_text(json.dumps(document))
    write_index(folder, [])
    one = {
        "function": "m:f",
        "target": "src:f",
        "image": IMAGE,
        "spec": "specs/f.json",
        "version": version_of(IMAGE, document),
        **(entry or {}),
    }
    index = {"version": 1, "deployment": "deploy", "platform": platform, "functions": [one] * (1 + twice)}
    (folder / "bundle.json").write_text(json.dumps(index))
    return folder


def with_app(folder: Path, **changes: Any) -> Path:
    """Add an app that calls the function of the bundle; `changes` are made to its entry."""
    document = {
        "version": 1,
        "app": "m.app:main",
        "target": "src:app",
        "source": "src/app.py",
        "kind": "job",
        "options": {"args": [], "env": {}, "replicas": 1, "cpu": None, "memory": None},
        "functions": ["m:f"],
        "closure": {"digest": f"sha256:{'d' * 64}", "sources": [], "requirements": []},
    }
    (folder / "specs" / "app.json").write_text(json.dumps(document))
    index = json.loads((folder / "bundle.json").read_text())
    pins = {"m:f": index["functions"][0]["version"]}
    version = version_of(IMAGE, {**document, "pins": pins})
    entry = {"app": "m.app:main", "target": "src:app", "image": IMAGE, "spec": "specs/app.json"}
    index["apps"] = [{**entry, "pins": pins, "version": version, **changes}]
    (folder / "bundle.json").write_text(json.dumps(index))
    return folder


def test_an_app_comes_with_the_releases_that_it_is_pinned_to(tmp_path: Path) -> None:
    found = bundle.read(with_app(write(tmp_path, platform="k8s")))
    (app,) = found.apps
    assert (app.release.function, app.release.image, app.release.platform) == ("m.app:main", IMAGE, "k8s")
    assert app.pins == found.releases


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"pins": {"m:f": "0" * 64}}, r"at \$.apps\[0\].version: \w{64} is not the version of its image"),
        ({"app": "m.app:other"}, r"at \$.apps\[0\].spec: specs/app.json is the spec of m.app:main, not of"),
        ({"spec": "../app.json"}, r"at \$.apps\[0\].spec: '../app.json' is not a path inside the bundle"),
        ({"pins": 3}, r"at \$.apps\[0\].pins: 3 is not of type 'object'"),
    ],
)
def test_a_broken_app_is_refused_by_its_place(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(DocumentError, match=told):
        bundle.read(with_app(write(tmp_path, platform="k8s"), **changes))


def test_an_app_pinned_to_what_is_not_there_is_refused(tmp_path: Path) -> None:
    folder = with_app(write(tmp_path, platform="k8s"))
    index = json.loads((folder / "bundle.json").read_text())
    index["functions"] = []
    (folder / "bundle.json").write_text(json.dumps(index))
    with pytest.raises(DocumentError, match=r"at \$.apps\[0\].pins: m:f at \w{10} is not in the bundle"):
        bundle.read(folder)


@pytest.mark.parametrize(
    ("given", "own", "chosen"),
    [("local", "docker", "local"), (None, "docker", "docker"), (None, None, "k8s")],
)
def test_platform_is_chosen(tmp_path: Path, given: str | None, own: str | None, chosen: str) -> None:
    (release,) = bundle.read(write(tmp_path, platform=own), platform=given).releases
    assert release.platform == chosen


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"spec": "../f.json"}, r"\$\.functions\[0\]\.spec: '../f.json' is not a path inside the bundle"),
        ({"spec": "specs/g.json"}, r"specs/g.json: no such function spec"),
        ({"function": "m:g"}, r"spec of m:f, not of m:g"),
        ({"image": f"sha256:{'2' * 64}"}, r"\$\.functions\[0\]\.version: .* is not the version of its image"),
        ({"version": "zz"}, r"not a valid bundle: at \$\.functions\[0\]\.version"),
    ],
)
def test_broken_bundle_is_refused_with_its_place(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        bundle.read(write(tmp_path, entry=entry))


def test_function_that_is_there_twice(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"\$\.functions\[1\]: m:f is in the bundle twice"):
        bundle.read(write(tmp_path, twice=True))


def test_bundle_without_images(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "oci-layout").unlink()
    with pytest.raises(PackagingError, match="not an OCI layout"):
        bundle.read(tmp_path)


def test_kinds_without_a_program_are_named_with_their_functions() -> None:
    with pytest.raises(ConfigurationError, match=r"m:a, m:b: .*'moon' .*Pass --platform local"):
        registry.check(
            [("m:a", "moon"), ("m:b", "moon"), ("m:c", "docker"), ("m:d", "k8s"), ("m:e", "local")]
        )
    with pytest.raises(ConfigurationError, match=r"m:a, m:b, m:c and 2 more: there is no platform 'moon'"):
        registry.check([(f"m:{name}", "moon") for name in "abcde"])


PLATFORM = '''
import asyncio
import json
from turbolift.deploy.platform import Health, Instance

class Files:
    """Runs nothing: an instance is a file."""

    kind = "files"

    def __init__(self, host):
        self.folder = host.state / "files"

    async def prepare(self, releases):
        self.folder.mkdir(exist_ok=True)

    async def start(self, release):
        one = Instance(release.version[:8], release.function, release.version, self.kind, "http://files:80")
        fields = [one.id, one.function, one.version, one.platform, one.endpoint]
        (self.folder / one.id).write_text(json.dumps(fields))
        return one

    async def wait_ready(self, instance, timeout):
        await asyncio.sleep(0)

    async def health(self, instance):
        there = (self.folder / instance.id).is_file()
        return Health(alive=there, ready=there)

    async def stop(self, instance):
        (self.folder / instance.id).unlink(missing_ok=True)

    def instances(self):
        return [Instance(*json.loads(path.read_text())) for path in sorted(self.folder.glob("*"))]

    def logs(self, instance, *, lines, follow):
        yield f"log of {instance.function}"

    def prune(self, keep, *, dry_run):
        return []

    def destroy(self):
        pass

class Half:
    def __init__(self, host):
        pass
'''


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    """A distribution that announces platforms, to be put on the path."""
    folder = tmp_path / "dist"
    info = folder / "acme_platforms-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-platforms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[turbolift.platforms]\n"
        "files = acme_platforms:Files\nhalf = acme_platforms:Half\nbad = acme_platforms:None_\n"
    )
    (folder / "acme_platforms.py").write_text(PLATFORM)
    return folder


def test_platform_of_another_distribution_deploys(
    deployment: Any, distribution: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unit.deploy.deployments import DOUBLE, double

    deployment.env = {**deployment.env, "PYTHONPATH": f"{distribution}:{deployment.env['PYTHONPATH']}"}
    bundles = [deployment.bundle(DOUBLE, platform="files", double=double(factor)) for factor in (2, 3)]
    assert "1 new" in deployment.run(bundle=bundles[0]).stdout
    assert deployment.routes["platform"] == "files"
    assert deployment.routes["routes"][DOUBLE]["endpoint"] == "http://files:80"
    assert "1 unchanged" in deployment.run(bundle=bundles[0]).stdout
    assert "1 replaced" in deployment.run(bundle=bundles[1]).stdout
    assert len(list((deployment.state / "files").iterdir())) == 1
    assert deployment.run("logs", "double").stdout == "log of shop.double:double\n"
    # Over to this machine and back: the other platform's instance is ended each time.
    assert "1 replaced" in deployment.run("--platform", "local", bundle=bundles[1]).stdout
    assert list((deployment.state / "files").iterdir()) == []
    assert deployment.call() == 12
    assert "1 replaced" in deployment.run(bundle=bundles[1]).stdout
    assert not deployment.running()
    deployment.run("down")
    assert list((deployment.state / "files").iterdir()) == []


def test_broken_platforms_are_named(distribution: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(distribution))
    assert registry.known() == ["bad", "docker", "files", "half", "k8s", "local"]
    host: Any = object()
    with pytest.raises(
        DeployError, match=r"platform 'half' .*of acme-platforms\) has no prepare, start, wait_ready"
    ):
        registry.make("half", host)
    with pytest.raises(DeployError, match=r"platform 'bad' .*cannot be loaded: AttributeError"):
        registry.make("bad", host)
