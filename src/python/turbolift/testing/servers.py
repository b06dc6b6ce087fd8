# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The servers of a test: the shim's own dispatchers, on an event loop in a thread of this process."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextvars import Context
from typing import TYPE_CHECKING, Any, Literal

from turbolift.client.transport import BrokenError, NotSentError
from turbolift.errors import ConfigurationError
from turbolift.shim import purity
from turbolift.shim.dispatch import Dispatcher
from turbolift.shim.gate import Gate
from turbolift.shim.load import LoadError, Served, warm_up
from turbolift.shim.metrics import Metrics
from turbolift.shim.runners import LoopRunner, Runner, ThreadRunner
from turbolift.shim.servant import Answer, Servant
from turbolift.testing.recorder import Call, serving

if TYPE_CHECKING:
    from turbolift.api import DistributedFunction

Dies = Literal["", "before", "after"]
Find = Callable[[str], "DistributedFunction[..., Any]"]


class _Server:
    """One replica of one function."""

    def __init__(self, function: DistributedFunction[..., Any]) -> None:
        tag = function.options
        served = Served(function.identity, function, function.contract)
        if tag.pure:
            keep = sys.dont_write_bytecode
            purity.install()
            sys.dont_write_bytecode = keep
        servant = Servant(served)
        # Worker processes would be forks of a process that runs tests, with threads in it: threads do for them.
        runner: Runner = (
            LoopRunner(servant, is_async=function.is_async)
            if tag.workers == "loop"
            else ThreadRunner(servant, tag.concurrency)
        )
        gate = Gate(tag.concurrency, tag.queue)
        self.runner = runner
        self.served = served
        self.dispatcher = Dispatcher(served, gate, runner, Metrics(served.identity, gate))
        self.running: set[asyncio.Task[Any]] = set()
        self.dead = False
        self.ready = asyncio.Event()
        self.starting: asyncio.Task[None] | None = None
        self.failed: Exception | None = None

    async def start(self) -> None:
        """Get ready: what the tag wants to have warmed runs first."""
        await self.runner.start()
        try:
            if self.served.function.options.warm is not None:
                await asyncio.to_thread(warm_up, self.served)
        except LoadError as error:
            self.failed = ConfigurationError(str(error))
        self.ready.set()

    async def answer(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Answer one request. Raises BrokenError if this server is killed meanwhile."""
        task = asyncio.current_task()
        assert task is not None
        self.running.add(task)
        try:
            await self.ready.wait()
            if self.failed is not None:
                raise self.failed
            if len(body) > self.dispatcher.max_payload:
                return self.dispatcher.too_large(len(body))
            return await self.dispatcher.dispatch(self.served.identity, headers, body)
        except asyncio.CancelledError:
            if self.dead:
                raise BrokenError("the server died") from None
            raise
        finally:
            self.running.discard(task)

    def kill(self) -> None:
        """Break off what runs."""
        self.dead = True
        for task in self.running:
            task.cancel()


class Servers:
    """A server for each function that is called; ``close`` ends them, and their thread."""

    def __init__(self, find: Find) -> None:
        """`find` gives the tagged function of an identity."""
        self._find = find
        self._servers: dict[str, _Server] = {}
        self._left: list[_Server] = []
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._closed = False
        # The last thing that is handed over is the word to stop.
        self._lock = threading.RLock()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread = threading.Thread(target=self._run, name="turbolift-testing", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        await self._stop.wait()
        # Threads that still run a call are left to themselves: their answers have nowhere to go.
        for server in (*self._servers.values(), *self._left):
            server.kill()
            await server.runner.close()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def send(
        self, identity: str, headers: Mapping[str, str], body: bytes, call: Call, *, dies: Dies = ""
    ) -> Future[Answer]:
        """Hand one request over, in a context of its own: no variable of the caller's gets across. Cancelling the
        Future tells the server. Raises NotSentError once all is closed.

        `dies`: the server dies of it, ``before`` the function runs or once it has run, ``after``.
        """
        future: Future[Answer] = Future()
        context = Context()
        context.run(serving.set, call)

        def start() -> None:
            task = self._loop.create_task(self._answer(identity, headers, body, dies), context=context)
            self._tasks.add(task)
            task.add_done_callback(finish)
            future.add_done_callback(lambda done: self._ended(done, task))

        def finish(task: asyncio.Task[Answer]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                future.cancel()
            if future.cancelled() or not future.set_running_or_notify_cancel():
                return
            error = task.exception()
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(task.result())

        with self._lock:
            if self._closed:
                raise NotSentError("the test that had it distributed is over")
            self._loop.call_soon_threadsafe(start)
        return future

    def _ended(self, future: Future[Answer], task: asyncio.Task[Answer]) -> None:
        with self._lock:
            if future.cancelled() and not self._closed:
                self._loop.call_soon_threadsafe(task.cancel)

    async def _answer(self, identity: str, headers: Mapping[str, str], body: bytes, dies: Dies) -> Answer:
        server = self._servers.get(identity)
        if dies == "before":
            if server is not None:
                del self._servers[identity]
                server.kill()
                await server.runner.close()
            raise BrokenError("the server died")
        function = self._find(identity)
        if server is None or server.served.function is not function:
            server = self._servers[identity] = _Server(function)
            # A task of its own: the call that was the first may be cancelled, others wait too.
            server.starting = self._loop.create_task(server.start())
        answer = await server.answer(headers, body)
        if dies == "after":
            # Nobody remembers that it ran; what else runs there may end.
            if self._servers.get(identity) is server:
                del self._servers[identity]
                self._left.append(server)
            raise BrokenError("the answer was lost")
        return answer

    def close(self) -> None:
        """End: what still runs is broken off."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
