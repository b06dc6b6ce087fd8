# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The small parts: names, lock, files, sockets, layers, processes, view."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.deploy import files, lock
from turbolift.deploy.local import logs, process, sockets, supervise
from turbolift.deploy.local.command import python_path
from turbolift.deploy.local.layers import Layers, chain_id
from turbolift.deploy.names import resolve, slug
from turbolift.deploy.platform import Host
from turbolift.deploy.view import View
from turbolift.errors import DeployError
from turbolift.image.layout import Layout
from unit.deploy.releases import release

KNOWN = ["pricing.quote:quote", "pricing.stock:Stock.quote", "shop.cart:Cart.total", "shop.cart:total_of"]


@pytest.mark.parametrize(
    ("given_name", "meant"),
    [
        ("shop.cart:Cart.total", "shop.cart:Cart.total"),
        ("quote", "pricing.quote:quote"),
        ("Stock.quote", "pricing.stock:Stock.quote"),
        ("total", "shop.cart:Cart.total"),
        ("total_of", "shop.cart:total_of"),
        ("stock", "pricing.stock:Stock.quote"),
    ],
)
def test_abbreviation(given_name: str, meant: str) -> None:
    assert resolve(given_name, KNOWN) == meant


@pytest.mark.parametrize(
    ("given_name", "said"),
    [
        ("pricing", "short for 2 functions: pricing.quote:quote, pricing.stock:Stock.quote"),
        ("qoute", "Did you mean quote"),
        ("zzz", "There is: pricing.quote:quote"),
    ],
)
def test_name_that_means_none_or_several(given_name: str, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        resolve(given_name, KNOWN)


@given(
    st.lists(
        st.from_regex(r"[a-z]{1,3}(\.[a-z]{1,3})?:[A-Za-z]{1,3}(\.[a-z]{1,3})?", fullmatch=True), min_size=1
    )
)
def test_whole_identity_always_means_itself(known: list[str]) -> None:
    for one in known:
        assert resolve(one, known) == one
    assert len({slug(one) for one in known}) == len(set(known))


def test_lock_excludes_and_names_its_holder(tmp_path: Path) -> None:
    said: list[str] = []
    with lock.exclusive(tmp_path, "up", wait=0, say=said.append):
        with (
            pytest.raises(DeployError, match=f"'up' of process {os.getpid()}, since 20"),
            lock.exclusive(tmp_path, "down", wait=0, say=said.append),
        ):
            pytest.fail("both hold the lock")
        assert said == []
    with lock.exclusive(tmp_path, "down", wait=0, say=said.append):
        assert "'down'" in lock.holder(tmp_path / "lock")


def test_lock_of_a_folder_that_was_destroyed_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    entered = threading.Event()
    got: list[bool] = []

    def second() -> None:
        with lock.exclusive(folder, "up", wait=20, say=lambda text: entered.set()):
            got.append((folder / "lock").is_file())

    with lock.exclusive(folder, "destroy", wait=0, say=print):
        thread = threading.Thread(target=second)
        thread.start()
        entered.wait(10)
        files.remove(folder)
    thread.join(10)
    assert got == [True]


def test_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "routes.json"
    files.write(path, b"one")
    inode = path.stat().st_ino
    files.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_ino != inode
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["routes.json"]


def test_copy_of_what_is_not_what_it_says(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"data")
    with pytest.raises(DeployError, match="damaged: its sha256 is"):
        files.copy_verified(source, tmp_path / "target", "0" * 64)
    assert os.listdir(tmp_path) == ["source"]
    files.copy_verified(source, tmp_path / "target", hashlib.sha256(b"data").hexdigest())
    assert (tmp_path / "target").read_bytes() == b"data"


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short folder for sockets."""
    with tempfile.TemporaryDirectory(prefix="tl-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


def test_sockets_are_in_a_private_folder_with_a_short_path(runtime: Path, tmp_path: Path) -> None:
    folder = sockets.socket_dir(tmp_path)
    assert folder.is_relative_to(runtime)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(sockets.socket_dir(tmp_path).stat().st_mode) == 0o700
    assert sockets.socket_dir(tmp_path / "other") != folder


def test_too_long_a_runtime_folder_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    assert sockets.where(tmp_path).parent == Path(f"/tmp/turbolift-{os.getuid()}")
    assert len(os.fsencode(sockets.where(tmp_path) / "0123456789ab.sock")) <= 100


def test_socket_folder_of_somebody_else_is_refused(runtime: Path, tmp_path: Path) -> None:
    (runtime / "turbolift").symlink_to(tmp_path)
    with pytest.raises(DeployError, match="is not a folder of yours"):
        sockets.socket_dir(tmp_path)


def test_stopped_function_has_the_time_of_one_call(tmp_path: Path) -> None:
    def host(drain: float | None) -> Host:
        store: Layout = object.__new__(Layout)
        return Host(tmp_path, "deploy", tmp_path, store, tmp_path / "routes.json", print, drain)

    long = release("m:f")
    long.options["timeout"] = 120.0
    assert host(None).drain_of(long) == 120.0
    assert host(None).drain_of(release("m:f")) == 30.0
    assert host(2.0).drain_of(long) == 2.0


def test_chain_id_is_the_specifications() -> None:
    one, two, three = "a" * 64, "b" * 64, "c" * 64
    first = hashlib.sha256(f"sha256:{one} sha256:{two}".encode()).hexdigest()
    assert chain_id([one]) == one
    assert chain_id([one, two]) == first
    assert (
        chain_id([one, two, three]) == hashlib.sha256(f"sha256:{first} sha256:{three}".encode()).hexdigest()
    )


def test_layers_are_not_removed_while_somebody_deploys(tmp_path: Path) -> None:
    folder = tmp_path / "layers"
    deploying, pruning = Layers(print, folder), Layers(print, folder)
    deploying.hold()
    (folder / "used").mkdir()
    (folder / "unused").mkdir()
    (folder / ".part-unused-1234").mkdir()
    assert pruning.prune({"used"}, dry_run=False) == []
    deploying.release()
    assert [Path(one.path).name for one in pruning.prune({"used"}, dry_run=True)] == [
        ".part-unused-1234",
        "unused",
    ]
    pruning.prune({"used"}, dry_run=False)
    assert sorted(os.listdir(folder)) == [".lock", "used"]


def test_python_path_follows_the_images(tmp_path: Path) -> None:
    for name in ("lower/app/site-packages", "upper/app/src", "upper/app/site-packages"):
        (tmp_path / name).mkdir(parents=True)
    layers = [tmp_path / "lower", tmp_path / "upper"]
    assert python_path(layers, "/app/shim:/app/src:/app/site-packages") == [
        tmp_path / "upper/app/src",
        tmp_path / "upper/app/site-packages",
        tmp_path / "lower/app/site-packages",
    ]


def test_process_is_told_from_a_later_one_of_its_number() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        identity = supervise.identity(child.pid)
        assert process.is_alive(identity)
        later = {**identity, "start": 1}
        assert not process.is_alive(later)
        assert not process.signal_process(later, signal.SIGKILL)
        assert not process.signal_process({**identity, "boot": "another"}, signal.SIGKILL)
        assert child.poll() is None
        asyncio.run(process.end(identity, grace=10))
        assert not process.is_alive(identity)
        assert not process.signal_process(identity, signal.SIGKILL)


def test_process_that_ignores_sigterm_is_killed() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, process_group=0) as child:
        assert child.stdout is not None
        child.stdout.readline()
        identity = supervise.identity(child.pid)
        asyncio.run(process.end(identity, grace=0.2, group=True))
        assert not process.is_alive(identity)


def test_log_goes_over_to_the_file_before(tmp_path: Path) -> None:
    path = logs.log_path(tmp_path, "m:f", "a" * 64)
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".1").write_text("one\ntwo\n")
    path.write_text("three\n\x1b[31mfour\n")
    assert list(logs.read_log(path, lines=3, follow=False)) == ["two", "three", "\ufffd[31mfour"]
    assert list(logs.read_log(path, lines=0, follow=False)) == []
    assert list(logs.read_log(tmp_path / "none", lines=3, follow=False)) == []


def test_log_over_the_limit_is_set_aside_at_a_start(tmp_path: Path) -> None:
    log = tmp_path / "f.log"
    with log.open("wb") as file:
        file.truncate(supervise.LOG_LIMIT + 1)
    record = tmp_path / "i.json"
    details = {"argv": ["/bin/echo", "hello"], "env": {}, "cwd": "/", "log": str(log), "grace": 1}
    record.write_text(json.dumps({**details, "socket": str(tmp_path / "i.sock")}))
    done = subprocess.run([sys.executable, supervise.__file__, str(record)], check=False, timeout=30)
    assert done.returncode == 1
    assert log.with_name("f.log.1").stat().st_size == supervise.LOG_LIMIT + 1
    lines = log.read_text().splitlines()
    assert "hello" in lines
    assert lines[-1].endswith("not started again: it was never ready")


def test_view_without_a_terminal_prints_only_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with View() as view:
        view.open(["m:f", "module:longer"])
        view.update("m:f", "starting", version="a" * 64, platform="local")
        view.update("module:longer", "unchanged", version="b" * 64, platform="local", pid=7)
        view.say("note")
        view.update("m:f", "ready", ms=12, pid=8, endpoint="unix:///x")
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "module:longer  bbbbbbbbbb  local  unchanged  pid 7",
        "m:f            aaaaaaaaaa  local  ready      pid 8  12 ms  unix:///x",
    ]
    assert err == "note\n"
