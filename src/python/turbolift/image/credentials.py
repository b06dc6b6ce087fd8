# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Credentials for registries, from where Docker keeps them: its configuration and its helpers."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from turbolift.errors import PackagingError

# The one registry whose name is not the key of its credentials.
HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"

_TOKEN_USER = "<token>"
"""What helpers say for a user where the password is a refresh token."""


class Credentials(NamedTuple):
    """What to log in with: a user and a password, or a refresh token for the registry's token server."""

    user: str
    password: str
    refresh_token: str = ""

    @property
    def basic(self) -> str:
        """The Authorization header of HTTP Basic; empty where there is only a token."""
        if self.refresh_token:
            return ""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def credentials(host: str) -> Credentials | None:
    """Return what Docker would log in to the registry `host` with, or None.

    Reads ``$DOCKER_CONFIG/config.json`` (``~/.docker`` by default): the host's helper (``credHelpers``), else the
    one for all (``credsStore``), else ``auths``. Raises PackagingError where the file is broken.
    """
    folder = os.environ.get("DOCKER_CONFIG") or os.path.join(os.path.expanduser("~"), ".docker")
    path = Path(folder, "config.json")
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError:
        return None
    except ValueError as error:
        raise PackagingError(f"{path}: not JSON: {error}") from None
    key = _HUB_KEY if host == HUB else host
    helper = (document.get("credHelpers") or {}).get(key) or document.get("credsStore")
    if helper:
        found = _from_helper(helper, key)
        if found:
            return found
    auths = document.get("auths") or {}
    for name in (key, f"https://{key}", f"https://{key}/v1/", f"https://{key}/v2/"):
        entry = auths.get(name) or {}
        token = entry.get("identitytoken", "")
        if entry.get("auth"):
            try:
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise PackagingError(f"{path}: auths[{name!r}].auth is not base64: docker login") from None
            return Credentials(user, password, token)
        if entry.get("username") or token:
            return Credentials(entry.get("username", ""), entry.get("password", ""), token)
    return None


def docker_credentials(host: str) -> tuple[str, str] | None:
    """Return (user, password) for a registry from Docker's configuration and its helpers, or None."""
    found = credentials(host)
    return None if found is None else (found.user, found.password)


def _from_helper(helper: str, key: str) -> Credentials | None:
    try:
        done = subprocess.run(
            [f"docker-credential-{helper}", "get"], input=key, capture_output=True, text=True, check=True
        )
        document = json.loads(done.stdout)
        user, secret = document["Username"], document["Secret"]
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError):
        return None
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)
