# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Pushing to a real registry, and to one that asks for other tokens and sends uploads elsewhere."""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from turbolift.errors import PackagingError, RegistryError
from turbolift.image import layout, tar
from turbolift.image.blob import write_layer
from turbolift.image.push import Target, push
from turbolift.image.registry import Reference, Registry, parse_reference
from unit.image.registries import PASSWORD, running


def images(folder: Path, *names: str) -> tuple[layout.Layout, list[str]]:
    """Write images that share one layer and have one of their own each; return their digests."""
    descriptors = []
    blobs = folder / "blobs" / "sha256"
    shared = write_layer([tar.Entry("shared", data=b"s" * 100_000)], blobs)
    for name in names:
        own = write_layer([tar.Entry("name", data=name.encode())], blobs)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [shared.diff_id, own.diff_id]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": layout.MANIFEST,
            "config": layout.write_json_blob(folder, config, layout.CONFIG),
            "layers": [shared.descriptor(), own.descriptor()],
        }
        descriptors.append(layout.write_json_blob(folder, manifest, layout.MANIFEST))
    layout.write_index(folder, descriptors)
    return layout.Layout(folder), [one["digest"] for one in descriptors]


def repository(host: str, name: str) -> Reference:
    return parse_reference(f"{host}/team/{name}")


def test_each_blob_is_sent_once_and_what_is_there_not_at_all(registry: str, tmp_path: Path) -> None:
    source, (one, two, three) = images(tmp_path / "layout", "one", "two", "three")
    targets = [Target(one, repository(registry, "one")), Target(two, repository(registry, "two"))]
    done = push(source, targets)
    # The shared layer, and a config and a layer of each.
    assert (done.sent, done.mounted, done.present, done.manifests) == (5, 1, 0, 2)
    again = push(source, targets)
    assert (again.sent, again.mounted, again.present, again.size, again.manifests) == (0, 0, 0, 0, 0)
    # What another image's repository has for certain is mounted from there.
    more = push(source, [*targets, Target(three, repository(registry, "three"))])
    assert (more.sent, more.mounted, more.manifests) == (2, 1, 1)
    for digest, name in ((one, "one"), (two, "two"), (three, "three")):
        reader = Registry(repository(registry, name))
        data, media_type = reader.manifest(digest)
        assert (data, media_type) == (source.read(digest), layout.MANIFEST)
        for number, layer in enumerate(source.image(digest).layers):
            reader.blob(layer.digest, layer.size, tmp_path / f"{name}{number}")


def test_two_images_of_one_repository(registry: str, tmp_path: Path) -> None:
    source, digests = images(tmp_path / "layout", "one", "two")
    done = push(source, [Target(one, repository(registry, "both"), ("latest",)) for one in digests])
    assert (done.sent, done.mounted, done.manifests) == (5, 0, 2)
    assert Registry(repository(registry, "both")).resolve("latest") in digests


def test_a_tag_is_written_where_it_is_missing_or_another(registry: str, tmp_path: Path) -> None:
    source, (one, two) = images(tmp_path / "layout", "one", "two")
    place = repository(registry, "app")
    push(source, [Target(one, place)])
    assert push(source, [Target(one, place, ("now",))]).manifests == 0
    assert Registry(place).resolve("now") == one
    push(source, [Target(two, place, ("now",))])
    assert Registry(place).resolve("now") == two
    with pytest.raises(RegistryError, match="HTTP 404"):
        Registry(place).resolve("never")


def test_a_large_layer_arrives_whole(registry: str, tmp_path: Path) -> None:
    folder = tmp_path / "layout"
    source, (digest,) = images(folder, "one")
    big = write_layer(
        (tar.Entry(f"f{number}", data=bytes([number]) * 4_000_000) for number in range(40)),
        folder / "blobs" / "sha256",
    )
    manifest = {**source.image(digest).manifest, "layers": [big.descriptor()]}
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [big.diff_id]}}
    manifest["config"] = layout.write_json_blob(folder, config, layout.CONFIG)
    new = layout.write_json_blob(folder, manifest, layout.MANIFEST)["digest"]
    push(source, [Target(new, repository(registry, "big"))])
    Registry(repository(registry, "big")).blob(big.digest, big.size, tmp_path / "back")
    assert layout.sha256_file(tmp_path / "back") == big.digest


def test_a_damaged_blob_is_never_sent(registry: str, tmp_path: Path) -> None:
    source, (digest,) = images(tmp_path / "layout", "one")
    path = source.blob_path(source.image(digest).layers[0].digest)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(PackagingError, match=f"{path}: missing or damaged"):
        push(source, [Target(digest, repository(registry, "one"))])
    with pytest.raises(RegistryError, match="HTTP 404"):
        Registry(repository(registry, "one")).manifest(digest)


def test_a_read_only_registry_says_so(tmp_path: Path) -> None:
    source, (digest,) = images(tmp_path / "layout", "one")
    with (
        running(tmp_path / "registry", read_only=True) as host,
        pytest.raises(
            RegistryError, match=rf"{host}/v2/team/one/blobs/uploads/: HTTP 405 .*read-only"
        ) as caught,
    ):
        push(source, [Target(digest, repository(host, "one"))])
    assert caught.value.status == 405


def test_a_registry_that_wants_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, (digest,) = images(tmp_path / "layout", "one")
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    with running(tmp_path / "registry", private=True) as host:
        target = Target(digest, repository(host, "one"))

        def log_in(password: str) -> None:
            auth = base64.b64encode(f"ann:{password}".encode()).decode()
            (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))

        with pytest.raises(RegistryError, match=r"HTTP 401 .*log in: docker login"):
            push(source, [target])
        log_in("wrong")
        with pytest.raises(RegistryError, match=r"HTTP 401 .*log in: docker login"):
            push(source, [target])
        log_in(PASSWORD)
        assert push(source, [target]).manifests == 1
        (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": "no base64"}}}))
        with pytest.raises(PackagingError, match="is not base64"):
            push(source, [target])


def test_a_registry_that_is_not_there(tmp_path: Path) -> None:
    source, (digest,) = images(tmp_path / "layout", "one")
    with pytest.raises(
        RegistryError, match=r"127\.0\.0\.1:9/v2/.* cannot be reached: .*Connection refused"
    ) as caught:
        push(source, [Target(digest, repository("127.0.0.1:9", "one"))])
    assert caught.value.status is None


class Strict(ThreadingHTTPServer):
    """A registry that has other tokens for reading and writing, and takes uploads under another host's name."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.failures = 1
        self.blobs: dict[str, bytes] = {}
        self.asked: list[dict[str, list[str]]] = []
        super().__init__(("127.0.0.1", 0), StrictHandler)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class StrictHandler(BaseHTTPRequestHandler):
    server: Strict  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urllib.parse.urlsplit(self.path)
        authorization = self.headers.get("Authorization", "")
        self.server.seen.append((self.command, self.headers["Host"].partition(":")[0], authorization))
        if parts.path == "/token":
            form = urllib.parse.parse_qs(body.decode())
            self.server.asked.append(form)
            return self.answer(
                200, json.dumps({"access_token": form["scope"][0].rpartition(":")[2]}).encode()
            )
        if parts.path.startswith("/upload/"):
            if self.server.failures:
                self.server.failures -= 1
                return self.answer(503)
            digest = urllib.parse.parse_qs(parts.query)["digest"][0]
            assert layout.sha256(body) == digest
            self.server.blobs[digest] = body
            return self.answer(201)
        right = "pull" if self.command == "HEAD" else "pull,push"
        if authorization != f"Bearer {right}":
            realm = f'Bearer realm="http://{self.server.host}/token",service="reg"'
            return self.answer(401, b"", ("WWW-Authenticate", f'{realm},scope="repository:team/one:{right}"'))
        if self.command == "HEAD":
            return self.answer(404)
        if self.command == "POST":
            port = self.server.server_address[1]
            return self.answer(202, b"", ("Location", f"http://localhost:{port}/upload/1?state=x"))
        return self.answer(201, b"", ("Docker-Content-Digest", layout.sha256(body)))

    do_HEAD = do_POST = do_PUT = handle_any

    def answer(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def strict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Strict]:
    (tmp_path / "docker").mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    server = Strict()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_tokens_for_reading_and_writing_and_an_upload_elsewhere(strict: Strict, tmp_path: Path) -> None:
    auths = {"auths": {strict.host: {"identitytoken": "refresh"}}}
    (tmp_path / "docker/config.json").write_text(json.dumps(auths))
    source, (digest,) = images(tmp_path / "layout", "one")
    done = push(source, [Target(digest, repository(strict.host, "one"))])
    # One upload broke, and was begun anew.
    assert (done.sent, done.manifests, strict.failures) == (3, 1, 0)
    assert strict.blobs.keys() == {
        source.image(digest).manifest["config"]["digest"],
        *(layer.digest for layer in source.image(digest).layers),
    }
    assert {tuple(form["refresh_token"]) for form in strict.asked} == {("refresh",)}
    # Our token is shown to the registry alone, not to where it has its uploads.
    assert {auth for _, host, auth in strict.seen if host == "localhost"} == {""}
