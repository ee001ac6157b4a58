"""Several devices in one process: which one serves a connection, and what happens without a common one."""

import json
import os
import subprocess
import unittest

import lib

SMCU = lib.WRAP_S[0] if lib.WRAP_S else None


@unittest.skipUnless(lib.BOTH_SHIMMED, "nothing to choose from on plain TCP")
class Devices(lib.Case):
    def device_of(self, pid):
        """The device of the process's one accelerated connection, as `smcu ss` names it."""
        def row():
            table = json.loads(subprocess.run([SMCU, "ss", "--json", "--pid", str(pid)], check=True,
                                              capture_output=True, timeout=20).stdout)
            rows = [entry for entry in table["connections"] if entry["mode"] == "SMCD"]
            return rows[0]["device"] if rows else None
        return lib.wait_until(row, 20.0, f"an accelerated connection of {pid}")

    def pair(self, server_devices, client_devices, server_ueids="", client_ueids=""):
        """An echo server, and a client that has had its first answer and keeps the connection."""
        server = self.server(lib.program("e2e_server"), "echo",
                             env={"SMCD_DEVICES": server_devices, "SMCD_UEID": server_ueids})
        client = self.client(lib.PYTHON, "-c", """
import socket, sys, threading
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for number in range(3):
    text = b"x" * (70000 * number + 1)
    sender = threading.Thread(target=sock.sendall, args=(text,))
    sender.start()
    answer = b""
    while len(answer) < len(text):
        answer += sock.recv(100000)
    sender.join()
    assert answer == text
print("answered", flush=True)
sys.stdin.readline()
""", server.port(), env={"SMCD_DEVICES": client_devices, "SMCD_UEID": client_ueids})
        client.expect("^answered$", 30.0)
        return server, client

    def check_served_by(self, device, server_devices, client_devices):
        with self.subTest(server=server_devices, client=client_devices):
            server, client = self.pair(server_devices, client_devices)
            self.assertEqual(self.device_of(client.pid), device)
            self.assertEqual(self.device_of(server.pid), device)
            client.say("end")
            client.finish()

    def test_the_clients_order_decides(self):
        self.check_served_by("ism", "loopback,ism", "ism,loopback")
        self.check_served_by("loopback", "ism,loopback", "loopback,ism")

    def test_one_in_common_serves(self):
        self.check_served_by("ism", "ism", "loopback,ism:0101,ism")
        self.check_served_by("ism:0101", "ism:0102,loopback,ism:0101", "ism:0101,ism:0103")
        self.check_served_by("ism:ff10", "ism:ff10,loopback", "ism,ism:ff10")

    def test_none_in_common_is_tcp(self):
        for server_devices, client_devices in (("loopback", "ism"), ("ism:0101", "ism:0102")):
            with self.subTest(server=server_devices, client=client_devices):
                server, client = self.pair(server_devices, client_devices)
                client.say("end")
                client.finish()
                stats = client.stats()
                self.assertEqual(stats.get("accelerated"), 0, stats)
                self.assertEqual(stats["tcp_reasons"].get("peer_declined"), 1, stats)
                server.stop()
                stats = server.stats()
                self.assertEqual(stats["tcp_reasons"].get("no_smcd_v2_device"), 1, stats)

    def test_nonsense_leaves_the_default(self):
        self.check_served_by("loopback", "nonsense", "ism:xyz,loopback")

    def test_one_enterprise_id_in_common_is_enough(self):
        server, client = self.pair("loopback", "loopback", "EAST,WEST", "NORTH,WEST")
        self.assertEqual(self.device_of(client.pid), "loopback")
        client.say("end")
        client.finish()

    def test_no_enterprise_id_in_common_is_tcp(self):
        server, client = self.pair("loopback", "loopback", "EAST", "NORTH,west,")
        client.say("end")
        client.finish()
        self.assertEqual(client.stats()["tcp_reasons"].get("peer_declined"), 1, client.stats())
        server.stop()
        self.assertEqual(server.stats()["tcp_reasons"].get("no_smcd_device"), 1, server.stats())

    def version_1(self, server_env, client_env):
        """Statistics of a server and a client over ism, with one exchange."""
        server = self.server(lib.program("e2e_stream"), "serve", "--tx", "100k", "--rx", "90k",
                             env={"SMCD_DEVICES": "ism", **server_env})
        client = self.client(lib.program("e2e_stream"), "connect", "--port", server.port(), "--tx", "90k",
                             "--rx", "100k", env={"SMCD_DEVICES": "ism", **client_env})
        client.finish()
        server.finish()
        return server.stats(), client.stats()

    def test_version_1_serves_where_version_2_fails(self):
        for server_env, client_env, accelerated, reason in (
                ({"SMCD_V1": "1", "SMCD_UEID": "EAST"}, {"SMCD_V1": "1", "SMCD_UEID": "WEST"}, 1, None),
                ({"SMCD_V1": "only"}, {"SMCD_V1": "only"}, 1, None),
                ({"SMCD_V1": "1"}, {"SMCD_V1": "only"}, 1, None),
                ({"SMCD_V1": "only"}, {"SMCD_V1": "1"}, 1, None),
                ({}, {"SMCD_V1": "only"}, 0, "no_smcd_device"),
                ({"SMCD_V1": "only"}, {}, 0, "no_ism_v2"),
                ({"SMCD_V1": "only", "SMCD_DEVICES": "ism:0101"}, {"SMCD_V1": "only"}, 0, "no_smcd_device")):
            with self.subTest(server=server_env, client=client_env):
                server, client = self.version_1(server_env, client_env)
                self.assertEqual(client.get("accelerated"), accelerated, client)
                self.assertEqual(server.get("accelerated"), accelerated, server)
                if reason is not None:
                    self.assertEqual(server["tcp_reasons"], {reason: 1})
                    self.assertEqual(client["tcp_reasons"], {"peer_declined": 1})

    def test_run_sets_the_devices(self):
        wrap = [SMCU, "run", "--device", "ism", "--"]
        server = self.start([lib.program("e2e_stream"), "serve", "--tx", "100k", "--rx", "90k"], wrap)
        client = self.start([lib.program("e2e_stream"), "connect", "--port", server.port(),
                             "--tx", "90k", "--rx", "100k"], wrap)
        client.finish()
        server.finish()
        self.check_stats(server, client, 1)

    def test_info_names_the_devices(self):
        info = subprocess.run([SMCU, "info", "--json"], capture_output=True, timeout=60, check=False,
                              env=dict(os.environ, SMCD_DEVICES="ism,loopback")).stdout
        self.assertEqual(json.loads(info)["device"], "ism (CHID 0x0100), loopback (CHID 0xffff)")


if __name__ == "__main__":
    lib.main()
