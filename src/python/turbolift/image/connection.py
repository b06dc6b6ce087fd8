# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""HTTP to one repository of a registry: authentication, redirects, retries, and errors that say what to do."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import IO, Any

from turbolift.errors import RegistryError
from turbolift.image.credentials import HUB, credentials

_HUB_HOST = "registry-1.docker.io"
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT = 60.0
_TRIES = 3
_BODY_LIMIT = 1 << 16

_ADVICE = {
    401: "log in: docker login",
    403: "not allowed with these credentials",
    404: "there is no such image",
    405: "the registry is read-only, or does not allow this",
    413: "the registry, or a proxy before it, takes no upload of this size",
    429: "too many requests: try again later",
}

Body = Callable[[], IO[bytes] | bytes]
"""Gives the body of a request anew for each try."""


class Connection:
    """Requests to ``https://host/v2/repository/...``; plain HTTP for a loopback address, or where `insecure`.

    Docker's credentials are shown to the registry's host (and the token server that it names over HTTPS) alone.
    Safe to use from several threads. Raises RegistryError naming the URL.
    """

    def __init__(self, host: str, repository: str, *, insecure: bool = False) -> None:
        self.host = host
        self.repository = repository
        server = _HUB_HOST if host == HUB else host
        self._insecure = insecure
        self._scheme = "http" if insecure or is_loopback(server) else "https"
        self._server = server
        self.url = f"{self._scheme}://{server}/v2/{repository}"
        self._authorization = ""
        self._opener = urllib.request.build_opener(_Redirects())

    def open(
        self,
        method: str,
        where: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: tuple[int, ...] = (),
        tries: int = _TRIES,
    ) -> Any:
        """Send a request for `where` (a path below the repository, or a whole URL that the registry gave).

        Returns the response, to be closed; for a status in `accept` also where it is an error. Connection errors
        and statuses of 500 and more are tried `tries` times.
        """
        url = where if re.match(r"https?://", where) else f"{self.url}/{where}"
        ours = urllib.parse.urlsplit(url).netloc == self._server
        answered = False
        attempt = 0
        while True:
            request = urllib.request.Request(
                url, data=body() if body else None, headers=dict(headers or {}), method=method
            )
            if self._authorization and ours:
                request.add_unredirected_header("Authorization", self._authorization)
            try:
                return self._opener.open(request, timeout=_TIMEOUT)
            except urllib.error.HTTPError as error:
                challenge = error.headers.get("WWW-Authenticate", "")
                if error.code == 401 and challenge and ours and not answered:
                    error.close()
                    # A token that reads may not write: each kind of request is challenged anew.
                    answered = True
                    self._authorization = self.answer(challenge)
                    continue
                if error.code in accept:
                    return error
                attempt += 1
                if error.code >= 500 and attempt < tries:
                    error.close()
                    continue
                raise self._refused(method, url, error) from None
            except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
                attempt += 1
                if attempt < tries:
                    continue
                raise self._unreachable(url, error) from None

    def answer(self, challenge: str) -> str:
        """Return the Authorization header for a 401's challenge."""
        scheme, _, rest = challenge.partition(" ")
        known = credentials(self.host)
        if scheme.lower() == "basic":
            return known.basic if known else ""
        fields = dict(_CHALLENGE.findall(rest))
        realm = fields.get("realm", "")
        # Credentials go to the token server: it must be reached as safely as the registry.
        safe = realm.startswith("https://") or is_loopback(urllib.parse.urlsplit(realm).netloc)
        if not safe and not (self._insecure and realm.startswith("http://")):
            raise RegistryError(f"{self.url}: wants a token from {realm!r}, which is not HTTPS", url=self.url)
        query = {"scope": fields.get("scope", f"repository:{self.repository}:pull")}
        if "service" in fields:
            query["service"] = fields["service"]
        if known and known.refresh_token:
            form = {**query, "grant_type": "refresh_token", "client_id": "turbolift"}
            form["refresh_token"] = known.refresh_token
            request = urllib.request.Request(realm, data=urllib.parse.urlencode(form).encode())
        else:
            request = urllib.request.Request(f"{realm}?{urllib.parse.urlencode(query)}")
            if known:
                request.add_unredirected_header("Authorization", known.basic)
        name = f"{self.host}/{self.repository}"
        try:
            with self._opener.open(request, timeout=_TIMEOUT) as answer:
                document = json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise RegistryError(
                f"{realm}: HTTP {error.code} {error.reason}: no token for {name} (log in: docker login)",
                url=realm,
                status=error.code,
            ) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise RegistryError(f"{realm}: no token for {name}: {error}", url=realm) from None
        token = document.get("token") or document.get("access_token")
        if not token:
            raise RegistryError(f"{realm}: answered without a token", url=realm)
        return f"Bearer {token}"

    def _refused(self, method: str, url: str, error: urllib.error.HTTPError) -> RegistryError:
        with contextlib.closing(error):
            said = _said(error)
        advice = _ADVICE.get(error.code, "")
        if method in ("POST", "PUT", "PATCH", "DELETE") and error.code == 404:
            advice = "there is no such repository, and the registry makes none"
        shown = f"{url}: HTTP {error.code} {error.reason}"
        return RegistryError(
            shown + (f": {said}" if said else "") + (f" ({advice})" if advice else ""),
            url=url,
            status=error.code,
        )

    def _unreachable(self, url: str, error: Exception) -> RegistryError:
        reason = str(getattr(error, "reason", error) or type(error).__name__)
        hint = ""
        if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER_FAILURE" in reason:
            hint = " (the registry speaks plain HTTP: --insecure-registry allows it)"
        elif "CERTIFICATE_VERIFY_FAILED" in reason:
            hint = " (its certificate is not trusted here, or this machine's clock is wrong)"
        return RegistryError(f"{url}: the registry cannot be reached: {reason}{hint}", url=url)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects with the same method, but take the registry's credentials to no other host."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        new = super().redirect_request(req, fp, code, msg, headers, newurl)
        if new is None:
            return None
        if req.get_method() == "HEAD":
            new.method = "HEAD"
        if urllib.parse.urlsplit(newurl).netloc == urllib.parse.urlsplit(req.full_url).netloc:
            new.unredirected_hdrs.update(req.unredirected_hdrs)
        return new


def is_loopback(host: str) -> bool:
    """Return whether ``host[:port]`` is this machine."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    return name in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d+){3}", name))


def _said(error: urllib.error.HTTPError) -> str:
    """Return the registry's own words in the answer of an error, on one line."""
    try:
        errors = json.loads(error.read(_BODY_LIMIT))["errors"]
        return "; ".join(str(one.get("message") or one.get("code")) for one in errors)
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError, AttributeError):
        return ""
