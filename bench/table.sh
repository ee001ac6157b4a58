#!/usr/bin/env bash
# The table of the speed targets: every scenario on TCP and through us in turns, with the machine's floor, in one run.
# Installs what is missing, builds, measures (a quarter of an hour on a quiet machine), prints the table and keeps
# it with raw data, commands and machine description in bench/results/table/, ready to be committed.
#
#   bash bench/table.sh [--rounds N] [--seconds S] [--only ROWS] [--out FOLDER] [--no-setup] [--list]
#
#   --rounds N     repetitions, odd (default 7)
#   --seconds S    length of each sample (default 2)
#   --only ROWS    some rows alone, separated by commas; --list names them
#   --out FOLDER   where the results go (default bench/results/table)
#   --no-setup     install and build nothing: use build/release as it is
#
# As root it runs in a network namespace of its own, where TCP uses cubic, its faster congestion control on loopback;
# nothing on the machine is changed. Otherwise TCP runs with the machine's default where a program has no option
# for it, and the table says which.
# Exit 0: every row was measured, and every byte of ours went through DMBs. 1: not. Targets that were missed are no error.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin

usage() {
    sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'
}

setup=yes
words=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --no-setup) setup=no ;;
    *) words+=("$1") ;;
    esac
    shift
done

python3 -B "$root/bench/table/main.py" --check "${words[@]}"
if [ $setup = yes ]; then
    bash "$root/tests/setup.sh" build demo
    bash "$root/tests/run.sh" --build-only >&2
fi
measure=(python3 -B "$root/bench/table/main.py" --smcu "$root/build/release/bin/smcu" "${words[@]}")
if [ "$(id -u)" = 0 ] && unshare --net true 2>/dev/null; then
    # As an attribute of the routes: the sysctl of a namespace takes only what the machine's list allows.
    # shellcheck disable=SC2016  # expanded inside
    exec unshare --net sh -c 'ip link set lo up
        for to in 127.0.0.0/8 127.0.0.1; do
            ip route change table local local "$to" dev lo proto kernel scope host src 127.0.0.1 congctl cubic
        done
        exec "$@"' sh "${measure[@]}"
fi
exec "${measure[@]}"
