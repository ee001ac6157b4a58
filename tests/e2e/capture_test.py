"""The handshake as it goes over the wire, for every combination of devices: captured, exported as
pcap, and read by tshark. Needs root: a network namespace and a packet socket."""

import os
import re
import subprocess
import sys
import unittest

import lib

# Writes the packets of the loopback interface as pcap until its standard input ends.
RECORDER = """
import socket, struct, sys, threading
packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packets.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
packets.bind(("lo", 0))
packets.settimeout(0.2)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 1 << 18, 1))
    print("ready", flush=True)
    while True:
        try:
            packet, address = packets.recvfrom(1 << 18)
        except TimeoutError:
            if ended.is_set():
                break
            continue
        if address[2] != socket.PACKET_OUTGOING:  # each is seen twice
            file.write(struct.pack("<IIII", 0, 0, len(packet), len(packet)) + packet)
"""

LOOPBACK, ISM, ISM_EMULATED, IVSHMEM = "0xffff", "0x0100", "0xff10", "0xff01"
# What both programs have, and the CHIDs of the devices that the client offers, in its order; the
# first one serves.
COMBINATIONS = (
    ("loopback", (LOOPBACK,)),
    ("ism", (ISM,)),
    ("ism:ff10", (ISM_EMULATED,)),
    ("ivshmem", (IVSHMEM,)),
    ("loopback,ism,ivshmem", (LOOPBACK, ISM, IVSHMEM)),
    ("ism,ism:0101,ism:ff10,loopback", (ISM, "0x0101", ISM_EMULATED, LOOPBACK)),
    ("ivshmem,ism:ff10,loopback,ism", (IVSHMEM, ISM_EMULATED, LOOPBACK, ISM)),
)


@unittest.skipIf(os.geteuid() != 0, "needs root: a network namespace and a packet socket")
@unittest.skipUnless(lib.BOTH_SHIMMED, "no handshake on plain TCP")
class Capture(lib.Case):
    def setUp(self):
        super().setUp()
        self.name = f"smcd{os.getpid()}c"
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.name], check=False)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)
        self.inside = ["ip", "netns", "exec", self.name]

    def record(self, number, devices):
        """The pcap file of one connection between programs with these devices.

        Bytes wait 50 ms for the verdict, which may be too short here and now: then once more.
        """
        for _ in range(20):
            path, reasons = self.connect(number, devices)
            if "timed_out" not in reasons:
                break
        self.assertEqual(reasons, set())
        return path

    def connect(self, number, devices):
        """The pcap file, and why the connection stayed on TCP, for both sides."""
        path = self.folder / f"{number}.pcap"
        region = self.folder / f"{number}.region"
        with open(region, "wb") as file:
            file.truncate(64 << 20)
        env = {"SMCD_DEVICES": devices, "SMCD_FABRIC": str(region)}
        recorder = self.start([lib.PYTHON, "-c", RECORDER, path], self.inside)
        recorder.expect("ready")
        wrap = [*self.inside, *lib.WRAP]
        server = self.start([lib.program("e2e_stream"), "serve", "--tx", "10k", "--rx", "9k"], wrap,
                            env=env)
        client = self.start([lib.program("e2e_stream"), "connect", "--port", server.port(), "--tx",
                             "9k", "--rx", "10k"], wrap, env=env)
        client.finish()
        server.finish()
        recorder.popen.stdin.close()
        recorder.finish()
        return path, {*server.stats()["tcp_reasons"], *client.stats()["tcp_reasons"]}

    def tshark(self, path, *words):
        done = subprocess.run(["tshark", "-r", str(path), *words], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, check=True, timeout=60)
        return done.stdout.splitlines()

    def test_every_combination_is_read(self):
        for number, (devices, chids) in enumerate(COMBINATIONS):
            with self.subTest(devices=devices):
                path = self.record(number, devices)
                fields = ("smc.clc_msg", "smc.proposal.smc.chid", "smc.accept.smc.chid",
                          "smc.confirm.smc.chid", "smc.proposal.ismv2_gid_count")
                rows = [line.split("|") for line in self.tshark(
                    path, "-Y", "smc", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a",
                    *(word for field in fields for word in ("-e", field)))]
                self.assertEqual([row[0] for row in rows], ["1", "2", "3"], rows)
                proposal, accept, confirm = rows
                offered = [chid for chid in proposal[1].split(",") if chid != "0x0000"]
                # An emulated device takes two slots, for the halves of its GID.
                slots = [chid for chid in chids
                         for _ in range(2 if int(chid, 16) >= 0xff00 else 1)]
                self.assertEqual(offered, slots)
                self.assertEqual(proposal[4], str(len(slots)))
                self.assertEqual((accept[2], confirm[3]), (chids[0], chids[0]))
                self.assertEqual(self.tshark(path, "-Y", "_ws.malformed || _ws.expert.group == 0x07000000"),
                                 [])

    def test_a_broken_message_is_reported(self):
        """The canary: eight enterprise ids announced, one there."""
        path = self.record(9, "loopback")
        data = bytearray(path.read_bytes())
        proposal = re.search(rb"\xe2\xd4\xc3.\x01", data, re.DOTALL).start()
        extension = data.index(b"SMCD-IN-USER-SPACE", proposal) - 40
        self.assertEqual(data[extension], 1)
        data[extension] = 8
        path.write_bytes(data)
        self.assertNotEqual(self.tshark(path, "-Y", "_ws.malformed"), [])


if __name__ == "__main__":
    sys.exit(lib.main())
