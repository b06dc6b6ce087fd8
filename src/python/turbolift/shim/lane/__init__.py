# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The lane: calls of the served function, straight from the socket to the dispatcher.

Each connection starts here. The lane answers a request that is a plain call (``POST
/v1/functions/<the function served here>``, HTTP/1.1, a ``Content-Length`` within the limit, at most the headers
that a call needs and harmless others). With the first request that is anything else, a probe, a chunked body, a
body over the limit, a head that is wrong in any way, it gives the connection for good to the aiohttp app, with
the bytes as they came. The app serves calls as well, by the same dispatcher, so which of the two answers is a
matter of speed alone.
"""

from turbolift.shim.lane.lane import Lane

__all__ = ["Lane"]
