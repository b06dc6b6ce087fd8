# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The served OpenAPI document and the server say the same: what fits the one is taken by the other, and what does not is
refused as it says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import jsonschema
import pytest
from hypothesis import HealthCheck, given, note, settings
from schemathesis import GenerationMode
from schemathesis.openapi import from_dict

from turbolift.wire import FRAMES, JSON

FUNCTIONS = [
    "plain",
    "shapes",
    "same_shapes",
    "records",
    "scalars",
    "addresses",
    "anything",
    "variadic",
    "nothing",
]
# The same examples each time, unless more are asked for: what no schema can say is found anew forever.
EXAMPLES = settings(
    max_examples=int(os.environ.get("FUZZ", 15)),
    derandomize="FUZZ" not in os.environ,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module", params=FUNCTIONS)
def served_at(request: pytest.FixtureRequest, shared: Any) -> Iterator[tuple[str, Any]]:
    """An endpoint over TCP, and the document that is served there."""
    shim = shared.start(f"served_api:{request.param}", "--host", "127.0.0.1", "--port", "0", ready=False)
    while not (said := shim.logged("ready")):
        assert shim.process.poll() is None, shim.text()
    shim.endpoint = said[0]["endpoint"]
    try:
        with urlopen(f"{shim.endpoint}/v1/openapi.json", timeout=60) as answer:
            yield shim.endpoint, json.load(answer)
    finally:
        assert shim.stop() == 0
        assert "internal error" not in shim.text()


def operations(document: Any) -> dict[str, Any]:
    found: list[Any] = list(from_dict(document).get_all_operations())
    return {one.ok().label: one.ok() for one in found}


def test_the_document_is_one(served_at: tuple[str, Any]) -> None:
    _, document = served_at
    found = operations(document)
    assert len(found) == 3
    for schema in document["components"]["schemas"].values():
        Validator.check_schema(schema)


# Values of the right form that are none: no schema says which days a month has, which zones there are, how large exponents are, how
# many items a deque has room for, what stands at the end of an array of any length, or that 1 is among the items or keys that have True.
DOMAIN = {
    "shapes": {"b", "d", "h"},
    "records": {"mode", "card"},
    "scalars": {"when", "at", "lasts", "price", "path", "unique", "fixed"},
    "addresses": {"c", "d"},
    "anything": {"zone", "value"},
}

# As the server has it: 1.0 is a float.
Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda checker, value: isinstance(value, int) and not isinstance(value, bool)
    ),
)


def judge(response: Any, document: Any, operation: Any) -> Any:
    """Hold an answer to what the document says of it; return its body."""
    said = operation["responses"]
    assert str(response.status_code) in said, response.text
    content = said[str(response.status_code)].get("content")
    if content is None:
        return response.text
    (kind,) = response.headers["content-type"]
    assert kind in content, response.text
    if kind == FRAMES:
        return response.content
    found = response.json()
    Validator({**content[kind]["schema"], "components": document["components"]}).validate(found)
    return found


def parsed(text: str | bytes | None) -> Any:
    """Return what is written there; None, which no call is, where it is no JSON."""
    try:
        return json.loads(text or b"null")
    except ValueError:
        return None


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["positive", "negative"]
)
def test_what_fits_is_taken_and_what_does_not_is_refused(
    served_at: tuple[str, Any], mode: GenerationMode
) -> None:
    endpoint, document = served_at
    identity = document["info"]["title"]
    path, raw = next((path, item["post"]) for path, item in document["paths"].items() if "post" in item)
    body = Validator({**raw["requestBody"]["content"][JSON]["schema"], "components": document["components"]})
    headers = {item["name"].lower(): Validator(item["schema"]) for item in raw["parameters"]}
    domain = DOMAIN.get(identity.partition(":")[2], set())
    taken: list[bool] = []

    @EXAMPLES
    @given(operations(document)[f"POST {path}"].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        response = case.call(base_url=endpoint)
        found = judge(response, document, raw)
        if case.media_type != JSON:
            assert response.status_code in (200, 400, 409, 422)
            return
        sent: Any = response.request
        fits = all(
            headers[name.lower()].is_valid(value if isinstance(value, str) else value.decode("latin-1"))
            for name, value in sent.headers.items()
            if name.lower() in headers
        ) and body.is_valid(parsed(sent.body))
        note(f"{dict(sent.headers)} {sent.body!r} -> {response.status_code} {response.text}")
        taken.append(response.status_code == 200)
        if response.status_code == 504:
            # Its own deadline was too short.
            assert "turbolift-deadline" in map(str.lower, sent.headers)
        elif not fits:
            assert response.status_code in (400, 409, 422)
        elif response.status_code == 422:
            assert found["path"].partition("[")[0].partition(".")[0] in domain
        else:
            assert response.status_code == 200

    run()
    if mode is GenerationMode.POSITIVE:
        assert any(taken) or domain


def test_probes_are_as_they_say(served_at: tuple[str, Any]) -> None:
    endpoint, document = served_at
    for path in ("/healthz", "/readyz"):
        with urlopen(f"{endpoint}{path}", timeout=60) as answer:
            assert str(answer.status) in document["paths"][path]["get"]["responses"]
