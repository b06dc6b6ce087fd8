# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The commands that ask and stop, and what they say to a user who got something wrong."""

from __future__ import annotations

import json
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from turbolift.deploy.call import call
from turbolift.deploy.http import is_ready
from turbolift.deploy.platform import Reach
from unit.deploy.deployments import DOUBLE, Deployment, double, wait_for

WORDS = "shop.words:Words.count"


def words() -> dict[str, str]:
    """Return the sources of a static method that prints."""
    text = """
from turbolift import Local, on

class Words:
    @staticmethod
    @on(Local())
    def count(text: str) -> dict[str, int]:
        print(f"counting {len(text)} characters", flush=True)
        return {"words": len(text.split())}
"""
    return {"shop/__init__.py": "", "shop/words.py": text}


@pytest.fixture
def served(deployment: Deployment) -> Deployment:
    """A deployment of two functions."""
    bundle = deployment.bundle(DOUBLE, WORDS, double=double(), Words_count=words())
    deployment.run(bundle=bundle)
    return deployment


def test_call_prints_the_result_and_nothing_else(served: Deployment) -> None:
    done = served.run("call", "Words.count", '{"text": "a b c"}')
    assert (done.stdout, done.stderr) == ('{"words": 3}\n', "")
    # Abbreviated; and an option of every command after it.
    assert served.run("call", "doub", '{"n": 3}', "--platform", "local").stdout == "6\n"


def test_call_takes_and_prints_bytes_as_base64(deployment: Deployment) -> None:
    text = "from turbolift import Local, on\n\n@on(Local())\ndef back(data: bytes) -> list[bytes]:\n"
    text += "    return [data[::-1], b'']\n"
    deployment.run(bundle=deployment.bundle("shop.back:back", back={"shop/back.py": text}))
    assert deployment.call("back", '{"data": "YWJj"}') == ["Y2Jh", ""]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (('{"n": "x"}',), "n: expected int"),
        (('{"m": 1}',), "no such parameter"),
        ((), "n"),
        (("{",), "not JSON: Expecting property name"),
        (("[1]",), "must be a JSON object by name"),
    ],
)
def test_call_with_wrong_arguments_says_which(
    served: Deployment, arguments: tuple[str, ...], said: str
) -> None:
    failed = served.run("call", "double", *arguments, code=1)
    assert failed.stdout == ""
    assert failed.stderr.startswith("error: ")
    assert said in failed.stderr


def test_call_shows_what_the_function_raised(served: Deployment) -> None:
    failed = served.run("call", "double", '{"n": -3}', code=1)
    assert failed.stderr.count("Traceback (most recent call last)") == 1
    assert 'app/src/shop/double.py", line ' in failed.stderr
    assert failed.stderr.rstrip().endswith("error: shop.double:double raised ValueError: negative: -3")


def test_call_in_time(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double(extra="import time; time.sleep(5)")))
    failed = deployment.run("call", "double", '{"n": 1}', "--timeout", "0.5", code=1)
    assert "deadline" in failed.stderr


def test_unknown_and_ambiguous_names(served: Deployment) -> None:
    failed = served.run("logs", "dubble", code=1)
    assert "Did you mean double? There is: shop.double:double, shop.words:Words.count" in failed.stderr
    failed = served.run("call", "shop", code=1)
    assert "'shop' is short for 2 functions" in failed.stderr


def test_logs_and_following_them(served: Deployment) -> None:
    served.run("call", "count", '{"text": "one two"}')
    assert "counting 7 characters" in served.run("logs", "count").stdout
    assert len(served.run("logs", "count", "-n", "1").stdout.splitlines()) == 1
    follower = served.start("logs", "count", "-f", "-n", "0")
    # It can be seen to follow only by what comes after it has begun.
    assert follower.stdout is not None
    lines: list[str] = []
    for length in range(1, 30):
        served.run("call", "count", json.dumps({"text": "x" * length}))
        import select

        if select.select([follower.stdout], [], [], 0.3)[0]:
            lines.append(follower.stdout.readline())
            break
    follower.send_signal(signal.SIGINT)
    out, err = follower.communicate(timeout=30)
    assert any("counting" in line for line in [*lines, out])
    assert (follower.returncode, err) == (0, "")


def test_export_writes_what_docker_loads(served: Deployment) -> None:
    out = served.root / "words.tar"
    done = served.run("export", "count", out, "--tag", "shop/words:dev")
    assert f"docker load -i {out}" in done.stdout
    with tarfile.open(out) as archive:
        names = set(archive.getnames())
        member = archive.extractfile("manifest.json")
        assert member is not None
        (document,) = json.loads(member.read())
    assert document["RepoTags"] == ["shop/words:dev"]
    assert set(document["Layers"]) < names
    assert f"blobs/sha256/{served.status()[WORDS]['image'][7:]}" in names


def test_routes_are_what_a_caller_takes(served: Deployment) -> None:
    done = served.run("routes")
    assert json.loads(done.stdout) == served.routes
    assert done.stderr.strip() == str(served.state / "routes.json")


def test_status_for_people(served: Deployment) -> None:
    done = served.run("status")
    for name, one in served.status().items():
        (line,) = [line for line in done.stdout.splitlines() if name in line]
        assert str(one["pid"]) in line
        assert one["endpoint"] in line
        assert one["version"][:10] in line


def test_down_takes_a_function_out_and_rollback_brings_it_back(served: Deployment) -> None:
    pids = {name: one["pid"] for name, one in served.status().items()}
    done = served.run("down", "double")
    assert done.stdout.startswith("shop.double:double  stopped\n1 function left")
    assert set(served.routes["routes"]) == {WORDS}
    assert pids[DOUBLE] not in served.running()
    served.run("rollback", "double")
    status = served.status()
    assert status[WORDS]["pid"] == pids[WORDS]
    assert served.call() == 8
    served.run("down")
    assert served.status() == {}
    assert served.run("status").stdout.startswith("nothing is deployed as 'deploy'")
    assert not served.running()
    served.run("rollback")
    assert set(served.status()) == {DOUBLE, WORDS}


def test_rollback_of_all_goes_back_a_generation_and_forth(deployment: Deployment) -> None:
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    failed = deployment.run("rollback", code=1)
    assert "no earlier generation" in failed.stderr
    failed = deployment.run("rollback", "double", code=1)
    assert "no earlier version of it is kept" in failed.stderr
    deployment.run(bundle=deployment.bundle(DOUBLE, WORDS, double=double(3), Words_count=words()))
    done = deployment.run("rollback")
    assert "1 replaced, 1 retired" in done.stdout
    assert deployment.call() == 8
    deployment.run("rollback")
    assert deployment.call() == 12
    assert set(deployment.status()) == {DOUBLE, WORDS}


def test_prune_removes_what_nothing_kept_needs(deployment: Deployment) -> None:
    # Factors that no other deployment has: their layers are nobody else's.
    for factor in (32, 33, 34):
        deployment.run(bundle=deployment.bundle(DOUBLE, double=double(factor)))
    would = deployment.run("prune", "--dry-run").stdout
    blobs = set((deployment.state / "blobs" / "sha256").iterdir())
    assert len(list(deployment.state.glob("logs/*/*"))) == 3
    done = deployment.run("prune").stdout
    assert would.replace("would free", "freed") == done
    # Of the first version: manifest, config, source layer, its unpacked folder, its log.
    assert "in 5 files" in done
    assert len(blobs - set((deployment.state / "blobs" / "sha256").iterdir())) == 3
    assert len(list(deployment.state.glob("logs/*/*"))) == 2
    assert deployment.call() == 136
    deployment.run("rollback")
    assert deployment.call() == 132
    assert "freed 0 B in 0 files" in deployment.run("prune").stdout


def test_destroy_leaves_nothing(
    new_deployment: Callable[..., Deployment], private_env: dict[str, str]
) -> None:
    deployment = new_deployment(env=private_env)
    deployment.run(bundle=deployment.bundle(DOUBLE, double=double()))
    done = deployment.run("destroy")
    assert f"removed {deployment.state}" in done.stdout
    assert not deployment.running()
    left = [path for path in Path(private_env["XDG_STATE_HOME"]).rglob("*") if path.is_file()]
    assert left == []
    assert list(Path(private_env["XDG_RUNTIME_DIR"]).iterdir()) == []
    assert "nothing is deployed" in deployment.run("destroy").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up",), "up needs --bundle DIR"),
        (("--bundle", "nowhere"), "nowhere/bundle.json: no such bundle"),
        (("stats",), "no command 'stats'; there is: up, diff, render"),
        (("--deployment", "../x", "status"), "--deployment '../x': it must be of a-z"),
        (("--workspace", "nowhere", "status"), "--workspace nowhere: no such folder"),
        (("call", "f"), "no function is deployed"),
        (("logs", "f"), "no function is deployed"),
        (("routes",), "no such route table"),
    ],
)
def test_mistakes_on_the_command_line(deployment: Deployment, arguments: tuple[str, ...], said: str) -> None:
    failed = deployment.run(*arguments, code=1)
    assert failed.stderr.startswith("error: ")
    assert said in failed.stderr
    assert failed.stdout == ""


def test_platform_that_is_not_there_names_function_and_way_out(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, platform="moon", double=double())
    failed = deployment.run(bundle=bundle, code=1)
    assert "shop.double:double: there is no platform 'moon' here" in failed.stderr
    assert "Pass --platform local" in failed.stderr
    deployment.run("--platform", "local", bundle=bundle)
    assert deployment.call() == 8
    # Without a platform of the deployment, each tag's own holds.
    again = deployment.run(bundle=deployment.bundle(DOUBLE, platform=None, double=double()))
    assert "1 unchanged" in again.stdout


def test_help_teaches_by_examples(deployment: Deployment) -> None:
    said = deployment.run("--help").stdout
    assert './pants run deploy -- call quote \'{"sku": "A-1", "quantity": 3}\'' in said
    assert "rollback [FUNCTION|APP]" in said
    assert "--json" in deployment.run("status", "--help").stdout


def test_reader_that_leaves_early_gets_no_complaint(served: Deployment) -> None:
    process = served.start("logs", "double", "-f")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    served.run("call", "double", '{"n": -1}', code=1)
    wait_for(lambda: process.poll() is not None)
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.returncode == 141


def test_checks_are_called_after_the_rollout_and_can_fail_it(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    done = deployment.run("--check", 'double={"n": 4}', bundle=bundle)
    assert f'check {DOUBLE}({{"n": 4}}): 8\n' in done.stdout
    failed = deployment.run("--check", 'double={"n": -4}', bundle=bundle, code=1)
    assert f'check {DOUBLE}({{"n": -4}}): failed\n' in failed.stdout
    assert "ValueError: negative: -4" in failed.stderr
    assert f"rolled out, but the checks of {DOUBLE} failed: 'rollback' goes back" in failed.stderr


def test_a_check_that_cannot_be_read_stops_before_the_rollout(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, double=double())
    for text, said in (("double", "write FUNCTION=JSON"), ("double={", "not JSON")):
        assert said in deployment.run("--check", text, bundle=bundle, code=1).stderr
    assert not (deployment.state / "routes.json").exists()


def test_serve_answers_in_the_foreground_until_it_is_stopped(deployment: Deployment) -> None:
    bundle = deployment.bundle(DOUBLE, WORDS, double=double(), Words_count=words())
    assert "serve which one?" in deployment.run("serve", bundle=bundle, code=1).stderr
    socket = deployment.root / "s.sock"
    with deployment.start("serve", "double", "--uds", socket, bundle=bundle) as process:
        try:
            wait_for(lambda: socket.exists() and is_ready(f"unix://{socket}"))
            assert call(DOUBLE, {"timeout": 10.0}, {"n": 21}, Reach(f"unix://{socket}"), timeout=None) == 0
            assert deployment.processes() == []
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert process.returncode == 0
