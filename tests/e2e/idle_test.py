"""Five hundred idle accelerated connections cost no CPU time, in either process.

The interval of three seconds is what is measured, not a wait for something.
"""

import signal
import time
from pathlib import Path

import lib

CONNECTIONS = 500
INTERVAL_S = 3.0
TICKS_MAX = 1  # of 10 ms: one may be charged by chance


def ticks(pid):
    """User and system time of all threads of a process, in clock ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def switches(pid):
    """Context switches of all threads of a process: how often it was woken."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.endswith("_ctxt_switches") or "ctxt_switches:" in line:
                total += int(line.split()[1])
    return total


class Idle(lib.Case):
    def hold(self, how):
        server = self.server(lib.program("e2e_server"), "echo")
        client = self.client(lib.program("e2e_actor"),
                             f"hold-{how}:{server.port()},{CONNECTIONS}")
        client.expect("^holding", 60)
        time.sleep(0.5)  # what the last exchange left to do
        before = [(ticks(process.pid), switches(process.pid)) for process in (server, client)]
        time.sleep(INTERVAL_S)
        after = [(ticks(process.pid), switches(process.pid)) for process in (server, client)]
        client.say("go")
        client.expect("^woken")
        client.finish()
        server.kill(signal.SIGTERM)
        server.finish()
        self.check_stats(server, client, CONNECTIONS)
        for name, old, new in zip(("server", "client"), before, after):
            used = new[0] - old[0]
            print(f"\n  {how} {name}: {used} ticks, {new[1] - old[1]} switches", end=" ")
            self.assertLessEqual(used, TICKS_MAX, f"{how} {name}: ticks in {INTERVAL_S} s")

    def test_waiting_in_epoll(self):
        self.hold("epoll")

    def test_waiting_in_poll(self):
        self.hold("poll")


if __name__ == "__main__":
    lib.main()
