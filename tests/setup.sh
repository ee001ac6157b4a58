#!/usr/bin/env bash
# Installs what the build, the tests and the demo need on Debian 12, and nothing when it is all there.
# usage: tests/setup.sh [build] [test] [demo]    (default: all three)
# Without root it installs nothing: it prints the missing packages and exits 1.
set -euo pipefail

packages_of() {
    case $1 in
    build)
        echo g++ cmake ninja-build ccache pkg-config python3 binutils \
            libboost-dev libprotobuf-dev protobuf-compiler libspdlog-dev libcli11-dev \
            libgtest-dev libgmock-dev nlohmann-json3-dev
        ;;
    test)
        echo python3 binutils procps iproute2 curl socat tshark \
            redis-server redis-tools nginx-light wrk iperf3 sockperf memcached openssl \
            valgrind postgresql mariadb-server haproxy apache2 openssh-server openssh-client rsync \
            nodejs default-jdk-headless mosquitto mosquitto-clients \
            qemu-system-x86 busybox-static cpio liburing2
        ;;
    demo)
        echo redis-server redis-tools nginx-light wrk iperf3 sockperf
        ;;
    *)
        echo "setup: unknown set of packages '$1'; there are: build test demo" >&2
        return 2
        ;;
    esac
}

is_installed() {
    local status
    status=$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null || true)
    [ "$status" = installed ]
}

# Debian starts a daemon as soon as its package is installed, unless this file says no.
policy=/usr/sbin/policy-rc.d
forbid_services() {
    [ -e "$policy" ] && return 0
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 "$@" >&2
}

install_packages() {
    forbid_services
    apt update
    # tshark asks whether ordinary users may capture; it only reads files here.
    if command -v debconf-set-selections >/dev/null; then
        echo 'wireshark-common wireshark-common/install-setuid boolean false' |
            debconf-set-selections
    fi
    apt install -y --no-install-recommends "$@"
}

main() {
    [ $# -gt 0 ] || set -- build test demo
    local set package listed missing=()
    for set in "$@"; do
        listed=$(packages_of "$set")
        for package in $listed; do
            is_installed "$package" || missing+=("$package")
        done
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "setup: missing packages: ${missing[*]}" >&2
        echo "setup: run as root: bash tests/setup.sh $*" >&2
        return 1
    fi
    echo "setup: installing ${missing[*]}" >&2
    install_packages "${missing[@]}"
}

main "$@"
