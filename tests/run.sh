#!/usr/bin/env bash
# Installs the packages, builds, and runs the tests: release, then ASan+UBSan, then TSan. docs/testing.md.
#
#   --build-only   install and build the release tree, run nothing
#   --release, --asan, --tsan
#                  only these trees (default: all three)
#   --label L      only tests with this label
#   --quick        the release tree without the tests labelled preload-real, slow and vm
#   --junit DIR    write DIR/<tree>.xml
#
# Ends with the closing lines of ctest, those of a failed tree last. Exit 0 iff all trees passed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${SMCD_JOBS:-$(nproc)}
# Tests wait a third of their time; they share ports, processors and descriptors: three at a time, whatever the machine offers.
test_jobs=3
default_timeout_s=120

build_only=no
quick=no
label=
junit=
trees=()

usage() {
    sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --build-only) build_only=yes ;;
        --quick) quick=yes ;;
        --release | --asan | --tsan) trees+=("${1#--}") ;;
        --label | --junit)
            [ $# -ge 2 ] || { echo "run: $1 wants a value" >&2; exit 2; }
            if [ "$1" = --label ]; then label=$2; else junit=$(realpath -m "$2"); fi
            shift
            ;;
        --help) usage; exit 0 ;;
        *) echo "run: unknown option $1" >&2; usage >&2; exit 2 ;;
        esac
        shift
    done
    if [ $build_only = yes ] || [ $quick = yes ]; then
        trees=(release)
    fi
    [ ${#trees[@]} -gt 0 ] || trees=(release asan tsan)
}

build_tree() { # build_tree NAME
    local options=()
    case $1 in
    asan) options=(-DSMCD_SANITIZE=address -DSMCD_BENCH=OFF) ;;
    tsan) options=(-DSMCD_SANITIZE=thread -DSMCD_BENCH=OFF) ;;
    esac
    echo "== $1: build"
    cmake -S "$root" -B "$root/build/$1" -G Ninja "${options[@]}" >"$root/build/$1.configure.log" ||
        { cat "$root/build/$1.configure.log"; return 1; }
    cmake --build "$root/build/$1" --parallel "$jobs"
}

# ThreadSanitizer needs an address space that is laid out with at most 28 random bits.
runner_of() { # runner_of NAME
    local bits
    bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 28)
    if [ "$1" = tsan ] && [ "$bits" -gt 28 ] && setarch -R true 2>/dev/null; then
        echo "setarch -R"
    fi
}

run_tree() { # run_tree NAME
    local options=(--test-dir "$root/build/$1" --output-on-failure --no-tests=error
        -j "$test_jobs" --timeout "$default_timeout_s")
    # System tests depend on the moment; the log shows every failed attempt (docs/testing.md).
    options+=(--repeat until-pass:3)
    if [ -n "$label" ]; then
        options+=(-L "^$label\$")
    fi
    if [ $quick = yes ]; then
        options+=(-LE '^(preload-real|slow|vm)$')
    elif [ "$1" != release ]; then
        # Real programs run against the release library alone; the lint sees the same files.
        options+=(-LE '^(preload-real|lint)$')
    fi
    if [ -n "$junit" ]; then
        options+=(--output-junit "$junit/$1.xml")
    fi
    echo "== $1: test"
    # shellcheck disable=SC2046 # two words or none
    ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1 \
        UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=second_deadlock_stack=1 \
        $(runner_of "$1") ctest "${options[@]}" 2>&1 | tee "$root/build/$1.ctest.log"
}

# The closing lines of a tree's ctest, or a word on why there are none.
closing_lines() { # closing_lines NAME
    echo "== $1"
    sed -n '/tests passed, /,$p' "$root/build/$1.ctest.log" 2>/dev/null | grep . ||
        echo "did not get as far as its tests"
}

main() {
    parse "$@"
    if [ $build_only = yes ]; then
        bash "$root/tests/setup.sh" build
    else
        bash "$root/tests/setup.sh" build test
    fi
    mkdir -p "$root/build" ${junit:+"$junit"}
    local tree passed=() failed=()
    for tree in "${trees[@]}"; do
        rm -f "$root/build/$tree.ctest.log"
        if build_tree "$tree" && { [ $build_only = yes ] || run_tree "$tree"; }; then
            passed+=("$tree")
        else
            failed+=("$tree")
        fi
    done
    if [ $build_only = no ] && [ ${#trees[@]} -gt 1 ]; then
        echo
        for tree in "${passed[@]}" "${failed[@]}"; do closing_lines "$tree"; done
    fi
    [ ${#failed[@]} = 0 ]
}

main "$@"
