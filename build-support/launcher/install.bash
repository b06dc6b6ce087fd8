#!/usr/bin/env bash
# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
#
# install.bash ROOT HOME: everything that ./pants needs, into HOME (a folder of the user's cache). Called by ./pants.
# Safe to run twice and by two at once; HOME/env is written last, so that an interrupted run starts over.
set -euo pipefail
root=$1 home=$2
here=$root/build-support/launcher
interpreters=$(dirname "$(dirname "$home")")/cpython
locks=$root/build-support/locks
begin=$(date +%s)

say() { printf 'pants: [%3ds] %s\n' $(($(date +%s) - begin)) "$*"; }
die() { printf 'pants: error: %s\n' "$@" >&2; exit 1; }

mkdir -p "$home" "$interpreters" || die "cannot write to $home: set TURBOLIFT_CACHE to a folder that you can write to"

# --- one at a time: the others wait, then find all done
# A lock of the kernel: it ends with whoever holds it, however that ends. The programs started below hold it too, so that
# nobody begins anew while what a killed start left behind still writes.
exec 9>>"$home/lock"
acquire() { # acquire FD [-n]: with -n, fail instead of waiting; perl where util-linux is not
  local fd=$1
  shift
  if command -v flock >/dev/null; then flock "$@" "$fd"; else
    perl -MFcntl=:flock -e 'open(my $f, ">&=", shift) or die; exit !flock($f, LOCK_EX | (@ARGV ? LOCK_NB : 0))' -- "$fd" "$@"
  fi
}
if ! acquire 9 -n; then
  say "another start is installing Pants: waiting for it"
  acquire 9 || die "cannot lock $home/lock"
fi
complete() ( # in a shell of its own: the settings are for Pants
  . "$home/env" 2>/dev/null && [ -x "$home/venv/bin/pants" ] && [ -x "$TURBOLIFT_FOUND_PYTHON" ]
)
if [ -f "$home/env" ] && complete; then exit 0; fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf "$home/venv" "$home/env"
say "first start: installing Pants into $home"

# --- interpreters
# shellcheck source=build-support/launcher/find-python.bash
. "$here/find-python.bash"
get_python() { # get_python SUITE MINOR: unpack one of Debian's interpreters privately
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null ||
    die "no CPython 3.$2 found, and this system has no apt to get one from." "Install CPython 3.$2 (with your package manager, or pyenv) and start again."
  # Checkouts with other locks install elsewhere, but share the interpreters.
  exec 8>>"$interpreters/lock"
  acquire 8 || die "cannot lock $interpreters/lock"
  usable "$interpreters/3.$2/usr/bin/python3.$2" || bash "$here/debian-python.bash" "$1" "3.$2" "$interpreters/3.$2" "$scratch" ||
    die "could not get CPython 3.$2 from Debian's $1: see above." "Install CPython 3.$2 (with your package manager, or pyenv) and start again."
  exec 8>&-
}

if [ -n "${TURBOLIFT_PANTS_PYTHON:-}" ]; then
  python=$TURBOLIFT_PANTS_PYTHON
  "$python" -c 'import sys; assert sys.version_info[:2] == (3, 9)' 2>/dev/null || die "TURBOLIFT_PANTS_PYTHON=$python is no CPython 3.9, which Pants 2.17.1 runs on"
elif ! python=$(find_python 9); then
  say "no CPython 3.9, which Pants runs on: unpacking Debian's into $interpreters"
  get_python bullseye 9
  python=$interpreters/3.9/usr/bin/python3.9
fi
say "CPython for Pants: $python"

if [ -n "${TURBOLIFT_USER_PYTHON:-}" ]; then
  user=$TURBOLIFT_USER_PYTHON
  "$user" -c 'import sys; assert sys.version_info >= (3, 11)' 2>/dev/null || die "TURBOLIFT_USER_PYTHON=$user is no CPython 3.11 or later"
elif ! user=$(find_python 11 12 13 14); then
  say "no CPython 3.11 or later for your code: unpacking Debian's into $interpreters"
  get_python bookworm 11
  user=$interpreters/3.11/usr/bin/python3.11
fi
say "CPython for user code: $user"

# --- Pants, by a lock with hashes
install() { # install VENV LOCK: a venv that holds exactly the lock
  "$python" -m venv --without-pip "$1"
  local wheels
  wheels=$(printf '%s:' "$(dirname "$(dirname "$python")")"/share/python-wheels/*.whl)
  if ! "$1/bin/python" -m ensurepip >/dev/null 2>&1; then
    PYTHONPATH=$wheels "$1/bin/python" -m pip --version >/dev/null 2>&1 || die "$python has neither ensurepip nor pip's wheels"
  fi
  local pip=("$1/bin/python" -m pip) path=
  [ -x "$1/bin/pip" ] || path=$wheels
  PYTHONPATH=$path "${pip[@]}" install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$2" 2>"$scratch/pip.log" || {
    cat "$scratch/pip.log" >&2
    die "pip could not install $2 (see above): are the package index and its certificate configured for pip?"
  }
}
say "installing Pants (22 distributions, hashes checked)"
install "$home/venv" "$locks/pants.txt"
[ -x "$home/venv/bin/pants" ] || die "the lock $locks/pants.txt installed no pants"

# --- the pex command line: Pants would download it from elsewhere; built from the registry's wheel it is the same on every machine
say "building the pex command line"
install "$scratch/pex-venv" "$locks/pex-cli.txt"
version=$("$scratch/pex-venv/bin/python" -c 'import pex.version as v; print(v.__version__)')
mkdir -p "$home/pex-cli"
# --no-strip-pex-env: else PEX_ROOT, which Pants sets, is dropped, and caches escape from Pants' named caches.
sed -n '/^pex==/,$p' "$locks/pex-cli.txt" >"$scratch/pex.txt"
"$scratch/pex-venv/bin/python" -m pex --requirement "$scratch/pex.txt" --entry-point pex --output-file "$home/pex-cli/pex-$version" \
  --python-shebang '/usr/bin/env python3' --no-compile --no-use-system-time --no-build --no-transitive --no-strip-pex-env \
  --pex-root "$scratch/pex-root" >"$scratch/pex.log" 2>&1 || { cat "$scratch/pex.log" >&2; die "could not build the pex command line"; }
facts=$("$python" -c 'import hashlib, sys; b = open(sys.argv[1], "rb").read(); print(hashlib.sha256(b).hexdigest() + "|" + str(len(b)))' "$home/pex-cli/pex-$version")

# All of pyenv would make pex look into every old interpreter: only those that user code may run on.
search="'$(dirname "$python")', '$(dirname "$user")'"
for other in $(candidates 11 12 13 14); do
  [ ! -x "$other" ] || [ "$other" = "$user" ] || search="$search, '$(dirname "$other")'"
done
known=
for platform in linux_x86_64 linux_arm64 macos_x86_64 macos_arm64; do known="$known'$version|$platform|$facts', "; done

cat >"$home/env.new" <<ENV
export TURBOLIFT_FOUND_PYTHON='$user'
export PANTS_PYTHON_BOOTSTRAP_SEARCH_PATH="[$search]"
export PANTS_PEX_CLI_VERSION='$version'
export PANTS_PEX_CLI_URL_TEMPLATE='file://$home/pex-cli/pex-{version}'
export PANTS_PEX_CLI_KNOWN_VERSIONS="[$known]"
ENV
mv -f "$home/env.new" "$home/env"
say "ready"
