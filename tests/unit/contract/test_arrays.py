# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""numpy's arrays and scalars travel with their dtype, shape and order, as one raw part."""

# mypy: disable-error-code="valid-type, arg-type"
from __future__ import annotations

import base64
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbolift.contract import Payload, contract_of
from turbolift.errors import DecodeError, EncodeError, UnsupportedTypeError

pytest.importorskip("numpy")

import numpy as np
import numpy.typing as npt
from hypothesis.extra import numpy as hnp

_dtypes = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.complex_number_dtypes(sizes=(64, 128)),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(),
    hnp.unicode_string_dtypes(),
)


def equal(a: Any, b: Any) -> bool:
    return (
        type(a) is type(b)
        and a.dtype.str == b.dtype.str
        and a.dtype.type is b.dtype.type
        and a.shape == b.shape
        and a.tobytes() == b.tobytes()
    )


@given(data=st.data())
def test_arrays_arrive_bit_for_bit(data: st.DataObject, contract_for: Any, as_base64: Any) -> None:
    array = data.draw(hnp.arrays(data.draw(_dtypes), data.draw(hnp.array_shapes(min_dims=0, min_side=0))))
    if data.draw(st.booleans()):
        array = np.asfortranarray(array)
    if array.ndim and data.draw(st.booleans()):
        array = array[::2]
    contract = contract_for(np.ndarray)
    payload = contract.encode_result(array)
    assert len(payload.parts) == 1
    arrived = contract.decode_result(payload)
    assert equal(arrived, array)
    assert arrived.flags.writeable
    assert arrived.flags.c_contiguous == (array.flags.c_contiguous or not array.flags.f_contiguous)
    tree = as_base64(contract, array)
    jsonschema.Draft202012Validator(contract.result).validate(tree)
    assert equal(contract.decode_result(Payload(tree, [])), array)


@given(data=st.data())
def test_scalars_arrive_bit_for_bit(data: st.DataObject, contract_for: Any) -> None:
    dtype = data.draw(
        _dtypes.filter(lambda dtype: dtype.kind != "S").map(lambda dtype: dtype.newbyteorder("="))
    )
    value = data.draw(hnp.arrays(dtype, ()))[()]
    if dtype.kind in "fc" and np.isnan(value):
        value = type(value)("nan")
    contract = contract_for(type(value))
    arrived = contract.decode_result(contract.encode_result(value))
    assert equal(arrived, value)


def test_a_part_is_a_copy_and_so_is_what_arrives(contract_for: Any) -> None:
    array = np.arange(3)
    contract = contract_for(np.ndarray)
    payload = contract.encode_result(array)
    array[0] = 9
    first, second = contract.decode_result(payload), contract.decode_result(payload)
    first[1] = 9
    assert second.tolist() == [0, 1, 2]


def test_arrays_inside_of_others(contract_for: Any) -> None:
    contract = contract_for(dict[str, list[npt.NDArray[np.float32]] | None])
    value = {"a": [np.ones((2, 2), np.float32), np.zeros(0, np.float32)], "b": None}
    payload = contract.encode_result(value)
    assert [len(part) for part in payload.parts] == [16, 0]
    arrived = contract.decode_result(payload)
    assert arrived["b"] is None
    assert all(map(equal, arrived["a"], value["a"] or []))


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (
            np.ndarray,
            np.array([None]),
            "got an array of dtype object: only numbers, bools, fixed-length text and times",
        ),
        (np.ndarray, np.zeros(2, [("a", "i4")]), "only numbers, bools, fixed-length text and times travel"),
        (np.ndarray, np.zeros(2, np.longdouble), "long doubles differ between machines; use float64"),
        (np.ndarray, np.ma.masked_array([1]), "expected ndarray, got numpy.MaskedArray"),
        (np.ndarray, [1, 2], "expected ndarray, got list"),
        (npt.NDArray[np.float64], np.zeros(2, np.float32), "dtype float32: the hint says float64"),
        (npt.NDArray[np.floating], np.zeros(2, np.int8), "dtype int8: the hint says floating"),
        (np.float32, np.float64(1), "expected numpy.float32, got numpy.float64"),
        (float, np.float64(1), "expected float, got numpy.float64 (it would arrive as a plain float)"),
        (int, np.int64(1), "expected int, got numpy.int64"),
    ],
)
def test_what_would_not_arrive_is_refused(hint: Any, value: Any, message: str, contract_for: Any) -> None:
    with pytest.raises(EncodeError) as error:
        contract_for(hint).encode_result(value)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "hint",
    [np.longdouble, np.generic, np.floating, np.void, npt.NDArray[np.object_], np.dtype, np.random.Generator],
)
def test_hints_that_cannot_travel(hint: Any, contract_for: Any) -> None:
    with pytest.raises(UnsupportedTypeError):
        contract_for(hint)


def test_the_hint_takes_what_it_says(contract_for: Any) -> None:
    for hint, dtype in [
        (npt.NDArray[np.floating], "f4"),
        (npt.NDArray[Any], "i8"),
        (npt.NDArray[np.int16], ">i2"),
        (np.ndarray, "U3"),
        (npt.NDArray[np.generic], "?"),
    ]:
        array = np.zeros(3, dtype)
        contract = contract_for(hint)
        assert equal(contract.decode_result(contract.encode_result(array)), array)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "|O"}, "only numbers"),
        ({"dtype": "O"}, "no dtype that numpy knows"),
        ({"dtype": "i4,f8"}, "no dtype that numpy knows"),
        ({"dtype": "<f16"}, ""),
        ({"dtype": "('<f8', (2,))"}, "no dtype that numpy knows"),
        ({"dtype": None}, "no dtype that numpy knows"),
        ({"shape": [4]}, "of 32 bytes (dtype <f8, shape [4]), got 24 bytes"),
        ({"shape": [-3]}, "a shape that is not an array of sizes"),
        ({"shape": [2**61, 2**61, 0, 1]}, "expected"),
        ({"shape": [True]}, "a shape that is not an array of sizes"),
        ({"order": "A"}, 'an order that is not "C" or "F"'),
        ({"data": "x"}, "as a raw part or base64"),
        ({"data": None}, "as a raw part or base64"),
        ({"extra": 1}, "as an object of data, dtype, order, shape"),
    ],
)
def test_a_broken_array_is_refused(change: dict[str, Any], message: str, contract_for: Any) -> None:
    data = base64.b64encode(np.arange(3, dtype="<f8").tobytes()).decode()
    tree = {"dtype": "<f8", "shape": [3], "order": "C", "data": data}
    contract = contract_for(np.ndarray)
    assert contract.decode_result(Payload(tree, [])).tolist() == [0, 1, 2]
    with pytest.raises(DecodeError) as error:
        contract.decode_result(Payload({**tree, **change}, []))
    assert message in str(error.value)


def test_scalars_out_of_range_are_refused(contract_for: Any) -> None:
    for hint, tree in [
        (np.int8, 300),
        (np.uint8, -1),
        (np.int64, 2**63),
        (np.bool_, 1),
        (np.int8, 1.5),
        (np.float64, "x"),
    ]:
        with pytest.raises(DecodeError):
            contract_for(hint).decode_result(Payload(tree, []))


def test_the_digest_tells_dtypes_apart() -> None:
    def a(x: npt.NDArray[np.float64]) -> None: ...
    def b(x: npt.NDArray[np.float32]) -> None: ...
    def c(x: np.float32) -> None: ...

    assert len({contract_of(fn).digest for fn in (a, b, c)}) == 3


@pytest.mark.parametrize("dtype", ["<f8", ">i4", "|b1", "<c16", "<M8[ns]", "<U7", "|S3"])
def test_large_arrays_of_any_layout(dtype: str) -> None:
    flat = np.arange(3 * 2**20 // np.dtype(dtype).itemsize + 1001).astype(dtype)
    rows = flat[: len(flat) // 7 * 7].reshape(-1, 7)

    def same(values: np.ndarray) -> np.ndarray:
        return values

    contract = contract_of(same)
    for value in (flat, rows, rows.T, rows[::2], rows[:, ::-1], np.asfortranarray(rows)):
        payload = contract.encode_result(value)
        (part,) = payload.parts
        before = value.copy(order="K")
        # What travels is what was there at the call.
        value[...] = value[::-1]
        found = contract.decode_result(Payload(payload.json, [bytes(part)]))
        assert isinstance(found, np.ndarray)
        assert (found.dtype, found.shape) == (value.dtype, value.shape)
        assert found.tobytes() == before.tobytes()
        value[...] = before
        own = contract.decode_result(Payload(payload.json, [bytearray(part)]))
        assert isinstance(own, np.ndarray)
        assert own.tobytes() == before.tobytes()
        assert own.flags.writeable
