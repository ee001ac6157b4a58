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
        old.say("after")
        old.expect("back after")
        old.popen.stdin.close()
        old.finish()
        self.assert_accelerated(old.stats())

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
