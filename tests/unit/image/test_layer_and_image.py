# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Layers and images from folders: the same bytes under any circumstances, on the real base."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turbolift.errors import PackagingError
from turbolift.image import layer
from turbolift.image.assemble import assemble
from turbolift.image.export import export
from turbolift.image.interpreter import base_command
from turbolift.image.layout import Layout
from turbolift.image.unpack import open_layer, unpack_image

pytestmark = pytest.mark.network

Command = Callable[..., subprocess.CompletedProcess[str]]

SOURCES = {
    "shop/__init__.py": "",
    "shop/cart.py": "def total(n: int) -> int:\n    return n if n in {1, 2, 'x'} else len('interned')\n",
    "shop/data.json": "{}",
    "shop/run.sh": "#!/bin/sh\n",
}


def write_tree(root: Path, files: dict[str, str], seed: int = 0) -> Path:
    names = list(files)
    random.Random(seed).shuffle(names)
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[name])
        path.chmod(0o700 if name.endswith(".sh") else 0o600 + seed % 2 * 0o044)
        os.utime(path, (seed, seed))
    return root


def members(blob: Path) -> list[str]:
    with open_layer(blob) as archive:
        return [one.name for one in archive]


def test_a_layer_holds_sources_and_byte_code_of_the_base(base: Any, tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree", SOURCES)
    (tree / "shop/link").symlink_to("data.json")
    (tree / "shop/__pycache__").mkdir()
    (tree / "shop/__pycache__/stale.cpython-310.pyc").write_bytes(b"old")
    made = layer.build("first-party", tree, "app/src/", base.rootfs, tmp_path / "out")
    assert made is not None
    assert json.loads((tmp_path / "out/layer.json").read_text()) == made
    blob = tmp_path / "out/blobs/sha256" / made["digest"][7:]
    assert members(blob) == [
        "app", "app/src", "app/src/shop", "app/src/shop/__init__.py", "app/src/shop/__pycache__",
        "app/src/shop/__pycache__/__init__.cpython-311.pyc", "app/src/shop/__pycache__/cart.cpython-311.pyc",
        "app/src/shop/cart.py", "app/src/shop/data.json", "app/src/shop/link", "app/src/shop/run.sh",
    ]  # fmt: skip
    with tarfile.open(blob) as archive:
        assert archive.getmember("app/src/shop/run.sh").mode == 0o755
        assert {(one.uid, one.gid, one.mtime) for one in archive} == {(0, 0, 1735689600)}
        file = archive.extractfile("app/src/shop/__pycache__/cart.cpython-311.pyc")
        assert file is not None
        # Hash-based (bit 0), unchecked (bit 1 not set).
        assert file.read(8)[4:] == b"\x01\0\0\0"


def test_the_same_layer_under_other_circumstances(base: Any, command: Command, tmp_path: Path) -> None:
    digests = set()
    for seed, env in enumerate(
        [
            {"HOME": "/nowhere", "TZ": "Asia/Kolkata", "PYTHONHASHSEED": "1", "LC_ALL": "C"},
            {
                "TMPDIR": str(tmp_path / "other"),
                "PYTHONHASHSEED": "2",
                "LANG": "de_DE.UTF-8",
                "PYTHONOPTIMIZE": "2",
            },
        ]
    ):
        (tmp_path / "other").mkdir(exist_ok=True)
        folder = tmp_path / f"builder {seed}"
        tree = write_tree(folder / ("deep/er/tree" if seed else "tree"), SOURCES, seed)
        rootfs = base.rootfs
        if seed:
            rootfs = folder / "moved base"
            shutil.copytree(base.rootfs, rootfs, symlinks=True)
        old = os.umask(0o077 * seed)
        try:
            done = command(
                "layer", "--kind", "first-party", "--tree", tree, "--prefix", "app/src",
                "--base-rootfs", rootfs, "--out", "out",
                cwd=folder, env=env,
            )  # fmt: skip
        finally:
            os.umask(old)
        assert done.returncode == 0, done.stderr
        digests.add((folder / "out/layer.json").read_bytes())
    assert len(digests) == 1


def test_syntax_that_the_base_does_not_know(base: Any, tmp_path: Path) -> None:
    tree = write_tree(
        tmp_path / "tree", {"new.py": "\ntype Pair = tuple[int, int]\n", "deep/bad.py": "def f(:\n"}
    )
    with pytest.raises(PackagingError, match=r"Python 3\.11\.\d+ cannot compile") as caught:
        layer.build("first-party", tree, "app/src", base.rootfs, tmp_path / "out")
    said = str(caught.value)
    assert "  new.py:2: invalid syntax\n" in said
    assert "  deep/bad.py:1: invalid syntax\n" in said
    assert "wrong Python version for the base image" in said
    made = layer.build("third-party", tree, "app/site-packages", base.rootfs, tmp_path / "out")
    assert made is not None
    assert not any(
        one.endswith(".pyc") for one in members(tmp_path / "out/blobs/sha256" / made["digest"][7:])
    )


def test_an_empty_folder_gives_no_layer(tmp_path: Path) -> None:
    (tmp_path / "tree/empty").mkdir(parents=True)
    assert layer.build("shim", tmp_path / "tree", "app/shim", tmp_path / "no base", tmp_path / "out") is None
    assert (tmp_path / "out/layer.json").read_text() == "null"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "shop/../../outside", "inner"])
def test_a_link_that_leaves_the_tree_is_refused(tmp_path: Path, target: str) -> None:
    tree = write_tree(tmp_path / "tree", {"shop/x.py": ""})
    (tmp_path / "outside").touch()
    (tree / "inner").symlink_to("../outside")
    if target != "inner":
        (tree / "inner").unlink()
    (tree / "link").symlink_to(target)
    with pytest.raises(PackagingError, match="outside of what is packaged"):
        layer.tree_entries(tree, "app/src")


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PackagingError, match="pipe: neither a file nor a link"):
        layer.tree_entries(tmp_path, "app/src")


@pytest.fixture
def image(base: Any, tmp_path: Path) -> Path:
    """An image of two layers on the base, and an empty one."""
    write_tree(tmp_path / "src", SOURCES)
    write_tree(tmp_path / "deps", {"dep.py": "x = 1\n"})
    (tmp_path / "shim").mkdir()
    layer.build("third-party", tmp_path / "deps", "app/site-packages", base.rootfs, tmp_path / "l1")
    layer.build("shim", tmp_path / "shim", "app/shim", base.rootfs, tmp_path / "l2")
    layer.build("first-party", tmp_path / "src", "app/src", base.rootfs, tmp_path / "l3")
    layers = [tmp_path / name for name in ("l1", "l2", "l3")]
    assemble(base.layout, layers, "shop.cart:total", tmp_path / "image", annotations={"x.y": "z"})
    return tmp_path / "image"


def test_an_image_is_whole_and_says_what_it_is(base: Any, image: Path) -> None:
    summary = json.loads((image / "image.json").read_text())
    [one] = Layout(image).verify()
    assert summary["manifest"] == one.digest == Layout(image).find(function="shop.cart:total")
    assert [part["kind"] for part in summary["layers"]] == ["base", "third-party", "first-party"]
    assert [part["diff_id"] for part in summary["layers"]] == [part.diff_id for part in one.layers]
    config = one.config["config"]
    assert config["User"] == "65532:65532"
    assert config["WorkingDir"] == "/app"
    assert config["Entrypoint"] == [
        "/usr/bin/python3.11",
        "-m",
        "turbolift.shim",
        "--function",
        "shop.cart:total",
    ]
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert {"PYTHONPATH=/app/shim:/app/src:/app/site-packages", "PYTHONDONTWRITEBYTECODE=1"} <= set(
        config["Env"]
    )
    assert "Cmd" not in config
    notes = one.manifest["annotations"]
    assert notes["org.opencontainers.image.base.digest"] == base.lock["digest"]
    assert notes["org.opencontainers.image.created"] == "2025-01-01T00:00:00Z"
    assert (notes["dev.turbolift.function"], notes["x.y"]) == ("shop.cart:total", "z")
    assert notes == config["Labels"]
    assert len(one.config["history"]) == len(one.config["rootfs"]["diff_ids"]) == 3


@pytest.mark.parametrize(
    ("app", "expected"),
    [
        ("shop.app:__main__", ["-m", "shop.app"]),
        ("shop.app:serve", ["-c", "import sys; from shop.app import serve; sys.exit(serve())"]),
    ],
)
def test_an_app_is_run_and_listens_to_nothing(
    command: Any, base: Any, image: Path, tmp_path: Path, app: str, expected: list[str]
) -> None:
    out = tmp_path / "app"
    command(
        "assemble",
        "--base",
        base.layout.path,
        "--layer",
        tmp_path / "l3",
        "--entrypoint-app",
        app,
        "--out",
        out,
    )
    [one] = Layout(out).verify()
    assert one.config["config"]["Entrypoint"] == ["/usr/bin/python3.11", *expected]
    assert "ExposedPorts" not in one.config["config"]
    # The same files as in the function's image, in the same blob.
    assert one.layers[-1].digest == Layout(image).image().layers[-1].digest


def test_only_the_new_blobs(base: Any, image: Path, tmp_path: Path) -> None:
    layers = [tmp_path / name for name in ("l1", "l2", "l3")]
    summary = assemble(
        base.layout, layers, "shop.cart:total", tmp_path / "small", annotations={"x.y": "z"}, copy=False
    )
    assert json.loads((image / "image.json").read_text()) == summary
    blobs = {path.name for path in (tmp_path / "small/blobs/sha256").iterdir()}
    assert blobs == {summary["manifest"][7:], summary["config"][7:]}
    assert (tmp_path / "small/index.json").read_bytes() == (image / "index.json").read_bytes()


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--entrypoint-function", "no identity"], "not a function's identity"),
        (["--entrypoint-function", "m:f", "--annotation", "x"], "--annotation x: not KEY=VALUE"),
        (["--entrypoint-function", "m:f", "--layer", "gone"], "gone/layer.json: cannot read this file"),
        (["--entrypoint-function", "m:f", "--base", "gone"], "gone: not an OCI layout"),
    ],
)
def test_bad_arguments_have_clear_errors(
    base: Any, command: Command, tmp_path: Path, extra: list[str], message: str
) -> None:
    done = command("assemble", "--base", base.layout.path, "--out", "out", *extra, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_function_runs_from_its_own_layers(base: Any, image: Path, tmp_path: Path) -> None:
    root = tmp_path / "unpacked"
    unpack_image(Layout(image), Layout(image).image(), root)
    argv, env = base_command(
        root, ["-c", "import dep, shop.cart; print(shop.cart.total(2), shop.cart.__cached__)"],
        env={"PYTHONPATH": f"{root}/app/src:{root}/app/site-packages"},
    )  # fmt: skip
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"2 {root}/app/src/shop/__pycache__/cart.cpython-311.pyc\n"


def test_export_is_one_tar_for_docker_and_oci(image: Path, tmp_path: Path) -> None:
    layout = Layout(image)
    digest = layout.find()
    export(layout, digest, "shop/cart:dev", tmp_path / "one.tar")
    export(layout, digest, "shop/cart:dev", tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as archive:
        # CPython 3.11.2, which Debian has, knows no filters yet.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(tmp_path / "tar")
    again = Layout(tmp_path / "tar")
    assert [one.digest for one in again.verify()] == [digest]
    [docker] = json.loads((tmp_path / "tar/manifest.json").read_text())
    assert docker["RepoTags"] == ["shop/cart:dev"]
    assert json.loads((tmp_path / "tar" / docker["Config"]).read_text()) == layout.image().config
    assert [f"sha256:{one.rpartition('/')[2]}" for one in docker["Layers"]] == [
        one.digest for one in layout.image().layers
    ]
    with pytest.raises(PackagingError, match="--tag Bad Name: not a name for an image"):
        export(layout, digest, "Bad Name", tmp_path / "x.tar")


def test_export_refuses_a_damaged_layer(image: Path, tmp_path: Path) -> None:
    layout = Layout(image)
    blob = layout.blob_path(layout.image().layers[1].digest)
    data = blob.read_bytes()
    blob.unlink()
    blob.write_bytes(data[:-1])
    with pytest.raises(PackagingError, match="damaged"):
        export(layout, layout.find(), "shop", tmp_path / "x.tar")
    assert not (tmp_path / "x.tar").exists()
