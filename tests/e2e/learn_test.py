"""Bursts of short connections stay on TCP, moderate numbers of them do not; every answer is right."""

import json
import socket
import subprocess

import lib

SCRIPT = """
import socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
for number in range(count):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        text = b"short %d" % number
        sock.sendall(text)
        got = b""
        while len(got) < len(text):
            got += sock.recv(100)
        assert got == text
print("ok")
"""


LOOKS = """
import socket, sys
for _ in range(int(sys.argv[2])):
    socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
print("ok")
"""


OPTIONS = """
import socket
SOL_SMC, PROFILE = 286, 0xFE1
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
for _ in range(200):
    sock, _ = listener.accept()
    sock.setsockopt(SOL_SMC, PROFILE, b"latency")
    sock.sendall(sock.getsockopt(SOL_SMC, PROFILE, 100).rstrip(b"\\0"))
    sock.close()
"""


class Learn(lib.Case):
    def run_burst(self, count):
        server = self.server(lib.program("e2e_server"), "echo")
        client = self.client(lib.PYTHON, "-c", SCRIPT, server.port(), count)
        self.assertIn("ok", client.finish(60))
        return client.stats()

    def test_few_are_accelerated(self):
        stats = self.run_burst(40)
        self.assertEqual(stats.get("accelerated", 0), 40 if lib.BOTH_SHIMMED else 0, stats)

    def test_a_burst_is_left_to_tcp(self):
        stats = self.run_burst(1500)
        if lib.BOTH_SHIMMED:
            self.assertGreaterEqual(stats["accelerated"], 64, stats)
            self.assertGreater(stats["tcp_reasons"].get("short_lived_listener", 0), 0, stats)
            # Most of them have left nothing but their verdict.
            self.assertEqual(stats["accelerated"] + stats["tcp"], 1500, stats)
            self.assertEqual(sum(stats["tcp_reasons"].values()), stats["tcp"], stats)

    def test_a_burst_closed_in_the_handshake_is_left_to_tcp(self):
        """Who only looks whether somebody listens pays for no more than the first handshakes."""
        server = self.server(lib.program("e2e_server"), "echo")
        client = self.client(lib.PYTHON, "-c", LOOKS, server.port(), 1000)
        self.assertIn("ok", client.finish(60))
        if lib.BOTH_SHIMMED:
            reasons = client.stats()["tcp_reasons"]
            self.assertGreater(reasons.get("short_lived_listener", 0), 500, reasons)

    def test_options_of_what_was_only_counted(self):
        """Our own options answer for each connection, whether it has left more than its verdict or not."""
        if not lib.WRAP_S:
            self.skipTest("plain TCP has no such options")
        server = self.server(lib.PYTHON, "-c", OPTIONS)
        port = server.port()
        for _ in range(200):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                self.assertEqual(sock.recv(100), b"latency")
        server.finish()

    def test_a_vfork_child_closes_its_own(self):
        server = self.server(lib.program("e2e_server"), "echo")
        client = self.client(lib.program("e2e_vfork"), server.port())
        self.assertEqual(client.finish(), "right\n")
        if lib.BOTH_SHIMMED:
            reasons = client.stats()["tcp_reasons"]
            self.assertGreater(reasons.get("short_lived_listener", 0), 30, reasons)

    def test_a_crowd_on_tcp_is_seen(self):
        """Of short connections some are followed; those that stay are, all of them."""
        server = self.start([lib.program("e2e_server"), "echo"], wrap=lib.WRAP_S)
        port = server.port()
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
        for sock in crowd:
            sock.sendall(b"here")
            self.assertEqual(sock.recv(100), b"here")
        if lib.WRAP_S:
            seen = json.loads(subprocess.check_output([lib.program("smcu"), "ss", "--json"]))
            followed = [row for row in seen["connections"]
                        if row["pid"] == server.pid and row["reason_name"] == "peer_no_smc"]
            self.assertEqual(len(followed), len(crowd))
        for sock in crowd:
            sock.close()


if __name__ == "__main__":
    lib.main()
