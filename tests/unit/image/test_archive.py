# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Getting Debian packages: every byte is compared, and what fails says what to do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from turbolift.errors import PackagingError
from turbolift.image.archive import Fetcher, LockedPackage

DATA = b"!<arch>\nsome package"
PACKAGE = LockedPackage(
    "some",
    "1:1.0~rc1+b2",
    "amd64",
    "pool/main/s/some/some_1.0~rc1+b2_amd64.deb",
    hashlib.sha256(DATA).hexdigest(),
    len(DATA),
)


class Mirror(ThreadingHTTPServer):
    """A web server that answers with prepared (status, body) pairs in turn, the last one for ever."""

    daemon_threads = True

    def __init__(self, answers: list[tuple[int, bytes]]) -> None:
        self.answers = answers
        self.paths: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/debian/"


class Handler(BaseHTTPRequestHandler):
    server: Mirror  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        status, body = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    server = Mirror([(200, DATA)])
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr("turbolift.image.archive.time.sleep", lambda seconds: None)


def test_a_mirror_is_asked_once_and_the_cache_then(mirror: Mirror, tmp_path: Path) -> None:
    for _ in range(2):
        assert Fetcher(tmp_path / "debs", [mirror.url]).get(PACKAGE) == DATA
    assert mirror.paths == ["/debian/pool/main/s/some/some_1.0~rc1+b2_amd64.deb"]
    assert [one.name for one in (tmp_path / "debs").iterdir()] == [f"{PACKAGE.sha256}.deb"]


def test_a_folder_of_packages_under_their_own_names_is_enough(tmp_path: Path) -> None:
    (tmp_path / "some_1.0_amd64.deb").write_bytes(DATA)
    assert Fetcher(tmp_path).get(PACKAGE) == DATA


def test_a_busy_mirror_is_asked_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [(503, b""), (429, b""), (200, DATA)]
    assert Fetcher(tmp_path, [mirror.url]).get(PACKAGE) == DATA
    assert len(mirror.paths) == 3


def test_the_next_mirror_is_asked_where_one_lacks_it(mirror: Mirror, tmp_path: Path) -> None:
    mirror.answers = [(404, b""), (200, DATA)]
    assert Fetcher(tmp_path, [f"{mirror.url}old", mirror.url]).get(PACKAGE) == DATA
    assert mirror.paths[0].startswith("/debian/old/pool/")


def test_a_damaged_cache_is_mended(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{PACKAGE.sha256}.deb").write_bytes(DATA[:-1])
    assert Fetcher(tmp_path, [mirror.url]).get(PACKAGE) == DATA
    assert (tmp_path / f"{PACKAGE.sha256}.deb").read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((404, b""), "HTTP 404"),
        ((200, DATA[:-1]), r"19 bytes, the lock says 20"),
        ((200, DATA[:-1] + b"!"), f"the lock says {PACKAGE.sha256}"),
        ((503, b""), r"HTTP 503 .*\(4 tries\)"),
    ],
)
def test_what_cannot_be_had_says_where_and_what_to_do(
    mirror: Mirror, tmp_path: Path, answer: tuple[int, bytes], message: str
) -> None:
    mirror.answers = [answer]
    with pytest.raises(PackagingError, match=message) as caught:
        Fetcher(tmp_path / "debs", [mirror.url]).get(PACKAGE)
    assert "some 1:1.0~rc1+b2" in str(caught.value)
    assert "--mirror URL" in str(caught.value)
    assert not list((tmp_path / "debs").glob("*"))


def test_without_apt_a_registry_base_is_recommended(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"there is no apt on this machine.*registry-base --help"):
        Fetcher(tmp_path).get(PACKAGE)
