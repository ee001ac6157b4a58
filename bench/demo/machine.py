"""What the figures depend on: the machine, the kernel's settings, the versions of the programs."""
import os
import platform
import shutil
import socket
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
VERSION_COMMANDS = {
    "redis": ["redis-server", "--version"],
    "nginx": ["nginx", "-v"],
    "wrk": ["wrk", "-v"],
    "iperf3": ["iperf3", "--version"],
    "sockperf": ["sockperf", "--version"],
    "compiler": ["c++", "--version"],
}


def which(tool):
    return shutil.which(tool)


def read(path, default=""):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return default


def congestion_control():
    return read("/proc/sys/net/ipv4/tcp_congestion_control", "unknown")


def may_use_cubic():
    """An ordinary user may choose only what the machine allows to everybody."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        except OSError:
            return False
    return True


def first_line_of(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.splitlines()[0].strip() if done.stdout else ""


def cpu_facts():
    facts = {"model": "", "flags": ""}
    for line in read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and not facts["model"]:
            facts["model"] = value.strip()
        if key.strip() == "flags" and not facts["flags"]:
            facts["flags"] = value
    return facts


def memory_mib():
    for line in read("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return 0


def mitigations():
    folder = Path("/sys/devices/system/cpu/vulnerabilities")
    return {entry.name: read(entry) for entry in sorted(folder.glob("*"))}


def load():
    return read("/proc/loadavg")


def git(*words):
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def describe(options):
    cpu = cpu_facts()
    return {
        "cpu": cpu["model"] or platform.machine(),
        "cpus": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)),
        "virtual": "hypervisor" in cpu["flags"].split(),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "none"),
        "mitigations": mitigations(),
        "memory_mib": memory_mib(),
        "kernel": platform.release(),
        "congestion_control": congestion_control(),
        "tcp_rmem": read("/proc/sys/net/ipv4/tcp_rmem"),
        "tcp_wmem": read("/proc/sys/net/ipv4/tcp_wmem"),
        "load_before": load(),
        "commit": git("rev-parse", "HEAD"),
        "changed_files": len(git("status", "--porcelain", "--untracked-files=no").splitlines()),
        "versions": {name: first_line_of(command) for name, command in VERSION_COMMANDS.items()
                     if which(command[0])},
        "device": options.device,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "both_tcp": options.both_tcp,
    }
