# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Codecs of datetime, date, time and timedelta.

ISO 8601 text, with what it cannot say in suffixes as RFC 9557 has them:
``2026-03-01T12:00:00+01:00[Europe/Paris]`` for a ZoneInfo, ``[_fold=1]`` for the second of two equal wall
times, ``[_name=CET]`` for a fixed offset that has a name.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

from turbolift.contract.codec import DecodeRun, EncodeRun, Mismatch, Node, type_name
from turbolift.contract.schema import PYTHON_TYPE, Defs
from turbolift.contract.stdtypes import TextNode

_SUFFIXES = r"(\[[^\[\]]*\])*"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
_OFFSET = r"(Z|[+-][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{6})?)?)?"
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_DATETIME = f"{_DATE}T{_CLOCK}{_OFFSET}{_SUFFIXES}"
_TIME = f"{_CLOCK}{_OFFSET}{_SUFFIXES}"
_NAME = re.compile(r"[A-Za-z0-9_+:./ -]*")
_DURATION = r"-?P([0-9]{1,10}D)?(T([0-9]{1,15}H)?([0-9]{1,15}M)?([0-9]{1,15}(\.[0-9]{1,6})?S)?)?"


class _ZonedNode(Node):
    """What datetime and time share: a zone, and a fold."""

    kinds = frozenset({"str"})
    _cls: type[dt.datetime] | type[dt.time]
    _pattern: str

    def __init__(self) -> None:
        self.name = self._cls.__name__
        self.types = (self._cls,)
        self._matches = re.compile(self._pattern).fullmatch

    def encode(self, value: Any, run: EncodeRun, depth: int) -> Any:
        if type(value) is not self._cls:
            raise self.refuse_value(value)
        zone = value.tzinfo
        text: str = value.isoformat()
        if zone is not None:
            if type(zone) is dt.timezone:
                name = zone.tzname(None)
                if name != dt.timezone(zone.utcoffset(None)).tzname(None):
                    if _NAME.fullmatch(name) is None:
                        raise Mismatch(f"the time zone's name {name!r} cannot travel")
                    text += f"[_name={name}]"
            else:
                key = _zone_key(zone)
                if key is None:
                    raise Mismatch(
                        f"the time zone is a {type_name(zone)}, which cannot travel; use zoneinfo.ZoneInfo "
                        "with a key, or datetime.timezone"
                    )
                text += f"[{key}]"
        return f"{text}[_fold=1]" if value.fold else text

    def decode(self, tree: Any, run: DecodeRun, depth: int) -> Any:
        if type(tree) is not str:
            raise self.refuse_tree(tree)
        if self._matches(tree) is None:
            raise Mismatch(f"expected {self.name} as ISO 8601 text, got {tree[:60]!r}")
        text, *suffixes = tree.replace("]", "").split("[")
        try:
            value = self._cls.fromisoformat(text)
        except ValueError as error:
            raise Mismatch(f"expected {self.name}, got {tree[:60]!r}: {error}") from None
        key = name = None
        for suffix in suffixes:
            if suffix == "_fold=1":
                value = value.replace(fold=1)
            elif suffix.startswith("_name=") and type(value.tzinfo) is dt.timezone and name is None:
                name = suffix.removeprefix("_name=")
                value = value.replace(tzinfo=dt.timezone(value.tzinfo.utcoffset(None), name))
            elif key is None and name is None and not suffix.startswith("_"):
                key = suffix
            else:
                raise Mismatch(
                    f"expected {self.name}, got {tree[:60]!r}: suffix [{suffix}] is not known here"
                )
        return value if key is None else self._in_zone(value, key)

    def _in_zone(self, value: Any, key: str) -> Any:
        from zoneinfo import ZoneInfo

        try:
            zone = ZoneInfo(key)
        except Exception:
            raise Mismatch(
                f"there is no time zone {key!r} here: install the tzdata distribution, or a newer one"
            ) from None
        given = value.tzinfo
        value = value.replace(tzinfo=zone)
        if given is not None and given.utcoffset(None) != value.utcoffset():
            raise Mismatch(f"the time zone data of caller and server disagree: {value.isoformat()} in {key}")
        return value

    def schema(self, defs: Defs) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^{self._pattern}$", PYTHON_TYPE: self.name}


class DatetimeNode(_ZonedNode):
    _cls = dt.datetime
    _pattern = _DATETIME


class TimeNode(_ZonedNode):
    _cls = dt.time
    _pattern = _TIME


def _zone_key(zone: dt.tzinfo) -> str | None:
    from zoneinfo import ZoneInfo

    if type(zone) is not ZoneInfo or not zone.key or _NAME.fullmatch(zone.key) is None:
        return None
    return zone.key


def date_node() -> Node:
    return TextNode(dt.date, "date", pattern=_DATE, format="date", read=dt.date.fromisoformat)


def timedelta_node() -> Node:
    return TextNode(dt.timedelta, "timedelta", pattern=_DURATION, write=_write_duration, read=_read_duration)


_MICROSECOND = dt.timedelta(microseconds=1)


def _write_duration(value: dt.timedelta) -> str:
    total = value // _MICROSECOND
    seconds, micro = divmod(abs(total), 1_000_000)
    days, seconds = divmod(seconds, 86_400)
    text = f"{'-' if total < 0 else ''}P{f'{days}D' if days else ''}"
    if seconds or micro or not days:
        text += f"T{seconds}{f'.{micro:06}' if micro else ''}S"
    return text


def _read_duration(text: str) -> dt.timedelta:
    days, _, clock = text.lstrip("-").removeprefix("P").partition("T")
    if not days and not clock:
        raise ValueError("a duration needs at least one part")
    micro = int(days.rstrip("D") or 0) * 86_400_000_000
    for number, unit in re.findall(r"([0-9.]+)([HMS])", clock):
        whole, _, fraction = number.partition(".")
        scale = {"H": 3600, "M": 60, "S": 1}[unit]
        micro += int(whole) * scale * 1_000_000 + int(fraction.ljust(6, "0") if fraction else 0)
    return dt.timedelta(microseconds=-micro if text.startswith("-") else micro)
