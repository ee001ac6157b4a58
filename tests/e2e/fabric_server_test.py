"""Programs that have joined a fabric through its server, and outlive it. Needs root."""

import json
import signal
import subprocess
import sys

import lib
from fabric import ECHO_CLIENT, ECHO_SERVER, FabricCase, PORT, SERVER_IP

SMCU = str(lib.BIN / "smcu")

# Exchanges one line with the echo server for each line on standard input.
LINE_CLIENT = """
import select, socket, sys
peer = socket.create_connection(("%s", %d))
waiter = select.epoll()
waiter.register(peer, select.EPOLLIN)
for line in sys.stdin:
    peer.sendall(line.encode())
    waiter.poll()
    print("back", peer.recv(100).decode().strip(), flush=True)
""" % (SERVER_IP, PORT)

# The same, over one more connection for each line that ends with "another".
MANY_LINES_CLIENT = LINE_CLIENT.replace("for line in sys.stdin:", """kept = []
for line in sys.stdin:
    if line.endswith("another\\n"):
        kept.append(peer)
        waiter.unregister(peer)
        peer = socket.create_connection(peer.getpeername())
        waiter.register(peer, select.EPOLLIN)""")

# Exchanges and compares until a line comes on standard input, and then some rounds more.
LOAD_CLIENT = ECHO_CLIENT.replace("exchange(os.urandom(%d))", """
import sys, threading
told = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), told.set()), daemon=True).start()
rounds = %d
while rounds > 0:
    exchange(os.urandom(1_000_000))
    rounds -= told.is_set()
""")


class FabricServer(FabricCase):
    def setUp(self):
        super().setUp()
        self.directory = self.folder / "fabric"
        self.base["SMCD_FABRIC"] = str(self.directory / "ivshmem")
        self.serve()

    def serve(self):
        self.fabric = self.start([SMCU, "fabric", "-d", self.directory, "serve", "-s", "64M"])
        self.fabric.expect("^ready")

    def ask(self, *words):
        done = subprocess.run([SMCU, "fabric", "-d", str(self.directory), *words, "--json"],
                              stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)

    def test_bulk(self):
        server, client = self.transfer()
        self.assert_accelerated(server)
        self.assert_accelerated(client)

    def test_peers_are_shown(self):
        server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER)
        server.expect("ready")
        if not lib.BOTH_SHIMMED:
            return
        peers = self.ask("peers")["peers"]
        self.assertEqual([(peer["pid"], peer["state"], peer["hears_by"], peer["connected"])
                          for peer in peers], [(server.pid, "live", "eventfd", True)])
        self.assertEqual(peers[0]["listeners"],
                         [{"address": SERVER_IP, "port": PORT, "pnetid": "BLUE"}])
        server.kill()
        server.wait()
        self.assertEqual([peer["state"] for peer in self.ask("peers")["peers"]], ["dead"])

    def check_restart(self, number):
        """What is established goes on without the server and with the next one; newcomers reach those of before."""
        server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER)
        server.expect("ready")
        old = self.inside(1, lib.PYTHON, "-c", LINE_CLIENT)
        for line in ("before", "again"):
            old.say(line)
            old.expect(f"back {line}")
        self.fabric.kill(number)
        self.fabric.wait()
        old.say("without")
        old.expect("back without")
        self.serve()
        new = self.inside(1, lib.PYTHON, "-c", ECHO_CLIENT % (SERVER_IP, PORT, 3_000_000))
        self.assertIn("same", new.finish(100))
        self.assert_accelerated(new.stats())
        # Those of before have reached the new server: they ring newcomers, and are rung by them.
        lib.wait_until(lambda: self.connected() == {server.pid: True, old.pid: True}
                       or not lib.BOTH_SHIMMED, 30, "connections to the new server")
        old.say("after")
        old.expect("back after")
        old.popen.stdin.close()
        old.finish()
        self.assert_accelerated(old.stats())

    def connected(self):
        return {peer["pid"]: peer["connected"] for peer in self.ask("peers")["peers"]
                if peer["state"] == "live"}

    def modes(self, process):
        """(device or reason) of each connection of the process."""
        done = subprocess.run([SMCU, "ss", "--json", "--pid", str(process.pid)],
                              stdout=subprocess.PIPE, text=True, check=True)
        return sorted(row["device"] if row["mode"] == "SMCD" else row["reason_name"]
                      for row in json.loads(done.stdout)["connections"]
                      if row["mode"] in ("SMCD", "TCP"))

    def new_line(self, client, side=1, **env):
        """Another client of the echo server, with its first answer."""
        process = self.inside(side, lib.PYTHON, "-c", client, **env)
        process.say("hello")
        process.expect("back hello")
        return process

    def test_the_region_is_removed(self):
        """What is established goes on; what is new has a named reason, and a new fabric is joined."""
        server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER)
        server.expect("ready")
        old = self.new_line(MANY_LINES_CLIENT)
        self.fabric.kill(signal.SIGTERM)
        self.fabric.wait()
        (self.directory / "region").unlink()
        old.say("still")
        old.expect("back still")
        old.say("another")
        old.expect("back another")
        fresh = self.new_line(LINE_CLIENT)
        near = self.new_line(LINE_CLIENT, side=0, SMCD_DEVICES="ivshmem,loopback")
        if lib.BOTH_SHIMMED:
            self.assertEqual(self.modes(old), ["fabric_unavailable", "ivshmem"])
            self.assertEqual(self.modes(fresh), ["fabric_unavailable"])
            self.assertEqual(self.modes(near), ["loopback"])
            self.assertEqual(self.modes(server).count("peer_no_smc"), 2)
        self.serve()
        if lib.BOTH_SHIMMED:
            lib.wait_until(lambda: any(peer["listeners"] for peer in self.ask("peers")["peers"]), 30,
                           "the listener on the new fabric")
        new = self.inside(1, lib.PYTHON, "-c", ECHO_CLIENT % (SERVER_IP, PORT, 100_000))
        new.finish(100)
        self.assert_accelerated(new.stats())
        old.say("again another")
        old.expect("back again another")
        if lib.BOTH_SHIMMED:
            self.assertEqual(self.modes(old), ["fabric_unavailable", "ivshmem", "ivshmem"])

    def test_the_fabric_comes_later(self):
        self.fabric.kill(signal.SIGTERM)
        self.fabric.wait()
        server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER)
        server.expect("ready")
        early = self.new_line(LINE_CLIENT)
        if lib.BOTH_SHIMMED:
            self.assertEqual(self.modes(early), ["fabric_unavailable"])
        self.serve()
        if lib.BOTH_SHIMMED:
            lib.wait_until(lambda: any(peer["listeners"] for peer in self.ask("peers")["peers"]), 30,
                           "the listener on the fabric")
        new = self.inside(1, lib.PYTHON, "-c", ECHO_CLIENT % (SERVER_IP, PORT, 100_000))
        new.finish(100)
        self.assert_accelerated(new.stats())

    def test_restart(self):
        self.check_restart(signal.SIGTERM)

    def test_crash_and_restart(self):
        self.check_restart(signal.SIGKILL)

    def test_a_connection_is_drained(self):
        """It goes on over TCP, and new ones use another device."""
        if not lib.BOTH_SHIMMED:
            return
        server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER)
        server.expect("ready")
        old = self.inside(1, lib.PYTHON, "-c", LINE_CLIENT)
        old.say("before")
        old.expect("back before")
        self.assertEqual(self.ask("drain", "--all")["peers"], 2)

        def reason(process):
            done = subprocess.run([SMCU, "ss", "--json", "--pid", str(process.pid)],
                                  stdout=subprocess.PIPE, text=True, check=True)
            rows = [row for row in json.loads(done.stdout)["connections"] if row["mode"] == "TCP"]
            return rows[0]["reason_name"] if rows else None
        # Whoever looked first took it back.
        names = {lib.wait_until(lambda side=side: reason(side), 20, "a return to TCP")
                 for side in (old, server)}
        self.assertIn("device_drained", names)
        self.assertLessEqual(names, {"device_drained", "returned_by_peer"})
        for line in ("after", "the", "return"):
            old.say(line)
            old.expect(f"back {line}")
        # In one namespace there is another device: it serves, although it is second.
        near = self.inside(0, lib.PYTHON, "-c", LINE_CLIENT, SMCD_DEVICES="ivshmem,loopback")
        near.say("near")
        near.expect("back near")
        rows = json.loads(subprocess.run([SMCU, "ss", "--json", "--pid", str(near.pid)], check=True,
                                         stdout=subprocess.PIPE).stdout)["connections"]
        self.assertEqual([row["device"] for row in rows if row["mode"] == "SMCD"], ["loopback"])
        for client in (old, near):
            client.popen.stdin.close()
            client.finish()
        self.ask("drain", "--all", "--undo")
        new = self.inside(1, lib.PYTHON, "-c", ECHO_CLIENT % (SERVER_IP, PORT, 100_000))
        new.finish(100)
        self.assert_accelerated(new.stats())

    def under_load(self, event, leaves=False):
        """The event comes while two pairs exchange bytes, which are all compared. leaves: the connections go to TCP by it."""
        pairs = []
        for port in (PORT, PORT + 1):
            server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER.replace(str(PORT), str(port)))
            server.expect("ready")
            client = self.inside(1, lib.PYTHON, "-c", LOAD_CLIENT % (SERVER_IP, port, 5))
            pairs.append((server, client))
        if lib.BOTH_SHIMMED:
            lib.wait_until(lambda: all("ivshmem" in self.modes(process) for pair in pairs for process in pair),
                           20, "accelerated connections")
        event()
        if leaves:
            lib.wait_until(lambda: not any("ivshmem" in self.modes(process) for pair in pairs for process in pair),
                           20, "connections on TCP")
        reasons = set()
        for server, client in pairs:
            client.say("done")
            self.assertIn("same", client.finish(100))
            self.assertTrue(server.alive())
            server.kill()
            server.wait()
            reasons |= set(client.stats().get("tcp_reasons", ()))
        return reasons

    def test_drained_under_load(self):
        if lib.BOTH_SHIMMED:
            reasons = self.under_load(lambda: self.ask("drain", "--all"), leaves=True)
            self.assertTrue(reasons & {"device_drained", "returned_by_peer"}, reasons)

    def test_killed_and_served_anew_under_load(self):
        def restart():
            self.fabric.kill(signal.SIGKILL)
            self.fabric.wait()
            self.serve()
        self.assertEqual(self.under_load(restart), set())

    def test_removed_under_load(self):
        def remove():
            self.fabric.kill(signal.SIGTERM)
            self.fabric.wait()
            (self.directory / "region").unlink()
        self.assertEqual(self.under_load(remove), set())

    def test_drained(self):
        if lib.BOTH_SHIMMED:
            self.ask("drain", "--all")
            server, client = self.transfer(kbytes=100)
            self.assert_tcp(server, "device_drained")
            self.assert_tcp(client, "peer_declined")
            self.ask("drain", "--all", "--undo")
        server, client = self.transfer()
        self.assert_accelerated(client)


if __name__ == "__main__":
    sys.exit(lib.main())
