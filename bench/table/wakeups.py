#!/usr/bin/env python3
"""Where the time of a ping-pong goes whose ends both sleep between messages: shim (efficient), TCP and AF_UNIX.

    python3 -B bench/table/wakeups.py [--smcu build/release/bin/smcu] [--rounds N] [--out FOLDER]

Root, for the kernel's tracer: an instance of tracefs of its own, removed afterwards. Half a round trip is cut where a program
calls the kernel to send (sendto(), or FUTEX_WAKE of the library), where the kernel wakes the other end (sched_waking), and where
that end's call returns with the message. The events cost some microseconds of each half; the trace counts whole ones, so means
are right and single halves are not. FOLDER (default bench/results/table) gets wakeups.md and wakeups.json.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
TRACEFS = Path("/sys/kernel/tracing")
EVENTS = ("sched/sched_waking", "raw_syscalls/sys_enter", "raw_syscalls/sys_exit")
SECONDS = 0.4
BUFFER_KB = 32768  # per CPU
LINE = re.compile(r"-(\d+)\s+\[\d+\]\s+\S+\s+(\d+\.\d+): (\w+): (.*)")
PID = re.compile(r" pid=(\d+)")
PATHS = ("tcp", "unix", "shim")  # in the order in which smcu bench takes them
# As x86 numbers the calls: sendto(), futex(FUTEX_WAKE); recvfrom() with a message, futex(FUTEX_WAIT) that was woken.
SENDS = re.compile(r"NR (?:44 |202 \(\w+, (?:1|81),)")
RETURNS = re.compile(r"NR (?:45 = 14|202 = 0)$")
PARTS = {"program": "the program and its library, until it calls to send",
         "reach": "from there until the other end's program runs",
         "woken": "of that: until the other end is woken (below 0: before there is a message)"}


def parse(lines):
    """(us, thread, event, text) of the lines of a trace."""
    for line in lines:
        if found := LINE.search(line):
            yield float(found[2]) * 1e6, int(found[1]), found[3], found[4]


class Tracer:
    """An instance of tracefs that follows the processes started by start()."""

    def __init__(self):
        self.folder = TRACEFS / "instances" / f"smcu-wakeups-{os.getpid()}"

    def __enter__(self):
        self.folder.mkdir()
        self.set("tracing_on", 0)
        self.set("trace_clock", "mono_raw")
        self.set("buffer_size_kb", BUFFER_KB)
        self.set("options/event-fork", 1)
        for event in EVENTS:
            self.set(f"events/{event}/enable", 1)
        return self

    def __exit__(self, *_):
        self.set("tracing_on", 0)
        self.folder.rmdir()

    def set(self, name, value):
        (self.folder / name).write_text(str(value))

    def run(self, words):
        """Runs the command, its descendants traced: the events of all of them, by time."""
        # The shell waits until it is followed.
        child = subprocess.Popen(["sh", "-c", 'read -r go; exec "$@"', "sh", *words], stdin=subprocess.PIPE,
                                 stdout=subprocess.DEVNULL)
        self.set("set_event_pid", child.pid)
        self.set("tracing_on", 1)
        child.communicate(b"\n")
        self.set("tracing_on", 0)
        if child.returncode != 0:
            raise SystemExit(f"wakeups.py: {' '.join(words)}: exit {child.returncode}")
        with open(self.folder / "trace", encoding="utf-8", errors="replace") as lines:
            events = sorted(parse(lines), key=lambda event: event[0])
        self.set("trace", "")
        return events


def pairs_of(events):
    """The pairs of threads that wake each other most, one for each path, in the order in which they began."""
    wakings = Counter()
    for _, thread, event, text in events:
        if event == "sched_waking" and (woken := PID.search(text)):
            wakings[(thread, int(woken[1]))] += 1
    both = {pair: min(count, wakings[pair[::-1]]) for pair, count in wakings.items()
            if pair[0] < pair[1] and pair[::-1] in wakings}
    most = sorted(both, key=both.get, reverse=True)[:len(PATHS)]
    return [pair for pair in both if pair in most]


def halves(events, ends):
    """The parts of each half round trip, us."""
    sent = None  # the end that sent last, and when
    woken, runs = {}, {}
    for now, thread, event, text in events:
        if event == "sched_waking":
            woken[int(PID.search(text)[1])] = now
        elif thread not in ends:
            continue
        elif event == "sys_enter" and SENDS.match(text):
            sent = (thread, now)
        elif event == "sys_exit" and RETURNS.match(text) and sent is not None and sent[0] != thread and thread in woken:
            if sent[0] in runs:
                yield {"program": sent[1] - runs.pop(sent[0]), "reach": now - sent[1], "woken": woken[thread] - sent[1]}
            runs[thread] = now
            sent = None


def figures_of(events, ends):
    """Of one path: half round trips, and the means of their parts."""
    found = list(halves(events, ends))
    if len(found) < 1000:
        raise SystemExit(f"wakeups.py: {len(found)} half round trips of sleepers; is the machine busy?")
    return {"halves": len(found), "mean_us": {part: statistics.fmean(half[part] for half in found) for part in PARTS}}


def measure(tracer, smcu):
    """One run of all paths."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        words = [smcu, "bench", "pingpong", "-m", "14", "-t", str(SECONDS), "-r", "1", "--no-floor", "-q", "--profile",
                 "efficient", "--through", "shim", "--against", "tcp,unix", "--nodelay", "on", "--json", report.name]
        events = tracer.run(words)
        order = tuple(series["path"] for series in json.load(report)["series"])
    found = pairs_of(events)
    if order != PATHS or len(found) != len(PATHS):
        raise SystemExit(f"wakeups.py: {len(found)} pairs of ends for {order}")
    return {path: figures_of(events, ends) for path, ends in zip(PATHS, found)}


def table_of(results):
    """Medians over the rounds."""
    def row(title, *parts):
        sums = [[sum(one[path]["mean_us"][part] for part in parts) for one in results] for path in PATHS]
        return f"| {title} | " + " | ".join(f"{statistics.median(values):.2f}" for values in sums) + " |"

    lines = ["| half a round trip, us, traced | " + " | ".join(PATHS) + " |", "| --- |" + " --- |" * len(PATHS)]
    lines += [row(meaning, part) for part, meaning in PARTS.items()]
    return "\n".join([*lines, row("all of it", "program", "reach")]) + "\n"


def main():
    parser = argparse.ArgumentParser(usage="python3 -B bench/table/wakeups.py [--smcu FILE] [--rounds N] [--out FOLDER]")
    parser.add_argument("--smcu", default=str(HERE.parent.parent / "build/release/bin/smcu"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "table")
    options = parser.parse_args()
    if os.geteuid() != 0 or not (TRACEFS / "instances").is_dir():
        raise SystemExit("wakeups.py: needs root, and tracefs at /sys/kernel/tracing")
    with Tracer() as tracer:
        results = [measure(tracer, options.smcu) for _ in range(options.rounds)]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "wakeups.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "wakeups.md").write_text(table_of(results))
    sys.stdout.write(table_of(results))


if __name__ == "__main__":
    main()
