"""Programs that lock themselves into an empty directory: no /proc, no path of the outside."""

import os
import unittest

import lib

# argv: folder, "before" or "after" the first socket, "server" or "client", port
PROGRAM = """
import os, socket, sys
folder, when, side, port = sys.argv[1:]
encodings = "".encode("idna")  # what Python would still import
def leave():
    os.chroot(folder)
    os.chdir("/")
    assert not os.path.exists("/proc")
if when == "before":
    leave()
sock = socket.socket()
if side == "server":
    sock.bind(("127.0.0.1", int(port)))
    sock.listen()
    print("port", sock.getsockname()[1], flush=True)
if when == "after":
    leave()
if side == "server":
    connection = sock.accept()[0]
    while data := connection.recv(100000):
        connection.sendall(data)
else:
    sock.connect(("127.0.0.1", int(port)))
    for size in (1, 5000, 60000):
        sock.sendall(b"x" * size)
        answer = b""
        while len(answer) < size:
            answer += sock.recv(100000)
"""


@unittest.skipIf(os.geteuid() != 0, "chroot() is for root")
class Chroot(lib.Case):
    def run_pair(self, server_when, client_when):
        folder = self.folder / f"{server_when}-{client_when}"
        folder.mkdir()
        server = self.server(lib.PYTHON, "-c", PROGRAM, folder, server_when, "server", 0)
        client = self.client(lib.PYTHON, "-c", PROGRAM, folder, client_when, "client",
                             server.port())
        for process in (client, server):
            process.finish()
        self.check_stats(server, client, 1)
        self.assertEqual(list(folder.iterdir()), [])

    def test_every_order(self):
        for server_when in ("after", "before", "never"):
            for client_when in ("after", "before", "never"):
                with self.subTest(server=server_when, client=client_when):
                    self.run_pair(server_when, client_when)


class FileSize(lib.Case):
    def test_program_that_may_write_no_file(self):
        """RLIMIT_FSIZE counts for memory files and statistics, too; SIGXFSZ would kill it."""
        for limit in (0, 100, 100_000):
            server = self.server(lib.program("e2e_actor"), "listen", "accept",
                                 "pattern-recv:3M", "shutdown:wr", "recv-all")
            client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                                 "pattern-send:3M", "shutdown:wr", "recv-all",
                                 wrap=["prlimit", f"--fsize={limit}", *lib.WRAP_C])
            with self.subTest(limit=limit):
                client.finish()
                self.assertIn(f"pattern {3 << 20} full", server.finish())


if __name__ == "__main__":
    lib.main()
