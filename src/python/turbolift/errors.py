# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Every error that turbolift raises: one tree, joined to the builtins a caller would expect to catch.

Facts are attributes, so that programs never parse messages; messages say what happened, where, and what to do.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing itself takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CallError",
    "ConfigurationError",
    "ConnectError",
    "ContractError",
    "ContractMismatchError",
    "DeadlineExceeded",
    "DecodeError",
    "DeployError",
    "DocumentError",
    "EncodeError",
    "FunctionNotFound",
    "MaybeExecuted",
    "NotRoutedError",
    "Overloaded",
    "PackagingError",
    "PayloadTooLarge",
    "RegistryError",
    "RemoteCancelled",
    "RemoteError",
    "RemoteExit",
    "RemoteInterrupt",
    "RemoteTraceback",
    "TaggingError",
    "TlsError",
    "TurboliftError",
    "UnsupportedTypeError",
    "WireError",
    "WorkerDied",
]


class TurboliftError(Exception):
    """Root of the tree: catch it to catch everything that turbolift itself raises."""


class ConfigurationError(TurboliftError, ValueError):
    """A setting, an environment variable or an option of ``@on`` has a value that cannot work."""


class TaggingError(ConfigurationError):
    """``@on`` was put on something that cannot be a tagged function (a nested function, a lambda, a method)."""


class DocumentError(ConfigurationError):
    """A JSON document (function spec, route table, bundle index ...) is broken.

    Attributes: ``source`` (file or origin), ``path`` (where in the document, as ``$.routes['m:f'].endpoint``).
    """

    def __init__(self, message: str, *, source: str = "", path: str = "") -> None:
        super().__init__(message)
        self.source = source
        self.path = path


class NotRoutedError(ConfigurationError, LookupError):
    """Distribution is on, but the route table has no entry for the function.

    Attributes: ``function`` (identity, ``module:qualname``).
    """

    def __init__(self, message: str, *, function: str = "") -> None:
        super().__init__(message)
        self.function = function


class ContractError(TurboliftError):
    """Root of what is wrong between a value, its type hint and the wire."""


class UnsupportedTypeError(ContractError, TypeError):
    """A type hint is missing, or names a type that cannot travel.

    Attributes: ``file``, ``line`` (of the function), ``parameter`` (``"return"`` for the result).
    """

    def __init__(self, message: str, *, file: str = "", line: int = 0, parameter: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.parameter = parameter


class EncodeError(ContractError, TypeError):
    """A value does not fit its type hint, or would not arrive as what it is; nothing was sent.

    Attributes: ``path`` (as ``order.lines[3].sku``).
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class DecodeError(ContractError, ValueError):
    """What came over the wire does not fit the contract.

    Attributes: ``path`` (as ``order.lines[3].sku``).
    """

    def __init__(self, message: str, *, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class CallError(TurboliftError):
    """Root of what goes wrong with one remote call.

    Attributes: ``function`` (identity), ``endpoint`` (where the call went, empty before it was sent).
    """

    def __init__(self, message: str, *, function: str = "", endpoint: str = "") -> None:
        super().__init__(message)
        self.function = function
        self.endpoint = endpoint


class ContractMismatchError(CallError, ContractError):
    """Caller and server were built from different signatures of the function.

    Attributes: ``ours``, ``theirs`` (contract digests).
    """

    def __init__(
        self, message: str, *, function: str = "", endpoint: str = "", ours: str = "", theirs: str = ""
    ) -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.ours = ours
        self.theirs = theirs


class ConnectError(CallError, ConnectionError):
    """The endpoint could not be reached; the function did not run.

    Attributes: ``failing`` (seconds for which the endpoint has failed by then) and ``retry_after`` (seconds until it is
    tried again) where it fails in a row, so that the call was not sent; else None.
    """

    def __init__(
        self,
        message: str,
        *,
        function: str = "",
        endpoint: str = "",
        failing: float | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.failing = failing
        self.retry_after = retry_after


class TlsError(ConnectError):
    """Caller and endpoint cannot agree on a secure connection; the function did not run.

    Attributes: ``reason``, one of ``unknown-authority``, ``expired``, ``not-yet-valid``, ``name-mismatch`` and
    ``certificate`` (the caller refuses the server's certificate), ``no-client-certificate``, ``client-unknown-authority``,
    ``client-expired`` and ``client-certificate`` (the server refuses the caller), ``not-tls`` (the endpoint speaks
    something else), ``needs-tls`` (it does, and the route says plain HTTP), ``credentials`` (the caller's own files
    cannot be used), ``handshake`` (anything else).
    """

    def __init__(self, message: str, *, function: str = "", endpoint: str = "", reason: str = "") -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.reason = reason


class FunctionNotFound(CallError, LookupError):
    """The endpoint answers, but serves another function; the function did not run."""


class MaybeExecuted(CallError, ConnectionError):
    """The connection broke after the request was sent: the function may or may not have run."""


class WorkerDied(MaybeExecuted):
    """The worker process that ran the function ended in the midst of the call: the function may have done some of its work.

    Attributes: ``pod`` (name of the host or pod), ``pid``, ``signal`` (as ``SIGKILL``; empty where it ended by itself),
    ``status`` (of its exit; None where a signal ended it).
    """

    def __init__(
        self,
        message: str,
        *,
        function: str = "",
        endpoint: str = "",
        pod: str = "",
        pid: int | None = None,
        signal: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.pod = pod
        self.pid = pid
        self.signal = signal
        self.status = status


class DeadlineExceeded(CallError, TimeoutError):
    """The call's deadline passed before its result arrived.

    Attributes: ``timeout`` (seconds that the call had).
    """

    def __init__(
        self, message: str, *, function: str = "", endpoint: str = "", timeout: float | None = None
    ) -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.timeout = timeout


class Overloaded(CallError):
    """The function's queue is full; the call was refused and did not run.

    Attributes: ``retry_after`` (seconds to wait before the next try, as the server said).
    """

    def __init__(
        self, message: str, *, function: str = "", endpoint: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.retry_after = retry_after


class PayloadTooLarge(CallError, ValueError):
    """A request or an answer is larger than the limit.

    Attributes: ``size``, ``limit`` (bytes; ``size`` is None where it is not known).
    """

    def __init__(
        self,
        message: str,
        *,
        function: str = "",
        endpoint: str = "",
        size: int | None = None,
        limit: int | None = None,
    ) -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.size = size
        self.limit = limit


class WireError(CallError):
    """Something that is not turbolift, or another version of it, answered."""


class RemoteError(CallError):
    """The function raised an exception whose class cannot be rebuilt at the caller.

    Attributes: ``type`` (``module:qualname`` of the class), ``remote_args`` (its arguments; those that cannot travel as their
    repr), ``traceback`` (text), ``pod`` (name of the host or pod that it was raised on).
    """

    def __init__(
        self,
        message: str,
        *,
        function: str = "",
        endpoint: str = "",
        type: str = "",
        remote_args: tuple[Any, ...] = (),
        traceback: str = "",
        pod: str = "",
    ) -> None:
        super().__init__(message, function=function, endpoint=endpoint)
        self.type = type
        self.remote_args = remote_args
        self.traceback = traceback
        self.pod = pod


class RemoteExit(RemoteError):
    """The function raised SystemExit, as ``sys.exit`` does. That ended the call; neither the server nor the caller.

    Attributes: ``code`` (what it gave to ``sys.exit``).
    """

    @property
    def code(self) -> Any:
        """What the function gave to ``sys.exit``, as it travelled; None for nothing."""
        return self.remote_args[0] if self.remote_args else None


class RemoteInterrupt(RemoteError):
    """The function raised KeyboardInterrupt; nobody pressed a key at the caller."""


class RemoteCancelled(RemoteError):
    """The function raised ``asyncio.CancelledError`` though nobody cancelled the call: something that it awaited was
    cancelled there.
    """


class RemoteTraceback(TurboliftError):
    """The ``__cause__`` of an exception that was raised by a remote function: its traceback there, as text.

    Attributes: ``text``, ``function``, ``endpoint``, ``pod`` (name of the host or pod).
    """

    def __init__(self, text: str, *, function: str = "", endpoint: str = "", pod: str = "") -> None:
        where = f"on {pod}" + (f" ({endpoint})" if endpoint else "") if pod else ""
        super().__init__("\n" + "\n".join(filter(None, (where, text.rstrip()))) + "\n")
        self.text = text
        self.function = function
        self.endpoint = endpoint
        self.pod = pod


class PackagingError(TurboliftError):
    """A closure, a layer or an image cannot be built from what was given."""


class RegistryError(PackagingError):
    """A registry cannot be reached, or refuses what is asked of it.

    Attributes: ``url``, ``status`` (of HTTP; None where no answer came).
    """

    def __init__(self, message: str, *, url: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.url = url
        self.status = status


class DeployError(TurboliftError):
    """A rollout, or a question to what is deployed, failed.

    Attributes: ``function`` (identity, empty where it concerns the whole deployment).
    """

    def __init__(self, message: str, *, function: str = "") -> None:
        super().__init__(message)
        self.function = function
