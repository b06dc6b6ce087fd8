#!/usr/bin/env bash
# Copyright 2026 The turbolift authors.
# SPDX-License-Identifier: Apache-2.0
#
# debian-python.bash SUITE VERSION DEST SCRATCH: unpack Debian's CPython VERSION and the libraries it needs into DEST.
# No root, no dpkg database: a private apt state verifies the archive's signatures; DEST appears whole or not at all.
set -euo pipefail
suite=$1 version=$2 dest=$3 scratch=$4
apt=$scratch/apt-$suite
mkdir -p "$apt"/etc/{apt.conf.d,preferences.d,sources.list.d,trusted.gpg.d} "$apt"/state/lists/partial "$apt"/cache/archives/partial "$apt"/debs
touch "$apt/state/status"

# The archive that this machine's own apt uses for Debian: the one which serves a component named main of a Debian release.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(CREATED_BY)' 2>/dev/null | awk '$1 ~ /\/debian\/?$/ {print $1; exit}')
[ -n "$mirror" ] || mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1 | tr -d ' ')
[ -n "$mirror" ] || { echo "apt names no Debian archive" >&2; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
[ -f "$keyring" ] || { echo "$keyring is missing: install debian-archive-keyring" >&2; exit 1; }
echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/etc/sources.list"
options=(-o "Dir::Etc=$apt/etc" -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/state/status" -o "Dir::Cache=$apt/cache"
  -o "APT::Sandbox::User=$(id -un)" -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o Acquire::Retries=3)
apt-get "${options[@]}" -qq update

# What the interpreter needs, by the archive's own word, less what every glibc system has and what has no code.
mapfile -t packages < <(
  apt-cache "${options[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    "python$version-venv" "python$version" python3-distutils patchelf |
    grep -E '^[a-z0-9]' | sed 's/:.*//' | sort -u |
    grep -vE '^(libc6|libc-bin|libcrypt1|libgcc-s1|libstdc\+\+6|gcc-.*-base|debconf.*|cdebconf|dpkg|perl.*|libperl.*|media-types|mime-support|tzdata|python3|python3-minimal|libpython3-stdlib|libdebian.*|tar|libacl1|libselinux1|libpcre.*|netbase|mailcap|install-info|base-files|.*-common|.*-udeb)$'
)
(cd "$apt/debs" && apt-get "${options[@]}" -qq download "${packages[@]}")
rm -rf "$dest.new"
mkdir -p "$dest.new"
for deb in "$apt"/debs/*.deb; do dpkg-deb -x "$deb" "$dest.new"; done

# Pants runs its subprocesses with a scrubbed environment, so LD_LIBRARY_PATH is no way: relative run paths are.
private=$dest.new/usr/lib/private
patchelf=$dest.new/usr/bin/patchelf
mkdir -p "$private"
find "$dest.new/usr/lib" "$dest.new/lib" -path "$private" -prune -o \( -name 'lib*.so*' ! -path '*/lib-dynload/*' \) -print0 2>/dev/null | xargs -0 -I{} cp -P {} "$private/"
for so in "$dest.new/usr/lib/python$version"/lib-dynload/*.so; do "$patchelf" --set-rpath '$ORIGIN/../../private' "$so"; done
for so in "$private"/*.so*; do [ -L "$so" ] || { chmod u+w "$so" && "$patchelf" --set-rpath '$ORIGIN' "$so"; }; done
"$patchelf" --set-rpath '$ORIGIN/../lib/private' "$dest.new/usr/bin/python$version"
"$dest.new/usr/bin/python$version" -c 'import bz2, ctypes, lzma, sqlite3, ssl, venv'
rm -rf "$dest"
mv "$dest.new" "$dest"
