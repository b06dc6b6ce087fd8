# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""What a run says: the document, the table on the terminal, the versions and the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.calls.suite.workers import GOAL_P99_MS, GOAL_THROUGHPUT


def machine() -> dict[str, Any]:
    """Say what ran where."""
    versions: dict[str, str | None] = {}
    for name in ("aiohttp", "uvloop", "msgspec", "numpy"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        **versions,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def table(document: dict[str, Any], plain: str, cells: Sequence[str]) -> str:
    """Return the ratios as text: p05 / CPU / throughput a cell."""
    stacks = {name: facts for name, facts in document.items() if "cold_s" in facts or "dead" in facts}
    width = 21
    title = f"{f'ratios to {plain}: p05 / CPU / throughput':54}"
    lines = [title + "".join(f"{cell:>{width}}" for cell in cells)]
    reasons: dict[str, list[str]] = {}
    for name, facts in stacks.items():
        if "dead" in facts:
            reasons.setdefault(facts["dead"], []).append(name)
        if "cold_s" not in facts:
            continue
        row = f"{name:20} cold {facts['cold_s']:6.2f} s, idle {facts['idle_mb']:4.0f} MB"
        row += f", {facts['idle_cpu'] * 100:2.0f} %"
        shown = []
        for cell in cells:
            found = facts.get(cell, {})
            if "blank" in found:
                reasons.setdefault(found["blank"], []).append(f"{name} {cell}")
            shown.append(_cell(found))
        lines.append(f"{row:54}" + "".join(f"{text:>{width}}" for text in shown))
    figures = document["machine"][f"plain {plain}"]
    shown = []
    for cell in cells:
        own = figures.get(cell, {})
        if "p05" in own:
            shown.append(f"{own['p05'] * 1e6:.0f} / {own['cpu'] * 1e6:.0f}")
        else:
            shown.append(f"{own['throughput']:.0f} calls/s" if own else "-")
    row = f"{plain} itself, microseconds: p05 / CPU"
    lines.append(f"{row:54}" + "".join(text.rjust(width) for text in shown))
    lines += [f"-: {', '.join(sorted(set(names)))}: {why}" for why, names in reasons.items()]
    if found := document.get("workers"):
        lines.append(_workers(found))
    return "\n".join(lines)


def _cell(found: dict[str, Any]) -> str:
    if "throughput" not in found:
        return "-"
    if "p05" not in found:
        return f"{_figure(found['throughput'])} {found['calls_per_second']:.0f}/s"
    mark = "!" if "errors" in found else ""
    return f"{_figure(found['p05'])}/{_figure(found['cpu'])}/{_figure(found['throughput'])}{mark}"


def _figure(value: float) -> str:
    """Return two or three digits of a ratio."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def _workers(found: dict[str, Any]) -> str:
    parts = [
        f"{cell} {value:.2f} of the inline throughput (goal {GOAL_THROUGHPUT} or more)"
        for cell, value in found["throughput"].items()
    ]
    health = found["healthz"]
    if "blank" in health:
        parts.append(f"/healthz: {health['blank']}")
    else:
        parts.append(
            f"/healthz while {health['computing']} calls compute: p50 {health['p50_ms']:.1f} ms, p99 {health['p99_ms']:.1f} ms "
            f"of {health['probes']} probes, {health['failed']} failed (goal: p99 under {GOAL_P99_MS:.0f} ms)"
        )
    return "a worker process instead of the loop: " + "; ".join(parts)
