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
    Platform,
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
    RemoteError,
    RemoteTraceback,
    TaggingError,
    TurboliftError,
    UnsupportedTypeError,
    WireError,
)

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
    "RemoteError",
    "RemoteTraceback",
    "SyncDistributedFunction",
    "TaggingError",
    "TurboliftError",
    "UnsupportedTypeError",
    "WireError",
    "is_distributed",
    "on",
]
