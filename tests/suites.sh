#!/usr/bin/env bash
# Runs third-party suites, each server and client under `smcu run`, and prints one line per suite.
# usage: tests/suites.sh [NAME...]
#
#   SUITES_DIR   folder of suite scripts NAME.sh (default: ../shared/suites beside the checkout)
#   WRAP         command before every program (default: build/release/bin/smcu run --); empty: plain TCP
#   OUT          keep the logs in OUT/NAME (default: a temporary folder)
#   LIMIT_S      seconds per suite (default 200)
#
# A suite is a script that reads WRAP and OUT and ends with "NAME: passed=.. failed=.. ..."; exit 0: good.
# Exit 0 iff every suite was good; 77 when there is no folder of suites.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suites=${SUITES_DIR:-$root/../shared/suites}
limit_s=${LIMIT_S:-200}
export WRAP=${WRAP-$root/build/release/bin/smcu run --}
# Short ones that cover epoll, fork, threads, stdio, descriptor passing and static programs.
quick=(netcats redis memcached nbd mqtt go_peers glib_gio tornado)

run_suite() { # run_suite NAME LOG_FOLDER
    local log=$2/suite.log status=0 line
    mkdir -p "$2"
    OUT=$2 timeout -k 10 "$limit_s" bash "$suites/$1.sh" >"$log" 2>&1 </dev/null || status=$?
    line=$(grep -E "^$1: passed=" "$log" | tail -n 1 || true)
    if [ $status = 0 ]; then
        echo "ok    ${line:-$1}"
        return 0
    fi
    echo "FAIL  ${line:-$1: no result} (exit $status)"
    sed 's/^/      /' "$2/failed.txt" 2>/dev/null | head -n 20
    return 1
}

main() {
    [ $# -gt 0 ] || set -- "${quick[@]}"
    if [ ! -d "$suites" ]; then
        echo "suites: no folder $suites; set SUITES_DIR"
        exit 77
    fi
    if [ -n "$WRAP" ] && ! command -v "${WRAP%% *}" >/dev/null; then
        echo "suites: ${WRAP%% *} is not built; run: bash tests/run.sh --build-only"
        exit 1
    fi
    local out=${OUT:-} name bad=0
    if [ -z "$out" ]; then
        out=$(mktemp -d)
        # shellcheck disable=SC2064 # the folder of now
        trap "rm -rf '$out'" EXIT
    fi
    for name in "$@"; do
        if [ ! -f "$suites/$name.sh" ]; then
            echo "FAIL  $name: no such suite in $suites"
            bad=$((bad + 1))
            continue
        fi
        run_suite "$name" "$out/$name" || bad=$((bad + 1))
    done
    echo "suites: $(($# - bad)) of $# good"
    [ $bad = 0 ]
}

main "$@"
