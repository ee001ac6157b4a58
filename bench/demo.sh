#!/usr/bin/env bash
# The demonstration: real, unmodified programs over loopback, plain TCP and `smcu run` in turns in
# the same run. Installs what is missing, builds, measures, prints one table and the proof that the
# bytes went through shared memory.
#
#   bash bench/demo.sh [--quick] [--device NAME] [--only redis,nginx,iperf3,sockperf]
#
#   --quick        runs of 1 s instead of 2 s (about a minute and a half instead of four)
#   --device NAME  the device to show: loopback (default), ism (copies), ivshmem (a region of a fabric
#                  server that runs meanwhile)
#   --only LIST    these programs alone, separated by commas
#   --rounds N     measurements per scenario and side, at least 3 (default 3)
#   --no-setup     install and build nothing: use build/release as it is
#
# Exit 0: every program ran, and every scenario under `smcu run` moved bytes over that device. Else 1.
# Raw outputs, machine description and a summary are kept in bench/results/<time>/.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin

usage() {
    sed -n '2,/^set /p' "${BASH_SOURCE[0]}" | sed -n 's/^# \{0,1\}//p'
}

setup=yes
both_tcp=no
words=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --no-setup) setup=no ;;
    # Not in the usage: no library at all, a test of the demonstration itself.
    --both-tcp) both_tcp=yes; words+=("$1") ;;
    *) words+=("$1") ;;
    esac
    shift
done

if [ $setup = yes ]; then
    bash "$root/tests/setup.sh" build demo
fi
# The options are checked before minutes go into a build.
python3 -B "$root/bench/demo/main.py" --check "${words[@]}"
if [ $setup = yes ] && [ $both_tcp = no ]; then
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    trap 'exit 143' TERM
    echo "demo: building (the first time takes minutes)" >&2
    if ! bash "$root/tests/run.sh" --build-only >"$log" 2>&1; then
        tail -n 40 "$log" >&2
        echo "demo: the build failed" >&2
        exit 1
    fi
    rm -f "$log"
fi
# exec: a signal that is meant for the demonstration reaches what must clean up.
exec python3 -B "$root/bench/demo/main.py" --smcu "$root/build/release/bin/smcu" "${words[@]}"
