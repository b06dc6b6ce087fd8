# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Read images from a registry (OCI distribution protocol), by digest, with Docker's credentials."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from turbolift.errors import PackagingError
from turbolift.image import layout

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"

_ACCEPT = ", ".join((layout.MANIFEST, layout.INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_REFERENCE = re.compile(
    r"(?P<host>[^/@]+)/(?P<repository>[a-z0-9][a-z0-9._/-]*?)(?::(?P<tag>[\w][\w.-]*))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT = 60.0
_TRIES = 3
_CHUNK = 1 << 20
_MANIFEST_LIMIT = 4 << 20

# The one registry whose name is not the host that serves it, nor the key of its credentials.
_HUB = "docker.io"
_HUB_HOST = "registry-1.docker.io"
_HUB_KEY = "https://index.docker.io/v1/"


@dataclass(frozen=True, slots=True)
class Reference:
    """An image in a registry: ``host/repository``, and a tag or a digest or both."""

    host: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """``host/repository``."""
        return f"{self.host}/{self.repository}"


def parse_reference(text: str) -> Reference:
    """Parse ``HOST/REPOSITORY[:TAG][@sha256:...]``; raises PackagingError."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise PackagingError(
            f"{text!r}: not an image in a registry: write HOST/REPOSITORY@sha256:<64 hex digits>"
        )
    host = match["host"]
    if not ("." in host or ":" in host or host == "localhost"):
        raise PackagingError(
            f"{text!r}: name the registry too: {host!r} is no host (HOST/REPOSITORY@sha256:...)"
        )
    return Reference(host, match["repository"], match["tag"] or "", match["digest"] or "")


class Registry:
    """A connection to one repository of a registry, for reading.

    HTTPS, but plain HTTP for a loopback address. Raises PackagingError naming the URL.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        host = _HUB_HOST if reference.host == _HUB else reference.host
        scheme = "http" if _is_loopback(host) else "https"
        self._url = f"{scheme}://{host}/v2/{reference.repository}"
        self._authorization = ""
        self._opener = urllib.request.build_opener(_Redirects())

    def resolve(self, tag: str) -> str:
        """Return the digest that `tag` has now."""
        with self._get(f"manifests/{tag}", accept=_ACCEPT) as answer:
            return layout.sha256(answer.read(_MANIFEST_LIMIT))

    def manifest(self, digest: str) -> tuple[bytes, str]:
        """Return (bytes, media type) of a manifest or index, verified."""
        with self._get(f"manifests/{digest}", accept=_ACCEPT) as answer:
            data = answer.read(_MANIFEST_LIMIT)
            media_type = answer.headers.get_content_type()
        if layout.sha256(data) != digest:
            raise PackagingError(f"{self._url}/manifests/{digest}: what came has {layout.sha256(data)}")
        return data, json.loads(data).get("mediaType", media_type)

    def blob(self, digest: str, size: int, path: Path) -> None:
        """Download a blob to the file `path`, verified; nothing is left there on failure."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}-{os.getpid()}")
        problem = ""
        try:
            for _ in range(_TRIES):
                got = hashlib.sha256()
                done = 0
                try:
                    with self._get(f"blobs/{digest}") as answer, part.open("wb") as file:
                        while chunk := answer.read(_CHUNK):
                            got.update(chunk)
                            done += len(chunk)
                            file.write(chunk)
                except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
                    problem = str(error) or type(error).__name__
                    continue
                if done == size and f"sha256:{got.hexdigest()}" == digest:
                    part.replace(path)
                    return
                problem = f"{done} bytes with sha256:{got.hexdigest()} came, not {size} bytes"
        finally:
            part.unlink(missing_ok=True)
        raise PackagingError(f"{self._url}/blobs/{digest}: {problem}")

    def _get(self, path: str, *, accept: str = "*/*") -> Any:
        url = f"{self._url}/{path}"
        for attempt in range(_TRIES):
            headers = {"Accept": accept}
            if self._authorization:
                headers["Authorization"] = self._authorization
            try:
                return self._opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
            except urllib.error.HTTPError as error:
                challenge = error.headers.get("WWW-Authenticate", "")
                if error.code == 401 and attempt == 0 and challenge:
                    self._authorization = self._answer(challenge)
                    continue
                if error.code >= 500 and attempt + 1 < _TRIES:
                    continue
                hint = {
                    401: " (log in: docker login)",
                    403: " (not allowed with these credentials)",
                    404: " (there is no such image)",
                }
                raise PackagingError(
                    f"{url}: HTTP {error.code} {error.reason}{hint.get(error.code, '')}"
                ) from None
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                if attempt + 1 < _TRIES:
                    continue
                raise PackagingError(f"{url}: {getattr(error, 'reason', error)}") from None
        raise PackagingError(f"{url}: the registry does not accept the token that it gave")

    def _answer(self, challenge: str) -> str:
        """Return the Authorization header for a 401's challenge."""
        scheme, _, rest = challenge.partition(" ")
        credentials = docker_credentials(self._reference.host)
        basic = f"Basic {base64.b64encode(':'.join(credentials).encode()).decode()}" if credentials else ""
        if scheme.lower() == "basic":
            return basic
        fields = dict(_CHALLENGE.findall(rest))
        realm = fields.get("realm", "")
        # Credentials go to the token server: it must be reached as safely as the registry.
        if not realm.startswith("https://") and not _is_loopback(urllib.parse.urlsplit(realm).netloc):
            raise PackagingError(f"{self._url}: wants a token from {realm!r}, which is not HTTPS")
        query = {"scope": fields.get("scope", f"repository:{self._reference.repository}:pull")}
        if "service" in fields:
            query["service"] = fields["service"]
        request = urllib.request.Request(f"{realm}?{urllib.parse.urlencode(query)}")
        if basic:
            request.add_header("Authorization", basic)
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                document = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise PackagingError(
                f"{realm}: HTTP {error.code} {error.reason}: no token for {self._reference.name} (log in: "
                "docker login)"
            ) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise PackagingError(f"{realm}: no token for {self._reference.name}: {error}") from None
        token = document.get("token") or document.get("access_token")
        if not token:
            raise PackagingError(f"{realm}: answered without a token")
        return f"Bearer {token}"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but take the registry's credentials to no other host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if (
            new is not None
            and urllib.parse.urlsplit(newurl).netloc != urllib.parse.urlsplit(req.full_url).netloc
        ):
            new.remove_header("Authorization")
        return new


def docker_credentials(host: str) -> tuple[str, str] | None:
    """Return (user, password) for a registry from Docker's configuration and its helpers, or None."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    path = Path(folder, "config.json")
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError:
        return None
    except ValueError as error:
        raise PackagingError(f"{path}: not JSON: {error}") from None
    key = _HUB_KEY if host == _HUB else host
    helper = (document.get("credHelpers") or {}).get(key) or document.get("credsStore")
    if helper:
        found = _from_helper(helper, key)
        if found:
            return found
    auths = document.get("auths") or {}
    for name in (key, f"https://{key}", f"https://{key}/v1/", f"https://{key}/v2/"):
        entry = auths.get(name) or {}
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            return user, password
        if entry.get("username"):
            return entry["username"], entry.get("password", "")
    return None


def _from_helper(helper: str, key: str) -> tuple[str, str] | None:
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=key, capture_output=True, text=True, check=True
        )
        document = json.loads(done.stdout)
        return document["Username"], document["Secret"]
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError):
        return None


def _is_loopback(host: str) -> bool:
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    return name in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", name))


__all__ = [
    "DOCKER_INDEX",
    "DOCKER_MANIFEST",
    "Reference",
    "Registry",
    "docker_credentials",
    "parse_reference",
]
