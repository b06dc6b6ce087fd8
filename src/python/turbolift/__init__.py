# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""turbolift: distribution as an afterthought for Python monorepos.

Tag a function with ``@on(platform)``; it runs in process until ``TURBOLIFT=on``, and then where it was
deployed.
"""

from turbolift.api import (
    AsyncDistributedFunction,
    DistributedFunction,
    Docker,
    K8s,
    Local,
    SyncDistributedFunction,
    is_distributed,
    on,
)
from turbolift.errors import (
    CallError,
    ConfigurationError,
    ConnectError,
    ContractError,
    ContractMismatchError,
    DeadlineExceeded,
    DecodeError,
    DeployError,
    DocumentError,
    EncodeError,
    FunctionNotFound,
    MaybeExecuted,
    NotRoutedError,
    Overloaded,
    PackagingError,
    PayloadTooLarge,
    RegistryError,
    RemoteCancelled,
    RemoteError,
    RemoteExit,
    RemoteInterrupt,
    RemoteTraceback,
    TaggingError,
    TlsError,
    TurboliftError,
    UnsupportedTypeError,
    WireError,
    WorkerDied,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from turbolift.api import Platform

__all__ = [
    "AsyncDistributedFunction",
    "CallError",
    "ConfigurationError",
    "ConnectError",
    "ContractError",
    "ContractMismatchError",
    "DeadlineExceeded",
    "DecodeError",
    "DeployError",
    "DistributedFunction",
    "Docker",
    "DocumentError",
    "EncodeError",
    "FunctionNotFound",
    "K8s",
    "Local",
    "MaybeExecuted",
    "NotRoutedError",
    "Overloaded",
    "PackagingError",
    "PayloadTooLarge",
    "Platform",
    "RegistryError",
    "RemoteCancelled",
    "RemoteError",
    "RemoteExit",
    "RemoteInterrupt",
    "RemoteTraceback",
    "SyncDistributedFunction",
    "TaggingError",
    "TlsError",
    "TurboliftError",
    "UnsupportedTypeError",
    "WireError",
    "WorkerDied",
    "is_distributed",
    "on",
]


def __getattr__(name: str) -> object:
    if name == "Platform":
        from turbolift.api.kinds import Platform  # for annotations: it needs typing, which is dear

        return Platform
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
