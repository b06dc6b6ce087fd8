# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The certificates of a deployment in its cluster: Secrets that are made once, and renewed when it is time.

Times are the API server's: a certificate that this machine's clock dates is of no use where clocks differ. Secrets are
got by their names, never listed. Who has the deployment's Lease alone writes.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import email.utils
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from turbolift.deploy import files
from turbolift.deploy.k8s import certificates, names
from turbolift.deploy.k8s.apply import check_ours
from turbolift.deploy.k8s.certificates import Authority, Pair
from turbolift.deploy.k8s.cluster import Cluster
from turbolift.deploy.k8s.objects import SECRET, Object, title
from turbolift.deploy.k8s.settings import Settings
from turbolift.deploy.platform import Release
from turbolift.errors import DeployError
from turbolift.wire.tls import AUTHORITY, CERTIFICATE, FILES, KEY, utc, validity

_SKEW = 300.0
"""Seconds by which clocks may differ before it is said."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A Secret of a certificate, and how a new one is made."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    server_names: tuple[str, ...] | None


class Keys:
    """The Secrets of one deployment."""

    def __init__(self, cluster: Cluster, settings: Settings, say: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._settings = settings
        self._say = say
        self._clock: datetime.timedelta | None = None
        self._authority: Authority | None = None

    def prepare(self) -> str:
        """See to the authority and the callers' certificate; return until when that is valid. Idempotent; raises
        DeployError.
        """
        if self._authority is None:
            self._authority = self._prepared_authority()
        return self._see_to(_Wanted(names.caller_name(self._settings.deployment), self._labels(), {}, None))

    def serve(self, release: Release) -> str:
        """See to the certificate of `release`, after `prepare`; return until when it is valid. Idempotent; raises
        DeployError.
        """
        return self._see_to(self._of(release))

    def renew(self, releases: Sequence[Release], pool: Executor) -> list[str]:
        """See to all certificates of what serves: where nothing is due, nothing is written."""
        return [self.prepare(), *pool.map(self.serve, releases)] if releases else []

    def check(self, release: Release) -> None:
        """Raise DeployError where the Secret's name is taken by somebody else."""
        self._get(self._of(release).name)

    def write_caller(self, folder: Path) -> None:
        """Write the callers' certificate to `folder`, as their pods mount it. Raises DeployError."""
        name = names.caller_name(self._settings.deployment)
        live = self._get(name)
        if live is None:
            raise DeployError(
                f"Secret/{name} in {self._cluster.place} is gone: nobody can call without it; deploy again, and it is "
                "made anew"
            )
        data = _data(live)
        files.private_dir(folder)
        for file in FILES:
            if file not in data:
                raise DeployError(f"Secret/{name}: it has no {file}: delete it and deploy again")
            files.write(folder / file, data[file])

    # How.

    def _prepared_authority(self) -> Authority:
        deployment = self._settings.deployment
        name = names.authority_name(deployment)
        live = self._get(name)
        now = self._now()
        if live is None:
            authority = certificates.new_authority(deployment, now)
        else:
            try:
                before = certificates.read_authority(_data(live))
            except (ValueError, KeyError) as error:
                raise DeployError(
                    f"Secret/{name}: no authority of turbolift's certificates is in it ({error}): delete it, and a deploy "
                    "makes all certificates anew"
                ) from None
            authority = certificates.renewed(before, deployment, now)
            if authority == before:
                return authority
            self._say(
                f"Secret/{name}: the next authority {'is trusted' if authority.next else 'signs'} from now on"
            )
        self._write(name, "Opaque", self._labels(), {}, authority.data())
        return authority

    def _see_to(self, wanted: _Wanted) -> str:
        assert self._authority is not None
        live = self._get(wanted.name)
        data = {} if live is None else _data(live)
        pair = Pair(data.get(CERTIFICATE, b""), data.get(KEY, b""))
        trusted = self._authority.trusted()
        now = self._now()
        due = certificates.is_due(pair, self._authority, now, wanted.server_names)
        if not due and data.get(AUTHORITY) == trusted:
            return _line(wanted.name, pair)
        if due:
            if live is not None:
                self._say(f"Secret/{wanted.name}: its certificate is renewed")
            if wanted.server_names is None:
                pair = certificates.issue_caller(self._authority, now)
            else:
                pair = certificates.issue_server(self._authority, wanted.server_names, now)
        made = {CERTIFICATE: pair.certificate, KEY: pair.key, AUTHORITY: trusted}
        self._write(wanted.name, "kubernetes.io/tls", wanted.labels, wanted.annotations, made)
        return _line(wanted.name, pair)

    def _of(self, release: Release) -> _Wanted:
        name = names.object_name(release.function, release.version)
        return _Wanted(
            name,
            names.labels(self._settings.deployment, release),
            {names.FUNCTION: release.function, names.FULL_VERSION: release.version},
            names.server_names(name, self._settings.namespace),
        )

    def _labels(self) -> dict[str, str]:
        return names.deployment_labels(self._settings.deployment)

    def _get(self, name: str) -> Object | None:
        live = self._cluster.get(SECRET, name)
        if live is not None:
            check_ours(live, self._settings.deployment)
        return live

    def _write(
        self,
        name: str,
        type: str,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        data: Mapping[str, bytes],
    ) -> None:
        document: Object = {
            "apiVersion": SECRET.api,
            "kind": SECRET.kind,
            "metadata": {
                "name": name,
                "namespace": self._settings.namespace,
                "labels": dict(labels),
                "annotations": dict(annotations),
            },
            "type": type,
            "data": {key: base64.b64encode(value).decode() for key, value in sorted(data.items())},
        }
        # What others wrote there is no certificate of ours.
        self._cluster.apply(document, force=True)

    def _now(self) -> datetime.datetime:
        """Return the time by the API server's clock."""
        if self._clock is None:
            self._clock = self._skew()
        return datetime.datetime.now(datetime.UTC).replace(microsecond=0) + self._clock

    def _skew(self) -> datetime.timedelta:
        response = self._cluster.send("GET", "/version")
        try:
            stamp = response.headers.get("Date") or ""
            response.data  # noqa: B018  the connection is used again
        finally:
            response.release_conn()
        try:
            there = email.utils.parsedate_to_datetime(stamp)
        except ValueError:
            return datetime.timedelta()
        here = time.time()
        skew = there.timestamp() - here
        if abs(skew) < _SKEW:
            # Its stamp is of whole seconds: what is that near is equal.
            return datetime.timedelta()
        self._say(
            f"note: it is {utc(here)} by this machine's clock, and {utc(there.timestamp())} by that of the API server: "
            "certificates are dated by the latter, and calls from here may find them not valid"
        )
        return datetime.timedelta(seconds=skew)


def _line(name: str, pair: Pair) -> str:
    return f"Secret/{name}  valid until {utc(validity(pair.certificate).end)}"


def _data(secret: Object) -> dict[str, bytes]:
    try:
        return {
            key: base64.b64decode(text, validate=True) for key, text in (secret.get("data") or {}).items()
        }
    except (binascii.Error, ValueError, TypeError):
        raise DeployError(f"{title(secret)}: its data cannot be read: delete it and deploy again") from None
