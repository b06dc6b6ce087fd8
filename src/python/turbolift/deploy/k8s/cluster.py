# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The API server: requests in plain JSON through the official client's connection, and errors that say what to do.

The client brings kubeconfig, its login plugins, TLS, proxies and port-forwards. Its thousands of model classes are
left alone: what we send is what `render` gave, and what we read we read by name.
"""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from turbolift.deploy.k8s import names
from turbolift.deploy.k8s.objects import Kind, Object, kind_of, title
from turbolift.deploy.k8s.place import Place, configuration
from turbolift.errors import DeployError

_TIMEOUT = 30.0
_TRIES = 5
_PAGE = 500
_AGAIN = (429, 500, 502, 503, 504)


class ApiError(DeployError):
    """The API server refused, or cannot be reached.

    Attributes: ``status`` (of HTTP; None where no answer came), ``reason`` (as ``Forbidden``, ``Conflict``),
    ``causes`` (the server's own list, of objects with ``message`` and ``field``).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        reason: str = "",
        causes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.causes = tuple(causes)


class BrokenStreamError(Exception):
    """The connection of a watch or a log broke; what came before it counts."""


class Cluster:
    """One namespace of a cluster. Safe to use from several threads. Raises ApiError."""

    def __init__(self, place: Place) -> None:
        from kubernetes.client.rest import RESTClientObject

        self.place = place
        self.namespace = place.namespace
        self._configuration = configuration(place)
        # Two watches for each version that is waited for, and no end of them at once.
        self._configuration.connection_pool_maxsize = 64
        self._pool = RESTClientObject(self._configuration).pool_manager

    def get(self, kind: Kind, name: str) -> Object | None:
        """Return an object, or None where there is none."""
        try:
            found: Object = self.json("GET", kind.path(self.namespace, name))
            return found
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def find(self, kind: Kind, *, labels: str = "", fields: str = "") -> list[Object]:
        """Return the objects that the selectors find."""
        return self.find_with_version(kind, labels=labels, fields=fields)[0]

    def find_with_version(
        self, kind: Kind, *, labels: str = "", fields: str = ""
    ) -> tuple[list[Object], str]:
        """Return the objects that the selectors find, and the resource version to watch from."""
        query = {"limit": str(_PAGE)}
        query |= {key: text for key, text in (("labelSelector", labels), ("fieldSelector", fields)) if text}
        found: list[Object] = []
        while True:
            page = self.json("GET", kind.path(self.namespace), query)
            for one in page.get("items") or []:
                # Items of a list do not say what they are.
                found.append({"apiVersion": kind.api, "kind": kind.kind, **one})
            query["continue"] = page["metadata"].get("continue") or ""
            if not query["continue"]:
                return found, page["metadata"].get("resourceVersion", "")

    def apply(self, document: Object, *, dry_run: bool = False, force: bool = False) -> Object:
        """Apply an object server-side as field manager `turbolift`; return what it is then.

        Raises ApiError with reason Conflict where somebody else owns a field and says otherwise, unless `force`.
        """
        query = {"fieldManager": names.MANAGER, "fieldValidation": "Strict"}
        if force:
            query["force"] = "true"
        if dry_run:
            query["dryRun"] = "All"
        path = kind_of(document).path(self.namespace, document["metadata"]["name"])
        done: Object = self.json(
            "PATCH", path, query, document, content_type="application/apply-patch+yaml", what=title(document)
        )
        return done

    def delete(self, kind: Kind, name: str, *, foreground: bool = False) -> bool:
        """Delete an object; return whether it was there. With `foreground`, what it owns goes before it."""
        options = {"propagationPolicy": "Foreground" if foreground else "Background"}
        try:
            self.json("DELETE", kind.path(self.namespace, name), body=options)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def log(
        self,
        pod: str,
        *,
        lines: int | None,
        previous: bool = False,
        follow: bool = False,
        container: str = "function",
    ) -> Iterator[str]:
        """Yield lines of the output of a pod's `container`; none where it has not begun to run."""
        query = {"container": container}
        if lines is not None:
            query["tailLines"] = str(lines)
        query |= {key: "true" for key, on in (("previous", previous), ("follow", follow)) if on}
        path = f"/api/v1/namespaces/{self.namespace}/pods/{quote(pod)}/log"
        try:
            response = self.send("GET", path, query, timeout=None if follow else _TIMEOUT)
        except ApiError as error:
            if error.status in (400, 404):
                return
            raise
        try:
            yield from lines_of(response)
        except BrokenStreamError:
            return
        finally:
            response.release_conn()

    def json(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        what: str = "",
    ) -> Any:
        """Send a request and return the JSON of its answer. `what` names the object in errors."""
        response = self.send(method, path, query, body, content_type=content_type, what=what)
        try:
            return json.loads(response.data or b"null")
        finally:
            response.release_conn()

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        content_type: str = "application/json",
        what: str = "",
        timeout: float | None = _TIMEOUT,
    ) -> Any:
        """Send a request and return the response, to be read and released.

        All that is sent here can be sent twice: what does not arrive, or finds the server busy or starting, is sent
        again for some seconds.
        """
        import urllib3  # pants: no-infer-dep

        url = self._configuration.host + path + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body)
        for attempt in range(1, _TRIES + 1):
            headers = {"Accept": "application/json", "User-Agent": "turbolift", **self._authorization()}
            if data is not None:
                headers["Content-Type"] = content_type
            try:
                response = self._pool.request(
                    method,
                    url,
                    body=data,
                    headers=headers,
                    preload_content=False,
                    retries=False,
                    timeout=urllib3.Timeout(connect=10.0, read=timeout),
                )
            except (urllib3.exceptions.HTTPError, OSError) as error:
                hopeless = (urllib3.exceptions.SSLError, urllib3.exceptions.ConnectTimeoutError)
                # A refused connection is a kind of the latter for urllib3; that one may be a restart.
                refused = isinstance(error, urllib3.exceptions.NewConnectionError)
                if attempt == _TRIES or (isinstance(error, hopeless) and not refused):
                    raise self._unreachable(error) from None
            else:
                if response.status < 400:
                    return response
                refusal = self._refused(response, method, what)
                if attempt == _TRIES or response.status not in _AGAIN:
                    raise refusal
            time.sleep(random.uniform(0.5, 1.0) * 0.2 * 2**attempt)
        raise AssertionError(path)

    def forward(self, pod: str, port: int) -> Any:
        """Return a socket to a port of a pod, through the API server. Raises ApiError."""
        return self.open_forward(pod, port).socket(port)

    def open_forward(self, pod: str, port: int) -> Any:
        """Return what has a ``socket(port)`` to a port of a pod, and tells by ``error(port)`` why that was closed.

        It is open before the pod was asked: a port that nobody listens on is told afterwards. Raises ApiError.
        """
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream.ws_client import portforward_call

        url = f"{self._configuration.host}/api/v1/namespaces/{self.namespace}/pods/{quote(pod)}/portforward"
        try:
            return portforward_call(  # type: ignore[no-untyped-call]
                self._configuration,
                "GET",
                url,
                query_params=[("ports", str(port))],
                headers=self._authorization(),
            )
        except ApiException as error:
            raise ApiError(f"no port-forward to pod {pod}: {error.reason}", reason="PortForward") from None

    def _authorization(self) -> dict[str, str]:
        # Asked each time: the plugins of a kubeconfig renew what expires.
        headers = {}
        for one in self._configuration.auth_settings().values():
            if one["in"] == "header" and one["value"]:
                headers[one["key"]] = one["value"]
        return headers

    def _refused(self, response: Any, method: str, what: str) -> ApiError:
        try:
            said = json.loads(response.data)
        except ValueError:
            said = {}
        finally:
            response.release_conn()
        said = said if isinstance(said, dict) else {}
        message = said.get("message") or f"HTTP {response.status} {response.reason or ''}".strip()
        advice = {
            401: "the credentials of this context are not accepted, or have expired: log in to the cluster again",
            403: "docs/kubernetes.md has the Role that deploy needs"
            if "is forbidden: User" in message
            else "",
        }.get(response.status, "")
        text = f"{what + ': ' if what else ''}{message}" + (f" ({advice})" if advice else "")
        if response.status == 401:
            text = f"{self.place}: {text}"
        details = said.get("details") or {}
        return ApiError(
            text, status=response.status, reason=said.get("reason") or "", causes=details.get("causes") or ()
        )

    def _unreachable(self, error: Exception) -> ApiError:
        cause: BaseException = error
        while (inner := getattr(cause, "reason", None) or cause.__cause__ or cause.__context__) is not None:
            if not isinstance(inner, BaseException) or inner is cause:
                break
            cause = inner
        said = " ".join(str(cause).split()).rpartition("> ")[2] or type(cause).__name__
        hint = "is it up, and is it the context that you mean? --context NAME"
        if isinstance(cause, ssl.SSLError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
            said = getattr(cause, "verify_message", "") or said
            hint = "the kubeconfig has another authority for it"
            if "not yet valid" in said or "expired" in said:
                hint = "compare this machine's clock with the cluster's, or renew the certificate"
        return ApiError(f"cannot reach {self.place}: {said}: {hint}", reason="Unreachable")


def lines_of(response: Any) -> Iterator[str]:
    """Yield lines of a response as they come. Raises BrokenStreamError where the connection breaks."""
    import urllib3  # pants: no-infer-dep

    rest = b""
    try:
        for chunk in response.stream(1 << 16, decode_content=True):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise BrokenStreamError(str(error)) from None
    if rest:
        yield rest.decode("utf-8", "replace")
