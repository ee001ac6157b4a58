"""memcached, Python's servers (asyncio, threads, TLS, subprocesses) and socat."""

import hashlib
import os
import subprocess

import lib
from real import RealCase

CLIENTS = str(lib.HERE / "real_clients.py")


class Memcached(RealCase):
    programs = ("memcached",)

    def test_values(self):
        port = lib.free_port()
        user = ["-u", "root"] if os.geteuid() == 0 else []
        server = self.listening_server("memcached", "-l", "127.0.0.1", "-p", port, "-U", 0,
                                       "-t", 4, *user, port=port)
        clients = [self.client(lib.PYTHON, "-B", CLIENTS, "memcached-client", port)
                   for _ in range(4)]
        for client in clients:
            self.assertIn("ok", client.finish(60))
            self.prove(client, 1, 100_000)
        if self.tool("memccapable"):
            capable = self.client("memccapable", "-h", "127.0.0.1", "-p", port, "-a")
            self.assertNotIn("[FAIL]", capable.finish(120))
        server.kill(15)
        server.wait()
        self.prove(server, 4, 400_000)


class Python(RealCase):
    def exchange(self, server_command, client_command, connections, *more, stop=None):
        port = lib.free_port()
        server = self.server(lib.PYTHON, "-B", CLIENTS, server_command, port, *more)
        server.expect("^ready")
        client = self.client(lib.PYTHON, "-B", CLIENTS, client_command, port, *more)
        self.assertIn("ok", client.finish(60))
        if stop:
            stop(server)
        server.finish(30)
        return server, client

    def test_asyncio(self):
        for process in self.exchange("asyncio-server", "asyncio-client", 20,
                                     stop=lambda server: server.kill(15)):
            self.prove(process, 20, 1_000_000)

    def test_asyncio_with_tls(self):
        if not self.tool("openssl"):
            self.skipTest("openssl is not installed")
        pem = self.folder / "pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-keyout", pem, "-out", self.folder / "crt"],
                       check=True, capture_output=True)
        with open(pem, "ab") as file:
            file.write((self.folder / "crt").read_bytes())
        for process in self.exchange("asyncio-server", "asyncio-client", 20, pem,
                                     stop=lambda server: server.kill(15)):
            self.prove(process, 20, 1_000_000)

    def test_threads(self):
        for process in self.exchange("threads-server", "threads-client", 10,
                                     stop=lambda server: server.say("stop")):
            self.prove(process, 10, 1_000_000)

    def test_connection_given_to_a_subprocess(self):
        """The stream goes on in a program that only reads and writes its standard streams."""
        self.exchange("subprocess-server", "subprocess-client", 4)


class Socat(RealCase):
    programs = ("socat",)

    def echo_file(self, address, size):
        port = lib.free_port()
        data = self.choose.randbytes(size)
        (self.folder / "in").write_bytes(data)
        # -t: how long the way back may be silent behind the end of the way there
        server = self.listening_server("socat", "-t", 20,
                                       f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr",
                                       address, port=port)
        with open(self.folder / "in", "rb") as file:
            client = self.client("socat", "-t", 20, "-", f"TCP:127.0.0.1:{port}", stdin=file)
        client.wait(60)
        self.assertEqual(hashlib.sha256(client.output).digest(), hashlib.sha256(data).digest(),
                         f"{len(client.output)} of {size} bytes\n{client.stderr()}")
        self.assertEqual(client.popen.returncode, 0)
        server.stop()
        if lib.BOTH_SHIMMED:
            self.assertEqual(client.stats().get("accelerated", 0), 1, client.stats())

    def test_fork_and_pipe(self):
        self.echo_file("PIPE", 60_000)  # less than a pipe holds: the program writes and reads it

    def test_fork_and_program(self):
        self.echo_file("EXEC:cat", 3_000_000)

    def test_fork_and_program_on_the_socket_itself(self):
        self.echo_file("EXEC:cat,nofork", 3_000_000)

    def test_relay(self):
        """socat - socat - socat: a file through a relay in both directions."""
        ports = [lib.free_port(), lib.free_port()]
        data = self.choose.randbytes(5_000_000)
        (self.folder / "in").write_bytes(data)
        end = self.listening_server("socat", "-t", 20,
                                    f"TCP-LISTEN:{ports[0]},bind=127.0.0.1,fork", "EXEC:cat",
                                    port=ports[0])
        relay = self.listening_server("socat", "-t", 20,
                                      f"TCP-LISTEN:{ports[1]},bind=127.0.0.1,fork",
                                      f"TCP:127.0.0.1:{ports[0]}", port=ports[1])
        with open(self.folder / "in", "rb") as file:
            client = self.client("socat", "-t", 20, "-", f"TCP:127.0.0.1:{ports[1]}", stdin=file)
        client.wait(60)
        same = len(os.path.commonprefix((bytes(client.output), data)))
        self.assertEqual(same, len(data), f"{len(client.output)} bytes came, {same} as sent\n"
                                          f"{client.stderr()}")
        relay.stop()
        end.stop()


if __name__ == "__main__":
    lib.main()
