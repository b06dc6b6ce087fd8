# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The lane, the calling side: keep-alive connections of turbolift's own over TCP and unix sockets.

It knows what a call needs of HTTP/1.1 and nothing more; endpoints that want more (a path, a login) go over aiohttp.
"""
