"""Both ends under the library, the server only, the client only, neither: the same results.

Once with a protocol in which the client speaks first, once with one in which the server does.
"""

import hashlib
import random
import signal

import lib

MIXES = (("both", True, True), ("server only", True, False), ("client only", False, True),
         ("neither", False, False))


class Mixes(lib.Case):
    def wraps(self, server, client):
        return (lib.WRAP_S if server else [], lib.WRAP_C if client else [])

    def check_mix(self, server, client, wrap_s, wrap_c, connections):
        """Accelerated in both processes, or in none."""
        expected = connections if wrap_s and wrap_c else 0
        for process in (server, client):
            count = process.stats().get("accelerated", 0)
            if expected:
                self.assertGreaterEqual(count, expected, process.stats())
            else:
                self.assertEqual(count, 0, process.stats())

    def run_mixes(self, mode, operations, connections=1):
        """The client's output for each mix; the server answers as e2e_server `mode` does."""
        results = {}
        for name, shim_server, shim_client in MIXES:
            wrap_s, wrap_c = self.wraps(shim_server, shim_client)
            server = self.server(lib.program("e2e_server"), mode, wrap=wrap_s)
            port = server.port()
            client = self.client(lib.program("e2e_actor"),
                                 *[op.replace("PORT", str(port)) for op in operations],
                                 wrap=wrap_c)
            text = client.finish(30)
            server.kill(signal.SIGTERM)
            server.finish()
            self.check_mix(server, client, wrap_s, wrap_c, connections)
            lines = [line for line in text.splitlines() if not line.startswith("connected ")]
            results[name] = lines
        for name, lines in results.items():
            self.assertEqual(lines, results["neither"], f"{name} differs from plain TCP")
        return results["neither"]

    def test_client_first(self):
        lines = self.run_mixes("echo", ["connect:PORT", "send:GET / HTTP/1.0", "recv:14",
                                        "send:more", "recv:4", "shutdown:wr", "recv-all"])
        self.assertEqual(lines, ["sent", "received full GET / HTTP/1.0", "sent",
                                 "received full more", "shutdown 0", "received end "])

    def test_client_first_large(self):
        lines = self.run_mixes("echo", ["connect:PORT", "pattern-send:100k", "pattern-recv:100k",
                                        "shutdown:wr", "recv-all"])
        self.assertIn("pattern 102400 full", lines)

    def test_client_first_half_closed_at_once(self):
        lines = self.run_mixes("echo", ["connect:PORT", "send:bye", "shutdown:wr", "recv-all"])
        self.assertEqual(lines[-1], "received end bye")

    def test_server_first(self):
        lines = self.run_mixes("banner", ["connect:PORT", "recv:11", "send:HELO me", "recv:7",
                                          "send:QUIT", "shutdown:wr", "recv-all"])
        self.assertEqual(lines[0], "received full 220 ready\\x0d\\x0a")
        self.assertEqual(lines[-1], "received end QUIT")

    def test_server_first_client_silent(self):
        lines = self.run_mixes("banner", ["connect:PORT", "recv:11", "close"])
        self.assertEqual(lines, ["received full 220 ready\\x0d\\x0a", "close 0"])

    def test_verdicts_are_logged_to_whoever_asks(self):
        for name, shim_server, shim_client in MIXES:
            wrap_s, wrap_c = self.wraps(shim_server, shim_client)
            server = self.server(lib.program("e2e_server"), "echo", wrap=wrap_s)
            port = server.port()
            client = self.client(lib.program("e2e_actor"), f"connect:{port}", "send:x", "recv:1",
                                 wrap=wrap_c, env={"SMCD_DEBUG": "3"})
            client.finish()
            with self.subTest(mix=name):
                place = rf"fd \d+, to 127\.0\.0\.1 port {port}"
                verdict = "accelerated, (loopback|ism|ivshmem)" if wrap_s and wrap_c else "TCP, peer_no_smc"
                if wrap_c:
                    self.assertRegex(client.stderr(), f"{place}: {verdict}")
                else:
                    self.assertNotRegex(client.stderr(), "port")
            server.kill(signal.SIGTERM)
            server.finish()

    def test_several_connections(self):
        operations = ["connect:PORT"] * 5
        for number in (3, 0, 4, 1, 2):
            operations += [f"use:{number}", f"send:text {number}", "recv:6"]
        lines = self.run_mixes("echo", operations, connections=5)
        self.assertEqual([line for line in lines if line.startswith("received")],
                         [f"received full text {number}" for number in (3, 0, 4, 1, 2)])

    def test_port_is_free_when_the_client_has_closed_first(self):
        """Who closes first keeps TIME_WAIT: a server that does not can be started again at once,
        without SO_REUSEADDR."""
        program = """
import socket
port = 0
for _ in range(20):
    listener = socket.socket()
    listener.bind(("127.0.0.1", port))
    port = listener.getsockname()[1]
    listener.listen()
    print("port", port, flush=True)
    connection = listener.accept()[0]
    while connection.recv(1000):
        connection.sendall(b"y")
    connection.close()
    listener.close()
"""
        for name, shim_server, shim_client in MIXES:
            with self.subTest(mix=name):
                wrap_s, wrap_c = self.wraps(shim_server, shim_client)
                server = self.server(lib.PYTHON, "-c", program, wrap=wrap_s)
                for _ in range(20):
                    client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                                         "send:x", "recv:1", "close", wrap=wrap_c)
                    client.finish()
                server.finish()
                self.check_mix(server, client, wrap_s, wrap_c, 1)

    def test_banner_delay_is_printed(self):
        """No bound but the watchdog: the figure is for a reader."""
        for name, shim_server, shim_client in MIXES:
            wrap_s, wrap_c = self.wraps(shim_server, shim_client)
            server = self.server(lib.program("e2e_server"), "banner", wrap=wrap_s)
            port = server.port()
            operations = []
            for _ in range(20):
                operations += [f"connect:{port}", "timed-recv:11", "close"]
            client = self.client(lib.program("e2e_actor"), *operations, wrap=wrap_c)
            times = sorted(float(line.split()[1]) for line in client.finish().splitlines()
                           if line.startswith("timed "))
            self.assertEqual(len(times), 20)
            print(f"\n  banner, {name}: first to last quartile {times[5]:.3f} "
                  f"{times[10]:.3f} {times[15]:.3f} ms, largest {times[-1]:.3f} ms", end=" ")
            server.kill(signal.SIGTERM)
            server.finish()

    def test_http_server_and_curl(self):
        folder = self.folder / "www"
        folder.mkdir()
        chooser = random.Random(lib.SEED)
        for name, size in (("a", 1), ("b", 70000), ("c", 5_000_000)):
            (folder / name).write_bytes(chooser.randbytes(size))
        for mix, shim_server, shim_client in MIXES:
            wrap_s, wrap_c = self.wraps(shim_server, shim_client)
            port = lib.free_port()
            server = self.server(lib.PYTHON, "-m", "http.server", port, "--bind", "127.0.0.1",
                                 "--directory", folder, wrap=wrap_s)
            lib.wait_port(port)
            for name in "abc":
                with self.subTest(mix=mix, name=name):
                    target = self.folder / "out"
                    client = self.client("curl", "-sS", "--noproxy", "*", "--max-time", 20,
                                         "-o", target, f"http://127.0.0.1:{port}/{name}",
                                         wrap=wrap_c)
                    client.finish()
                    self.assertEqual(hashlib.sha256(target.read_bytes()).digest(),
                                     hashlib.sha256((folder / name).read_bytes()).digest())
                    count = client.stats().get("accelerated", 0)
                    self.assertEqual(count, 1 if wrap_s and wrap_c else 0, client.stats())
            server.kill(signal.SIGINT)
            server.wait()


if __name__ == "__main__":
    lib.main()
