"""kill -9 of either end in mid-stream: a correct prefix, then the end, in time; nothing is left.

The survivor checks every byte it gets. A killed sender has noted in a file what its send() calls
had accepted: all of that must arrive. Times are printed; the watchdog is five seconds.
SMCD_E2E_KILLS sets the rounds for each shape (default 4).
"""

import errno
import mmap
import os
import random
import struct
import time

import lib
import residue

ROUNDS = int(os.environ.get("SMCD_E2E_KILLS", "4"))
CONNECTIONS = 8
PORTS = 65536
SHMEM_TOLERANCE = 48 << 20  # other programs of the machine; a leak is 4 MiB in every round
WAITS = ("blocking", "poll", "epoll-level")
PRIVATE = residue.private_network()
DOORBELLS_MAX = 6  # the event loop's, one for each waiting set or thread

# Answers once, and reads no more.
DEAF = """
import signal, socket
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
sock, peer = listener.accept()
sock.sendall(sock.recv(5, socket.MSG_WAITALL))
signal.pause()
"""

# The library's thread has a moment behind the shutdown(), which is one more event of the connection.
RESET = """
import select, socket, sys, time
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(b"first")
sock.recv(5, socket.MSG_WAITALL)
sock.sendall(b"unread")
print("sent", flush=True)
poll = select.poll()
poll.register(sock, select.POLLRDHUP)
poll.poll()
for call in (lambda: sock.shutdown(socket.SHUT_RDWR), lambda: sock.recv(1)):
    try:
        print(call())
    except OSError as error:
        print(error.errno)
    time.sleep(0.05)
"""


class Kill(lib.Case):
    watchdog_s = 240.0

    def setUp(self):
        super().setUp()
        self.names = residue.socket_names()
        self.shmem = residue.shmem_bytes()
        path = self.folder / "progress"
        path.write_bytes(bytes(PORTS * 8))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self.progress = mmap.mmap(file.fileno(), PORTS * 8)
        self.progress_path = path
        self.times = []
        self.choose = random.Random(lib.SEED)

    def published(self, port):
        return struct.unpack_from("<Q", self.progress, port * 8)[0]

    def flow(self, start, role, action, wait, *more):
        return start(lib.program("e2e_flow"), role, "--do", action, "--wait", wait, "--conns",
                     CONNECTIONS, "--progress", self.progress_path, *more)

    def survivor_lines(self, survivor, count, killed_at):
        """The ends that the survivor saw: {(port, direction): (bytes, how)}."""
        ends = {}
        for _ in range(count):
            port, way, size, how, when = survivor.expect(
                r"^flow (\d+) (\w+) (\d+) (\w+) ([\d.]+)$", 5.0).groups()
            self.times.append(float(when) - killed_at)
            self.assertIn(how, ("end", "ECONNRESET", "EPIPE"))
            ends[int(port), way] = (int(size), how)
        return ends

    def let_it_flow(self, victim):
        """Until bytes have moved on some connection, and a random moment more."""
        victim.expect("^running")
        lib.wait_until(lambda: any(self.progress) or not victim.alive(), 10, "bytes in flow")
        time.sleep(self.choose.random() * 0.02)  # the instant of the kill is the random choice

    def rounds(self, survivor_action, victim_action, wait):
        """A server that survives several killed clients, then no trace of them."""
        server = self.flow(self.server, "serve", survivor_action, wait, "--rounds", ROUNDS + 1,
                           "--linger")
        port = server.port()
        ends_each = CONNECTIONS * (2 if survivor_action == "both" else 1)
        before = None
        for _ in range(ROUNDS + 1):
            self.progress[:] = bytes(PORTS * 8)
            victim = self.flow(self.client, "connect", victim_action, "blocking", "--port", port)
            if victim_action == "stall":
                server.expect("^running")
                lib.wait_until(lambda: any(self.progress), 10, "bytes in flow")
            else:
                self.let_it_flow(victim)
            killed_at = time.monotonic()
            victim.kill()
            victim.wait(10)
            ends = self.survivor_lines(server, ends_each, killed_at)
            for (number, way), (size, _) in ends.items():
                if victim_action == "send" and way == "recv":
                    self.assertGreaterEqual(size, self.published(number), "published bytes lost")
            server.expect("^round done", 10)
            if before is None:
                before = self.traces(server)
        self.check_no_more(server, before)
        server.say("go")
        server.finish()
        self.check_nothing_left()

    def traces(self, process):
        """Descriptors and mappings, without the eventfds: doorbells are made at the first wait that
        needs one and kept for the next, never more than the waiters at one moment."""
        found = residue.descriptors(process.pid)
        doorbells = found.count("anon_inode:[eventfd]")
        self.assertLessEqual(doorbells, DOORBELLS_MAX, found)
        return [name for name in found if "eventfd" not in name], residue.mappings(process.pid)

    def check_no_more(self, survivor, before):
        """The last killed peers left no descriptor and no mapping in the survivor."""
        def settled():
            found, maps = self.traces(survivor)
            return len(found) <= len(before[0]) and maps <= before[1]
        try:
            lib.wait_until(settled, 5, "descriptors of the survivor")
        except lib.Failure:
            self.fail(f"left over: before {before}, after {self.traces(survivor)}")

    def check_nothing_left(self):
        lib.wait_until(lambda: not residue.socket_names() - self.names, 10,
                       "abstract socket names gone" if PRIVATE else "names gone (shared network)")
        lib.wait_until(lambda: residue.shmem_bytes() < self.shmem + SHMEM_TOLERANCE, 10,
                       "shared memory given back")
        if self.times:
            print(f"\n  {len(self.times)} ends, median {sorted(self.times)[len(self.times) // 2]:.4f} s,"
                  f" largest {max(self.times):.4f} s", end=" ")

    def test_sender_is_killed(self):
        for wait in WAITS:
            with self.subTest(wait=wait):
                self.rounds("recv", "send", wait)

    def test_receiver_is_killed(self):
        for wait in WAITS:
            with self.subTest(wait=wait):
                self.rounds("send", "recv", wait)

    def test_stalled_receiver_is_killed(self):
        """The survivor waits for space in full buffers."""
        for wait in WAITS:
            with self.subTest(wait=wait):
                self.rounds("send", "stall", wait)

    def test_both_directions(self):
        for wait in WAITS[:1]:
            with self.subTest(wait=wait):
                self.rounds("both", "both", wait)

    def test_server_is_killed(self):
        """The client survives; its peer was the accepting side."""
        for survivor_action, victim_action in (("recv", "send"), ("send", "recv"),
                                               ("both", "both")):
            for _ in range(ROUNDS):
                self.progress[:] = bytes(PORTS * 8)
                victim = self.flow(self.server, "serve", victim_action, "blocking")
                survivor = self.flow(self.client, "connect", survivor_action, "blocking",
                                     "--port", victim.port())
                self.let_it_flow(victim)
                killed_at = time.monotonic()
                victim.kill()
                victim.wait(10)
                count = CONNECTIONS * (2 if survivor_action == "both" else 1)
                ends = self.survivor_lines(survivor, count, killed_at)
                for (number, way), (size, _) in ends.items():
                    if victim_action == "send":
                        self.assertGreaterEqual(size, self.published(number), way)
                survivor.finish(10)
        self.check_nothing_left()

    def test_both_are_killed(self):
        for _ in range(ROUNDS * 2):
            self.progress[:] = bytes(PORTS * 8)
            server = self.flow(self.server, "serve", "both", "blocking")
            client = self.flow(self.client, "connect", "both", "blocking", "--port",
                               server.port())
            self.let_it_flow(client)
            for process in self.choose.sample((server, client), 2):
                process.kill()
            server.wait(10)
            client.wait(10)
        self.check_nothing_left()

    def test_killed_around_connect(self):
        """The instant is anywhere in start-up, connect and handshake."""
        for _ in range(ROUNDS * 8):
            server = self.flow(self.server, "serve", "recv", "blocking", "--conns", 1)
            client = self.flow(self.client, "connect", "send", "blocking", "--port",
                               server.port())
            time.sleep(self.choose.random() * 0.03)
            victim, other = self.choose.sample((server, client), 2)
            victim.kill()
            victim.wait(10)
            self.end_of(other)
        self.check_nothing_left()

    def test_a_reset_is_told_behind_a_shutdown(self):
        """shutdown() finds the connection gone and makes no end of the reset."""
        victim = self.server(lib.PYTHON, "-c", DEAF)
        survivor = self.client(lib.PYTHON, "-c", RESET, victim.port())
        survivor.expect("^sent")
        victim.kill()
        victim.wait(10)
        found = survivor.finish().split()[1:]
        self.assertEqual(found, [str(errno.ENOTCONN), str(errno.ECONNRESET)])

    def end_of(self, process):
        """The survivor ends by itself, unless it rightly waits in accept() for more."""
        if b"running" not in process.output:
            process.kill()
        process.wait(5)


if __name__ == "__main__":
    lib.main()
