# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Law 1 over functions: whatever the signature, and however it is called, the function is called there as here."""

from __future__ import annotations

import json
from math import inf
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from turbolift.contract import Payload, contract_of, dumps, loads
from turbolift.errors import DecodeError
from unit.contract.signatures import Function, functions


@settings(deadline=None)
@given(functions(), st.booleans())
def test_a_call_arrives_as_it_was_made(made: Function, reverse: bool) -> None:
    namespace: dict[str, Any] = {"__name__": __name__, "inf": inf}
    exec(made.source, namespace)
    function = namespace["f"]
    note(f"{made.source}f(*{made.args!r}, **{made.kwargs!r})")
    try:
        local = function(*made.args, **made.kwargs)
    except TypeError:
        return  # no call of it; what binding says of it is another test's
    contract = contract_of(function)

    sent = contract.encode_args(contract.bind(made.args, made.kwargs))
    args, kwargs = contract.decode_args(Payload(loads(dumps(sent.json)), sent.parts))
    assert repr(function(*args, **kwargs)) == repr(local)

    quick = contract.quick.call(made.args, made.kwargs)
    if quick is not None:
        assert repr(loads(quick)) == repr({"args": sent.json})
    tree = dict(reversed(sent.json.items())) if reverse else sent.json
    given_ = contract.quick.arguments(dumps({"args": tree}))
    if given_ is not None:
        assert repr(dict(sorted(function(**given_).items()))) == repr(dict(sorted(local.items())))


@settings(deadline=None)
@given(functions(), st.data())
def test_a_damaged_call_is_no_other_call(made: Function, data: st.DataObject) -> None:
    """One pass says of a text what the steps say, or nothing."""
    namespace: dict[str, Any] = {"__name__": __name__, "inf": inf}
    exec(made.source, namespace)
    try:
        namespace["f"](*made.args, **made.kwargs)
    except TypeError:
        return
    contract = contract_of(namespace["f"])
    sent = contract.encode_args(contract.bind(made.args, made.kwargs))
    text = dumps({"args": sent.json})
    at = data.draw(st.integers(0, len(text) - 1))
    piece = data.draw(
        st.sampled_from([b"", b":", b",", b'"a":1,', b'"', b"{", b"}", b"0", b".5", b"1e999", b" "])
    )
    damaged = text[:at] + piece + text[at + data.draw(st.integers(0, 2)) :]
    note(repr(damaged))
    found = contract.quick.arguments(damaged)
    if found is None:
        return
    tree = loads(damaged)
    assert tree.keys() == {"args"}
    assert json.loads(damaged) == tree
    try:
        args, kwargs = contract.decode_args(Payload(tree["args"], ()))
    except DecodeError as error:
        raise AssertionError(f"taken in one pass, but {error}") from error
    assert args == ()
    assert repr(kwargs) == repr(found)
