"""Two `hot` programs, one at each end of accelerated connections."""

import os
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "e2e"))
import lib  # noqa: E402  pylint: disable=wrong-import-position

ON_TCP, NO_SECCOMP = 3, 4
TRIES = 10  # the verdict of a handshake may come too late on a busy machine


def two_cpus():
    """The first two CPUs that we may use; the same twice where there is one."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0], cpus[min(1, len(cpus) - 1)]


class Pair(lib.Case):
    """Cases that start both ends."""

    program = "hot_sockets"

    def start_pair(self, *words, server_words=(), client_words=(), env=None, client_prefix=()):
        """Server and client, accelerated and pinned to two CPUs. `client_prefix`: e.g. valgrind."""
        wrap = [] if self.program == "hot_library" else None
        for _ in range(TRIES):
            ends = []
            for cpu, own, role in zip(two_cpus(), (server_words, client_words), ("serve", "connect:")):
                address = role + (str(ends[0].port()) if ends else "")
                start = self.client if ends else self.server
                options = {} if wrap is None else {"wrap": wrap}
                program = [*(client_prefix if ends else ()), lib.program(self.program)]
                ends.append(start(*program, address if ends else "serve", "--cpu", str(cpu), *words, *own,
                                  env=dict({"SMCD_LEARN": "0"}, **(env or {})), **options))
            verdicts = [end.expect("^(accelerated|on TCP)$", 60).group(1) for end in ends]
            if "on TCP" not in verdicts:
                return ends
            for end in ends:
                end.stop()
        self.fail("the connections stay on TCP")

    @staticmethod
    def cost(end, seconds=250):
        """What the end printed of its cost, as a dictionary of numbers."""
        line = end.expect("^cost (.*)$", seconds).group(1)
        return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", line)}
