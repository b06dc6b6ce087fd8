# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line: serve a function, or describe it."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from turbolift.errors import UnsupportedTypeError
from turbolift.shim import early, log
from turbolift.shim.arguments import Arguments, parse
from turbolift.shim.listen import Listener, ListenError, listen_tcp, listen_unix
from turbolift.shim.load import LoadError, Served, load, warm_up
from turbolift.shim.waiting import WaitingRoom

if TYPE_CHECKING:
    from turbolift.shim.tls import ServerTls

# As in sysexits.h.
CANNOT_LOAD = 78
CANNOT_LISTEN = 71
CANNOT_SECURE = 72


def main(argv: Sequence[str]) -> int:
    """Run the program; return its exit status.

    0: drained or described; 1: the function's types cannot travel; 70: calls were cut off at the end of the
    grace time; 71: the address cannot be listened on; 72: the
    certificates cannot be used; 78: the module or the function cannot be loaded.
    """
    options = parse(argv)
    log.setup(options.log_level)
    if options.describe is not None:
        early.restore()
        return _describe(options.function, options.describe)
    try:
        secured = None
        if options.tls:
            secured = _secured(options.tls)
            if secured is None:
                return CANNOT_SECURE
        listener = listen_unix(options.uds) if options.uds else listen_tcp(options.host, options.port)
        if secured is not None:
            listener.endpoint = listener.endpoint.replace("http://", "https://", 1)
        # Whoever asks for health has no certificate: that, and nothing else, is answered on a port of its own.
        probes = None if options.probe_port is None else listen_tcp(options.host, options.probe_port)
    except ListenError as error:
        print(f"turbolift: {error}", file=sys.stderr)
        return CANNOT_LISTEN
    early.at_early_exit(listener.remove)
    try:
        return _serve(options, listener, probes, secured)
    finally:
        listener.remove()


def _secured(folder: str) -> ServerTls | None:
    from turbolift.shim.tls import ServerTls
    from turbolift.wire.tls import CredentialsError

    try:
        return ServerTls(folder)
    except CredentialsError as error:
        print(f"turbolift: {error}", file=sys.stderr)
        return None


def _load(identity: str) -> Served | int:
    try:
        return load(identity)
    except UnsupportedTypeError as error:
        print(_located(error), file=sys.stderr)
        return 1
    except LoadError as error:
        print(error, file=sys.stderr)
        return CANNOT_LOAD


def _located(error: UnsupportedTypeError) -> str:
    place = f"{error.file}:{error.line}"
    text = str(error)
    return text if not error.file or text.startswith(place) else f"{place}: {text}"


def _describe(identity: str, path: str) -> int:
    from pathlib import Path

    from turbolift.shim.describe import describe, write

    served = _load(identity)
    if isinstance(served, int):
        return served
    try:
        write(describe(served), Path(path))
    except (LoadError, OSError) as error:
        print(error, file=sys.stderr)
        return CANNOT_LOAD
    return 0


def _serve(options: Arguments, listener: Listener, probes: Listener | None, secured: ServerTls | None) -> int:
    # It answers by plain HTTP: where calls come over TLS, those that come early wait in the socket's queue.
    early_socket = probes.socket if probes is not None else None if secured is not None else listener.socket
    waiting = WaitingRoom(early_socket)
    served = _load(options.function)
    if isinstance(served, int):
        return served
    try:
        warm_up(served)
    except LoadError as error:
        print(error, file=sys.stderr)
        return CANNOT_LOAD
    from turbolift.shim.gate import Gate
    from turbolift.shim.metrics import Metrics
    from turbolift.shim.servant import Servant

    tag = served.function.options
    if tag.pure:
        from turbolift.shim import purity

        purity.install()
    servant = Servant(served)
    with suppress(AttributeError, OSError, ValueError):  # a stderr that is closed, or no file
        faulthandler.enable()  # a crash in native code leaves its stack in the log, in worker processes too
    zygote = None
    if tag.workers == "processes":
        import turbolift.wire.failure  # noqa: F401 - loaded once, for all workers
        from turbolift.shim.workerproc import start_zygote

        # A fork wants one thread. Meanwhile, connections wait in the socket's queue.
        waiting.close()
        zygote = start_zygote(servant, tag.concurrency, lambda: _close(listener, probes))
        waiting = WaitingRoom(early_socket)
    version = os.environ.get("TURBOLIFT_VERSION", "")
    gate = Gate(tag.concurrency, tag.queue)
    metrics = Metrics(served.identity, gate, version=version, contract=served.contract.digest)

    if secured is not None:
        metrics.certificate_end = secured.end

    async def run() -> int:
        from turbolift.shim.dispatch import Dispatcher
        from turbolift.shim.runners import LoopRunner, Runner, ThreadRunner
        from turbolift.shim.server import Server

        runner: Runner
        processes = None
        if zygote is not None:
            from turbolift.shim.processes import ProcessRunner

            processes = ProcessRunner(*zygote, gate, metrics, served.identity)
            runner = processes
        elif tag.workers == "threads":
            runner = ThreadRunner(servant, tag.concurrency)
        else:
            runner = LoopRunner(servant, is_async=served.function.is_async)
        dispatcher = Dispatcher(served, gate, runner, metrics, version=version)
        server = Server(
            dispatcher, listener, version=version, grace=options.grace, probes=probes, secured=secured
        )
        if processes is not None:
            processes.lost = server.fail
        waiting.close()
        return await server.run()

    early.started()
    status = _run_loop(run(), served.identity)
    sys.stdout.flush()
    sys.stderr.flush()
    if status == 70:
        os._exit(status)
    return status


def _close(*listeners: Listener | None) -> None:
    for one in listeners:
        if one is not None:
            one.socket.close()


def _run_loop(main: Any, identity: str) -> int:
    """Run on uvloop where it is installed and not refused ($TURBOLIFT_LOOP=asyncio), else on asyncio's own
    loop.
    """
    import asyncio

    factory: Any = None
    if os.environ.get("TURBOLIFT_LOOP", "") != "asyncio":
        try:
            import uvloop
        except ImportError:
            pass
        else:
            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        loop = runner.get_loop()
        served = loop.create_task(main)
        while True:
            try:
                return int(loop.run_until_complete(served))
            except (SystemExit, KeyboardInterrupt) as error:
                # Of a task that a function has started: the loop gives these to whoever runs it, and to the task's own
                # waiter. A signal is no KeyboardInterrupt here.
                if served.done():
                    raise
                log.log(
                    logging.ERROR, "a task would have ended the server", function=identity, error=repr(error)
                )
