# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What the plugin's rules decide, without an engine."""

from __future__ import annotations

import json

import pytest  # pants: no-infer-dep

from turbolift_pants.documents import (
    BundleEntry,
    Closure,
    app_spec,
    bundle_files,
    closure_digest,
    function_spec,
    slug,
    version,
)
from turbolift_pants.steps import (
    FileReport,
    Finding,
    Tagged,
    blobs_link,
    builds_nothing,
    entry_point,
    generated_name,
    identity,
    mentions,
    package_path,
    parse_report,
    place_options,
    selected,
    unlike_versions,
)

DESCRIBE = {
    "version": 1,
    "function": "shop.cart:total",
    "doc": "Add up.",
    "contract": {"digest": "sha256:" + "0" * 64, "parameters": {}, "result": {}},
    "options": {"timeout": 5.0},
    "platform": {"kind": "local"},
    "python": "3.11.2",
}
CLOSURE = Closure((("turbolift/errors.py", "aa"),), (("shop/cart.py", "bb"),), ("attrs",))


def _entry(function: str, digit: str) -> BundleEntry:
    manifest = {"digest": "sha256:" + digit * 64, "mediaType": "m", "size": 1}
    return BundleEntry(
        function, "src/shop:functions#" + function, manifest, {**DESCRIBE, "function": function}
    )


def test_names_of_targets_are_unique_over_files_and_classes() -> None:
    names = [
        generated_name("cart.py", "total"),
        generated_name("order.py", "total"),
        generated_name("cart.py", "Cart.total"),
        generated_name("cart.py", ""),
    ]
    assert names == ["cart.total", "order.total", "cart.Cart.total", "cart.(unparsable)"]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("path", "qualname", "expected"),
    [
        ("pricing/quote.py", "quote", "pricing.quote:quote"),
        ("pricing/__init__.py", "quote", "pricing:quote"),
        ("top.py", "K.f", "top:K.f"),
    ],
)
def test_identity(path: str, qualname: str, expected: str) -> None:
    assert identity(path, qualname) == expected


def test_slugs_of_likely_twins_differ() -> None:
    twins = ["a.b:c", "a_b:c", "a.b:C", "a:b.c"]
    assert len({slug(twin) for twin in twins}) == len(twins)
    assert all(part.isalnum() or part == "-" for twin in twins for part in slug(twin))


def test_layouts_share_one_folder_of_blobs() -> None:
    path = package_path("examples/pricing", "quote.quote")
    assert path == "examples/pricing/quote.quote"
    assert blobs_link(path) == "../../../turbolift/blobs"
    assert blobs_link("f") == "../turbolift/blobs"


def test_a_report_is_read_back() -> None:
    text = json.dumps(
        {
            "version": 1,
            "python": "3.13.0",
            "files": [
                {
                    "path": "a.py",
                    "parsed": True,
                    "functions": [
                        {"name": "f", "qualname": "f", "line": 3, "is_async": False, "platform": "C"}
                    ],
                    "findings": [
                        {
                            "path": "a.py",
                            "line": 3,
                            "column": 7,
                            "rule": "method",
                            "message": "no",
                            "function": "f",
                        }
                    ],
                }
            ],
        }
    )
    (file,) = parse_report(text.encode())
    assert [f.qualname for f in file.functions] == ["f"]
    assert [str(f) for f in file.findings_of("f")] == ["a.py:3:7: no [method]"]
    assert file.findings_of("g") == ()


def test_what_is_refused_has_a_target_too() -> None:
    method = Finding("a.py", 9, 5, "method", "no", "Cart.total")
    again = Finding("a.py", 10, 5, "untyped-parameter", "no", "Cart.total")
    whole = Finding("a.py", 1, 1, "call-form", "no", "")
    function = Tagged("a.py", "f", 3, "C")
    assert FileReport("a.py", True, (function,), (method, again)).entries() == (("f", 3), ("Cart.total", 9))
    assert FileReport("a.py", True, (), (whole,)).entries() == (("", 1),)
    # Each of the file's functions fails by it already.
    assert FileReport("a.py", True, (function,), (whole,)).entries() == (("f", 3),)
    assert FileReport("a.py", False, (), (whole,)).entries() == (("", 1),)


def test_only_files_that_may_hold_a_tag_are_parsed() -> None:
    assert mentions(b"import turbolift\n@turbolift.on(x)\n")
    assert not mentions(b"import turbolift\n")
    assert not mentions(b"@decorator\n")


def test_the_closure_digest_changes_with_files_and_distributions_alone() -> None:
    resolved = [{"name": "attrs", "version": "1"}]
    first = closure_digest(CLOSURE, resolved)
    assert first == closure_digest(CLOSURE, resolved)
    assert first != closure_digest(CLOSURE, [{"name": "attrs", "version": "2"}])
    edited = Closure(CLOSURE.shim, (("shop/cart.py", "cc"),), CLOSURE.requirements)
    assert first != closure_digest(edited, resolved)


def test_the_version_covers_image_and_spec() -> None:
    spec = function_spec(DESCRIBE, target="t", source="s.py", line=1, closure=CLOSURE, resolved=[])
    slower = {**spec, "options": {"timeout": 6.0}}
    assert version("sha256:a", spec) == version("sha256:a", dict(reversed(list(spec.items()))))
    assert len({version("sha256:a", spec), version("sha256:b", spec), version("sha256:a", slower)}) == 3


def test_a_bundle_lists_functions_in_order_of_their_identity() -> None:
    files = bundle_files("deploy", "local", [_entry("b:f", "1"), _entry("a:f", "2")])
    bundle = json.loads(files["bundle.json"])
    assert [f["function"] for f in bundle["functions"]] == ["a:f", "b:f"]
    index = json.loads(files["index.json"])
    assert [m["annotations"]["dev.turbolift.function"] for m in index["manifests"]] == ["a:f", "b:f"]
    assert all(f["spec"] in files for f in bundle["functions"])
    assert files == bundle_files("deploy", "local", [_entry("a:f", "2"), _entry("b:f", "1")])


def test_two_functions_of_one_identity_are_refused() -> None:
    with pytest.raises(ValueError, match="two functions are both a:f"):
        bundle_files("deploy", None, [_entry("a:f", "1"), _entry("a:f", "2")])


def _app(*functions: str, **options: object) -> BundleEntry:
    spec = app_spec(
        app="shop.app:main",
        target="src/shop:app",
        source="src/shop/app.py",
        kind="deployment",
        options={"replicas": 1, **options},
        functions=functions,
        closure=CLOSURE,
        resolved=(),
    )
    return BundleEntry("shop.app:main", "src/shop:app", {"digest": "sha256:" + "9" * 64}, spec)


def test_an_app_is_pinned_to_the_versions_that_it_is_bundled_with() -> None:
    functions = [_entry("b:f", "1"), _entry("a:f", "2")]
    files = bundle_files("deploy", "k8s", functions, [_app("b:f")])
    bundle = json.loads(files["bundle.json"])
    versions = {one["function"]: one["version"] for one in bundle["functions"]}
    (app,) = bundle["apps"]
    assert app["pins"] == {"b:f": versions["b:f"]}
    assert json.loads(files[app["spec"]])["functions"] == ["b:f"]
    assert len(json.loads(files["index.json"])["manifests"]) == 3
    # What it is pinned to is part of its version; what it does not call is not.
    called, other = ([_entry("b:f", "3"), functions[1]], [functions[0], _entry("a:f", "3")])
    again = [
        json.loads(bundle_files("d", None, each, [_app("b:f")])["bundle.json"]) for each in (called, other)
    ]
    assert [one["apps"][0]["version"] == app["version"] for one in again] == [False, True]


def test_an_app_that_calls_what_the_deployment_leaves_out_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"src/shop:app calls c:f, which the deployment's functions= leaves out"
    ):
        bundle_files("deploy", None, [_entry("a:f", "1")], [_app("a:f", "c:f")])


@pytest.mark.parametrize(
    ("platform", "arguments", "expected"),
    [
        ("k8s", [], ("--context=c", "--namespace=n", "--registry=r/p", "--insecure-registry")),
        ("k8s", ["--platform=local", "status"], ()),
        ("local", [], ()),
        (
            "local",
            ["--platform", "k8s"],
            ("--context=c", "--namespace=n", "--registry=r/p", "--insecure-registry"),
        ),
        (None, ["status"], ("--context=c", "--namespace=n", "--registry=r/p", "--insecure-registry")),
    ],
)
def test_fields_of_a_cluster_count_where_it_goes_to_one(
    platform: str | None, arguments: list[str], expected: tuple[str, ...]
) -> None:
    assert place_options(platform, "c", "n", "r/p", True, arguments) == expected
    assert place_options(platform, None, None, None, False, arguments) == ()


@pytest.mark.parametrize("value", ["app", "app.py:", "app.py:a.b", "app.py:1", ":main", "app.txt"])
def test_an_entry_point_is_a_file_or_a_function_in_one(value: str) -> None:
    assert entry_point("web/app.py:main") == ("web/app.py", "main")
    with pytest.raises(ValueError, match=r"as `app\.py:main`"):
        entry_point(value)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ((), True),
        (("::",), True),
        (("examples::",), True),
        (("examples/pricing:",), True),
        (("examples:",), False),
        (("exam::",), False),
        (("//examples/pricing:functions#q.q",), True),
        (("examples/other::", "examples/pricing:functions#q.q"), True),
    ],
)
def test_which_functions_a_deployment_means(patterns: tuple[str, ...], expected: bool) -> None:
    assert selected("examples/pricing", "examples/pricing:functions#q.q", patterns) is expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), False),
        (("--platform", "local"), False),
        (("status", "--json"), True),
        (("--platform", "local", "status"), True),
        (("call", "a:f", "{}"), True),
        (("--help",), True),
        (("up",), False),
        (("prune",), True),
        (("--platform", "k8s", "--context", "status", "--namespace", "n", "diff"), False),
        (("--platform", "k8s", "--registry", "r.example/team", "render", "dist/k8s"), False),
        (("--platform", "k8s", "--insecure-registry", "rollback"), True),
        (("--wait", "5", "--grace=2", "--platform", "local", "status"), True),
        (("--wait", "5", "up"), False),
        (("--ready-timeout", "status"), False),
    ],
)
def test_questions_build_nothing(arguments: tuple[str, ...], expected: bool) -> None:
    assert builds_nothing(arguments) is expected


def test_plugin_and_runtime_are_of_one_release() -> None:
    resolved = [{"name": "aiohttp", "version": "3"}, {"name": "Turbolift.Runtime", "version": "0.2.0"}]
    assert unlike_versions("0.2.0", resolved) is None
    assert unlike_versions(None, resolved) is None
    assert unlike_versions("0.1.0", resolved[:1]) is None
    message = unlike_versions("0.1.0", resolved)
    assert message is not None
    assert "turbolift-runtime is 0.2.0" in message
    assert "turbolift-pants is 0.1.0" in message
