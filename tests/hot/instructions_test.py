"""Instructions per operation in steady state, counted by callgrind, against the numbers of instructions.tsv.

Counts repeat to the instruction on one machine; what the processor offers to memcpy() and the compiler's version move them
a little, hence the margin. SMCD_UPDATE_GOLDEN=1 writes the file anew.
"""

import collections
import os
import re
import shutil
import unittest
from pathlib import Path

import pair
from pair import lib

GOLDEN = Path(__file__).resolve().with_name("instructions.tsv")
MARGIN = 1.05
SLACK = 3  # instructions
MESSAGES = 4000  # of 64 B: they fit into the ring, so nobody waits
LOOKS = 200
FUNCTIONS = ("hot_send", "hot_recv", "hot_poll", "hot_select", "hot_epoll")


def inclusive(path):
    """Instructions in each of FUNCTIONS, what they call included."""
    names, total, function = {}, collections.Counter(), None
    for line in path.read_text(encoding="utf-8").splitlines():
        name = re.match(r"(c?fn)=\((\d+)\)(?: (.*))?", line)
        if name:
            names.setdefault(name.group(2), name.group(3))
            if name.group(1) == "fn":
                function = names[name.group(2)]
        elif re.match(r"[+*\-\d]", line) and function in FUNCTIONS:
            total[function] += int(line.split()[1])  # its own, or those of a call
    return total


def golden():
    rows = [line.split("\t") for line in GOLDEN.read_text(encoding="ascii").splitlines() if line[:1] != "#"]
    return {row[0]: int(row[1]) for row in rows}


class Instructions(pair.Pair):
    """Cases in which the client runs under callgrind, and nobody waits for anybody."""

    watchdog_s = 280.0
    counted = {}

    def setUp(self):
        super().setUp()
        self.assertTrue(shutil.which("valgrind"), "valgrind is not installed")
        self.out = self.folder / "callgrind"

    def start_counted(self, *words):
        toggles = [f"--toggle-collect={name}" for name in FUNCTIONS]
        tool = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self.out}", *toggles]
        return self.start_pair("script", *words, client_prefix=tool)

    def do(self, end, line):
        end.say(line)
        end.expect(f"^done {line.split()[0]}$", 120)

    def finish_counting(self, server, client):
        for end in (client, server):
            end.popen.stdin.close()
            end.finish(60)
        return inclusive(self.out)

    def check(self, name, instructions, operations):
        found = round(instructions / operations)
        type(self).counted[name] = found
        if os.environ.get("SMCD_UPDATE_GOLDEN"):
            rows = dict(golden() if GOLDEN.exists() else {}, **{name: found})
            GOLDEN.write_text("# What is done once, by tabs: instructions (instructions_test.py).\n" +
                              "".join(f"{key}\t{rows[key]}\n" for key in sorted(rows)), encoding="ascii")
        known = golden()[name]
        print(f"\n  {name}: {found} instructions ({known} recorded)", end=" ")
        self.assertLessEqual(found, known * MARGIN + SLACK, name)
        self.assertGreater(found, 0)

    def count_messages(self, name):
        server, client = self.start_counted()
        for _ in range(3):
            self.do(client, f"send {MESSAGES}")
            self.do(server, f"recv {MESSAGES}")
            self.do(server, f"send {MESSAGES}")
            self.do(client, f"recv {MESSAGES}")
        counts = self.finish_counting(server, client)
        self.check(f"{name}_send_64", counts["hot_send"], 3 * MESSAGES)
        self.check(f"{name}_recv_64", counts["hot_recv"], 3 * MESSAGES)

    def test_messages(self):
        self.count_messages("sockets")

    def test_looks_at_many(self):
        """One of them is ready: an epoll wait costs the same whatever else there is; poll() and select() look at all."""
        for connections in (1, 200):
            server, client = self.start_counted("--connections", str(connections))
            self.do(server, "send 1")
            for word in ("poll", "select", "epoll"):
                self.do(client, f"{word} {LOOKS}")
            counts = self.finish_counting(server, client)
            for word in ("poll", "select", "epoll"):
                self.check(f"{word}_1_of_{connections}", counts[f"hot_{word}"], LOOKS)


    def test_a_child_that_has_ended(self):
        """A killed child was the last to share the connections: they are put aside as before."""
        server, client = self.start_counted("--connections", "200")
        self.do(server, "send 1")
        self.do(client, "child 0")
        self.do(client, f"epoll {LOOKS}")
        counts = self.finish_counting(server, client)
        self.check("epoll_1_of_200_after_fork", counts["hot_epoll"], LOOKS)


class InstructionsOfTheLibrary(Instructions):
    program = "hot_library"
    test_looks_at_many = None
    test_a_child_that_has_ended = None

    def test_messages(self):
        self.count_messages("library")


if __name__ == "__main__":
    lib.main()
