"""The device that the demonstration shows: what its programs need in their environment, and the proof."""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

NAMES = ("loopback", "ism", "ivshmem")
# Room for 500 connections at their usual buffer size in each slot; pages that nobody uses cost nothing.
SLOTS = 8
SLOT_MIB = 320
STOP_S = 15


class NoFabric(Exception):
    """The fabric's server does not start."""


def memory_folder():
    """Where a region's pages are memory and no file on a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def region_mib(folder):
    free = shutil.disk_usage(folder).free >> 20
    return min(SLOTS * SLOT_MIB, max(free // 2, 64))


def end(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def fabric(smcu, log_path):
    """A fabric server of our own; gives the path of its socket."""
    with tempfile.TemporaryDirectory(prefix="smcu-demo-", dir=memory_folder()) as folder, \
            open(log_path, "wb") as log:
        command = [smcu, "fabric", "-d", folder, "serve", "--size", f"{region_mib(folder)}M",
                   "--peers", str(SLOTS)]
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            ready = server.stdout.readline()
            if not ready.startswith(b"ready"):
                raise NoFabric(f"the fabric's server does not start; see {log_path}")
            yield str(Path(folder) / "ivshmem")
        finally:
            end(server)
            server.stdout.close()


@contextlib.contextmanager
def environment(options, raw):
    """Variables for the programs under the library: that device alone."""
    if options.both_tcp:
        yield {}
    elif options.device == "ivshmem":
        with fabric(options.smcu, raw / "fabric.txt") as attach_point:
            yield {"SMCD_DEVICES": "ivshmem", "SMCD_FABRIC": attach_point}
    else:
        yield {"SMCD_DEVICES": options.device}


def moved_bytes(lines, device):
    """Bytes that processes sent and received over that device, by their own statistics."""
    counters = [line.get("devices", {}).get(device, {}) for line in lines]
    return sum(one.get("tx_bytes", 0) + one.get("rx_bytes", 0) for one in counters)
