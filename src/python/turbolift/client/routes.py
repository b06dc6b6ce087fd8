# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The route table: which endpoint serves a function. Read again whenever its file was replaced."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, NoReturn, cast

from turbolift.client.addresses import MARK, Each
from turbolift.client.transport import Tls
from turbolift.errors import ConfigurationError, DocumentError, NotRoutedError
from turbolift.spec.state import deployment_dir, workspace_root

ROUTES: Final = "TURBOLIFT_ROUTES"
DEPLOYMENT: Final = "TURBOLIFT_DEPLOYMENT"
FILE: Final = "routes.json"
CALLER_TLS: Final = "TURBOLIFT_CALLER_TLS"
TLS_FOLDER: Final = "tls"
HOW: Final = "deploy with './pants run deploy', or run in process with TURBOLIFT=off"

# The patterns of spec/schemas/route-table.json; a test holds this module and the schema equal.
_IDENTITY = re.compile(r"^[^:\s]+:[^:\s]+$")
_VERSION = re.compile(r"^[0-9a-f]{64}$")
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_ENDPOINT = re.compile(r"^(unix:///.+|https?://[^/]+)$")
_HTTPS = re.compile(r"^https://")
_EACH = re.compile(r"^https?://.*#each$")
_SERVER_NAME = re.compile(r"^[^\s/]+$")
_TABLE_FIELDS = frozenset({"version", "deployment", "platform", "generation", "routes"})
_ROUTE_FIELDS = frozenset(
    {"version", "endpoint", "contract", "timeout", "idempotent", "server_name", "replicas"}
)


class Route(NamedTuple):
    """One entry: where a function is served, under which contract, and how long a call may take (seconds).

    ``tls`` of an ``https://`` endpoint: whose certificate it must show, and where the caller's own are. ``replicas``: where
    the same version is served at several endpoints, all of them, each with its ``tls``. ``each``: where there is a name that
    stands for them; ``replicas`` are then what is known of it, at first the endpoint alone.
    """

    version: str
    endpoint: str
    contract: str
    timeout: float | None = None
    idempotent: bool = False
    tls: Tls | None = None
    replicas: tuple[tuple[str, Tls | None], ...] = ()
    each: Each | None = None

    @property
    def is_one_of_each(self) -> bool:
        """Whether it leads to one of the addresses of a name."""
        return self.each is not None and self.endpoint != self.each.endpoint

    @property
    def is_alone(self) -> bool:
        """Whether it leads to an endpoint that has no other beside it."""
        return len(self.replicas) < 2 if self.each is None else self.endpoint == self.each.endpoint


class RouteTable(NamedTuple):
    """A parsed table; ``source`` says where it was read from."""

    deployment: str
    platform: str
    generation: int
    routes: Mapping[str, Route]
    source: str

    def route(self, function: str) -> Route:
        """Return the route of `function` (its identity), or raise NotRoutedError saying how to deploy."""
        try:
            return self.routes[function]
        except KeyError:
            raise NotRoutedError(
                f"{function} has no route in {self.source} ({len(self.routes)} functions of deployment "
                f"{self.deployment!r}): {HOW}",
                function=function,
            ) from None


def parse_table(document: Any, source: str, folder: str = "") -> RouteTable:
    """Check a parsed document by hand (importing jsonschema is too dear for a caller) and return the table.

    `folder`: where the caller's certificates are.
    Accepts exactly what the JSON Schema accepts. Raises DocumentError with the path of the broken place.
    """
    table = _object(document, "$", source)
    _fields(table, _TABLE_FIELDS, _TABLE_FIELDS, "$", source)
    if not _is_number(table["version"]) or table["version"] != 1:
        _broken(source, "$.version", f"must be 1, this turbolift knows no version {table['version']!r}")
    routes = {}
    for function, entry in _object(table["routes"], "$.routes", source).items():
        path = f"$.routes[{function!r}]"
        if not _IDENTITY.search(function):
            _broken(source, path, "must be an identity as module:qualname")
        routes[function] = _route(entry, path, source, folder)
    return RouteTable(
        deployment=_text(table["deployment"], "$.deployment", source),
        platform=_text(table["platform"], "$.platform", source),
        generation=_generation(table["generation"], source),
        routes=routes,
        source=source,
    )


def _route(entry: Any, path: str, source: str, folder: str) -> Route:
    entry = _object(entry, path, source)
    _fields(entry, _ROUTE_FIELDS, frozenset({"version", "endpoint", "contract"}), path, source)
    timeout = entry.get("timeout")
    if timeout is not None and (not _is_number(timeout) or not timeout > 0):
        _broken(source, f"{path}.timeout", f"must be a positive number of seconds or null, not {timeout!r}")
    idempotent = entry.get("idempotent", False)
    if not isinstance(idempotent, bool):
        _broken(source, f"{path}.idempotent", f"must be true or false, not {idempotent!r}")
    endpoint = _endpoint(entry["endpoint"], f"{path}.endpoint", source)
    tls = _tls(endpoint, entry, path, source, folder)
    replicas, each = _replicas((endpoint, tls), entry, path, source, folder)
    return Route(
        version=_matching(entry["version"], _VERSION, "64 hexadecimal digits", f"{path}.version", source),
        endpoint=endpoint,
        contract=_matching(entry["contract"], _DIGEST, "sha256:<64 hex>", f"{path}.contract", source),
        timeout=None if timeout is None else float(timeout),
        idempotent=idempotent,
        tls=tls,
        replicas=replicas,
        each=each,
    )


def _endpoint(value: Any, path: str, source: str) -> str:
    return _matching(value, _ENDPOINT, "unix:///path or http(s)://host:port", path, source)


def _replicas(
    first: tuple[str, Tls | None], entry: dict[str, Any], path: str, source: str, folder: str
) -> tuple[tuple[tuple[str, Tls | None], ...], Each | None]:
    """Return all endpoints of a route, where it has more than one, and the name that stands for them."""
    path = f"{path}.replicas"
    given = entry.get("replicas", [])
    if not isinstance(given, list):
        _broken(source, path, f"must be an array of endpoints, not {given!r:.80}")
    found = {first[0]: first[1]}
    for number, one in enumerate(given):
        endpoint = _endpoint(one, f"{path}[{number}]", source)
        named = entry if _HTTPS.search(endpoint) else {}
        own = _tls(endpoint, named, path, source, folder)
        if _EACH.search(endpoint):
            if len(given) > 1:
                _broken(
                    source, path, f"{endpoint!r:.120} stands for all of them, and can have no other beside it"
                )
            # Behind it are the endpoint's own servers, with the same certificate.
            own = None if own is None else first[1] or own
            return (first,), Each(endpoint.removesuffix(MARK), own, *first)
        found.setdefault(endpoint, own)
    return (tuple(found.items()) if len(found) > 1 else ()), None


def _tls(endpoint: str, entry: dict[str, Any], path: str, source: str, folder: str) -> Tls | None:
    secure = _HTTPS.search(endpoint) is not None
    if "server_name" in entry:
        name = _matching(
            entry["server_name"], _SERVER_NAME, "the name of a server", f"{path}.server_name", source
        )
        if not secure:
            _broken(source, f"{path}.server_name", f"is for an https:// endpoint, not {endpoint!r:.120}")
        return Tls(name, folder)
    if not secure:
        return None
    host = endpoint.removeprefix("https://").rpartition("@")[2]
    return Tls(host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0], folder)


def _broken(source: str, path: str, what: str) -> NoReturn:
    raise DocumentError(f"{source}: not a valid route table: at {path}: {what}", source=source, path=path)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _object(value: Any, path: str, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _broken(source, path, f"must be an object, not {value!r:.80}")
    return value


def _fields(
    value: dict[str, Any], known: frozenset[str], required: frozenset[str], path: str, source: str
) -> None:
    missing = sorted(required - value.keys())
    if missing:
        _broken(source, path, f"{missing[0]!r} is missing")
    unknown = sorted(value.keys() - known)
    if unknown:
        _broken(source, path, f"{unknown[0]!r} is not known here")


def _text(value: Any, path: str, source: str) -> str:
    if not isinstance(value, str) or not value:
        _broken(source, path, f"must be a string that is not empty, not {value!r:.80}")
    return value


def _matching(value: Any, pattern: re.Pattern[str], form: str, path: str, source: str) -> str:
    if not isinstance(value, str) or not pattern.search(value):
        _broken(source, path, f"must be {form}, not {value!r:.120}")
    return value


def _generation(value: Any, source: str) -> int:
    # As JSON Schema has it, 3.0 is an integer.
    if not _is_number(value) or (isinstance(value, float) and not value.is_integer()) or value < 0:
        _broken(source, "$.generation", f"must be a whole number, 0 or more, not {value!r:.80}")
    return int(value)


def _parse_text(text: str | bytes, source: str, folder: str) -> RouteTable:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise DocumentError(
            f"{source}:{error.lineno}:{error.colno}: this route table is not JSON: {error.msg}", source=source
        ) from None
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"{source}: this route table is not JSON: {error}", source=source) from None
    return parse_table(document, source, folder)


MOMENT: Final = 0.001
"""Seconds for which `RouteSource.current` takes the table to be as it was: a look costs a system call, and what a table
no longer routes to goes on serving for longer than that (`turbolift.deploy` waits a second at least).
"""


class RouteSource:
    """Finds, reads and caches the table: a ``stat`` a look, a read only where the file was replaced.

    It follows the environment: ``TURBOLIFT_ROUTES`` (a path, or JSON that starts with ``{``), else the state
    folder of the workspace around the current folder, where ``TURBOLIFT_DEPLOYMENT`` chooses among several
    deployments. Certificates for ``https://`` routes are in ``TURBOLIFT_CALLER_TLS``, else in ``tls`` beside the table.
    """

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._key: object = None
        self._table: RouteTable | None = None
        self._found: tuple[object, str] | None = None
        # os.environ encodes and decodes at each look; below it is a dict that says whether anything changed.
        below = getattr(self._environ, "_data", None)
        encode = getattr(self._environ, "encodekey", None)
        self._look: Callable[[Any], object] = self._environ.get
        self._names: tuple[Any, Any] = (ROUTES, DEPLOYMENT)
        if isinstance(below, dict) and encode is not None:
            self._look, self._names = below.get, (encode(ROUTES), encode(DEPLOYMENT))
        self._looked = 0.0
        self._path = ""  # of the table, where the environment names it
        self._said: tuple[object, object] = (None, None)

    def current(self) -> RouteTable:
        """Return the same as ``table``, or what that was a moment (``MOMENT``) ago."""
        look, (routes, deployment) = self._look, self._names
        table = self._table
        now = time.monotonic()
        said = look(routes)
        same = table is not None and said == self._said[0] and look(deployment) == self._said[1]
        if same and now - self._looked < MOMENT:
            return cast("RouteTable", table)
        self._looked = 0.0  # until there is one
        table = self._read(self._path) if same and said and self._path else self.table()
        self._said = said, look(deployment)
        self._looked = now
        return table

    def table(self) -> RouteTable:
        """Return the table as it is now. Raises NotRoutedError where there is none, DocumentError where it is
        broken.
        """
        given = self._environ.get(ROUTES)
        self._path = given or ""
        if given and given.lstrip().startswith("{"):
            self._path = ""
            if self._key != given or self._table is None:
                self._table = _parse_text(given, ROUTES, self._environ.get(CALLER_TLS) or "")
                self._key = given
            return self._table
        return self._read(given or self._state_file())

    def _read(self, path: str) -> RouteTable:
        try:
            found = os.stat(path)
            key = (path, found.st_mtime_ns, found.st_ino, found.st_size)
            if key == self._key and self._table is not None:
                return self._table
            # The file is replaced in one step, never written to: what is open is one whole version. Its own
            # stat is the key.
            with open(path, "rb") as file:
                found = os.fstat(file.fileno())
                text = file.read()
        except FileNotFoundError:
            raise NotRoutedError(f"there is no route table {path}: {HOW}") from None
        except OSError as error:
            raise DocumentError(
                f"{path}: cannot read this route table: {error.strerror}", source=path
            ) from None
        self._table = _parse_text(text, path, self._tls_folder(path))
        self._key = (path, found.st_mtime_ns, found.st_ino, found.st_size)
        return self._table

    def _tls_folder(self, path: str) -> str:
        beside = os.path.join(os.path.dirname(os.path.abspath(path)), TLS_FOLDER)
        return self._environ.get(CALLER_TLS) or beside

    def _state_file(self) -> str:
        environ = self._environ
        key = (os.getcwd(), environ.get("XDG_STATE_HOME"), environ.get("HOME"))
        if self._found is None or self._found[0] != key:
            self._found = (key, _state_folder())
        folder = self._found[1]
        deployment = environ.get(DEPLOYMENT)
        if deployment:
            if "/" in deployment or deployment in (".", ".."):
                raise ConfigurationError(f"{DEPLOYMENT}={deployment!r}: it must be the name of a deployment")
            return os.path.join(folder, deployment, FILE)
        # Looked for at each call: a second deployment makes the first one a guess.
        names = _deployments(folder)
        if not names:
            raise NotRoutedError(f"no route table below {folder}: {HOW}")
        if len(names) > 1:
            raise NotRoutedError(
                f"several deployments below {folder}: {', '.join(names)}; set {DEPLOYMENT} to one of them"
            )
        return os.path.join(folder, names[0], FILE)


def _state_folder() -> str:
    """Return the folder that holds the deployments of the workspace around the current folder."""
    root = workspace_root()
    if root is None:
        raise NotRoutedError(
            f"no route table: no pants.toml at or above {os.getcwd()}; set {ROUTES} to the table's path, "
            "or run in process with TURBOLIFT=off"
        )
    return str(deployment_dir(root, "any").parent)


def _deployments(folder: str) -> list[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return sorted(name for name in names if os.path.exists(os.path.join(folder, name, FILE)))


SOURCE: Final = RouteSource()
"""The table that this process's environment names."""
