# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs in a pod: keeps what functions and callers tell it, one JSON line each, and says it again.

A line is acknowledged by a dot once it is kept. ``read N`` is answered by a count and as many lines, from the Nth
on. It stands outside the functions' pods, whose deaths it has to survive; if it died itself, nothing would be
acknowledged any more, and every call would fail.
"""

from __future__ import annotations

import asyncio
import signal

PORT = 7000
LINES: list[bytes] = []
_BATCH = 20_000


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection."""
    try:
        while line := await reader.readline():
            if line.startswith(b"read "):
                start = int(line[5:])
                batch = LINES[start : start + _BATCH]
                writer.write(b"%d\n" % len(batch))
                writer.writelines(batch)
            elif line.endswith(b"\n"):
                LINES.append(line)
                writer.write(b".\n")
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main() -> None:
    """Serve until SIGTERM."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    server = await asyncio.start_server(serve, "0.0.0.0", PORT)
    async with server:
        await end.wait()


if __name__ == "__main__":
    asyncio.run(main())
