"""A device that goes away under load: its connections return to TCP with every byte, new ones use
another device, or TCP.

SMCD_E2E_RETURNS: connections of each class that go through it.
"""

import json
import os
import subprocess
import unittest

import lib

CONNECTIONS = 12
DEVICES = ("ism", "ism,loopback", "ism:ff10")
RETURNS = int(os.environ.get("SMCD_E2E_RETURNS", "0"))
ROUNDS = max(6, -(-RETURNS // (CONNECTIONS * len(DEVICES))))
DRAINS = max(4, -(-RETURNS // CONNECTIONS))
SMCU = lib.WRAP_S[0] if lib.WRAP_S else None

# Talks over one connection, line by line; "lose" makes the device go away.
TALKER = """
import socket, sys
if sys.argv[1] == "server":
    listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    print("ready", flush=True)
    connect = lambda: listener.accept()[0]
else:
    connect = lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])))
socks = []
for line in sys.stdin:
    word, *rest = line.split()
    try:
        if word == "connect":
            socks.append(connect())
        elif word == "lose":
            socks[-1].setsockopt(286, 0x0FE2, 1)
        elif word == "send":
            socks[-1].sendall(rest[0].encode())
        elif word == "receive":
            got = b""
            while len(got) < len(rest[0]):
                part = socks[-1].recv(len(rest[0]) - len(got))
                if not part:
                    break
                got += part
            assert got.decode() == rest[0], got
        elif word == "close":
            socks.pop().close()
        elif word == "end":
            break
        print("done", word, flush=True)
    except OSError as error:
        print("failed", word, error.errno, flush=True)
"""


@unittest.skipUnless(lib.BOTH_SHIMMED, "TCP has no device to lose")
class Streams(lib.Case):
    watchdog_s = 200.0 + RETURNS

    def streams(self, seed, trigger, environment):
        """Streams in both directions over many connections at once; some make the device go. How many
        were accelerated, and how many left it."""
        port = lib.free_port()
        script = str(lib.HERE / "return_peer.py")
        words = [port, CONNECTIONS, seed, trigger, "together"]
        environment = {"SMCD_LEARN": "0", **environment}
        server = self.server(lib.PYTHON, "-B", script, "server", *words, env=environment)
        server.expect("^ready")
        client = self.client(lib.PYTHON, "-B", script, "client", *words, env=environment)
        self.assertIn("ok", client.finish(90))
        self.assertIn("ok", server.finish(90))
        reasons = client.stats()["tcp_reasons"]
        left = sum(reasons.get(name, 0) for name in ("device_lost", "device_drained", "returned_by_peer"))
        return client.stats().get("accelerated", 0), left


class Drained(Streams):
    def setUp(self):
        super().setUp()
        self.directory = self.folder / "fabric"
        fabric = self.start([SMCU, "fabric", "-d", self.directory, "serve", "-s", "128M"], wrap=())
        fabric.expect("^ready")

    def drain(self, *words):
        return [SMCU, "fabric", "-d", str(self.directory), "drain", "--all", "--json", *words]

    def test_every_byte_arrives(self):
        accelerated, left = 0, 0
        environment = {"SMCD_DEVICES": "ivshmem", "SMCD_FABRIC": str(self.directory / "ivshmem"),
                       "DRAIN": " ".join(self.drain())}
        for seed in range(lib.SEED, lib.SEED + DRAINS):
            with self.subTest(seed=seed):
                counts = self.streams(seed, "device_drained", environment)
                accelerated, left = accelerated + counts[0], left + counts[1]
            subprocess.run(self.drain("--undo"), check=True, stdout=subprocess.DEVNULL)
        print(f"\n  {accelerated} connections accelerated, {left} left the fabric or found it drained", end=" ")
        self.assertGreater(accelerated, 0)
        self.assertGreater(left, 0)


class DeviceLoss(Streams):

    def test_every_byte_arrives(self):
        used, lost = 0, 0
        for seed in range(lib.SEED, lib.SEED + ROUNDS):
            for devices in DEVICES:
                with self.subTest(seed=seed, devices=devices):
                    accelerated, left = self.streams(seed, "device_disabled", {"SMCD_DEVICES": devices})
                    used, lost = used + accelerated, lost + left  # in one round all may come too late
        print(f"\n  {lost} connections left their device", end=" ")
        self.assertGreater(used, 0)
        self.assertGreater(lost, 0)

    def talkers(self, server_devices, client_devices):
        port = lib.free_port()
        server = self.server(lib.PYTHON, "-c", TALKER, "server", port,
                             env={"SMCD_DEVICES": server_devices, "SMCD_LEARN": "0"})
        server.expect("^ready")
        client = self.client(lib.PYTHON, "-c", TALKER, "client", port,
                             env={"SMCD_DEVICES": client_devices, "SMCD_LEARN": "0"})
        return server, client

    def do(self, process, line):
        process.say(line)
        process.expect(f"^done {line.split()[0]}")

    def connect(self, server, client):
        client.say("connect")
        self.do(server, "connect")
        client.expect("^done connect")
        self.do(client, "send hello")
        self.do(server, "receive hello")

    def mode_of(self, process):
        """Device of the newest connection, or why it is on TCP."""
        table = json.loads(subprocess.run([SMCU, "ss", "--json", "--pid", str(process.pid)], check=True,
                                          capture_output=True, timeout=20).stdout)
        newest = max(table["connections"], key=lambda entry: entry["fd"])
        return newest["device"] if newest["mode"] == "SMCD" else newest["reason_name"]

    def expect_mode(self, process, modes):
        lib.wait_until(lambda: self.mode_of(process) in modes, 20.0, f"{modes} in {process}")

    def test_silent_connections_return(self):
        """Nobody sends: the event alone tells the peer."""
        for loser, other in (("server", "client"), ("client", "server")):
            with self.subTest(loser=loser):
                pair = dict(zip(("server", "client"), self.talkers("ism", "ism")))
                self.connect(pair["server"], pair["client"])
                self.expect_mode(pair[other], ("ism",))
                self.do(pair[loser], "lose")
                for side in pair.values():
                    self.expect_mode(side, ("device_lost", "returned_by_peer"))
                for sender, receiver in ((loser, other), (other, loser)):
                    self.do(pair[sender], "send goodbye")
                    self.do(pair[receiver], "receive goodbye")

    def test_new_connections_use_the_next_device(self):
        for loser in ("server", "client"):
            for devices, expected in (("ism,loopback", "loopback"), ("ism,ism:0101", "ism:0101")):
                with self.subTest(loser=loser, devices=devices):
                    pair = dict(zip(("server", "client"), self.talkers(devices, devices)))
                    self.connect(pair["server"], pair["client"])
                    self.do(pair[loser], "lose")
                    self.connect(pair["server"], pair["client"])
                    for side in pair.values():
                        self.expect_mode(side, (expected,))

    def test_new_connections_without_another_device_are_tcp(self):
        for loser, server_reason, client_reason in (
                ("server", "no_smcd_v2_device", "peer_declined"), ("client", "peer_no_smc", "device_lost")):
            with self.subTest(loser=loser):
                pair = dict(zip(("server", "client"), self.talkers("ism", "ism")))
                self.connect(pair["server"], pair["client"])
                self.do(pair[loser], "lose")
                self.connect(pair["server"], pair["client"])
                self.do(pair["server"], "send answer")
                self.do(pair["client"], "receive answer")
                self.assertEqual(self.mode_of(pair["client"]), client_reason)

    def test_closed_at_once(self):
        """What was sent before the device went, and the end behind it."""
        server, client = self.talkers("ism", "ism")
        self.connect(server, client)
        text = "x" * 3000
        self.do(client, "send " + text)
        self.do(client, "lose")
        self.do(client, "send " + text)
        self.do(client, "close")
        self.do(server, "receive " + text + text)


if __name__ == "__main__":
    lib.main()
