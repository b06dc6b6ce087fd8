# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls from wherever a program may be: threads, several loops at once, after a fork, at its exit, in a notebook, under trio."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

Standing = Callable[..., Any]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

START = """
import asyncio, atexit, gc, logging, os, sys, threading
# Of asyncio's log all but what it says of a slow machine.
logging.getLogger("asyncio").setLevel("ERROR")
import served
from served import quick
"""


@pytest.fixture
def run(standing: Standing, modules: Any) -> Run:
    """Return a function that runs a program which may call ``served:quick``."""
    standing("served:quick", "served:aact")

    def run(text: str, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *options, "-c", START + text],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(modules), *filter(None, sys.path)])},
            check=False,
            timeout=120,
        )

    return run


STRICT = ("-X", "dev", "-W", "error", "-W", "ignore:This process:DeprecationWarning")

EXITS = {
    "after a blocking call": 'assert quick.call("echo", "a") == "a"',
    "after a loop": 'assert asyncio.run(quick("echo", "a")) == "a"',
    "after both": 'quick.call("echo", "a"); asyncio.run(quick("echo", "a")); quick.call("echo", "b")',
    "within a loop": """
async def main():
    await quick("echo", "a")
    sys.exit(0)
asyncio.run(main())
""",
    "with a call that runs": """
async def main():
    task = asyncio.create_task(quick("sleep", "/dev/null", 30.0))
    await quick("echo", "a")
asyncio.run(main())
""",
    "with a blocking call that runs in a thread": """
threading.Thread(target=lambda: quick.call("sleep", "/dev/null", 30.0), daemon=True).start()
assert quick.call("echo", "a") == "a"
""",
    "at exit, for the first time": 'atexit.register(lambda: print(quick.call("echo", "late")))',
    "at exit, before turbolift's own end": """
quick.call("echo", "a")
atexit.register(lambda: print(quick.call("echo", "late")))
""",
    "at exit, after turbolift's own end": """
atexit.register(lambda: print(quick.call("echo", "late")))
quick.call("echo", "a")
""",
    "at exit, a loop": """
atexit.register(lambda: print(asyncio.run(quick("echo", "late"))))
quick.call("echo", "a")
""",
    "at exit, many": """
atexit.register(lambda: print(quick.map(["echo"] * 9, "late-late").call()[0] + "ate"))
quick.call("echo", "a")
""",
}


@pytest.mark.parametrize("name", EXITS)
def test_a_program_ends_quietly(run: Run, name: str) -> None:
    done = run(EXITS[name], *STRICT)
    assert done.stderr == ""
    assert done.returncode == 0
    assert done.stdout == ("late\n" if name.startswith("at exit") else "")


def test_a_loop_that_is_never_closed(run: Run) -> None:
    done = run("""
loop = asyncio.new_event_loop()
assert loop.run_until_complete(quick("echo", "a")) == "a"
assert loop.run_until_complete(quick("echo", "b")) == "b"
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_many_threads_and_loops_at_once(run: Run) -> None:
    """From the very first call on: nothing is made twice, of which one would be forgotten."""
    done = run(
        """
import uvloop
before = len(os.listdir("/proc/self/fd"))
wrong = []

async def many(name):
    words = [f"{name}-{i}" for i in range(60)]
    if await asyncio.gather(*(quick("echo", word) for word in words)) != words:
        wrong.append(name)
    if await quick.map(["echo"] * 60, words) != words:
        wrong.append(name)

def blocking(name):
    for i in range(60):
        if quick.call("echo", f"{name}-{i}") != f"{name}-{i}":
            wrong.append(name)

def looping(name, run):
    for _ in range(3):
        run(many(name))

threads = [threading.Thread(target=blocking, args=(f"t{i}",)) for i in range(4)]
threads += [threading.Thread(target=looping, args=(f"a{i}", asyncio.run)) for i in range(2)]
threads += [threading.Thread(target=looping, args=(f"u{i}", uvloop.run)) for i in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not wrong, wrong
gc.collect()
from turbolift.client import aclose, run_blocking
run_blocking(aclose())
# The background loop has its own three; uvloop keeps two.
assert len(os.listdir("/proc/self/fd")) <= before + 6, os.listdir("/proc/self/fd")
print("done")
""",
        *STRICT,
    )
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_forks_in_the_midst_of_calls(run: Run) -> None:
    done = run(
        """
going = True
counts = [0] * 3

def work(number):
    while going:
        assert quick.call("echo", "x") == "x"
        counts[number] += 1

threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
for thread in threads:
    thread.start()
while min(counts) < 10:
    pass
for i in range(12):
    pid = os.fork()
    if pid == 0:
        ended = quick.call("echo", f"{i}") == f"{i}" and asyncio.run(quick("echo", "y")) == "y"
        sys.stderr.flush()
        os._exit(0 if ended else 1)
    assert os.waitpid(pid, 0)[1] == 0
before = list(counts)
while any(now < then + 10 for now, then in zip(counts, before)):
    pass
going = False
for thread in threads:
    thread.join()
print("done")
""",
        "-W",
        "ignore:This process:DeprecationWarning",
    )
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_pool_of_forked_processes(run: Run) -> None:
    done = run(
        """
import multiprocessing
assert quick.call("echo", "here") == "here"
with multiprocessing.get_context("fork").Pool(3) as pool:
    assert pool.starmap(quick.call, [("echo", str(i)) for i in range(30)]) == [str(i) for i in range(30)]
assert quick.call("echo", "here") == "here"
print("done")
""",
        "-W",
        "ignore:This process:DeprecationWarning",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_notebook(run: Run) -> None:
    """As in Jupyter: a loop runs on the main thread, and cells may await."""
    done = run(
        """
import ast, inspect

CELLS = [
    "found = await quick('echo', 'one')",
    "found += (await quick.map(['echo'] * 2, 'ab'))[1]",
    '''
try:
    quick.call('echo', 'x')
except RuntimeError as error:
    told = str(error)
''',
    "found += await asyncio.to_thread(quick.call, 'echo', 'two')",
]

async def kernel():
    scope = {"quick": quick, "asyncio": asyncio}
    for cell in CELLS:
        made = eval(compile(cell, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), scope)
        if inspect.iscoroutine(made):
            await made
    print(scope["found"], scope["told"], sep=chr(10))

asyncio.run(kernel())
""",
        *STRICT,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    found, told = done.stdout.splitlines()
    assert found == "onebtwo"
    assert "await quick(...)" in told


TRIO = """
import trio

async def main():
    found = []
    async def one(i):
        found.append(await trio.to_thread.run_sync(quick.call, "echo", str(i)))
    async with trio.open_nursery() as nursery:
        for i in range(20):
            nursery.start_soon(one, i)
    assert sorted(found, key=int) == [str(i) for i in range(20)]
    # Without a thread it stops trio's loop for as long as it takes, as any blocking call does.
    assert quick.call("echo", "here") == "here"
    try:
        await trio.to_thread.run_sync(quick.call, "value", "no")
    except ValueError as error:
        assert error.args == ("no",)
    print("done")
"""


def test_under_trio(run: Run) -> None:
    done = run(TRIO + "trio.run(main)", *STRICT)
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_trio_as_a_guest_of_asyncio(run: Run) -> None:
    done = run(
        TRIO.replace('    assert quick.call("echo", "here") == "here"\n', "")
        + """
async def host():
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    trio.lowlevel.start_guest_run(
        main, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=over.set_result)
    assert await quick("echo", "beside it") == "beside it"
    (await over).unwrap()

asyncio.run(host())
""",
        *STRICT,
    )
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_under_anyio(run: Run, backend: str) -> None:
    done = run(
        f"""
import anyio, anyio.to_thread

async def main():
    found = []
    async def one(i):
        found.append(await anyio.to_thread.run_sync(quick.call, "echo", str(i)))
    async with anyio.create_task_group() as group:
        for i in range(20):
            group.start_soon(one, i)
    assert sorted(found, key=int) == [str(i) for i in range(20)]
    if {backend!r} == "asyncio":
        assert await quick("echo", "x") == "x"
        with anyio.move_on_after(0.2) as scope:
            await served.aact.with_options(timeout=60)("wait", "/dev/null", 600.0)
        assert scope.cancelled_caught
    print("done")

anyio.run(main, backend={backend!r})
""",
        *STRICT,
    )
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, "done\n")
