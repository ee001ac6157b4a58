"""OpenSSH (a program for each connection, copies, tunnels), an rsync daemon, and servers that inetd
starts with the connection as their standard streams."""

import hashlib
import os
import shlex
import signal
import subprocess

import lib
from real import RealCase

# What inetd does with "nowait": accept, fork, the connection on 0, 1 and 2, exec.
INETD = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    sock, _ = listener.accept()
    if os.fork() == 0:
        listener.close()
        for number in (0, 1, 2):
            os.dup2(sock.fileno(), number)
        os.closerange(3, 1000)
        os.execv(sys.argv[1], sys.argv[1:])
    sock.close()
"""
# Sends a file, then its end, and receives all that comes back.
EXCHANGE = """
import socket, sys, threading
data = open(sys.argv[2], "rb").read()
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
    def send():
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    got = b""
    while part := sock.recv(1 << 20):
        got += part
    sender.join()
sys.exit(got != data)
"""


class Remote(RealCase):
    def write(self, name, size):
        """A file of random bytes, and its digest."""
        path = self.folder / name
        remaining, digest = size, hashlib.sha256()
        with open(path, "wb") as file:
            while remaining > 0:
                piece = self.choose.randbytes(min(remaining, 1 << 20))
                file.write(piece)
                digest.update(piece)
                remaining -= len(piece)
        return path, digest.digest()

    @staticmethod
    def digest_of(path):
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()


class Ssh(Remote):
    """sshd starts a copy of itself for each connection, with the connection as a descriptor and
    without the environment: both ends go to TCP there, unnoticed."""

    programs = ("sshd", "ssh", "scp", "sftp", "ssh-keygen")
    size = 30_000_000

    def setUp(self):
        super().setUp()
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.port = lib.free_port()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                            self.folder / name], check=True, capture_output=True)
        (self.folder / "authorized").write_bytes((self.folder / "user.pub").read_bytes())
        (self.folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder}/host\n"
            f"AuthorizedKeysFile {self.folder}/authorized\nPidFile none\nStrictModes no\n"
            "UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n"
            "Subsystem sftp internal-sftp\nMaxStartups 50\n")
        self.options = ["-F", "/dev/null", "-i", self.folder / "user", "-o",
                        "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                        "LogLevel=ERROR", "-o", "BatchMode=yes"]
        self.sshd = self.listening_server(self.tool("sshd"), "-D", "-e", "-f",
                                          self.folder / "sshd_config", port=self.port)

    def ssh(self, *args, **options):
        return self.client("ssh", *self.options, "-p", self.port, "127.0.0.1", *args, **options)

    def test_commands_and_copies(self):
        for number in range(5):
            self.assertEqual(self.ssh(f"echo {number}; exit 3").wait(), 3)
        path, digest = self.write("data", self.size)
        through = [str(word) for word in ("ssh", *self.options, "-p", self.port, "127.0.0.1", "cat")]
        self.client("sh", "-c", f"exec {shlex.join(through)} <{path} >{self.folder}/through").finish(120)
        self.assertEqual(self.digest_of(self.folder / "through"), digest)
        for source, target in ((path, f"127.0.0.1:{self.folder}/up"),
                               (f"127.0.0.1:{self.folder}/up", self.folder / "down")):
            self.client("scp", "-q", *self.options, "-P", self.port, source, target).finish(120)
        self.assertEqual(self.digest_of(self.folder / "down"), digest)
        batch = self.folder / "batch"
        batch.write_text(f"put {path} {self.folder}/put\nget {self.folder}/put "
                         f"{self.folder}/got\n")
        self.client("sftp", "-q", *self.options, "-P", self.port, "-b", batch,
                    "127.0.0.1").finish(120)
        self.assertEqual(self.digest_of(self.folder / "got"), digest)

    def test_tunnel(self):
        """Local and remote forwarding: program - ssh - sshd - echo, many connections at once."""
        path, _ = self.write("data", 3_000_000)
        server = self.server(lib.program("e2e_server"), "echo")
        ports = [lib.free_port(), lib.free_port()]
        echo = f"127.0.0.1:{server.port()}"
        tunnel = self.ssh("-N", "-o", "ExitOnForwardFailure=yes", "-L", f"{ports[0]}:{echo}",
                          "-R", f"{ports[1]}:{echo}")
        for port in ports:
            lib.wait_port(port)
        clients = [self.client(lib.PYTHON, "-c", EXCHANGE, port, path)
                   for port in ports for _ in range(4)]
        for client in clients:
            client.finish(120)
        tunnel.kill(signal.SIGTERM)
        tunnel.wait()
        server.kill(signal.SIGTERM)
        server.finish()
        self.prove(server, 4, 8 * 3_000_000, inner=True)


class Rsync(Remote):
    programs = ("rsync",)

    def test_daemon(self):
        """Up, changed up again, and down: only what differs is sent, and all arrives."""
        port = lib.free_port()
        root = os.geteuid() == 0
        (self.folder / "rsyncd.conf").write_text(
            f"use chroot = no\npid file = {self.folder}/pid\n[data]\npath = {self.folder}/remote\n"
            "read only = no\n" + ("uid = root\ngid = root\n" if root else ""))
        (self.folder / "remote").mkdir()
        (self.folder / "local").mkdir()
        digests = dict(self.write(f"local/{name}", size) for name, size in
                       (("empty", 0), ("small", 10), ("middle", 1_000_000), ("big", 20_000_000)))
        daemon = self.listening_server("rsync", "--daemon", "--no-detach", "--address=127.0.0.1",
                                       f"--port={port}", "--config", self.folder / "rsyncd.conf",
                                       port=port)
        url = f"rsync://127.0.0.1:{port}/data/"
        up = self.client("rsync", "-a", "--no-whole-file", f"{self.folder}/local/", url)
        up.finish(60)
        self.prove(up, 1, 21_000_000)
        path = self.folder / "local" / "big"
        with open(path, "r+b") as file:
            for _ in range(20):
                file.seek(self.choose.randrange(19_000_000))
                file.write(self.choose.randbytes(1000))
        digests[path] = self.digest_of(path)
        self.client("rsync", "-a", "-c", "--no-whole-file", f"{self.folder}/local/",
                    url).finish(60)
        down = self.client("rsync", "-a", "-z", url, f"{self.folder}/back/")
        down.finish(60)
        for path, digest in digests.items():
            for folder in ("remote", "back"):
                self.assertEqual(self.digest_of(self.folder / folder / path.name), digest, path)
        daemon.kill(signal.SIGTERM)
        daemon.wait()
        self.prove(daemon, 3, 40_000_000)


class Inetd(Remote):
    def test_standard_streams(self):
        """The connection goes to a program that knows only its standard streams."""
        path, _ = self.write("data", 2_000_000)
        server = self.server(lib.PYTHON, "-c", INETD, "/bin/cat")
        port = server.port()
        for _ in range(10):
            clients = [self.client(lib.PYTHON, "-c", EXCHANGE, port, path) for _ in range(3)]
            for client in clients:
                client.finish(60)


if __name__ == "__main__":
    lib.main()
