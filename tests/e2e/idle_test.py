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

# Says its end before the other side says anything.
EARLY_END = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
sock, peer = listener.accept()
sock.shutdown(socket.SHUT_WR)
print("got", sock.recv(100).decode(), flush=True)
"""

SILENT = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("end", len(sock.recv(1)), flush=True)
input()
sock.sendall(b"late")
"""


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

    def test_declined_and_half_closed(self):
        """The server goes on looking for a last message of the client's, which may never come."""
        server = self.server(lib.PYTHON, "-c", EARLY_END, env={"SMCD_DEVICES": "ism"})
        client = self.client(lib.PYTHON, "-c", SILENT, server.port(), env={"SMCD_DEVICES": "loopback"})
        client.expect("^end 0")
        time.sleep(0.2)  # what the handshake left to do
        before = ticks(server.pid)
        time.sleep(INTERVAL_S)
        used = ticks(server.pid) - before
        client.say("go")
        server.expect("^got late")
        client.finish()
        server.finish()
        if lib.BOTH_SHIMMED:
            self.assertEqual(client.stats()["tcp_reasons"], {"peer_declined": 1})
        self.assertLessEqual(used, TICKS_MAX, f"ticks in {INTERVAL_S} s")

    def test_waiting_in_epoll(self):
        self.hold("epoll")

    def test_waiting_in_poll(self):
        self.hold("poll")


if __name__ == "__main__":
    lib.main()
