#!/usr/bin/env bash
# Runs clang-tidy over the sources given (default: all of the rooms) with the flags of a build tree.
# usage: tests/lint/tidy.sh BUILD_TREE [FILE...]
set -euo pipefail

build=${1:?usage: tidy.sh BUILD_TREE [FILE...]}
shift
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
flags=$(mktemp -d)
trap 'rm -rf "$flags"' EXIT

# clang does not know two of g++'s options, and must not load g++'s precompiled headers.
sed -E -e 's/ -fno-gnu-unique| -fpch-preprocess//g' -e 's/ -include [^ ]*cmake_pch\.[a-z]+//g' \
    -e 's/ -Wno-tsan//g' "$build/compile_commands.json" >"$flags/compile_commands.json"
if [ $# = 0 ]; then
    mapfile -t files < <(cd "$root" && git ls-files 'smcd/*.cpp' 'clc/*.cpp' 'devices/*.cpp' \
        'preload/*.cpp' | sed "s|^|$root/|")
    set -- "${files[@]}"
fi
printf '%s\0' "$@" | xargs -0 -P "$(nproc)" -n 4 clang-tidy --quiet -p "$flags"
