"""Connections through a region, between two network namespaces.

They are found through the directory of the region and go through its memory; what does not fit
(PNETID, CHID, EID) stays on TCP, with the reason on both sides. Needs root.
"""

import random
import subprocess
import sys
from pathlib import Path

import lib
from fabric import ECHO_CLIENT, ECHO_SERVER, FabricCase, PORT, SERVER_IP, run


CROSSING_SERVER = f"""
import socket, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import clc, raw
listener = socket.create_server(("0.0.0.0", {PORT}))
print("ready", flush=True)
sock, _ = listener.accept()
sys.stdin.readline()
while sock.recv(1000):
    pass  # Proposal, Decline
sock.sendall(clc.accept())
print("received", sock.recv(10), sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), flush=True)
"""

CLOSING_CLIENT = f"""
import socket, sys
socket.create_connection(("{SERVER_IP}", {PORT})).close()
print("closed", flush=True)
sys.stdin.readline()
"""


class Fabric(FabricCase):
    def test_bulk(self):
        server, client = self.transfer()
        self.assert_accelerated(server)
        self.assert_accelerated(client)
        if lib.BOTH_SHIMMED:
            self.assertEqual(client["dmb_tx_bytes"], 20_000_000)

    def test_event_loops(self):
        server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER)
        server.expect("ready")
        client = self.inside(1, lib.PYTHON, "-c", ECHO_CLIENT % (SERVER_IP, PORT, 3_000_000))
        self.assertIn("same", client.finish(100))
        self.assert_accelerated(client.stats())

    def test_forking_server(self):
        server = self.inside(0, "socat", f"TCP-LISTEN:{PORT},reuseaddr,fork", "PIPE")
        self.wait_for_listener()
        accelerated = 0
        for _ in range(3):
            # No more than its pipe holds: socat would block with a full one.
            client = self.inside(1, lib.PYTHON, "-c", ECHO_CLIENT % (SERVER_IP, PORT, 4096))
            self.assertIn("same", client.finish(100))
            accelerated += client.stats().get("accelerated", 0)
        self.assertTrue(server.alive())
        # The server may fork too late for the client's patience, but not always.
        self.assertGreaterEqual(accelerated, 1 if lib.BOTH_SHIMMED else 0)

    def test_wrong_network(self):
        server, client = self.transfer(client_env={"SMCD_PNETID": "GREEN"})
        self.assert_tcp(server, "other_network")
        self.assert_tcp(client, "other_network")

    def test_wrong_chid(self):
        server, client = self.transfer(client_env={"SMCD_FABRIC_CHID": "0xff02"})
        self.assert_tcp(server, "no_smcd_v2_device")
        self.assert_tcp(client, "peer_declined")

    def test_wrong_eid(self):
        server, client = self.transfer(client_env={"SMCD_UEID": "SOMEBODY-ELSE"})
        self.assert_tcp(server, "no_smcd_device")
        self.assert_tcp(client, "peer_declined")

    def test_no_fabric(self):
        server, client = self.transfer(client_env={"SMCD_FABRIC": ""})
        self.assert_tcp(server, "peer_no_smc")
        self.assert_tcp(client, "not_local")

    def test_over_the_copying_device(self):
        """Found through the region; the bytes go over ism, whose processes meet in a folder."""
        meeting = self.folder / "meeting"
        meeting.mkdir()
        both = {"SMCD_DEVICES": "ism,ivshmem", "SMCD_ISM_FOLDER": str(meeting)}
        server, client = self.transfer(both, both)
        self.assert_accelerated(server)
        self.assert_accelerated(client)
        if lib.BOTH_SHIMMED:
            self.assertIn("ism", client["devices"])
            self.assertNotIn("ivshmem", client["devices"])
        server, client = self.transfer(both, {**both, "SMCD_PNETID": "GREEN"})
        self.assert_tcp(server, "other_network")
        self.assert_tcp(client, "other_network")

    def test_the_copying_device_alone(self):
        """Without a fabric: static rules; another folder, CHID or EID is TCP."""
        for name in ("meeting", "elsewhere"):
            (self.folder / name).mkdir()
        server_env = {"SMCD_DEVICES": "ism", "SMCD_ISM_FOLDER": str(self.folder / "meeting")}
        client_env = {**server_env, "SMCD_STATIC_PEERS": f"10.77.0.0/24:{PORT}"}
        server, client = self.transfer(server_env, client_env)
        self.assert_accelerated(server)
        self.assert_accelerated(client)
        for wrong, reason in (({"SMCD_ISM_FOLDER": str(self.folder / "elsewhere")}, "no_smcd_v2_device"),
                              ({"SMCD_ISM_FOLDER": ""}, "no_smcd_v2_device"),
                              ({"SMCD_DEVICES": "ism:0101"}, "no_smcd_v2_device"),
                              ({"SMCD_UEID": "SOMEBODY-ELSE"}, "no_smcd_device")):
            with self.subTest(wrong=wrong):
                server, client = self.transfer(server_env, {**client_env, **wrong}, kbytes=100)
                self.assert_tcp(server, reason)
                self.assert_tcp(client, "peer_declined")

    def test_version_1_wants_one_subnet(self):
        (self.folder / "meeting").mkdir()
        both = {"SMCD_DEVICES": "ism", "SMCD_ISM_FOLDER": str(self.folder / "meeting"), "SMCD_V1": "only"}
        client_env = {**both, "SMCD_STATIC_PEERS": f"10.77.0.0/16:{PORT}"}
        server, client = self.transfer(both, client_env, kbytes=100)
        self.assert_accelerated(server)
        self.assert_accelerated(client)

        def address(length):
            run("ip", "-n", self.names[1], "addr", "flush", "dev", "veth0", "scope", "global")
            run("ip", "-n", self.names[1], "addr", "add", f"10.77.0.2/{length}", "dev", "veth0")
        self.addCleanup(address, 24)
        address(16)
        server, client = self.transfer(both, client_env, kbytes=100)
        self.assert_tcp(server, "prefix_mismatch")
        self.assert_tcp(client, "peer_declined")

    def test_version_1_in_a_vlan(self):
        """Both ends on a VLAN interface; a kernel without VLANs skips this."""
        for name in self.names:
            made = subprocess.run(["ip", "-n", name, "link", "add", "link", "veth0", "name", "veth0.5",
                                   "type", "vlan", "id", "5"], stderr=subprocess.PIPE, text=True, check=False)
            if made.returncode != 0:
                self.skipTest(f"no VLAN interface: {made.stderr.strip()}")
            self.addCleanup(subprocess.run, ["ip", "-n", name, "link", "del", "veth0.5"], check=False)
        for number, name in enumerate(self.names, 1):
            run("ip", "-n", name, "addr", "flush", "dev", "veth0", "scope", "global")
            self.addCleanup(run, "ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "veth0")
            run("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "veth0.5")
            run("ip", "-n", name, "link", "set", "veth0.5", "up")
        (self.folder / "meeting").mkdir()
        both = {"SMCD_DEVICES": "ism", "SMCD_ISM_FOLDER": str(self.folder / "meeting"), "SMCD_V1": "only"}
        server, client = self.transfer(both, {**both, "SMCD_STATIC_PEERS": f"10.77.0.0/16:{PORT}"}, kbytes=100)
        self.assert_accelerated(server)
        self.assert_accelerated(client)

    def test_static_rule(self):
        server, client = self.transfer({"SMCD_PNETID": ""},
                                       {"SMCD_STATIC_PEERS": f"10.77.0.0/24:{PORT}"})
        self.assert_accelerated(server)
        self.assert_accelerated(client)

    def test_client_closes_behind_its_proposal(self):
        """From afar the server's answer may cross the client's Decline; the server sees an end and no reset."""
        server = self.inside(0, lib.PYTHON, "-c", CROSSING_SERVER, wrapped=False)
        server.expect("^ready")
        client = self.inside(1, lib.PYTHON, "-c", CLOSING_CLIENT, SMCD_STATIC_PEERS=f"10.77.0.0/24:{PORT}")
        client.expect("^closed")
        server.say("answer")
        server.expect(r"^received b'' 0$" if lib.WRAP_C else "^received b'' ")
        server.finish()
        client.say("exit")
        client.finish()

    def test_a_plain_server_behind_a_killed_one(self):
        """What the killed one announced is not believed: no byte of ours reaches the plain one."""
        killed = self.inside(0, "socat", "-u", f"TCP-LISTEN:{PORT},reuseaddr,fork", "OPEN:/dev/null")
        self.wait_for_listener()
        killed.kill()
        killed.wait()
        data = random.Random(lib.SEED).randbytes(1_000_000)
        (self.folder / "data").write_bytes(data)
        plain = self.inside(0, "socat", "-u", f"TCP-LISTEN:{PORT},reuseaddr",
                            f"OPEN:{self.folder}/out,creat,trunc", wrapped=False)
        self.wait_for_listener()
        client = self.inside(1, "socat", "-u", f"OPEN:{self.folder}/data",
                             f"TCP:{SERVER_IP}:{PORT}")
        client.finish(60)
        plain.finish(60)
        self.assertEqual((self.folder / "out").read_bytes(), data)
        self.assert_tcp(client.stats(), "not_local")

    def test_tables_full_of_nonsense(self):
        """Whoever writes anything into the tables of others harms them alone, and crashes nobody."""
        if not lib.BOTH_SHIMMED:
            return

        victims = self.echo_pair(PORT + 1, 200_000_000)
        slots = lib.wait_until(lambda: {process.pid for process in victims} <= self.tables().keys()
                               and self.tables(), 30, "the victims' slots")
        bystanders = self.echo_pair(PORT, 20_000_000)
        chance = random.Random(lib.SEED)
        rounds = 0
        with open(self.region, "r+b", buffering=0) as region:
            while bystanders[1].alive() or rounds < 2000:
                rounds += 1
                start = slots[victims[rounds % 2].pid]
                # Anywhere in the tables, or in what counts most: the entry, and the directory's beginning.
                where = chance.choice((chance.randrange(86016), chance.randrange(256),
                                       20480 + chance.randrange(4096))) // 8 * 8
                word = chance.choice((0, (1 << 64) - 1, chance.getrandbits(64), chance.getrandbits(12),
                                      chance.getrandbits(26) // 4096 * 4096))
                region.seek(start + where)
                region.write(word.to_bytes(8, "little"))
        self.assertIn("same", bystanders[1].finish(100))
        self.assert_accelerated(bystanders[1].stats())
        self.assertTrue(bystanders[0].alive())
        for victim in victims:
            self.assertGreaterEqual(victim.popen.poll() or 0, 0, f"{victim} was ended by a signal")
            victim.kill()
            victim.wait()

    def echo_pair(self, port, size):
        server = self.inside(0, lib.PYTHON, "-c", ECHO_SERVER.replace(str(PORT), str(port)))
        server.expect("ready")
        return server, self.inside(1, lib.PYTHON, "-c", ECHO_CLIENT % (SERVER_IP, port, size))

    def test_header_full_of_nonsense(self):
        """The header is everybody's: it may take connections to TCP and keep newcomers there, no more."""
        if not lib.BOTH_SHIMMED:
            return
        pairs = [self.echo_pair(PORT + number, 30_000_000) for number in range(2)]
        pids = {process.pid for pair in pairs for process in pair}
        lib.wait_until(lambda: pids <= self.tables().keys(), 30, "the slots of both pairs")
        header = self.region.read_bytes()[:4096]
        chance = random.Random(lib.SEED)
        newcomers, rounds = [], 0
        with open(self.region, "r+b", buffering=0) as region:
            while any(client.alive() for _, client in pairs) or rounds < 20000:
                rounds += 1
                where = chance.choice((chance.randrange(64), chance.randrange(64), chance.randrange(4096))) // 4 * 4
                word = chance.choice((0, 1, (1 << 32) - 1, chance.getrandbits(32), chance.getrandbits(12)))
                region.seek(where)
                region.write(word.to_bytes(4, "little"))
                if rounds % 100 == 0:  # as before, at times, so that all goes on
                    region.seek(0)
                    region.write(header)
                if rounds % 5000 == 0 and len(newcomers) < 4:
                    newcomers.append(self.echo_pair(PORT + 10 + len(newcomers), 100_000))
            for _, client in pairs + newcomers:
                self.assertIn("same", client.finish(100))
            region.seek(0)
            region.write(header)
        for server, _ in pairs + newcomers:
            self.assertTrue(server.alive(), f"{server}")
            server.kill()
            server.wait()
        print(f"\n  {rounds} words, {len(newcomers)} newcomers", end=" ")
        server, client = self.transfer(kbytes=1000)
        self.assert_accelerated(client)

    def test_the_peer_is_killed(self):
        """The survivor hears of it as over TCP, and the region takes newcomers."""
        server = self.inside(0, "socat", "-u", f"TCP-LISTEN:{PORT},reuseaddr", "OPEN:/dev/null")
        self.wait_for_listener()
        client = self.inside(1, "socat", "-u", "OPEN:/dev/zero", f"TCP:{SERVER_IP}:{PORT}")
        lib.wait_until(lambda: self.region_has_dmbs(), 20, "an accelerated connection")
        server.kill()
        self.assertNotEqual(client.wait(30), 0)
        server, client = self.transfer(kbytes=1000)
        self.assert_accelerated(client)

    def test_the_peer_does_not_answer_any_more(self):
        """A machine that is lost is no reset: keepalive tells what it tells on plain TCP."""
        server = self.inside(0, "socat", "-u",
                             f"TCP-LISTEN:{PORT},reuseaddr,keepalive,keepidle=1,keepintvl=1,"
                             "keepcnt=2", "OPEN:/dev/null")
        self.wait_for_listener()
        client = self.inside(1, "socat", "-u", "PIPE", f"TCP:{SERVER_IP}:{PORT}")
        lib.wait_until(lambda: self.region_has_dmbs(), 20, "an accelerated connection")
        run("ip", "-n", self.names[1], "link", "set", "veth0", "down")
        self.addCleanup(run, "ip", "-n", self.names[1], "link", "set", "veth0", "up")
        server.wait(60)
        self.assertIn("Connection timed out", server.stderr())
        self.assert_accelerated(server.stats())
        client.kill()


if __name__ == "__main__":
    sys.exit(lib.main())
