# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Calls over TLS: both ends show a certificate, both are replaced under load, and each mistake says what it is."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from turbolift import ConnectError, MaybeExecuted, TlsError, client
from turbolift.wire.tls import validity
from unit.shim.certificates import EARLY, EXPIRED, NAME, Signer, write

Start = Callable[..., Any]


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
def start(deployment: Any, signer: Signer) -> Start:
    """Start a server of `identity` over TLS, and give callers what they need; returns the server."""

    def begin(identity: str = "served:act", *options: str, server: Any = None, **facts: Any) -> Any:
        folder = write(deployment.folder / "server", server or signer.server(), signer.authority.trusted())
        shim = deployment.start(
            identity, "--host", "127.0.0.1", "--port", "0", "--probe-port", "0", "--tls", str(folder), *options, ready=False
        )  # fmt: skip
        wait_for(lambda: shim.logged("ready") or shim.process.poll() is not None)
        (ready,) = shim.logged("ready")
        shim.endpoint, shim.probes, shim.certificates = ready["endpoint"], ready["probes"], folder
        write(deployment.folder / "tls", signer.caller(), signer.authority.trusted())
        deployment.publish(identity, shim.endpoint, server_name=NAME, **facts)
        return shim

    return begin


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached is tried again, for less long than usual."""
    monkeypatch.setattr(client.default_caller(), "policy", client.Policy(refused=0.2))


def wait_for(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_calls_go_over_tls(start: Start, served: Any, get: Any) -> None:
    shim = start()
    assert shim.endpoint.startswith("https://127.0.0.1:")
    assert served.act.call("echo", "hello") == "hello"
    with pytest.raises(ValueError, match="ü"):
        served.act.call("value", "ü")
    # More than a socket takes at once, both ways.
    text = "x" * 900_000
    assert served.act.call("echo", text) == text
    # Whoever asks for health has no certificate.
    assert get(shim.probes, "/healthz")[0] == 200
    assert get(shim.probes, "/readyz")[0] == 200
    counted = get(shim.probes, "/metrics")[2]
    assert b"turbolift_calls_total" in counted
    (end,) = re.findall(rb"^turbolift_certificate_end_seconds\{.*\} (\S+)$", counted, re.MULTILINE)
    assert float(end) == validity((shim.certificates / "tls.crt").read_bytes()).end
    for path in ("/v1/schema", "/v1/openapi.json", "/v1/functions/served:act", "/"):
        assert get(shim.probes, path)[0] == 404
    body = json.dumps({"args": {"what": "echo"}})
    raw = f"POST /v1/functions/served:act HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    assert get(shim.probes, "", raw=raw.encode())[0] == 404
    assert shim.stop() == 0


def test_large_calls_ask_first(start: Start, served: Any) -> None:
    start("served:quick")
    text = "0123456789" * 500_000
    assert served.quick.call("echo", text) == text


def test_probes_answer_while_the_module_is_imported_and_calls_wait(
    deployment: Any, signer: Signer, tmp_path: Path, get: Any
) -> None:
    go = tmp_path / "go"
    folder = write(deployment.folder / "server", signer.server(), signer.authority.trusted())
    port = free_port()
    shim = deployment.start(
        "served_slow:f", "--host", "127.0.0.1", "--port", "0", "--probe-port", str(port), "--tls", str(folder),
        ready=False, GO=str(go),
    )  # fmt: skip
    shim.endpoint = f"http://127.0.0.1:{port}"
    shim.wait_until(503, "/readyz")
    assert get(shim.endpoint, "/healthz")[0] == 200
    go.touch()
    shim.wait_until(200)
    assert shim.stop() == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def refuse(served: Any, reason: str, *texts: str) -> TlsError:
    """Make a call that is refused for `reason`, and has not run."""
    with pytest.raises(TlsError) as caught:
        served.act.call("die")
    error = caught.value
    assert error.reason == reason, error
    assert "the function did not run" in str(error)
    assert isinstance(error, ConnectError)
    assert not isinstance(error, MaybeExecuted)
    for text in texts:
        assert text in str(error)
    return error


def test_a_caller_without_a_certificate(start: Start, served: Any, deployment: Any, signer: Signer) -> None:
    shim = start()
    write(deployment.folder / "tls", None, signer.authority.trusted())
    refuse(
        served, "no-client-certificate", f"{deployment.folder}/tls/tls.crt", "turbolift-<deployment>-caller"
    )
    assert shim.process.poll() is None
    (refused, *_) = shim.logged("a connection was refused")
    assert refused["reason"] == "peer did not return a certificate"


def test_a_caller_of_another_deployment(start: Start, served: Any, deployment: Any, signer: Signer) -> None:
    start()
    other = Signer()
    write(deployment.folder / "tls", other.caller(), signer.authority.trusted())
    refuse(served, "client-unknown-authority", "another deployment")
    write(deployment.folder / "tls", other.caller(), other.authority.trusted())
    refuse(served, "unknown-authority", f"{deployment.folder}/tls/ca.crt", "another deployment")


def test_a_server_is_no_caller_and_a_caller_no_server(
    start: Start, served: Any, deployment: Any, signer: Signer
) -> None:
    start()
    write(deployment.folder / "tls", signer.server(), signer.authority.trusted())
    refuse(served, "client-certificate", "not a caller's")
    write(deployment.folder / "server", signer.caller(), signer.authority.trusted())
    write(deployment.folder / "tls", signer.caller(), signer.authority.trusted())
    refuse(served, "certificate", "unsuitable certificate purpose")


def test_certificates_out_of_their_time(start: Start, served: Any, deployment: Any, signer: Signer) -> None:
    shim = start()
    trusted = signer.authority.trusted()
    write(deployment.folder / "tls", signer.caller(EXPIRED), trusted)
    refuse(served, "client-expired", "expired at ", "by this machine's clock", "renews it")
    write(deployment.folder / "tls", signer.caller(EARLY), trusted)
    refuse(
        served,
        "client-certificate",
        "is not valid before ",
        "by this machine's clock: one of the clocks is wrong",
    )
    write(deployment.folder / "tls", signer.caller(), trusted)
    assert served.act.call("echo", "a") == "a"
    # The server's, replaced while it runs; its open connections are those of before.
    asyncio.run(forget())
    write(deployment.folder / "server", signer.server(age=EXPIRED), trusted)
    refuse(served, "expired", "its certificate expired at ", "by this machine's clock")
    (told, *_) = shim.logged("callers refuse this server")
    assert "expired at " in told["reason"]
    write(deployment.folder / "server", signer.server(age=EARLY), trusted)
    refuse(served, "not-yet-valid", "is not valid before ", "one of the clocks is wrong")


async def forget() -> None:
    """Close this process's connections: those of the loop that blocking calls run on."""
    await asyncio.to_thread(client.run_blocking, client.aclose())


def test_another_server_answers(start: Start, served: Any, deployment: Any, signer: Signer) -> None:
    start(server=signer.server("shop-other", "shop-other.pricing.svc"))
    refuse(served, "name-mismatch", NAME)


def test_no_certificates_at_all(start: Start, served: Any, deployment: Any, signer: Signer) -> None:
    shim = start()
    write(deployment.folder / "tls", None, None)
    refuse(served, "unknown-authority", f"there is no {deployment.folder}/tls/ca.crt")
    # The Secret comes later.
    write(deployment.folder / "tls", signer.caller(), signer.authority.trusted())
    assert served.act.call("echo", "a") == "a"
    assert shim.stop() == 0


def test_certificates_of_a_caller_that_cannot_be_used(
    start: Start, served: Any, deployment: Any, signer: Signer
) -> None:
    start()
    (deployment.folder / "tls" / "tls.key").unlink()
    refuse(served, "credentials", f"{deployment.folder}/tls/tls.key: No such file")
    write(deployment.folder / "tls", signer.caller(), b"no certificate")
    refuse(served, "credentials", f"{deployment.folder}/tls: its certificates cannot be used")
    write(deployment.folder / "tls", signer.caller(), signer.authority.trusted())
    assert served.act.call("echo", "a") == "a"


def test_plain_http_to_a_tls_port(start: Start, served: Any, deployment: Any, get: Any) -> None:
    shim = start()
    plain = shim.endpoint.replace("https", "http")
    deployment.publish("served:act", plain)
    refuse_plain(served)
    # Also to whoever is not turbolift.
    status, _, body = get(plain, "/healthz")
    assert (status, json.loads(body)["type"]) == (400, "urn:turbolift:problem:tls-required")


def refuse_plain(served: Any) -> None:
    with pytest.raises(TlsError, match="speaks TLS, and plain HTTP came: call https://") as caught:
        served.act.call("die")
    assert caught.value.reason == "needs-tls"


def test_tls_to_a_plain_port(served: Any, deployment: Any, signer: Signer) -> None:
    port = free_port()
    shim = deployment.start("served:act", "--host", "127.0.0.1", "--port", str(port), ready=False)
    shim.endpoint = f"http://127.0.0.1:{port}"
    shim.wait_until()
    write(deployment.folder / "tls", signer.caller(), signer.authority.trusted())
    deployment.publish("served:act", f"https://127.0.0.1:{port}", server_name=NAME)
    refuse(served, "not-tls", "plaintext=True")


def test_an_endpoint_is_its_own_name(start: Start, served: Any, deployment: Any, signer: Signer) -> None:
    shim = start(server=signer.server("localhost"))
    deployment.publish("served:act", shim.endpoint.replace("127.0.0.1", "localhost"))
    assert served.act.call("echo", "a") == "a"


def test_the_callers_folder_can_be_elsewhere(
    start: Start,
    served: Any,
    deployment: Any,
    signer: Signer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    start()
    (deployment.folder / "tls").rename(tmp_path / "mine")
    monkeypatch.setenv("TURBOLIFT_CALLER_TLS", str(tmp_path / "mine"))
    deployment.write()
    assert served.act.call("echo", "a") == "a"


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda folder, signer: (folder / "tls.key").unlink(), "tls.key: No such file"),
        (lambda folder, signer: (folder / "ca.crt").unlink(), "ca.crt: No such file"),
        (
            lambda folder, signer: write(folder, signer.server(age=EXPIRED), b""),
            "certificates cannot be used",
        ),
        (
            lambda folder, signer: write(folder, signer.server(age=EXPIRED), signer.authority.trusted()),
            "tls.crt: the certificate expired at ",
        ),
        (
            lambda folder, signer: write(folder, signer.server(age=EARLY), signer.authority.trusted()),
            "one of the clocks is wrong",
        ),
        (
            lambda folder, signer: (folder / "..data" / "tls.key").write_bytes(signer.server().key),
            "tls.key is not the key of tls.crt",
        ),
    ],
)
def test_a_server_with_certificates_that_cannot_work_does_not_start(
    deployment: Any, signer: Signer, break_it: Any, said: str
) -> None:
    folder = write(deployment.folder / "server", signer.server(), signer.authority.trusted())
    break_it(folder, signer)
    shim = deployment.start("served:act", "--port", "0", "--tls", str(folder), ready=False)
    assert shim.process.wait(60) == 72
    assert said in shim.text()
    assert "Traceback" not in shim.text()


def test_everything_is_replaced_under_load_and_no_call_is_lost(
    start: Start, served: Any, deployment: Any, signer: Signer
) -> None:
    """Certificates of both, then the authority of both, in the steps in which deploy does it."""
    from turbolift.deploy.k8s.certificates import Authority, issue_caller, issue_server, new_authority
    from unit.shim.certificates import now

    shim = start("served:quick")
    old = signer.authority
    new = new_authority("test", now())
    both = Authority(old.signer, new.signer)
    turned = Authority(new.signer, None, (old.signer.certificate,))
    done: list[int] = []
    errors: list[BaseException] = []
    ended = threading.Event()

    async def caller() -> None:
        while not ended.is_set():
            assert await served.quick("echo", "a") == "a"
            done.append(1)

    async def load() -> None:
        # Anew, so that handshakes meet each step.
        while not ended.is_set():
            async with asyncio.timeout(60):
                await asyncio.gather(*(served.quick("echo", "b") for _ in range(8)))
            done.append(8)
            await client.aclose()

    def more(calls: int) -> None:
        before = len(done)
        wait_for(lambda: len(done) > before + calls or errors)

    def run(work: Any) -> None:
        try:
            asyncio.run(work())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in (caller, load)]
    for thread in threads:
        thread.start()
    try:
        for signing in (old, both, both, turned, new):
            more(40)
            for name, pair in (
                ("server", issue_server(signing, (NAME,), now())),
                ("tls", issue_caller(signing, now())),
            ):
                write(deployment.folder / name, pair, signing.trusted())
                # Each may be seen before the other.
                more(10)
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert errors == []
    # Whom the former authority signed is a stranger now.
    write(deployment.folder / "tls", signer.caller(), new.trusted())
    with pytest.raises(TlsError) as caught:
        served.quick.call("echo", "a")
    assert caught.value.reason == "client-unknown-authority"
    # What is put there broken is said, and changes nothing.
    write(deployment.folder / "tls", issue_caller(new, now()), new.trusted())
    write(deployment.folder / "server", issue_server(new, (NAME,), now()), b"no certificate")
    assert served.quick.call("echo", "a") == "a"
    assert shim.logged("new certificates cannot be used")
    assert shim.stop() == 0


def test_a_drain_is_no_longer_for_tls(start: Start, served: Any, get: Any, tmp_path: Path) -> None:
    shim = start("served:act", "--grace", "30")
    marker = tmp_path / "held"
    outcome: list[Any] = []
    thread = threading.Thread(target=lambda: outcome.append(served.act.call("hold", str(marker))))
    thread.start()
    wait_for(marker.exists)
    shim.process.terminate()
    wait_for(lambda: get(shim.probes, "/readyz")[0] == 503)
    (tmp_path / "held.go").touch()
    thread.join()
    assert outcome == ["held"]
    assert shim.stop() == 0


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("own", [True, False])
def test_versions_of_tls(
    start: Start, deployment: Any, signer: Signer, version: ssl.TLSVersion, own: bool
) -> None:
    shim = start()
    context = ssl.create_default_context(cafile=str(deployment.folder / "tls" / "ca.crt"))
    context.minimum_version = context.maximum_version = version
    if own:
        context.load_cert_chain(deployment.folder / "tls" / "tls.crt", deployment.folder / "tls" / "tls.key")
    port = int(shim.endpoint.rpartition(":")[2])

    def ask() -> bytes:
        with (
            socket.create_connection(("127.0.0.1", port), 20) as plain,
            context.wrap_socket(plain, server_hostname=NAME) as sock,
        ):
            assert sock.version() == version.name.replace("_", ".")
            sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return sock.recv(1000)

    if own:
        assert ask().startswith(b"HTTP/1.1 200")
    else:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            ask()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_versions_are_refused(start: Start) -> None:
    shim = start()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    port = int(shim.endpoint.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 20) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname=NAME)


def test_callers_on_another_loop(start: Start, served: Any, deployment: Any, signer: Signer) -> None:
    import uvloop

    start()

    async def call() -> list[str]:
        return [await served.act("echo", "a") for _ in range(3)]

    assert uvloop.run(call()) == ["a"] * 3
    write(deployment.folder / "tls", None, signer.authority.trusted())
    with pytest.raises(TlsError) as caught:
        uvloop.run(call())
    assert caught.value.reason == "no-client-certificate"
    write(deployment.folder / "tls", signer.caller(), Signer().authority.trusted())
    with pytest.raises(TlsError) as caught:
        uvloop.run(call())
    assert caught.value.reason == "unknown-authority"


@pytest.mark.parametrize("name", ["threads", "asynchronous", "processes"])
def test_large_bodies_both_ways_beside_small_calls(start: Start, large: Any, name: str) -> None:
    """Over TLS as without: bodies of many sizes arrive whole, and so do the small ones of their neighbours meanwhile."""
    start(f"served_large:{name}")
    function = getattr(large, name)
    parts = [bytes([at]) * size for at, size in enumerate((5 * 2**20 + 1, 17, 2**20 - 100, 0, 2**20))]

    async def main() -> None:
        done = asyncio.Event()

        async def small() -> int:
            count = 0
            while not done.is_set():
                assert await function([b"a", b"%d" % count]) == [b"%d" % count, b"a"]
                count += 1
            return count

        beside = asyncio.create_task(small())
        for found in await asyncio.gather(*(function(parts) for _ in range(3))):
            assert found == parts[::-1]
        done.set()
        assert await beside > 0

    asyncio.run(main())
