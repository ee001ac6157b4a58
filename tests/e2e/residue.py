"""What processes leave behind: shared memory, descriptors, names of abstract sockets."""

import ctypes
import fcntl
import os
import socket
import struct
from pathlib import Path

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1


def private_network():
    """Moves this process into a network namespace of its own with loopback up, so that the names
    of other processes on this machine are not seen. Returns False without the privilege."""
    if os.geteuid() != 0 or ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = bytearray(struct.pack("16sh22x", b"lo", 0))
        fcntl.ioctl(sock, SIOCGIFFLAGS, request)
        flags = struct.unpack_from("16sh", request)[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | IFF_UP))
    return True


def shmem_bytes():
    """Shared memory of the whole machine, tmpfs and memfd included."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Shmem:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no Shmem in /proc/meminfo")


def socket_names():
    """The abstract names of this project that exist in this network namespace."""
    names = set()
    for line in Path("/proc/self/net/unix").read_text().splitlines():
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and "smcd" in fields[7]:
            names.add(fields[7])
    return names


def descriptors(pid):
    """What each open descriptor of a process is, without the numbers that name an instance."""
    found = []
    folder = Path(f"/proc/{pid}/fd")
    for entry in folder.iterdir():
        try:
            target = os.readlink(entry)
            found.append(target if target.startswith("anon_inode") else target.split(":[")[0])
        except FileNotFoundError:
            continue
    return sorted(found)


def mappings(pid):
    """The number of shared mappings of deleted files (memfd among them) of a process, but for
    anonymous ones: a pool of its own that grows with the handshakes at one moment."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sum(1 for line in lines if line.endswith("(deleted)") and "/dev/zero" not in line)
