# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""How the plugin tells a requirement of turbolift's runtime, and what it says where none can serve."""

from __future__ import annotations

import pytest  # pants: no-infer-dep

from turbolift_pants.steps import brings_shim, no_runtime, runtime_extras


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ("turbolift-runtime", []),
        ("turbolift-runtime==0.1.0", []),
        ("turbolift-runtime[shim]==0.1.0", ["shim"]),
        ("Turbolift_Runtime [Shim, client] >=0.1; python_version >= '3.11'", ["client", "shim"]),
        ("turbolift.runtime[shim] @ file:///wheels/turbolift_runtime-0.1.0-py3-none-any.whl", ["shim"]),
        ("turbolift", None),
        ("turbolift-runtime-extra[shim]", None),
        ("aiohttp[speedups]>=3", None),
    ],
)
def test_a_runtime_is_told_by_its_normalised_name(requirement: str, expected: list[str] | None) -> None:
    extras = runtime_extras(requirement)
    assert (None if extras is None else sorted(extras)) == expected


@pytest.mark.parametrize(
    ("extras", "expected"),
    [
        (["shim"], True),
        (["all"], True),
        (["client", "shim"], True),
        ([], False),
        (["client", "deploy"], False),
    ],
)
def test_only_the_shim_serves(extras: list[str], expected: bool) -> None:
    assert brings_shim(extras) is expected


def test_the_error_says_what_to_add() -> None:
    lacking = no_runtime("web", ["3rdparty:reqs#turbolift-runtime"])
    assert lacking.startswith("3rdparty:reqs#turbolift-runtime: turbolift-runtime without its `shim` extra")
    missing = no_runtime("web")
    assert missing.startswith("The resolve `web` has no requirement of turbolift-runtime")
    for text in (lacking, missing):
        assert "turbolift-runtime[shim]" in text
        assert 'python_requirements(module_mapping={"turbolift-runtime": ["turbolift"]})' in text
        assert "pants generate-lockfiles --resolve=web" in text
