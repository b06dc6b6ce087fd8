# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""The rules on a real engine: what is generated, inferred, linted and proposed."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest  # pants: no-infer-dep
from pants.backend.python import target_types_rules
from pants.backend.python.dependency_inference import rules as inference
from pants.backend.python.target_types import PythonSourcesGeneratorTarget
from pants.backend.python.util_rules import pex_from_targets
from pants.build_graph.address import Address
from pants.core.goals.lint import LintResult
from pants.core.goals.tailor import PutativeTargets
from pants.core.target_types import FileTarget
from pants.core.util_rules import source_files, stripped_source_files
from pants.engine.internals.parametrize import Parametrize
from pants.engine.internals.scheduler import ExecutionError
from pants.engine.rules import QueryRule
from pants.engine.target import AllTargets, TransitiveTargets, TransitiveTargetsRequest
from pants.testutil.rule_runner import RuleRunner

from turbolift_pants.get import rules as turbolift_rules
from turbolift_pants.get.find import TaggedFiles
from turbolift_pants.get.lint import TurboliftLintRequest
from turbolift_pants.get.tailor import PutativeFunctionsRequest
from turbolift_pants.target_types import (
    TurboliftAppTarget,
    TurboliftDeploymentTarget,
    TurboliftFunctionsTarget,
    TurboliftFunctionTarget,
)

# The launcher tells where the pex command line is and where interpreters are.
INHERITED = {
    "HOME",
    "PANTS_PEX_CLI_KNOWN_VERSIONS",
    "PANTS_PEX_CLI_URL_TEMPLATE",
    "PANTS_PEX_CLI_VERSION",
    "PANTS_PYTHON_BOOTSTRAP_SEARCH_PATH",
    "PATH",
    "PYENV_ROOT",
}

OPTIONS = [
    "--turbolift-rooms=rooms",
    "--source-root-patterns=['/src']",
    "--python-interpreter-constraints=['CPython>=3.11,<3.14']",
    "--no-python-infer-use-rust-parser",
]

CART = dedent(
    """\
    import turbolift as t
    from shop.prices import PRICE

    @t.on(t.Local(), cpu="1")
    def total(n: int) -> int:
        match n:
            case 0:
                return 0
        return n * PRICE

    class Cart:
        @staticmethod
        @t.on(t.Local())
        async def total(n: int) -> int:
            return n
    """
)
FILES = {
    "src/shop/BUILD": "python_sources()\nturbolift_functions(name='functions')\n",
    "src/shop/__init__.py": "",
    "src/shop/prices.py": "PRICE = 3\n",
    "src/shop/cart.py": CART,
    "src/shop/order.py": "from turbolift import Local, on\n\n@on(Local())\ndef total(n: int) -> int:\n    return n\n",
    "src/shop/test_cart.py": CART,
}


@pytest.fixture
def runner() -> RuleRunner:
    runner = RuleRunner(
        rules=[
            *turbolift_rules(),
            *target_types_rules.rules(),
            *inference.rules(),
            *pex_from_targets.rules(),
            *source_files.rules(),
            *stripped_source_files.rules(),
            QueryRule(AllTargets, []),
            QueryRule(TaggedFiles, []),
            QueryRule(TransitiveTargets, [TransitiveTargetsRequest]),
            QueryRule(LintResult, [TurboliftLintRequest.Batch]),
            QueryRule(PutativeTargets, [PutativeFunctionsRequest]),
        ],
        target_types=[
            FileTarget,
            PythonSourcesGeneratorTarget,
            TurboliftAppTarget,
            TurboliftDeploymentTarget,
            TurboliftFunctionTarget,
            TurboliftFunctionsTarget,
        ],
        objects={"parametrize": Parametrize},
    )
    # turbolift's own program, as this repository has it.
    closure = Path("src/python/turbolift/closure")
    runner.write_files({f"rooms/turbolift/closure/{f.name}": f.read_text() for f in closure.glob("*.py")})
    runner.set_options(OPTIONS, env_inherit=INHERITED)
    return runner


def _functions(runner: RuleRunner) -> list[str]:
    targets = runner.request(AllTargets, [])
    return sorted(str(t.address) for t in targets if isinstance(t, TurboliftFunctionTarget))


def test_one_target_for_each_function_whatever_its_file_or_class(runner: RuleRunner) -> None:
    runner.write_files(FILES)
    assert _functions(runner) == [
        "src/shop:functions#cart.Cart.total",
        "src/shop:functions#cart.total",
        "src/shop:functions#order.total",
    ]


def test_the_closure_is_what_the_owning_file_needs(runner: RuleRunner) -> None:
    runner.write_files(FILES)
    address = Address("src/shop", target_name="functions", generated_name="cart.total")
    closure = runner.request(TransitiveTargets, [TransitiveTargetsRequest([address])])
    assert sorted(str(t.address) for t in closure.dependencies) == ["src/shop/cart.py", "src/shop/prices.py"]


def test_an_app_needs_what_its_file_needs(runner: RuleRunner) -> None:
    app = "turbolift_app(name='app', entry_point='app.py:main')\n"
    files = {**FILES, "src/shop/app.py": "from shop.order import total\n\ndef main() -> None: ...\n"}
    runner.write_files({**files, "src/shop/BUILD": FILES["src/shop/BUILD"] + app})
    address = Address("src/shop", target_name="app")
    closure = runner.request(TransitiveTargets, [TransitiveTargetsRequest([address])])
    assert sorted(str(t.address) for t in closure.dependencies) == ["src/shop/app.py", "src/shop/order.py"]


def test_an_entry_point_that_is_no_file_is_an_error_that_says_so(runner: RuleRunner) -> None:
    runner.write_files({"src/shop/BUILD": "turbolift_app(name='app', entry_point='app')\n"})
    with pytest.raises(
        ExecutionError, match=r"`entry_point` of src/shop:app: 'app': not a file, as `app.py`"
    ):
        runner.request(AllTargets, [])


def test_parametrised_sources_give_one_target_for_each_owner(runner: RuleRunner) -> None:
    """By the sources' own BUILD file, by defaults, and from a folder above; each depends on its own owner's closure."""
    runner.set_options(
        [
            *OPTIONS,
            "--python-enable-resolves",
            "--python-resolves={'a': 'a.lock', 'b': 'b.lock'}",
            "--python-default-resolve=a",
        ],
        env_inherit=INHERITED,
    )
    runner.write_files(
        {
            **FILES,
            "src/shop/BUILD": "python_sources(name='plain', sources=['order.py'])\n"
            "python_sources(sources=['*.py', '!order.py'], resolve=parametrize('a', second='b'))\n"
            "turbolift_functions(name='functions')\n",
            "src/late/BUILD": "__defaults__({python_sources: dict(resolve=parametrize('a', 'b'))})\n"
            "python_sources(sources=['**/*.py'])\n",
            "src/late/deep/BUILD": "turbolift_functions(name='functions')\n",
            "src/late/deep/f.py": "from turbolift import Local, on\n\n@on(Local())\ndef f(n: int) -> int:\n    return n\n",
        }
    )
    assert _functions(runner) == [
        "src/late/deep:functions#f.f@resolve=a",
        "src/late/deep:functions#f.f@resolve=b",
        "src/shop:functions#cart.Cart.total@resolve=a",
        "src/shop:functions#cart.Cart.total@resolve=second",
        "src/shop:functions#cart.total@resolve=a",
        "src/shop:functions#cart.total@resolve=second",
        "src/shop:functions#order.total",
    ]
    for resolve in ("a", "second"):
        address = Address(
            "src/shop", target_name="functions", generated_name="cart.total", parameters={"resolve": resolve}
        )
        closure = runner.request(TransitiveTargets, [TransitiveTargetsRequest([address])])
        assert sorted(str(t.address) for t in closure.dependencies) == [
            f"src/shop/cart.py@resolve={resolve}",
            f"src/shop/prices.py@resolve={resolve}",
        ]


def test_two_owners_that_nothing_tells_apart_are_an_error_with_advice(runner: RuleRunner) -> None:
    build = FILES["src/shop/BUILD"] + "python_sources(name='again')\n"
    runner.write_files({**FILES, "src/shop/BUILD": build})
    address = Address("src/shop", target_name="functions", generated_name="cart.total")
    with pytest.raises(
        ExecutionError, match=r"(?s)owned by src/shop/cart.py, src/shop/cart.py:again.*parametrize"
    ):
        runner.request(TransitiveTargets, [TransitiveTargetsRequest([address])])


def test_a_broken_file_breaks_no_goal_but_has_a_target(runner: RuleRunner) -> None:
    runner.write_files({**FILES, "src/shop/broken.py": "from turbolift import on\n@on(\ndef f(:\n"})
    assert "src/shop:functions#broken.(unparsable)" in _functions(runner)
    report = runner.request(TaggedFiles, []).at("src/shop/broken.py")
    assert report is not None
    assert not report.parsed
    assert str(report.findings[0]).startswith("src/shop/broken.py:")


def test_lint_names_file_and_line(runner: RuleRunner) -> None:
    bad = "from turbolift import Local, on\n\n\n@on(Local())\ndef f(a, b: int):\n    return a\n"
    runner.write_files({**FILES, "src/shop/bad.py": bad})
    files = ("src/shop/bad.py", "src/shop/cart.py")
    batch = TurboliftLintRequest.Batch("turbolift", files, None)
    result = runner.request(LintResult, [batch])
    assert result.exit_code == 1
    assert "src/shop/bad.py:5:7: parameter 'a' of f has no type hint" in result.stdout
    assert "src/shop/bad.py:5:1: f has no result type hint" in result.stdout
    assert "3 tagged functions in 2 files, 2 findings." in result.stdout


def test_tailor_proposes_one_generator_for_each_folder(runner: RuleRunner) -> None:
    runner.write_files({**FILES, "src/shop/BUILD": "python_sources()\n", "src/other/f.py": CART})
    proposed = runner.request(PutativeTargets, [PutativeFunctionsRequest(("src/shop", "src/other"))])
    assert [(p.path, p.type_alias, p.name) for p in proposed] == [
        ("src/other", "turbolift_functions", "functions"),
        ("src/shop", "turbolift_functions", "functions"),
    ]


def test_tailor_is_content_with_what_is_there(runner: RuleRunner) -> None:
    runner.write_files(FILES)
    assert list(runner.request(PutativeTargets, [PutativeFunctionsRequest(("src/shop",))])) == []


def test_a_tagged_file_without_an_owner_is_an_error_with_advice(runner: RuleRunner) -> None:
    runner.write_files({**FILES, "src/shop/BUILD": "turbolift_functions(name='functions')\n"})
    address = Address("src/shop", target_name="functions", generated_name="cart.total")
    with pytest.raises(ExecutionError, match=r"(?s)no python_source target owns src/shop/cart.py.*tailor"):
        runner.request(TransitiveTargets, [TransitiveTargetsRequest([address])])
