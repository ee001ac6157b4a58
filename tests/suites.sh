#!/usr/bin/env bash
# Runs third-party suites under `smcu run` and prints one line per suite and mix: its result, and how many
# connections (each end counts) were accelerated or on TCP, from the statistics.
# usage: tests/suites.sh [--quick] [--again] [--as-tcp] [--jobs N] [--mix both|server|client|none|all] [NAME...]
#
#   --quick      only the short ones (default: every suite in the folder)
#   --again      try a suite that failed once more; both results stand in the log
#   --as-tcp     run a suite that failed on plain TCP, too: it is good if what fails here fails there on this
#                machine (one without IPv6, for instance) and no fewer tests pass
#   --jobs N     N suites at a time (default 1)
#   --mix MIX    which ends run under the library (default both; all: the four in turn)
#
#   SUITES_DIR   folder of suite scripts NAME.sh (default: ../shared/suites beside the checkout)
#   WRAP         command before a program (default: build/release/bin/smcu run --)
#   OUT          keep the logs in OUT/MIX/NAME (default: a temporary folder)
#   LIMIT_S      seconds per suite (default 200)
#
# A suite is a script that reads WRAP_S (servers), WRAP_C (clients) and OUT and ends with
# "NAME: passed=.. failed=.. ..."; exit 0: good. With both ends under the library a suite without an
# accelerated connection is not good, unless its programs cannot be reached.
# Exit 0 iff every suite was good; 77 when there is no folder of suites.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
suites=${SUITES_DIR:-$root/../shared/suites}
limit_s=${LIMIT_S:-200}
wrap=${WRAP:-$root/build/release/bin/smcu run --}
# Short ones that cover epoll, fork, threads, stdio, descriptor passing and static programs.
quick=(netcats redis memcached nbd mqtt go_peers glib_gio tornado)
unreached=" go_peers " # static programs: on TCP, whatever we do

again=no
as_tcp=no
jobs=1
mix=both
names=()

usage() {
    sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
        --quick) names+=("${quick[@]}") ;;
        --again) again=yes ;;
        --as-tcp) as_tcp=yes ;;
        --jobs) jobs=${2:?suites: --jobs wants a number}; shift ;;
        --mix) mix=${2:?suites: --mix wants a value}; shift ;;
        --help) usage; exit 0 ;;
        -*) echo "suites: unknown option $1" >&2; usage >&2; exit 2 ;;
        *) names+=("$1") ;;
        esac
        shift
    done
    case $mix in
    all) mixes=(both server client none) ;;
    both | server | client | none) mixes=("$mix") ;;
    *) echo "suites: unknown mix $mix" >&2; exit 2 ;;
    esac
    [ ${#names[@]} -gt 0 ] || mapfile -t names < <(
        cd "$suites" && find . -maxdepth 1 -name '*.sh' ! -name lib.sh -printf '%f\n' | sort | sed 's/\.sh$//')
}

count() { # count COUNTER STATISTICS: the sum over all processes
    grep -o "\"$1\":[0-9]*" "$2" | awk -F: '{n += $2} END {print n + 0}'
}

# Servers that leave root for a user of their own, while the clients stay.
declare -A users=([mariadb]=mysql [memcached]=nobody [mqtt]=mosquitto)

allowed_uids() { # allowed_uids NAME: those that may share memory; none: the suite has one user
    local user=${users[$1]:-} uid
    if [ -n "$user" ] && uid=$(id -u "$user" 2>/dev/null); then
        echo "$(id -u),$uid"
    fi
}

run_suite() { # run_suite NAME MIX LOG_FOLDER
    local log=$3/suite.log stats=$3/statistics.jsonl status=0 line server='' client='' accelerated verdict=ok
    mkdir -p "$3"
    : >"$stats"
    chmod 666 "$stats" # servers that leave root write there, too
    case $2 in both | server) server=$wrap ;; esac
    case $2 in both | client) client=$wrap ;; esac
    WRAP='' WRAP_S=$server WRAP_C=$client OUT=$3 SMCD_STATS_FILE=$stats SMCD_ALLOW_UIDS=$(allowed_uids "$1") \
        timeout -k 10 "$limit_s" bash "$suites/$1.sh" >"$log" 2>&1 </dev/null || status=$?
    line=$(grep -E "^$1: passed=" "$log" | tail -n 1 || true)
    accelerated=$(count accelerated "$stats")
    if [ $status != 0 ]; then
        verdict="FAIL (exit $status)"
    elif [ "$2" = both ] && [ "$accelerated" = 0 ] && [[ $unreached != *" $1 "* ]]; then
        verdict="FAIL (nothing accelerated)"
    fi
    echo "$verdict  $2  ${line:-$1: no result}  accelerated=$accelerated tcp=$(count tcp "$stats")"
    if [ "$verdict" = ok ]; then
        return 0
    fi
    sed 's/^/      /' "$3/failed.txt" 2>/dev/null | head -n 20
    return 1
}

passed() { # passed NAME LOG_FOLDER: how many tests did
    sed -n "s/^$1: passed=\([0-9]*\) .*/\1/p" "$2/suite.log" 2>/dev/null | tail -n 1
}

# Does plain TCP fail in all that failed here?
fails_as_tcp() { # fails_as_tcp NAME MIX LOG_FOLDER
    local here there
    [ "$2" != none ] && [ -s "$3/failed.txt" ] || return 1
    run_suite "$1" none "$3.tcp" && return 1
    here=$(passed "$1" "$3")
    there=$(passed "$1" "$3.tcp")
    [ -n "$here" ] && [ -n "$there" ] && [ "$here" -ge "$there" ] || return 1
    [ -z "$(sort -u "$3/failed.txt" | comm -23 - <(sort -u "$3.tcp/failed.txt"))" ] || return 1
    echo "as on plain TCP: $1, $2"
}

attempt() { # attempt NAME MIX LOG_FOLDER
    run_suite "$1" "$2" "$3" || { [ $as_tcp = yes ] && fails_as_tcp "$1" "$2" "$3"; }
}

# A failed one leaves a mark.
judge_suite() { # judge_suite NAME MIX LOG_FOLDER
    attempt "$1" "$2" "$3" || { [ $again = yes ] && attempt "$1" "$2" "$3.again"; } || touch "$3.failed"
}

main() {
    if [ ! -d "$suites" ]; then
        echo "suites: no folder $suites; set SUITES_DIR"
        exit 77
    fi
    parse "$@"
    if ! command -v "${wrap%% *}" >/dev/null; then
        echo "suites: ${wrap%% *} is not built; run: bash tests/run.sh --build-only"
        exit 1
    fi
    local out=${OUT:-} name which bad
    if [ -z "$out" ]; then
        out=$(mktemp -d)
        chmod 755 "$out"
        # shellcheck disable=SC2064 # the folder of now
        trap "rm -rf '$out'" EXIT
    fi
    rm -f "$out"/*/*.failed
    for which in "${mixes[@]}"; do
        mkdir -p "$out/$which"
        for name in "${names[@]}"; do
            if [ ! -f "$suites/$name.sh" ]; then
                echo "FAIL  $name: no such suite in $suites"
                touch "$out/$which/$name.failed"
                continue
            fi
            while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
            judge_suite "$name" "$which" "$out/$which/$name" &
        done
    done
    wait
    bad=$(find "$out" -mindepth 2 -maxdepth 2 -name '*.failed' | wc -l)
    echo "suites: $((${#names[@]} * ${#mixes[@]} - bad)) of $((${#names[@]} * ${#mixes[@]})) good"
    [ "$bad" = 0 ]
}

main "$@"
