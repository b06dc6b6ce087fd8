# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Worker processes, the server's side: one call at a time each, killed when the call is given up, replaced
when they die.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from turbolift.shim.log import log
from turbolift.shim.messages import ANSWER, pack_request, unpack_answer
from turbolift.shim.metrics import Metrics
from turbolift.shim.servant import POD, Answer, Received, problem_answer
from turbolift.wire import Problem
from turbolift.wire.receive import DIRECT, BodyReader, PlainBody


class _Worker(asyncio.Protocol):
    """The server's end of a worker's socket. Attributes: ``pid``, ``doomed`` (given up), ``ended`` (its wait status)."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self._pending = b""
        self._head = b""
        self._body: PlainBody | None = None
        self.pid = 0
        self.doomed = False
        self.ended: asyncio.Future[int] = self._loop.create_future()

    def ask(self, content_type: str, body: Received) -> asyncio.Future[Answer]:
        """Send a request; its answer may be an OSError: the worker has ended."""
        self._answer = answer = self._loop.create_future()
        if self._transport is None:
            answer.set_exception(ConnectionResetError())
        else:
            for piece in pack_request(content_type, body):
                self._transport.write(piece)
        return answer

    def kill(self) -> None:
        """End it at once."""
        self.doomed = True
        self.abort()
        if not self.ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def abort(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start (Protocol)."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the answer (Protocol)."""
        if self._body is not None:
            self._body.put(data)
            if self._body.got == self._body.size:
                self.body_received()
            return
        if self._pending:
            data = self._pending + data
        if len(data) < ANSWER.size:
            self._pending = data
            return
        head_size, size = ANSWER.unpack_from(data)
        start = ANSWER.size + head_size
        if len(data) < start:
            self._pending = data
            return
        self._pending = b""
        head, first = data[ANSWER.size : start], data[start:]
        if len(first) == size:
            self._settle(head, first)
            return
        self._head = head
        self._body = body = PlainBody(size, first)
        if size - len(first) >= DIRECT:
            assert self._transport is not None
            self._transport.set_protocol(BodyReader(self, self._transport, body))

    def body_received(self) -> None:
        """The answer is whole (Owner)."""
        assert self._body is not None
        head, body = self._head, self._body.whole()
        self._head, self._body = b"", None
        self._settle(head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, or is given up (Protocol)."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError())

    def _settle(self, head: bytes, body: bytes | bytearray) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(unpack_answer(head, body))


class ProcessRunner:
    """Plain functions, in `count` warm processes. A call that is cancelled ends with its process.

    Attribute ``lost``: called when the zygote is gone, and no worker can be replaced any more.
    """

    stops = True

    def __init__(
        self,
        zygote: int,
        control: socket.socket,
        count: int,
        metrics: Metrics,
        identity: str,
    ) -> None:
        self._zygote = zygote
        self._socket = control
        self._count = count
        self._metrics = metrics
        self._identity = identity
        self.lost: Callable[[], None] = lambda: None
        self._closing = False
        self._idle: deque[_Worker] = deque()
        self._wanted: deque[asyncio.Future[_Worker]] = deque()
        self._starting: deque[asyncio.Future[int]] = deque()
        self._workers: dict[int, _Worker] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the workers."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._keep(self._listen())
        await asyncio.gather(*(self._spawn() for _ in range(self._count)))

    async def run(self, content_type: str, body: Received, release: Callable[[], None]) -> Answer:
        """Run one call in a worker of its own."""
        try:
            worker = await self._take()
            try:
                return await self._ask(worker, content_type, body)
            except BaseException:
                worker.kill()
                raise
            finally:
                self._give(worker)
        finally:
            release()

    async def close(self) -> bool:
        """End all workers and the zygote."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        for worker in list(self._workers.values()):
            worker.kill()
        self._writer.close()
        with suppress(ChildProcessError):
            await asyncio.to_thread(os.waitpid, self._zygote, 0)
        return True

    async def _ask(self, worker: _Worker, content_type: str, body: Received) -> Answer:
        try:
            return await worker.ask(content_type, body)
        except OSError:
            worker.kill()
            return problem_answer(_died(worker.pid, await asyncio.shield(worker.ended)))

    async def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if not worker.doomed and not worker.ended.done():
                return worker
        place: asyncio.Future[_Worker] = asyncio.get_running_loop().create_future()
        self._wanted.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._give(place.result())
            raise

    def _give(self, worker: _Worker) -> None:
        if worker.doomed or worker.ended.done():
            return
        while self._wanted:
            place = self._wanted.popleft()
            if not place.done():
                place.set_result(worker)
                return
        self._idle.append(worker)

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        with theirs:
            _, worker = await asyncio.get_running_loop().create_unix_connection(_Worker, sock=ours)
            # No await from here to the append: answers come in the order of asking.
            try:
                socket.send_fds(self._socket, [b"w"], [theirs.fileno()])
            except OSError:
                worker.abort()
                return
            self._starting.append(started)
        started.add_done_callback(lambda pid: self._started(worker, pid))
        await asyncio.wait([started])

    def _started(self, worker: _Worker, started: asyncio.Future[int]) -> None:
        if started.cancelled():
            worker.abort()
            return
        worker.pid = started.result()
        self._workers[worker.pid] = worker
        self._give(worker)

    async def _listen(self) -> None:
        while line := await self._reader.readline():
            said = json.loads(line)
            if "started" in said:
                self._starting.popleft().set_result(said["started"])
                # The callback that files the worker must run before its end can be read.
                await asyncio.sleep(0)
                continue
            worker = self._workers.pop(said["ended"], None)
            if worker is None:
                continue
            status = said["status"]
            worker.ended.set_result(status)
            worker.abort()
            if not self._closing:
                self._metrics.workers_replaced += 1
                log(
                    logging.INFO if worker.doomed else logging.WARNING,
                    "worker replaced",
                    function=self._identity,
                    pid=worker.pid,
                    how=_how(status),
                )
                self._keep(self._spawn())
        if not self._closing:
            log(logging.ERROR, "the process that forks the workers is gone", function=self._identity)
            for other in self._workers.values():
                if not other.ended.done():
                    other.ended.set_result(signal.SIGKILL)
            self.lost()

    def _keep(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_CRASHES = frozenset({"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGSYS", "SIGTRAP"})


def _died(pid: int, status: int) -> Problem:
    """Return what is said of a worker that ended in the midst of a call."""
    name = _signal(status)
    facts: dict[str, object] = {"pod": POD, "pid": pid}
    if not name:
        facts["exit"] = os.waitstatus_to_exitcode(status)
        advice = "it called os._exit, or a library did: the function must raise or return instead"
    else:
        facts["signal"] = name
        advice = (
            "native code crashed; the server's log has the stack of Python" if name in _CRASHES
            else "the kernel does that where memory runs out: see the option memory" if name == "SIGKILL"
            else "somebody sent it that signal"
        )  # fmt: skip
    return Problem(
        "worker-died", f"the worker process {pid} on {POD} {_how(status)} during the call ({advice})", facts
    )


def _signal(status: int) -> str:
    """Return the name of the signal that ended a process; empty where it ended by itself."""
    if not os.WIFSIGNALED(status):
        return ""
    number = os.WTERMSIG(status)
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _how(status: int) -> str:
    name = _signal(status)
    if name:
        return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
    return f"exited with status {os.waitstatus_to_exitcode(status)}"
