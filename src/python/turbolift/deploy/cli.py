# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line. Options that concern every command may stand before or after it; without a command it is
``up``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from turbolift.deploy import commands, forwarding, status
from turbolift.deploy.bundle import check_deployment
from turbolift.deploy.call import call, parse_arguments, run_checks
from turbolift.deploy.interrupt import SIGNALS, TerminatedError
from turbolift.deploy.names import resolve
from turbolift.deploy.session import Session, Settings
from turbolift.deploy.view import View
from turbolift.errors import ConfigurationError, TurboliftError
from turbolift.spec import workspace_root

_EPILOG = """\
commands:
  up (the default)         roll out the bundle: only what changed is replaced, and no call is lost
  diff                     what up would do, and change in a cluster; up --dry-run is the same
  status [--json]          what serves now
  logs FUNCTION|APP        its output; -f follows it, -n N takes the last N lines
  call FUNCTION JSON       call it: the arguments by name, the result on stdout
  export FUNCTION FILE     its image as a tar for 'docker load'
  routes                   the route table
  rollback [FUNCTION|APP]  back to the version before; without a name, all of them
  down [FUNCTION...]       stop functions, or all; what is kept allows a rollback
  forward [-- COMMAND]     make functions in a cluster callable from here, for COMMAND or until Ctrl-C
  render DIR               write a cluster's objects as YAML with a kustomization, for GitOps
  certificates             make and renew those of functions in a cluster and of their callers, as every up does
  prune [--dry-run]        remove images, layers and logs that nothing kept needs
  destroy                  stop everything and remove all that is kept
  COMMAND --help           more about one

A FUNCTION is module:qualname, or any part of it that only one function has.

  ./pants run deploy
  ./pants run deploy -- --platform local
  ./pants run deploy -- --platform k8s --context prod --namespace pricing --registry registry.example/team
  ./pants run deploy -- status --json
  ./pants run deploy -- call quote '{"sku": "A-1", "quantity": 3}'
  ./pants run deploy -- logs quote -f
  ./pants run deploy -- rollback quote
  ./pants run deploy -- down
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code: 0, 1 after ``error: ...`` on stderr, 2 for a wrong command line,
    130 or 143 when interrupted."""
    given = list(sys.argv[1:] if argv is None else argv)
    shared = _shared()
    options, rest = shared.parse_known_args(given)
    if not rest and options.help:
        shared.print_help()
        return 0
    name = rest.pop(0) if rest and not rest[0].startswith("-") else "up"
    for number in SIGNALS:
        signal.signal(number, _terminate)
    try:
        if name not in _COMMANDS:
            raise ConfigurationError(
                f"no command {name!r}; there is: {', '.join(_COMMANDS)}; --help says more"
            )
        parser = argparse.ArgumentParser(
            prog=f"deploy {name}", description=_COMMANDS[name].__doc__, allow_abbrev=False
        )
        with View() as view:
            return _COMMANDS[name](parser, ["--help"] if options.help else rest, options, view)
    except TurboliftError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever reads our output has had enough; Python would complain when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return 1
    except TerminatedError:
        print("terminated", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _terminate(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


def _shared() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy",
        usage="%(prog)s [options] [COMMAND] [arguments]",
        description="Deploy tagged functions, and look after them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("-h", "--help", action="store_true", help="this, or with a command, more about it")
    add("--deployment", default="deploy", metavar="NAME", help="name of the deployment (deploy)")
    add("--workspace", type=Path, metavar="DIR", help="root of the repository (default: around here)")
    add("--bundle", type=Path, metavar="DIR", help="the packaged deployment; only up needs it")
    add("--platform", metavar="KIND", help="where to run: local, k8s, or one that a distribution adds")
    add("--context", metavar="NAME", help="k8s: context of the kubeconfig (its current one)")
    add("--namespace", metavar="NAME", help="k8s: namespace (that of the context, or default)")
    add("--kubeconfig", metavar="FILE", help="k8s: kubeconfig (where kubectl looks)")
    add("--registry", metavar="HOST/PREFIX", help="k8s: where images are pushed to and pulled from")
    add("--insecure-registry", action="store_true", help="k8s: speak plain HTTP to the registry")
    add("--wait", type=_seconds, default=60.0, metavar="S", help="seconds to wait for another run (60)")
    add("--ready-timeout", type=_seconds, default=60.0, metavar="S", help="seconds for a start (60)")
    add(
        "--grace",
        type=_seconds,
        metavar="S",
        help="seconds for running calls at a stop (as tagged, 30 at least)",
    )
    add(
        "--check",
        action="append",
        default=[],
        metavar="FUNCTION=JSON",
        help="after up, call this and print the result; up fails if the call does (repeatable)",
    )
    add("--retire-after", type=_seconds, metavar="S", help="seconds from switch to stop (1; k8s: 90)")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


_PLACES = ("context", "namespace", "kubeconfig", "registry")


def _places(options: argparse.Namespace) -> dict[str, str]:
    """Return what the command line says of where to go."""
    places = {name: getattr(options, name) for name in _PLACES if getattr(options, name)}
    return {**places, "insecure_registry": "yes"} if options.insecure_registry else places


def _asked(options: argparse.Namespace, say: Callable[[str], None]) -> Session:
    """Return a session for a question: the state is what it is now, whoever deployed last."""
    session = _session(options, say)
    session.recall()
    return session


def _session(options: argparse.Namespace, say: Callable[[str], None]) -> Session:
    workspace = options.workspace or workspace_root()
    if workspace is None:
        raise ConfigurationError(f"no pants.toml at or above {os.getcwd()}: give --workspace DIR")
    if not workspace.is_dir():
        raise ConfigurationError(f"--workspace {workspace}: no such folder")
    return Session(
        Settings(
            workspace.resolve(),
            check_deployment(options.deployment),
            options.bundle,
            options.platform,
            options.wait,
            options.ready_timeout,
            options.grace,
            options.retire_after,
            _places(options),
        ),
        say,
    )


_Parser = argparse.ArgumentParser
_Run = Callable[[_Parser, Sequence[str], argparse.Namespace, View], int]


def _up(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Roll out the bundle: start new versions beside the old, wait until all are ready, switch the route
    table in one write, then let the old ones finish and stop them. If one does not start, nothing is
    switched."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done, as diff does")
    mine = parser.parse_args(argv)
    checks = [_check(text) for text in options.check]
    session = _session(options, view.say)
    if mine.dry_run:
        commands.diff(session)
        return 0
    commands.up(session, view)
    return 0 if run_checks(session.state.table()["routes"], checks, session.reach) else 1


def _diff(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Show what up would do with each function; for a cluster also what it would change there, as the API
    server itself says. Nothing is written."""
    parser.parse_args(argv)
    commands.diff(_session(options, view.say))
    return 0


def _render(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Write the bundle's objects for a cluster as YAML, with a kustomization: the same bytes from the same
    bundle. No cluster is asked; --namespace and --registry must be given, here or in the tags."""
    parser.add_argument("folder", type=Path, metavar="DIR")
    mine = parser.parse_args(argv)
    commands.render(options.bundle, options.deployment, mine.folder, _places(options), options.grace)
    return 0


def _certificates(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Make and renew the certificates of functions in a cluster and of their callers, where it is time, and say
    until when they are valid. Every up does it; this is for those that somebody else rolls out (render), and for
    deployments that are left alone for months."""
    parser.parse_args(argv)
    commands.certificates(_session(options, view.say))
    return 0


def _forward(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Open a port-forward to each function and a route table that leads there: for a command that is given
    after --, which runs with TURBOLIFT=on, or until Ctrl-C."""
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="what to run")
    mine = parser.parse_args(argv)
    command = mine.command[1:] if mine.command[:1] == ["--"] else mine.command
    return forwarding.forward(_asked(options, view.say), command)


def _check(text: str) -> tuple[str, str]:
    function, equals, arguments = text.partition("=")
    if not equals:
        raise ConfigurationError(f"--check {text!r}: write FUNCTION=JSON, the arguments by name")
    parse_arguments(arguments)
    return function, arguments


def _serve(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Serve one function of the bundle in the foreground, from its package, until Ctrl-C."""
    parser.add_argument("function", nargs="?", help="which (default: the only one)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, metavar="N", help="on this port of 127.0.0.1 (8080)")
    where.add_argument("--uds", type=Path, metavar="PATH", help="on a unix socket")
    mine = parser.parse_args(argv)
    listen = ["--uds", str(mine.uds.absolute())] if mine.uds else ["--host", "127.0.0.1", "--port"]
    if not mine.uds:
        listen.append(str(8080 if mine.port is None else mine.port))
    # A process here, wherever the function is tagged to run.
    options.platform = "local"
    session = _session(options, view.say)
    argv, env, folder = commands.serve(session, mine.function, listen)
    view.say(f"serving on {mine.uds or 'http://127.0.0.1:' + listen[-1]}; Ctrl-C ends it")
    view.close()
    os.chdir(folder)
    os.execve(argv[0], argv, env)


def _status(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Show what serves now."""
    parser.add_argument("--json", action="store_true", help="one JSON list, and nothing else, on stdout")
    mine = parser.parse_args(argv)
    status.show(_asked(options, view.say), as_json=mine.json)
    return 0


def _logs(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Print the output of a function, or of an app."""
    parser.add_argument("function", metavar="FUNCTION|APP")
    parser.add_argument("-f", "--follow", action="store_true", help="go on as it comes, until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="the last N lines (100)")
    mine = parser.parse_args(argv)
    found = status.output(
        _asked(options, view.say), mine.function, lines=max(mine.lines, 0), follow=mine.follow
    )
    try:
        for line in found:
            print(line, flush=mine.follow)
    except KeyboardInterrupt:
        if not mine.follow:
            raise
    return 0


def _call(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Call a function through the route table; print the JSON of its result."""
    parser.add_argument("function")
    parser.add_argument(
        "arguments", nargs="?", default="{}", help="JSON object of the arguments by name ({})"
    )
    parser.add_argument("--timeout", type=_seconds, metavar="S", help="seconds for the call (as tagged)")
    mine = parser.parse_args(argv)
    arguments = parse_arguments(mine.arguments)
    session = _asked(options, view.say)
    routes = session.state.table()["routes"] if session.state.exists() else {}
    function = resolve(mine.function, routes)
    with session.reach(function) as way:
        return call(function, routes[function], arguments, way, timeout=mine.timeout)


def _export(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Write a function's image as one tar that 'docker load -i' and 'podman load -i' take."""
    parser.add_argument("function")
    parser.add_argument("file", type=Path)
    parser.add_argument("--tag", metavar="NAME[:TAG]", help="what the engine will call it")
    mine = parser.parse_args(argv)
    commands.export(_session(options, view.say), mine.function, mine.file, mine.tag)
    return 0


def _routes(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Print the route table: what TURBOLIFT_ROUTES takes, by path or as text."""
    parser.parse_args(argv)
    status.show_routes(_asked(options, view.say))
    return 0


def _rollback(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Go back to the version before, rolled out as any other; once more goes forward again. Apps go back too, but
    for jobs."""
    parser.add_argument(
        "function",
        nargs="?",
        metavar="FUNCTION|APP",
        help="this one alone (default: all, as they were before)",
    )
    mine = parser.parse_args(argv)
    commands.rollback(_session(options, view.say), view, mine.function)
    return 0


def _down(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Stop functions and take them out of the route table. What is kept allows 'rollback'."""
    parser.add_argument("functions", nargs="*", metavar="FUNCTION")
    mine = parser.parse_args(argv)
    commands.down(_session(options, view.say), view, mine.functions)
    return 0


def _prune(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Remove images, unpacked layers and logs that neither what serves nor a rollback needs."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    mine = parser.parse_args(argv)
    commands.prune(_session(options, view.say), dry_run=mine.dry_run)
    return 0


def _destroy(parser: _Parser, argv: Sequence[str], options: argparse.Namespace, view: View) -> int:
    """Stop everything, and remove the deployment's folder and the layers that no other deployment uses."""
    parser.parse_args(argv)
    commands.destroy(_session(options, view.say), view)
    return 0


_COMMANDS: dict[str, _Run] = {
    "up": _up,
    "diff": _diff,
    "render": _render,
    "forward": _forward,
    "certificates": _certificates,
    "serve": _serve,
    "status": _status,
    "logs": _logs,
    "call": _call,
    "export": _export,
    "routes": _routes,
    "rollback": _rollback,
    "down": _down,
    "prune": _prune,
    "destroy": _destroy,
}
