"""Starts and stops the demonstration's servers and clients; keeps what they print."""
import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import device

START_S = 15
STOP_S = 15
RUN_EXTRA_S = 30
LISTEN_STATE = "0A"


class Failed(Exception):
    """Something that ends the demonstration."""


class Progress:
    """One line on a terminal, nothing elsewhere."""

    def __init__(self, total):
        self.total = total
        self.done = 0
        self.started = time.monotonic()
        self.shown = sys.stderr.isatty()

    def step(self, what):
        if self.shown:
            left = ""
            if self.done:
                seconds = (time.monotonic() - self.started) / self.done * (self.total - self.done)
                left = f", about {seconds:.0f} s left"
            sys.stderr.write(f"\r\033[K[{self.done + 1}/{self.total}{left}] {what}")
            sys.stderr.flush()
        self.done += 1

    def end(self):
        if self.shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port):
    """Whether some socket listens; from the kernel's table, so that no server sees a connection."""
    for name in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN_STATE and int(fields[1].rsplit(":", 1)[1], 16) == port:
                return True
    return False


def read_stats(path):
    """The lines that processes under the library wrote at their exit."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            lines.append(json.loads(line))
    return lines


class Runner:
    """Owns every process of the demonstration; knows each by its pid and ends no other."""

    def __init__(self, options, folder, raw, total):
        self.options = options
        self.folder = folder
        self.raw = raw
        self.progress = Progress(total)
        self.failures = []
        self.proof = {}        # case name -> lines of its clients
        self.server_proof = {}  # program name -> lines of its server
        self.commands = {}     # "case arm" -> the command as typed
        self.variables = {}    # what programs under the library find in their environment
        cpus = sorted(os.sched_getaffinity(0))
        # Server on the first CPU, client on the second, where the program is run pinned.
        self.cpus = (cpus[0], cpus[1]) if len(cpus) > 1 else None

    def _command(self, words, shimmed, cpu_index):
        command = list(words)
        if shimmed and not self.options.both_tcp:
            command = [self.options.smcu, "run", "--", *command]
        if cpu_index is not None and self.cpus:
            command = ["taskset", "-c", str(self.cpus[cpu_index]), *command]
        return command

    def _environment(self, stats):
        clean = {name: value for name, value in os.environ.items()
                 if name != "LD_PRELOAD" and not name.startswith(("SMCD_", "SMC_"))}
        if stats is not None:
            clean.update(self.variables, SMCD_STATS_FILE=str(stats))
        return clean

    @contextlib.contextmanager
    def servers(self, program):
        """Both servers of a program, {"tcp": port, "smcu": port}; stopped at the end."""
        running = {}
        try:
            ports = {}
            for side in ("tcp", "smcu"):
                ports[side] = free_port()
                running[side] = self._start(program, side, ports[side])
            yield ports
        finally:
            for side, process in running.items():
                self._stop(program, side, process)

    def _start(self, program, side, port):
        shimmed = side == "smcu"
        stats = self.folder / f"{program.name}-server.stats" if shimmed else None
        command = self._command(program.server(port, side), shimmed, 0 if program.pinned else None)
        self.commands[f"{program.name} server {side}"] = shlex.join(command)
        with open(self.raw / f"{program.name}-server-{side}.txt", "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       cwd=self.folder, env=self._environment(stats))
        end = time.monotonic() + START_S
        while not is_listening(port):
            if process.poll() is not None or time.monotonic() > end:
                self._kill(process)
                raise Failed(f"the server does not start: {shlex.join(command)}; see {log.name}")
            time.sleep(0.02)
        return process

    def _kill(self, process):
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()

    def _stop(self, program, side, process):
        who = f"{program.name}: the {side} server"
        if process.poll() is not None:
            self.failures.append(f"{who} ended by itself, status {process.returncode}")
            return
        process.send_signal(program.stop_signal)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._kill(process)
            self.failures.append(f"{who} did not end within {STOP_S} s of its signal")
        if side == "smcu":
            stats = self.folder / f"{program.name}-server.stats"
            self.server_proof[program.name] = read_stats(stats)

    def measure(self, case, arm, port, round_number):
        """One run of one client; its figures go into the case."""
        if case.calibrate is not None and round_number == 0:
            figures = self._figures_of(case, arm, port, "first")
            if figures is not None:
                case.calibrate(arm, figures)
        self.progress.step(f"{case.title}, {arm}")
        figures = self._figures_of(case, arm, port, str(round_number + 1))
        if figures is not None:
            case.add(arm, round_number, figures)

    def _figures_of(self, case, arm, port, label):
        """What one run of the client measured; None, and a failure noted, if it did not work."""
        shimmed = case.server_of(arm) == "smcu"
        stats = self.folder / f"{case.name}-{label}.stats" if shimmed else None
        command = self._command(case.client(arm, port), shimmed, 1 if case.program.pinned else None)
        self.commands[f"{case.name} {arm}"] = shlex.join(command)
        where = f"{case.title}, {arm}, round {label}"
        raw = self.raw / f"{case.name}-{arm}-{label}.txt"
        text = self._run(command, self._environment(stats), raw, where)
        if text is None:
            return None
        try:
            figures = case.parse(text)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            self.failures.append(f"{where}: its output is not understood ({error}); see {raw}")
            return None
        if shimmed and not self.options.both_tcp:
            self._check_proof(case, where, read_stats(stats))
        return figures

    def _run(self, command, environment, raw, where):
        limit = self.options.seconds + RUN_EXTRA_S
        with open(raw, "wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT, cwd=self.folder, env=environment)
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                self.failures.append(f"{where}: not finished within {limit} s; see {raw}")
                self._describe_hang(raw)
                return None
            finally:
                self._kill(process)
        if status != 0:
            self.failures.append(f"{where}: exit status {status}; see {raw}")
            return None
        return raw.read_text(errors="replace")

    def _describe_hang(self, raw):
        """Keeps what every socket under the library was waiting for."""
        if self.options.both_tcp:
            return
        with open(raw.with_suffix(".sockets.txt"), "wb") as out, \
                contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([self.options.smcu, "ss", "-a", "-e"], stdout=out,
                           stderr=subprocess.STDOUT, timeout=STOP_S, check=False)

    def _check_proof(self, case, where, lines):
        self.proof.setdefault(case.name, []).extend(lines)
        if not lines:
            self.failures.append(f"{where}: no statistics: the library was not in the client")
        elif device.moved_bytes(lines, self.options.device) == 0:
            reasons = sorted({name for line in lines for name in line.get("tcp_reasons", {})})
            self.failures.append(f"{where}: no byte went over the {self.options.device} device; "
                                 f"reasons for TCP: {', '.join(reasons) or 'none'}")
