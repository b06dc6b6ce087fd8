# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Bases from a registry: Debian's docker-registry, a real one, and one that misbehaves."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from turbolift.errors import PackagingError
from turbolift.image import layout
from turbolift.image.push import Target, push
from turbolift.image.registry import DOCKER_INDEX, Registry, docker_credentials, parse_reference
from turbolift.image.registry_base import pull, unpinned

Command = Callable[..., subprocess.CompletedProcess[str]]

ZERO = "sha256:" + "0" * 64


class Fake(ThreadingHTTPServer):
    """A registry that wants a token, redirects blobs to a second host name, and serves what it is given."""

    daemon_threads = True

    def __init__(self) -> None:
        self.content: dict[str, tuple[str, bytes]] = {}
        self.seen: list[tuple[str, str, str]] = []
        self.broken = 0
        super().__init__(("127.0.0.1", 0), FakeHandler)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def add(self, kind: str, data: bytes, media_type: str = "application/octet-stream") -> str:
        digest = layout.sha256(data)
        self.content[f"/v2/team/base/{kind}/{digest}"] = (media_type, data)
        return digest


class FakeHandler(BaseHTTPRequestHandler):
    server: Fake  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization", "")
        self.server.seen.append((self.headers["Host"].partition(":")[0], self.path, authorization))
        path = self.path.partition("?")[0]
        if path == "/token":
            return self.answer(200, json.dumps({"token": "t0ken"}).encode())
        if path.startswith("/store/"):
            return self.answer(200, self.server.content["/" + path[len("/store/") :]][1])
        if authorization != "Bearer t0ken":
            where = f'Bearer realm="http://{self.server.host}/token"'
            challenge = f'{where},service="reg",scope="repository:team/base:pull"'
            return self.answer(401, b"", ("WWW-Authenticate", challenge))
        if path not in self.server.content:
            return self.answer(404, b"")
        media_type, data = self.server.content[path]
        if "/blobs/" in path:
            if self.server.broken:
                self.server.broken -= 1
                return self.answer(200, data[:-1])
            port = self.server.server_address[1]
            return self.answer(307, b"", ("Location", f"http://localhost:{port}/store{path}"))
        return self.answer(200, data, ("Content-Type", media_type))

    def answer(self, status: int, body: bytes, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Fake]:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    server = Fake()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def log_in(folder: Path, host: str) -> None:
    (folder / "docker").mkdir()
    auth = base64.b64encode(b"ann:s3cret").decode()
    (folder / "docker/config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def test_a_token_is_fetched_and_shown_to_no_other_host(fake: Fake, tmp_path: Path) -> None:
    log_in(tmp_path, fake.host)
    digest = fake.add("blobs", b"layer")
    registry = Registry(parse_reference(f"{fake.host}/team/base"))
    registry.blob(digest, 5, tmp_path / "blob")
    assert (tmp_path / "blob").read_bytes() == b"layer"
    basic = "Basic " + base64.b64encode(b"ann:s3cret").decode()
    assert [(host, path.partition("?")[0], auth) for host, path, auth in fake.seen] == [
        ("127.0.0.1", f"/v2/team/base/blobs/{digest}", ""),
        ("127.0.0.1", "/token", basic),
        ("127.0.0.1", f"/v2/team/base/blobs/{digest}", "Bearer t0ken"),
        ("localhost", f"/store/v2/team/base/blobs/{digest}", ""),
    ]
    assert "service=reg" in fake.seen[1][1]


def test_a_blob_that_comes_broken_is_fetched_again_and_then_refused(fake: Fake, tmp_path: Path) -> None:
    digest = fake.add("blobs", b"layer")
    registry = Registry(parse_reference(f"{fake.host}/team/base"))
    fake.broken = 2
    registry.blob(digest, 5, tmp_path / "blob")
    fake.broken = 99
    with pytest.raises(PackagingError, match=r"4 bytes with sha256:.* came, not 5 bytes"):
        registry.blob(digest, 5, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_a_manifest_under_another_digest_is_refused(fake: Fake) -> None:
    fake.content[f"/v2/team/base/manifests/{ZERO}"] = (layout.MANIFEST, b"{}")
    with pytest.raises(PackagingError, match="what came has sha256:44136fa3"):
        Registry(parse_reference(f"{fake.host}/team/base")).manifest(ZERO)


def test_an_index_without_linux_amd64_says_what_it_has(fake: Fake, tmp_path: Path) -> None:
    index = {"manifests": [{"digest": ZERO, "platform": {"os": "linux", "architecture": "arm64"}}]}
    digest = fake.add("manifests", json.dumps(index).encode(), DOCKER_INDEX)
    with pytest.raises(PackagingError, match="has no image for linux/amd64; it has: linux/arm64"):
        pull(parse_reference(f"{fake.host}/team/base@{digest}"), tmp_path / "out", tmp_path / "rootfs")


def test_what_is_not_there_or_not_reachable(fake: Fake) -> None:
    with pytest.raises(PackagingError, match=f"{ZERO}: HTTP 404 .*there is no such image"):
        Registry(parse_reference(f"{fake.host}/team/base")).manifest(ZERO)
    with pytest.raises(PackagingError, match="Connection refused"):
        Registry(parse_reference("127.0.0.1:9/team/base")).manifest(ZERO)


@pytest.mark.parametrize("scheme", ["http", "ftp"])
def test_credentials_go_to_no_unsafe_token_server(fake: Fake, scheme: str) -> None:
    registry = Registry(parse_reference(f"{fake.host}/team/base"))
    with pytest.raises(PackagingError, match="which is not HTTPS"):
        registry._connection.answer(f'Bearer realm="{scheme}://example.org/token"')


def test_a_tag_is_refused_with_the_digest_that_it_has_now(
    fake: Fake, command: Command, tmp_path: Path
) -> None:
    fake.content["/v2/team/base/manifests/3.11"] = (layout.MANIFEST, b"{}")
    done = command(
        "registry-base",
        "--reference",
        f"{fake.host}/team/base:3.11",
        "--out",
        "o",
        "--rootfs",
        "r",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert f"pin the base by its digest: now it would be {fake.host}/team/base@sha256:44136fa3" in done.stderr
    assert list(tmp_path.glob("[or]")) == []
    assert "skopeo inspect" in unpinned(parse_reference("127.0.0.1:9/team/base:3.11"))


@pytest.mark.parametrize(
    "text",
    [
        "python",
        "python:3.11",
        "library/python",
        "host.example/UPPER",
        "host.example/a@sha256:12",
        "host.example/",
    ],
)
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(PackagingError, match="HOST/REPOSITORY@sha256"):
        parse_reference(text)


def test_a_reference_has_its_parts() -> None:
    reference = parse_reference(f"host.example:5000/a/b-c:1.0@{ZERO}")
    assert (reference.host, reference.repository, reference.tag, reference.digest) == (
        "host.example:5000",
        "a/b-c",
        "1.0",
        ZERO,
    )
    assert str(reference) == f"host.example:5000/a/b-c:1.0@{ZERO}"


def test_a_credential_helper_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-safe"
    helper.write_text(
        "#!/bin/sh\nread host\ntest \"$1 $host\" = 'get host.example' || exit 1\n"
        'echo \'{"Username": "bob", "Secret": "hidden"}\'\n'
    )
    helper.chmod(0o755)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {"host.example": "safe"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert docker_credentials("host.example") == ("bob", "hidden")
    assert docker_credentials("other.example") is None


@pytest.mark.network
def test_our_base_from_a_real_registry(base: Any, registry: str, command: Command, tmp_path: Path) -> None:
    digest = base.lock["digest"]
    push(base.layout, [Target(digest, parse_reference(f"{registry}/team/base"))])
    done = command(
        "registry-base", "--reference", f"{registry}/team/base@{digest}", "--out", "out",
        "--rootfs", "rootfs", "--complete-platform", "platform.json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [one.digest for one in layout.Layout(tmp_path / "out").verify()] == [digest]
    assert json.loads((tmp_path / "platform.json").read_text()) == base.lock["complete_platform"]
    same = subprocess.run(["diff", "-r", "--no-dereference", base.rootfs, tmp_path / "rootfs"], check=False)
    assert same.returncode == 0
    assert 'dev.turbolift.python":"/usr/bin/python3.11"' in (tmp_path / "out/index.json").read_text()
