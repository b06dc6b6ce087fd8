# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Worker processes, the server's side: one call at a time each, killed when the call that runs is given up, replaced
when they die. Calls that are quick are sent ahead, so that a worker has the next one when it has answered.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from turbolift.shim.board import SURE, Board
from turbolift.shim.ends import died, how
from turbolift.shim.gate import Gate
from turbolift.shim.log import log
from turbolift.shim.messages import JOINED
from turbolift.shim.metrics import Metrics
from turbolift.shim.servant import Answer, Received, problem_answer
from turbolift.shim.worker import Ticket, Worker
from turbolift.wire import current_deadline, current_trace

DEPTH = 32
"""Calls that a worker may have at most, the one that runs included."""

AHEAD_TIME = 0.002
"""Seconds of work that a worker may have."""

FILL_TIME = 0.0001
"""Seconds of work that a worker is given before another one is woken for more: to be woken takes about as long."""

SLOW = 0.01
"""Seconds: where a call has taken longer lately, none is sent ahead, to wait behind such a one."""

FORGETS = 0.98
"""What is left of the longest time lately with each further call."""

STUCK = 0.005
"""Seconds after which a call holds up those that were sent behind it for long enough: they go elsewhere."""


class _Awaited(Ticket):
    """A call that somebody waits for. Attribute ``answer``."""

    __slots__ = ("_release", "answer")

    def __init__(
        self,
        content_type: str,
        body: Received,
        deadline: float | None,
        trace: bytes,
        loop: asyncio.AbstractEventLoop,
        release: Callable[[float], None],
    ) -> None:
        super().__init__(content_type, body, deadline, trace, is_callers=False)
        self.answer: asyncio.Future[Answer] = loop.create_future()
        self._release = release

    def settle(self, answer: Answer, began: float, now: float) -> None:
        """Give the answer to who waits (Ticket)."""
        self._release(began)
        if not self.answer.done():
            self.answer.set_result(answer)


class ProcessRunner:
    """Plain functions, in `count` warm processes. A call that is cancelled ends with its process.

    Attribute ``lost``: called when the zygote is gone, and no worker can be replaced any more.
    """

    stops = True

    def __init__(
        self,
        zygote: int,
        control: socket.socket,
        board: Board,
        gate: Gate,
        metrics: Metrics,
        identity: str,
    ) -> None:
        """`board` has a place for each slot of `gate`, whose ``ahead`` is kept here."""
        self._zygote = zygote
        self._socket = control
        self._board = board
        self._gate = gate
        self._metrics = metrics
        self._identity = identity
        self.lost: Callable[[], None] = lambda: None
        self._closing = False
        self._idle: list[Worker] = []
        self._queue: deque[Ticket] = deque()
        self._dirty: list[Worker] = []
        self._starting: deque[asyncio.Future[int]] = deque()
        self._workers: dict[int, Worker] = {}
        # Those that have a place, each next in its turn; and the places that nobody has.
        self._turns: deque[Worker] = deque()
        self._places = list(range(gate.concurrency))
        self._tasks: set[asyncio.Task[None]] = set()
        self._depth = 1
        # The worker that was woken last, and how many calls it gets before another one is.
        self._filling: Worker | None = None
        self._fill = 1
        self._mean = 0.0
        self._longest = 0.0
        self._watching: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Start the workers."""
        self._loop = asyncio.get_running_loop()
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._keep(self._listen())
        await asyncio.gather(*(self._spawn() for _ in range(self._gate.concurrency)))

    async def run(self, content_type: str, body: Received, release: Callable[[float], None]) -> Answer:
        """Run one call in a worker (Runner). It inherits the deadline and the trace of this context."""
        trace = (current_trace() or "").encode("ascii")
        ticket = _Awaited(content_type, body, current_deadline(), trace, self._loop, release)
        self.post(ticket)
        self.flush()
        try:
            return await ticket.answer
        except BaseException:
            began = self.withdraw(ticket)
            if began is not None:
                release(began)
            raise

    def post(self, ticket: Ticket) -> None:
        """Have a call run, as soon as a worker is there for it and ``flush`` is called; its ``settle`` is told the answer."""
        worker = self._filling
        if (
            worker is not None
            and 0 < len(worker.tickets) < self._fill
            and self._depth > 1
            and len(ticket.body) <= JOINED
            and not worker.is_stuck
            and worker.is_alive
        ):
            self._send(worker, ticket)
            return
        worker = None
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                break
            worker = None
        if worker is None and self._depth > 1 and len(ticket.body) <= JOINED:
            worker = self._busy()
        if worker is None:
            self._queue.append(ticket)
        else:
            self._send(worker, ticket)

    def flush(self) -> None:
        """Send what was posted."""
        dirty, self._dirty = self._dirty, []
        for worker in dirty:
            worker.flush()

    def withdraw(self, ticket: Ticket) -> float | None:
        """Have a call not run, or end it with its worker; nobody is told of it. Return when it began, at the earliest; None where
        it has ended.
        """
        if ticket.is_over:
            return None
        ticket.is_over = True
        worker = ticket.worker
        if worker is None:
            with suppress(ValueError):  # of a worker that died just now
                self._queue.remove(ticket)
            return time.monotonic()
        if worker.has_begun(ticket):
            worker.kill()
            return worker.began(ticket)
        worker.take_back(ticket)
        self._loop.call_later(SURE, self._withdrawn, worker, ticket)
        return time.monotonic()

    async def close(self) -> bool:
        """End all workers and the zygote."""
        self._closing = True
        if self._watching is not None:
            self._watching.cancel()
        for task in list(self._tasks):
            task.cancel()
        for worker in list(self._workers.values()):
            worker.kill()
            worker.abort()
        self._writer.close()
        with suppress(ChildProcessError):
            await asyncio.to_thread(os.waitpid, self._zygote, 0)
        return True

    # What workers tell.

    def answered(self, worker: Worker) -> None:
        """Some of its calls have their answers (Owner): it gets others."""
        if worker.is_alive:
            self._feed(worker)
        self.flush()

    def returned(self, ticket: Ticket) -> None:
        """A worker has skipped this call (Owner)."""
        ticket.worker = None
        self._queue.appendleft(ticket)
        self._share()

    def learn(self, seconds: float) -> None:
        """A call has taken so long (Owner)."""
        self._mean = mean = max(self._mean + (seconds - self._mean) * (0.1 if self._mean else 1.0), 1e-7)
        self._longest = longest = max(self._longest * FORGETS, seconds)
        depth = 1
        if longest < SLOW:
            depth = min(int(AHEAD_TIME / mean), DEPTH) or 1
            self._fill = min(int(FILL_TIME / mean), depth)
        if depth != self._depth:
            self._depth = depth
            gate = self._gate
            gate.ahead = min((depth - 1) * gate.concurrency, gate.queue)

    def closed(self, worker: Worker) -> None:
        """No more answers come from a worker (Owner): its call has ended with it, and the others go elsewhere."""
        with suppress(ValueError):
            self._turns.remove(worker)
        if self._closing:
            return
        again = []
        for ticket in worker.tickets:
            if ticket is None or ticket.is_over:
                continue
            if worker.has_begun(ticket):
                ticket.is_over = True
                self._keep(self._died(worker, ticket))
            else:
                ticket.worker = None
                again.append(ticket)
        worker.tickets.clear()
        self._queue.extendleft(reversed(again))
        self._share()

    async def _died(self, worker: Worker, ticket: Ticket) -> None:
        status = await asyncio.shield(worker.ended)
        ticket.settle(problem_answer(died(worker.pid, status)), worker.began(ticket), time.monotonic())

    # Who gets what.

    def _busy(self) -> Worker | None:
        """Return a worker that has something to do, and room for more: the better one of two, each of which has its turn."""
        turns = self._turns
        best = None
        for _ in range(min(2, len(turns))):
            turns.rotate(-1)
            worker = turns[0]
            if (
                len(worker.tickets) < self._depth
                and not worker.is_stuck
                and worker.is_alive
                and (best is None or len(worker.tickets) < len(best.tickets))
            ):
                best = worker
        return best

    def _send(self, worker: Worker, ticket: Ticket) -> None:
        if not worker.tickets:
            self._filling = worker
        elif self._watching is None:
            self._watching = self._loop.call_later(STUCK, self._look)
        if worker.put(ticket):
            self._dirty.append(worker)

    def _feed(self, worker: Worker) -> None:
        """Give a worker what waits, as much as it may have."""
        queue = self._queue
        while queue:
            tickets = worker.tickets
            if tickets and (len(tickets) >= self._depth or worker.is_stuck or len(queue[0].body) > JOINED):
                return
            self._send(worker, queue.popleft())
        if not worker.tickets and worker not in self._idle:
            self._idle.append(worker)

    def _share(self) -> None:
        """Give what waits to those that have nothing to do."""
        while self._queue and self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                self._feed(worker)
        self.flush()

    def _look(self) -> None:
        """Look for calls that take longer than was to be expected, and hold up those behind them."""
        self._watching = None
        again = False
        for worker in self._workers.values():
            tickets = worker.tickets
            if len(tickets) < 2:
                worker.front = None
                continue
            again = True
            if tickets[0] is not None and tickets[0] is worker.front and not worker.is_stuck:
                worker.is_stuck = True
                behind = [(one, one.number) for one in tickets if one is not None and one is not tickets[0]]
                for ticket, _ in behind:
                    worker.take_back(ticket)
                self._loop.call_later(SURE, self._taken_back, worker, behind)
            worker.front = tickets[0]
        if again:
            self._watching = self._loop.call_later(STUCK, self._look)

    def _taken_back(self, worker: Worker, behind: list[tuple[Ticket, int]]) -> None:
        again = []
        for ticket, number in behind:
            # It may have been skipped already, and sent again, here too.
            sent = ticket.worker is worker and ticket.number == number
            if sent and not ticket.is_over and not worker.has_begun(ticket):
                worker.tickets[worker.tickets.index(ticket)] = None
                ticket.worker = None
                again.append(ticket)
        self._queue.extendleft(reversed(again))
        self._share()

    def _withdrawn(self, worker: Worker, ticket: Ticket) -> None:
        """It was to be skipped: where it had begun in that very moment, it ends with its worker."""
        if ticket in worker.tickets and self._board.begun(worker.place) == ticket.number:
            worker.kill()

    # Starts and ends.

    def _close(self, worker: Worker) -> None:
        """Close the connection of a worker that has ended. What it has sent is read before its socket's end, which does not come
        where a process that it has forked still holds that.
        """
        if worker.is_silent():
            worker.abort()
        if not worker.closed.done():
            self._loop.call_later(0.02, self._close, worker)

    async def _replace(self, worker: Worker) -> None:
        # Its place still says what it had begun with, until nobody asks any more.
        await asyncio.wait([worker.closed])
        self._places.append(worker.place)
        await self._spawn()

    async def _spawn(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        started: asyncio.Future[int] = self._loop.create_future()
        place = self._places.pop()
        self._board.clear(place)
        with theirs:
            _, worker = await self._loop.create_unix_connection(
                lambda: Worker(self, self._board, place, ours), sock=ours
            )
            # No await from here to the append: answers come in the order of asking.
            try:
                socket.send_fds(self._socket, [place.to_bytes(4, "big")], [theirs.fileno()])
            except OSError:
                worker.abort()
                return
            self._starting.append(started)
        started.add_done_callback(lambda pid: self._started(worker, pid))
        await asyncio.wait([started])

    def _started(self, worker: Worker, started: asyncio.Future[int]) -> None:
        if started.cancelled():
            worker.abort()
            return
        worker.pid = started.result()
        self._workers[worker.pid] = worker
        self._turns.append(worker)
        self._feed(worker)
        self.flush()

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
            self._close(worker)
            if not self._closing:
                self._metrics.workers_replaced += 1
                log(
                    logging.INFO if worker.is_doomed else logging.WARNING,
                    "worker replaced",
                    function=self._identity,
                    pid=worker.pid,
                    how=how(status),
                )
                self._keep(self._replace(worker))
        if not self._closing:
            log(logging.ERROR, "the process that forks the workers is gone", function=self._identity)
            for other in self._workers.values():
                if not other.ended.done():
                    other.ended.set_result(signal.SIGKILL)
            self.lost()

    def _keep(self, work: object) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
