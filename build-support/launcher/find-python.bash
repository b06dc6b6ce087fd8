#!/usr/bin/env bash
# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
#
# find-python.bash 3.N...: print the path of a whole CPython of one of these versions, or fail. Also sourced by install.bash.
interpreters=${interpreters:-${TURBOLIFT_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/turbolift}/cpython}

usable() { [ -x "$1" ] && "$1" -c 'import bz2, ctypes, lzma, sqlite3, ssl, sys, venv; assert sys.implementation.name == "cpython"' 2>/dev/null; }
candidates() { # candidates MINOR...: paths of interpreters, best first
  local minor dir
  for minor in "$@"; do
    if [ -z "${TURBOLIFT_NO_PYENV:-}" ]; then
      for dir in "${PYENV_ROOT:-${HOME:-/nonexistent}/.pyenv}"/versions/3."$minor".*/bin; do echo "$dir/python3.$minor"; done
    fi
    for dir in /usr/local/bin /usr/bin /opt/homebrew/bin "$interpreters/3.$minor/usr/bin"; do echo "$dir/python3.$minor"; done
  done
}
find_python() {
  local python
  while read -r python; do
    if usable "$python"; then echo "$python" && return; fi
  done < <(candidates "$@")
  return 1
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then find_python "${@#3.}"; fi
