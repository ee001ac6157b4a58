"""Processes, watchdogs and statistics for the system tests of the preloaded library.

Every test of this room starts ordinary programs, with or without the library, over loopback.

Environment:
  SMCD_E2E_BIN   folder of the test programs (required)
  WRAP           command put before servers and clients, e.g. "build/release/bin/smcu run --";
                 empty: plain TCP, which must give the same results
  WRAP_S WRAP_C  the same for servers and for clients only (default: WRAP)
  SMCD_E2E_SCALE multiplies every watchdog (default 1)
  SMCD_SEED      seed of random choices (default: random, printed)
"""

import atexit
import json
import os
import queue
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(os.environ.get("SMCD_E2E_BIN", "."))
WRAP = shlex.split(os.environ.get("WRAP", ""))
WRAP_S = shlex.split(os.environ.get("WRAP_S", shlex.join(WRAP)))
WRAP_C = shlex.split(os.environ.get("WRAP_C", shlex.join(WRAP)))
BOTH_SHIMMED = bool(WRAP_S) and bool(WRAP_C)
SCALE = float(os.environ.get("SMCD_E2E_SCALE", "1"))
SEED = int(os.environ.get("SMCD_SEED", random.randrange(1, 1 << 31)))
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


class Failure(AssertionError):
    """Something did not happen within its watchdog, or a program reported an error."""


def program(name):
    """The path of one of this room's programs."""
    return str(BIN / name)


def wait_until(condition, seconds=10.0, what="condition"):
    """Waits until condition() is true and returns its value; fails after the watchdog."""
    end = time.monotonic() + seconds * SCALE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {seconds * SCALE:.0f} s")
        time.sleep(0.005)


def is_open_to_all(path):
    """Whether every user can reach a file there."""
    return all(folder.stat().st_mode & 0o001 for folder in [path, *path.parents])


def publish():
    """For tests that start programs as another user. Where the build tree lies in a place that
    others cannot reach, as below /root, the programs run from a copy that they can."""
    global BIN, WRAP, WRAP_S, WRAP_C
    tree = BIN.resolve().parent
    if is_open_to_all(tree / "bin"):
        return
    copy = Path(tempfile.mkdtemp(prefix="smcd-e2e-bin"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    copy.chmod(0o755)
    (copy / "bin").mkdir()
    (copy / "lib").mkdir()
    for source in [tree / "bin" / "smcu", *(tree / "bin").glob("e2e_*")]:
        shutil.copy(source, copy / "bin")
    shutil.copy(tree / "lib" / "libsmcd-preload.so", copy / "lib")
    BIN = copy / "bin"
    WRAP, WRAP_S, WRAP_C = ([word.replace(f"{tree}/", f"{copy}/") for word in words]
                            for words in (WRAP, WRAP_S, WRAP_C))
    os.environ.update(SMCD_E2E_BIN=str(BIN), WRAP=shlex.join(WRAP), WRAP_S=shlex.join(WRAP_S),
                      WRAP_C=shlex.join(WRAP_C))


def whereabouts(pid):
    """Where the threads of a process and of its children are: state, time of CPU, what they wait for, system call."""
    lines = ""
    for task in Path(f"/proc/{pid}/task").glob("*"):
        try:
            stat = (task / "stat").read_text().rsplit(")", 1)[1].split()
            lines += (f"  {pid}/{task.name} {(task / 'comm').read_text().strip()}: {stat[0]}, ticks {stat[11]} and "
                      f"{stat[12]}, {(task / 'wchan').read_text()}, call {(task / 'syscall').read_text().strip()}\n")
            children = (task / "children").read_text().split()
        except OSError:
            continue
        lines += "".join(map(whereabouts, children))
    return lines


class Process:
    """A running program: its output by lines, its exit, its statistics."""

    def __init__(self, args, wrap=(), folder=None, env=None, cwd=None, stdin=subprocess.PIPE):
        self.args = [str(arg) for arg in args]
        self.folder = Path(tempfile.mkdtemp(prefix="proc", dir=folder))
        self.folder.chmod(0o777)
        self.stats_file = self.folder / "stats"
        environment = dict(os.environ, SMCD_STATS_FILE=str(self.stats_file))
        environment.update(env or {})
        with open(self.folder / "stderr", "wb") as stderr_file:
            self.popen = subprocess.Popen([*wrap, *self.args], stdin=stdin, cwd=cwd,
                                          stdout=subprocess.PIPE, stderr=stderr_file,
                                          env=environment, start_new_session=True)
        self.pid = self.popen.pid
        self.beside = [self]  # all programs of the test
        self.output = bytearray()
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            self.output += line
            self._lines.put(line.decode(errors="replace").rstrip("\n"))
        self._lines.put(None)

    def expect(self, pattern, seconds=10.0):
        """The match of the next output line that fits the pattern; earlier lines are skipped."""
        end = time.monotonic() + seconds * SCALE
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise Failure(f"{self}: no line like {pattern!r} in {seconds * SCALE:.0f} s\n"
                              f"{self.reports()}") from None
            if line is None:
                raise Failure(f"{self}: ended without a line like {pattern!r}\n{self.reports()}")
            match = re.search(pattern, line)
            if match:
                return match

    def port(self):
        """The port that a server of ours announces."""
        return int(self.expect(r"^port (\d+)$").group(1))

    def say(self, line):
        """Writes one line to the program's standard input."""
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def wait(self, seconds=30.0):
        """The exit status (negative: the signal); fails after the watchdog."""
        try:
            status = self.popen.wait(seconds * SCALE)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self}: still running after {seconds * SCALE:.0f} s\n"
                          f"{self.reports()}") from None
        self._reader.join(5.0)
        if not self._reader.is_alive():
            self._close()  # a test may start more programs than it may have descriptors
        return status

    def finish(self, seconds=30.0):
        """Waits for a successful end and returns the whole output as text."""
        status = self.wait(seconds)
        if status != 0:
            raise Failure(f"{self}: exit status {status}\n{self.reports()}")
        return self.output.decode(errors="replace")

    def alive(self):
        return self.popen.poll() is None

    def kill(self, number=signal.SIGKILL):
        """Sends a signal to this process only."""
        if self.alive():
            os.kill(self.pid, number)

    def stop(self, seconds=10.0):
        """SIGTERM to the process and what it started, then SIGKILL; never fails."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except (ProcessLookupError, PermissionError):
                pass
            try:
                self.popen.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self._reader.join(1.0)
        self._close()

    def _close(self):
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream:
                try:
                    stream.close()
                except OSError:
                    pass

    def stderr(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def report(self):
        """The last words of the program, for a failure message."""
        state = "running" if self.alive() else f"exit status {self.popen.returncode}"
        return (f"  [{state}] {shlex.join(self.args)}\n{whereabouts(self.pid)}"
                f"  stdout: {self.output.decode(errors='replace')[-1500:]}\n"
                f"  stderr: {self.stderr()[-1500:]}")

    def reports(self):
        """That of each program of the test: which of both ends has failed is often told by the other."""
        return "\n".join(process.report() for process in self.beside)

    def stats(self):
        """The lines that this program and its children wrote at their exit, added up; devices are counted."""
        total = {"tcp_reasons": {}, "devices": {}}
        if not self.stats_file.exists():
            return total
        for line in self.stats_file.read_text().splitlines():
            for name, value in json.loads(line).items():
                if isinstance(value, (int, float)) and name != "pid":
                    total[name] = total.get(name, 0) + value
            for name, value in json.loads(line).get("tcp_reasons", {}).items():
                total["tcp_reasons"][name] = total["tcp_reasons"].get(name, 0) + value
            for name in json.loads(line).get("devices", {}):
                total["devices"][name] = total["devices"].get(name, 0) + 1
        return total

    def __str__(self):
        return f"{Path(self.args[0]).name}[{self.pid}]"


class Case(unittest.TestCase):
    """A test whose programs are ended, and whose time is bounded, whatever happens."""

    watchdog_s = 120.0

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="smcd-e2e-"))
        self.folder.chmod(0o755)
        self.processes = []
        self._timer = threading.Timer(self.watchdog_s * SCALE, self._bite)
        self._timer.daemon = True
        self._timer.start()

    def tearDown(self):
        self._timer.cancel()
        for process in self.processes:
            process.stop(2.0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _bite(self):
        sys.stderr.write(f"WATCHDOG {self.id()}: {self.watchdog_s * SCALE:.0f} s are over\n")
        for process in self.processes:
            if process.alive():
                sys.stderr.write(process.report() + "\n")
            process.stop(0.5)
        os._exit(3)

    def start(self, args, wrap=(), **options):
        process = Process(args, wrap, self.folder, **options)
        self.processes.append(process)
        process.beside = self.processes
        return process

    def server(self, *args, **options):
        """Starts a program under WRAP_S."""
        return self.start(args, options.pop("wrap", WRAP_S), **options)

    def client(self, *args, **options):
        """Starts a program under WRAP_C."""
        return self.start(args, options.pop("wrap", WRAP_C), **options)

    def check_stats(self, server, client, connections):
        """Both ended: all connections were accelerated if both ran under the library."""
        for process in (server, client):
            stats = process.stats()
            count = stats.get("accelerated", 0)
            if BOTH_SHIMMED:
                self.assertGreaterEqual(count, connections,
                                        f"{process}: {count} accelerated, {stats}")
            else:
                self.assertEqual(count, 0, f"{process}: accelerated without a shimmed peer")


def listening(port):
    """True if somebody listens on the port in this network namespace."""
    wanted = f":{port:04X}"
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[1].endswith(wanted) and fields[3] == "0A":
                return True
    return False


def free_port():
    """A port that nobody uses now, below the range that connect() takes its ports from."""
    chooser = random.Random()
    while True:
        port = chooser.randrange(20000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_port(port, seconds=20.0):
    wait_until(lambda: listening(port), seconds, f"a listener on port {port}")


def make_region(mib):
    """A region for the ivshmem device of all programs of this test. In a container /dev/shm may be
    small: then in the folder for temporary files."""
    fits = os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free >= mib << 20
    where = "/dev/shm" if fits else None
    folder = tempfile.mkdtemp(prefix="smcd-e2e-region", dir=where)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with open(Path(folder) / "region", "wb") as file:
        file.truncate(mib << 20)
    os.environ["SMCD_FABRIC"] = file.name


def main():
    """Runs the test file; the first line says under what and with which seed."""
    print(f"WRAP_S={shlex.join(WRAP_S)!r} WRAP_C={shlex.join(WRAP_C)!r} SMCD_SEED={SEED}",
          flush=True)
    if "SMCD_E2E_REGION_MIB" in os.environ:
        make_region(int(os.environ["SMCD_E2E_REGION_MIB"]))
    unittest.main(verbosity=2)
