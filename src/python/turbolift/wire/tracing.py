# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""OpenTelemetry spans on both sides, where the program has set OpenTelemetry up; else nothing, at the price of one look.

Nothing of it is imported here: a program that has a tracer provider has imported the API itself. Names and attributes
follow the semantic conventions of RPC (https://opentelemetry.io/docs/specs/semconv/rpc/).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from turbolift.wire.context import current_trace, trace_of
from turbolift.wire.headers import TRACESTATE as TRACESTATE

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z")


def tracer() -> Any | None:
    """Return turbolift's tracer, or None where no tracer provider was set."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    provider = getattr(trace, "get_tracer_provider", None)  # it may be half imported, by another thread
    if provider is None:
        return None
    found = provider()
    return (
        None
        if isinstance(found, (trace.ProxyTracerProvider, trace.NoOpTracerProvider))
        else found.get_tracer("turbolift")
    )


class Sent(NamedTuple):
    """The span of a call that is made: it, and the values of the headers that carry it."""

    span: Any
    traceparent: str
    tracestate: str


@contextmanager
def client_span(tracer: Any, identity: str, key: str, endpoint: str, traceparent: str) -> Iterator[Sent]:
    """Within the block, a call is made; what it raises is noted in the span.

    The parent is the current span of OpenTelemetry, else the call that is being served here. `traceparent` is sent
    where there is no valid span.
    """
    from opentelemetry import trace  # pants: no-infer-dep

    context = None
    if not trace.get_current_span().get_span_context().is_valid:
        context = _remote(current_trace(), "")
    name = _name(identity)
    attributes = {
        "rpc.system.name": "turbolift",
        "rpc.method": name,
        "turbolift.function": identity,
        "turbolift.key": key,
        **_server(endpoint),
    }
    with tracer.start_as_current_span(
        name,
        context=context,
        kind=trace.SpanKind.CLIENT,
        attributes=attributes,
        record_exception=True,
        set_status_on_exception=True,
    ) as span:
        found = span.get_span_context()
        sent = Sent(span, traceparent, "")
        if found.is_valid:
            sent = Sent(span, _written(found), found.trace_state.to_header())
        try:
            yield sent
        except BaseException as error:
            cls = type(error)
            module = "" if cls.__module__ == "builtins" else f"{cls.__module__}."
            span.set_attribute("error.type", f"{module}{cls.__qualname__}")
            raise


@contextmanager
def server_span(
    tracer: Any, identity: str, key: str | None, traceparent: str | None, tracestate: str | None
) -> Iterator[Any]:
    """Within the block, a call is served that came with these headers; calls made there are spans below its own."""
    from opentelemetry import trace  # pants: no-infer-dep
    from opentelemetry.context import Context  # pants: no-infer-dep

    name = _name(identity)
    attributes = {"rpc.system.name": "turbolift", "rpc.method": name, "turbolift.function": identity}
    if key:
        attributes["turbolift.key"] = key
    with tracer.start_as_current_span(
        name,
        context=_remote(traceparent, tracestate or "") or Context(),
        kind=trace.SpanKind.SERVER,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        yield span


def served_trace() -> str | None:
    """Return the ``traceparent`` of OpenTelemetry's current span, or None."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not hasattr(trace, "get_current_span"):
        return None
    found = trace.get_current_span().get_span_context()
    return _written(found) if found.is_valid else None


def ended(span: Any, outcome: str, status: int) -> None:
    """Note how a served call ended: the kind of the problem, or ``ok``."""
    span.set_attribute("rpc.response.status_code", outcome)
    span.set_attribute("http.response.status_code", status)
    # What the caller did wrong is no error of the server.
    if status >= 500:
        from opentelemetry.trace import StatusCode  # pants: no-infer-dep

        span.set_attribute("error.type", outcome)
        span.set_status(StatusCode.ERROR, outcome)


def note_resend(error: Exception) -> None:
    """Note in the call's span that it is sent again, because of `error`."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is not None and tracer() is not None:
        trace.get_current_span().add_event(
            "turbolift.resend", {"error.type": type(error).__qualname__, "message": str(error)[:500]}
        )


@contextmanager
def worker_trace(traceparent: str | None) -> Iterator[None]:
    """Within the block, in a worker process, spans are below `traceparent`."""
    context = None if tracer() is None else _remote(traceparent, "")
    with trace_of(traceparent):
        if context is None:
            yield
            return
        from opentelemetry.context import attach, detach  # pants: no-infer-dep

        token = attach(context)
        try:
            yield
        finally:
            detach(token)


def _name(identity: str) -> str:
    """Return the name of the method, and so of the span: ``module/qualname``."""
    return identity.replace(":", "/")


def _server(endpoint: str) -> dict[str, str | int]:
    scheme, _, rest = endpoint.partition("://")
    if scheme == "unix":
        return {"server.address": rest, "network.transport": "unix"}
    host, _, port = rest.rpartition(":")
    if port.isdecimal() and host:
        return {"server.address": host.strip("[]"), "server.port": int(port), "network.transport": "tcp"}
    return {"server.address": rest} if rest else {}


def _remote(traceparent: str | None, tracestate: str) -> Any | None:
    """Return a context whose span is that of another process, or None where `traceparent` names none."""
    found = _TRACEPARENT.match(traceparent) if traceparent else None
    if found is None or not found[1].strip("0") or not found[2].strip("0"):
        return None
    from opentelemetry import trace  # pants: no-infer-dep
    from opentelemetry.context import Context  # pants: no-infer-dep

    remote = trace.SpanContext(
        int(found[1], 16),
        int(found[2], 16),
        is_remote=True,
        trace_flags=trace.TraceFlags(int(found[3], 16)),
        trace_state=trace.TraceState.from_header([tracestate] if tracestate else []),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())


def _written(found: Any) -> str:
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
