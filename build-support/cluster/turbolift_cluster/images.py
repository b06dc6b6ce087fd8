# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Images of one layer for the cluster's own pods, made without a daemon and pushed to the cluster's registry by digest."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.response import addinfourl

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_APPLETS = [
    "cat",
    "date",
    "echo",
    "env",
    "false",
    "grep",
    "head",
    "hostname",
    "httpd",
    "id",
    "kill",
    "ls",
    "mkdir",
    "nc",
    "nslookup",
    "ping",
    "ps",
    "rm",
    "sh",
    "sleep",
    "tail",
    "touch",
    "true",
    "wget",
]


@dataclass(frozen=True)
class Image:
    """An image in memory. `repository` is its name in the registry, without host and tag."""

    repository: str
    layer: bytes
    config: bytes

    @property
    def manifest(self) -> bytes:
        """The OCI manifest."""
        document = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _descriptor("application/vnd.oci.image.config.v1+json", self.config),
            "layers": [_descriptor("application/vnd.oci.image.layer.v1.tar", self.layer)],
        }
        return json.dumps(document, sort_keys=True).encode()

    @property
    def digest(self) -> str:
        """The digest of the manifest, which names the image."""
        return _digest(self.manifest)

    def reference(self, registry: str) -> str:
        """Return the reference by digest for a registry's host:port."""
        return f"{registry}/{self.repository}@{self.digest}"


def program(repository: str, binary: Path, user: int = 65532) -> Image:
    """Return an image that holds one static program and runs it, as `user`."""
    return _image(repository, {f"bin/{binary.name}": binary.read_bytes()}, {}, [f"/bin/{binary.name}"], user)


def busybox(binary: Path) -> Image:
    """Return an image with a shell and the small programs that tests and a person want in a pod; it runs as user 65532."""
    files = {
        "bin/busybox": binary.read_bytes(),
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\nuser:x:65532:65532::/:/bin/sh\n",
    }
    return _image(
        "turbolift-cluster/busybox",
        files,
        {f"bin/{name}": "busybox" for name in _APPLETS},
        ["/bin/sh"],
        65532,
    )


def _image(
    repository: str, files: dict[str, bytes], links: dict[str, str], entrypoint: list[str], user: int
) -> Image:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in sorted({name.rsplit("/", 1)[0] for name in [*files, *links]} | {"tmp"}):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
        for name, target in sorted(links.items()):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
    layer = buffer.getvalue()
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    config = {
        "architecture": machine,
        "os": "linux",
        "config": {
            "Entrypoint": entrypoint,
            "Env": ["PATH=/bin"],
            "User": f"{user}:{user}",
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    return Image(repository, layer, json.dumps(config, sort_keys=True).encode())


def push(image: Image, registry: str) -> None:
    """Push an image to a registry without TLS, what it lacks only. Raises urllib's errors."""
    base = f"http://{registry}/v2/{image.repository}"
    for blob in (image.layer, image.config):
        if _ask("HEAD", f"{base}/blobs/{_digest(blob)}") == 200:
            continue
        with _open("POST", f"{base}/blobs/uploads/", b"") as answer:
            place = urllib.parse.urljoin(base, answer.headers["Location"])
        mark = "&" if "?" in place else "?"
        _open("PUT", f"{place}{mark}digest={_digest(blob)}", blob, "application/octet-stream").close()
    _open("PUT", f"{base}/manifests/{image.digest}", image.manifest, _MANIFEST).close()


def _ask(method: str, url: str) -> int:
    try:
        with _open(method, url, None) as answer:
            return answer.status or 0
    except urllib.error.HTTPError as error:
        return error.code


def _open(method: str, url: str, body: bytes | None, kind: str = "") -> addinfourl:
    request = urllib.request.Request(url, body, {"Content-Type": kind} if kind else {}, method=method)
    # Never through a proxy that the environment names: the registry is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    answer: addinfourl = opener.open(request, timeout=30)
    return answer


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
