"""`smcu fabric` from outside: the ivshmem protocol by a scripted client, clients that misbehave, restarts,
and what the management commands say."""
import json
import os
import pathlib
import resource
import select
import signal
import socket
import struct
import subprocess
import tempfile
import time
import unittest

SMCU = os.environ["SMCU"]
WATCHDOG_S = 60
MEMORY = -1


class Client:
    """One connection of the protocol: messages as (number, descriptor or None)."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WATCHDOG_S)
        self.socket.connect(str(path))
        self.left = b""
        self.fds = []
        self.received = []

    def message(self, piece=8):
        """The next message, read in pieces."""
        while len(self.left) < 8:
            data, fds, _, _ = socket.recv_fds(self.socket, min(piece, 8 - len(self.left)), 4)
            if not data:
                raise EOFError
            self.left += data
            self.fds += fds
            self.received += fds
        number = struct.unpack("<q", self.left)[0]
        self.left = b""
        fds, self.fds = self.fds, []
        assert len(fds) <= 1, fds
        return number, (fds[0] if fds else None)

    def greeting(self, vectors, piece=8):
        """Id, memory, eventfds of the others by id, own eventfds."""
        version, fd = self.message(piece)
        assert (version, fd) == (0, None), (version, fd)
        own, fd = self.message(piece)
        assert own >= 0 and fd is None
        number, memory = self.message(piece)
        assert number == MEMORY and memory is not None
        peers = {}
        while len(peers.get(own, ())) < vectors:
            number, fd = self.message(piece)
            assert fd is not None
            peers.setdefault(number, []).append(fd)
        self.id, self.memory, self.own = own, memory, peers.pop(own)
        self.peers = peers
        return self

    def close(self):
        self.socket.close()
        for fd in self.received:
            os.close(fd)
        self.received = []


class Server:
    def __init__(self, folder, *options, limit=None, size="16M"):
        self.folder = pathlib.Path(folder)
        lower = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))) if limit else None
        command = [SMCU, "fabric", "--directory", str(folder), "serve", "--size", size, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=lower)
        self.clients = []
        line = self.process.stdout.readline()
        assert line.startswith(b"ready"), line

    def connect(self):
        self.clients.append(Client(self.folder / "ivshmem"))
        return self.clients[-1]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(WATCHDOG_S)

    def clean_up(self):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        self.process.stdout.close()
        for client in self.clients:
            client.close()


def rings(eventfd):
    """Reads and clears an eventfd; 0: not rung."""
    try:
        return struct.unpack("<Q", os.read(eventfd, 8))[0]
    except BlockingIOError:
        return 0


class ServerTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="smcd-fabric-")
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name) / "fabric"

    def serve(self, *options, **how):
        server = Server(self.folder, *options, **how)
        self.addCleanup(server.clean_up)
        return server

    def smcu(self, *words, status=0):
        done = subprocess.run([SMCU, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout

    def ask(self, what, *words, status=0):
        return json.loads(self.smcu("fabric", "-d", str(self.folder), what, "--json", *words,
                                    status=status))

    def wait_for(self, member, value):
        """Waits until the status says so."""
        for _ in range(2000):
            status = self.ask("status")["status"]
            if status[member] == value:
                return status
            select.select([], [], [], 0.01)
        raise AssertionError((member, value, status))

    def test_order_of_messages(self):
        server = self.serve("--vectors", "2")
        first = server.connect().greeting(2)
        self.assertEqual((first.id, first.peers), (0, {}))
        self.assertEqual(os.fstat(first.memory).st_size, 16 << 20)
        second = server.connect().greeting(2, piece=3)
        self.assertEqual(second.id, 1)
        self.assertEqual({peer: len(fds) for peer, fds in second.peers.items()}, {0: 2})
        # The first hears of the second: its id, once per vector.
        news = [first.message(piece=1) for _ in range(2)]
        self.assertEqual([number for number, _ in news], [1, 1])
        # Each vector of each is an eventfd of its own, and both mean the same one.
        for vector in range(2):
            os.write(news[vector][1], struct.pack("<Q", 1))
            os.write(second.peers[0][vector], struct.pack("<Q", 5))
            self.assertEqual([rings(fd) for fd in second.own], [v == vector for v in range(2)])
            self.assertEqual([rings(fd) for fd in first.own],
                             [5 * (v == vector) for v in range(2)])
        # Both have the same memory.
        os.pwrite(first.memory, b"same", (16 << 20) - 4)
        self.assertEqual(os.pread(second.memory, 4, (16 << 20) - 4), b"same")
        second.close()
        self.assertEqual(first.message(), (1, None))
        # An id is not used again soon.
        self.assertEqual(server.connect().greeting(2).id, 2)
        self.assertEqual(server.stop(), 0)
        self.assertFalse((self.folder / "ivshmem").exists())
        with self.assertRaises(EOFError):
            while True:
                first.message()

    def test_a_client_that_says_something_is_dropped(self):
        server = self.serve()
        good = server.connect().greeting(1)
        bad = server.connect().greeting(1)
        self.assertEqual(good.message()[0], bad.id)
        bad.socket.send(b"x")
        self.assertEqual(good.message(), (bad.id, None))
        self.wait_for("clients_dropped", 1)
        with self.assertRaises((EOFError, ConnectionResetError)):
            bad.message()

    def test_clients_that_vanish_in_between(self):
        server = self.serve()
        good = server.connect().greeting(1)
        for messages in range(5):
            client = server.connect()
            for _ in range(messages):
                client.message()
            client.close()
        silent = [server.connect() for _ in range(20)]
        for client in silent:
            client.close()
        self.wait_for("clients", 1)
        seen = {}
        while sum(fd is None for fd in seen.values()) < 25:
            number, fd = good.message()
            self.assertTrue(fd is not None or seen.get(number) is not None, number)
            seen[number] = fd
        self.assertEqual(server.connect().greeting(1).peers.keys(), {good.id})

    def test_a_client_that_never_reads(self):
        """Neither do others wait for it, nor does its queue grow for ever."""
        server = self.serve("--patience", "1")
        stuck = server.connect()
        for _ in range(400):
            server.connect().greeting(1).close()
        self.wait_for("clients_dropped", 1)
        self.assertEqual(server.connect().greeting(1).peers, {})
        stuck.close()

    def test_no_descriptor_is_left(self):
        """Who comes when none is left waits or is turned away; when some are free, all is well."""
        server = self.serve(limit=40)
        clients = []
        refused = 0
        for _ in range(40):
            try:
                client = server.connect()
                client.socket.settimeout(0.5)
                clients.append(client.greeting(1))
            except (EOFError, TimeoutError):
                client.close()  # else it is served as soon as the others are gone
                refused += 1
                break
        self.assertEqual(refused, 1)
        self.assertGreater(len(clients), 5)
        for client in clients:
            client.close()
        self.wait_for("clients", 0)
        again = [server.connect().greeting(1) for _ in range(5)]
        self.assertEqual(len({client.id for client in again}), 5)

    def test_more_clients_than_allowed(self):
        server = self.serve("--clients", "2")
        first, _second = (server.connect().greeting(1) for _ in range(2))
        with self.assertRaises(EOFError):
            server.connect().greeting(1)
        first.close()
        self.wait_for("clients", 1)
        server.connect().greeting(1)
        self.assertEqual(self.ask("status")["status"]["clients_refused"], 1)

    def test_a_restart_keeps_the_region_and_no_id(self):
        """By SIGTERM and by SIGKILL: the memory is the same, what clients have goes on working."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            server = self.serve()
            old = [server.connect().greeting(1) for _ in range(2)]
            old_ids = {client.id for client in old}
            os.pwrite(old[0].memory, number.name.encode(), 8 << 20)
            bell = old[0].message()[1]
            server.stop(number)
            server = self.serve()
            new = server.connect().greeting(1)
            self.assertNotIn(new.id, old_ids)
            self.assertEqual(new.peers, {})
            self.assertEqual(os.pread(new.memory, 7, 8 << 20), number.name.encode())
            os.write(bell, struct.pack("<Q", 1))
            self.assertEqual(rings(old[1].own[0]), 1)
            self.assertEqual(server.stop(), 0)

    def test_one_server_for_a_folder(self):
        self.serve()
        done = subprocess.run([SMCU, "fabric", "-d", str(self.folder), "serve"],
                              stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("served by another process", done.stderr)

    def test_sizes(self):
        self.serve(size="64M").stop()
        for size, message in (("16M", "another size"), ("0", "is not a size")):
            done = subprocess.run([SMCU, "fabric", "-d", str(self.folder), "serve", "-s", size],
                                  stderr=subprocess.PIPE, text=True, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(message, done.stderr)
        done = subprocess.run([SMCU, "fabric", "-d", str(self.folder) + "2", "serve", "-s", "4096"],
                              stderr=subprocess.PIPE, text=True, check=False)
        self.assertEqual(done.returncode, 1)

    def test_status_and_drain(self):
        server = self.serve()
        client = server.connect().greeting(1)
        status = self.ask("status")
        self.assertEqual(status["schema"], "smcu.fabric.status/1")
        status = status["status"]
        self.assertEqual((status["pid"], status["region_bytes"], status["slots"], status["clients"]),
                         (server.process.pid, 16 << 20, 8, 1))
        self.assertEqual(self.ask("peers"), {"schema": "smcu.fabric.peers/1", "peers": []})
        self.assertIn("1 now", self.smcu("fabric", "-d", str(self.folder), "status"))
        self.assertEqual(self.ask("drain", "--all"), {"schema": "smcu.drain/1", "peers": 0})
        self.assertTrue(self.ask("status")["status"]["drained"])
        self.ask("drain", "--all", "--undo")
        self.assertFalse(self.ask("status")["status"]["drained"])
        self.smcu("fabric", "-d", str(self.folder), "drain", status=2)
        self.smcu("fabric", "-d", str(self.folder), "drain", "--pid", "1", status=1)
        server.stop()
        self.smcu("fabric", "-d", str(self.folder), "status", status=1)
        client.close()

    def events(self):
        answer = self.ask("events")
        self.assertEqual(answer["schema"], "smcu.fabric.events/1")
        return answer["events"]

    def test_events(self):
        server = self.serve()
        leaves = server.connect().greeting(1)
        leaves.close()
        self.wait_for("clients", 0)
        talks = server.connect().greeting(1)
        talks.socket.send(b"x")
        self.wait_for("clients_dropped", 1)
        self.ask("drain", "--all")
        self.ask("drain", "--all", "--undo")
        events = self.events()
        self.assertEqual([event["what"] for event in events],
                         ["serving", "client_connected", "client_ended", "client_connected",
                          "client_dropped", "drained", "undrained"])
        self.assertEqual([event["number"] for event in events], list(range(1, 8)))
        clients = [event.get("client") for event in events]
        self.assertEqual((clients[1], clients[3]), (clients[2], clients[4]))
        self.assertNotEqual(clients[1], clients[3])
        self.assertEqual([event.get("peers") for event in events[-2:]], [0, 0])
        times = [event["unix_ms"] for event in events]
        self.assertEqual(times, sorted(times))
        self.assertLessEqual(abs(times[-1] / 1000 - time.time()), WATCHDOG_S)
        self.assertIn("client_dropped", self.smcu("fabric", "-d", str(self.folder), "events"))

    def test_old_events_are_forgotten(self):
        self.serve()
        for _ in range(150):
            self.ask("drain", "--all")
            self.ask("drain", "--all", "--undo")
        events = self.events()
        self.assertEqual((len(events), events[-1]["number"]), (256, 301))

    def test_management_nonsense(self):
        """Wrong lengths and bytes end that connection; the next one is served."""
        self.serve()
        for words in (b"\xff" * 64, struct.pack("<I", 1 << 30), struct.pack("<I", 4) + b"\xff" * 4,
                      struct.pack("<I", 5000) + b"x" * 5000):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(WATCHDOG_S)
                peer.connect(str(self.folder / "manage"))
                try:
                    peer.send(words)
                    self.assertEqual(peer.recv(1), b"")
                except (ConnectionResetError, BrokenPipeError):
                    pass
        with socket.socket(socket.AF_UNIX) as peer:  # an empty request: no question that we know
            peer.settimeout(WATCHDOG_S)
            peer.connect(str(self.folder / "manage"))
            for byte in struct.pack("<I", 0):
                peer.send(bytes([byte]))
            length = struct.unpack("<I", peer.recv(4, socket.MSG_WAITALL))[0]
            self.assertIn(b"does not know", peer.recv(length, socket.MSG_WAITALL))
        self.ask("status")


if __name__ == "__main__":
    unittest.main(verbosity=2)
