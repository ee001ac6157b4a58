#!/bin/busybox sh
# The only program of a test guest (tests/vm/machine.py puts it there as /init): network, modules,
# and the part that the kernel command line names with role=. What the host reads goes to the
# console.
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod "/modules/$module"; done
role=$(sed 's/.*role=\([a-z]*\).*/\1/' /proc/cmdline)
address=10.99.0.2
[ "$role" != server ] || address=10.99.0.1
hostname "$role"
ip link set lo up
ip addr add $address/24 dev eth0
ip link set eth0 up
cd /tmp
export SMCD_FABRIC=pci SMCD_PNETID=VM SMCD_DEBUG=1

# Persistent memory as a devdax node: who comes first formats it, later guests find it so.
if [ -e /sys/bus/nd/devices/region0 ]; then
    sleep 1 # the kernel probes beside us
    if [ ! -e /dev/dax0.0 ]; then
        nd=/sys/bus/nd
        echo namespace0.0 >$nd/drivers/nd_pmem/unbind
        echo ram >$nd/devices/dax0.0/mode
        echo 2097152 >$nd/devices/dax0.0/align
        cat /proc/sys/kernel/random/uuid >$nd/devices/dax0.0/uuid
        echo namespace0.0 >$nd/devices/dax0.0/namespace
        echo dax0.0 >$nd/drivers/dax_pmem/bind
    fi
    export SMCD_FABRIC=/dev/dax0.0
    ls -l /dev/dax*
fi

# receive PORT NAME: one connection into a file, then what came and how.
receive() {
    SMCD_STATS_FILE=/tmp/$2.stats smcu run -- socat -u "TCP-LISTEN:$1,reuseaddr" \
        "OPEN:/tmp/$2,creat"
    echo "received $2 $(sha256sum <"/tmp/$2" | cut -c1-64)"
    echo "stats server $2 $(cat "/tmp/$2.stats")"
}

# send PORT NAME [ADDRESS [OPTION]]: random bytes, once somebody listens there. Bytes that wait for a verdict are held
# for 50 ms only, and an emulated machine may need longer: they come later.
send() {
    dd if=/dev/urandom of="/tmp/$2" bs=1M count=8 2>/dev/null
    { sleep 3; cat "/tmp/$2"; } | SMCD_STATS_FILE=/tmp/$2.stats smcu run -- socat -u STDIN \
        "TCP:${3:-10.99.0.1}:$1,retry=100,interval=0.2${4:+,$4}"
    echo "sent $2 $(sha256sum <"/tmp/$2" | cut -c1-64)"
    echo "stats client $2 $(cat "/tmp/$2.stats")"
}

# echo_lines PORT NAME [COMMAND...]: an echo server that asks for signs of life; then how it ended.
echo_lines() {
    port=$1 name=$2
    shift 2
    SMCD_STATS_FILE=/tmp/$name.stats "$@" socat \
        "TCP-LISTEN:$port,reuseaddr,keepalive,keepidle=4,keepintvl=2,keepcnt=3" \
        PIPE 2>/tmp/$name.end
    echo "ended $name: $(sed 's/.*: //' /tmp/$name.end | tail -n 1)"
    [ ! -e "/tmp/$name.stats" ] || echo "stats server $name $(cat "/tmp/$name.stats")"
}

# Lines to the echo server and back, one at a time; the host pauses machines meanwhile.
exchange_lines() {
    mkfifo in out
    smcu run -- socat "TCP:10.99.0.1:7002,retry=100,interval=0.2" STDIO <in >out &
    exec 3>in 4<out
    sleep 3 # as above
    number=0
    while :; do
        echo "line $number" >&3
        read -r back <&4 || { echo "lines ended"; break; }
        [ "$back" = "line $number" ] || echo "WRONG '$back' for $number"
        echo "tick $number"
        number=$((number + 1))
    done
}

case $role in
server)
    receive 7001 first &
    receive 7003 second &
    echo_lines 7002 shared smcu run -- &
    echo_lines 7004 plain &
    echo "server ready"
    ;;
client)
    # A SYN that is repeated until the server's machine is up belongs to a client that asked before anybody listened: TCP.
    until ping -c 1 -W 1 10.99.0.1 >/dev/null 2>&1; do :; done
    send 7001 first
    # The same over plain TCP, to compare how the two end.
    (echo hello; sleep 1000) | socat "TCP:10.99.0.1:7004,retry=100,interval=0.2" STDIO &
    exchange_lines
    ;;
again)
    send 7003 second
    smcu run -- socat TCP-LISTEN:7005,reuseaddr PIPE &
    ;;
vlan)
    vconfig add eth0 5 >/dev/null
    ip addr add 10.98.0.1/16 dev eth0.5
    ip link set eth0.5 up
    mkdir meeting
    unset SMCD_FABRIC SMCD_PNETID
    export SMCD_DEVICES=ism SMCD_ISM_FOLDER="$PWD/meeting" SMCD_V1=only
    receive 7001 server &
    send 7001 client 10.98.0.1
    wait
    # One subnet, but the client's own address is in another VLAN.
    vconfig add eth0 6 >/dev/null
    ip addr add 10.98.1.1/16 dev eth0.6
    ip link set eth0.6 up
    receive 7002 inside &
    send 7002 outside 10.98.0.1 bind=10.98.1.1
    wait
    echo "vlan done"
    ;;
esac
while :; do sleep 1000; done
