# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
"""Command line: `python -m turbolift.closure find FILE... --out REPORT.json`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from turbolift.closure.find import analyse


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m turbolift.closure",
        description="Find the functions tagged with @turbolift.on, and what keeps them from being distributed. "
        "Files are parsed, never imported.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    find = commands.add_parser("find", help="report on files, as JSON or as lines of file:line: message")
    find.add_argument("files", nargs="*", metavar="FILE")
    find.add_argument("--files-from", metavar="LIST", help="read more file names from LIST, one a line")
    find.add_argument("--strip", default="", metavar="PREFIX", help="leave PREFIX out of the reported paths")
    find.add_argument("--out", metavar="REPORT.json", help="write the report here, as JSON")
    options = parser.parse_args(arguments)
    files: list[str] = list(options.files)
    if options.files_from:
        files += Path(options.files_from).read_text("utf-8").splitlines()
    reports = []
    for file in files:
        try:
            source = Path(file).read_bytes()
        except OSError as error:
            print(f"error: cannot read {file}: {error.strerror}", file=sys.stderr)
            return 2
        reports.append(analyse(source, file.removeprefix(options.strip)))
    if options.out:
        document = {
            "version": 1,
            "python": ".".join(map(str, sys.version_info[:3])),
            "files": [r.to_json() for r in reports],
        }
        Path(options.out).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
        return 0
    findings = [finding for report in reports for finding in report.findings]
    for report in reports:
        for function in report.functions:
            print(f"{report.path}:{function.line}: {function.qualname} on {function.platform or '?'}")
    for finding in findings:
        print(finding, file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
