"""Two network namespaces joined by a veth pair, and a region that programs of both join."""

import hashlib
import os
import random
import subprocess
import unittest

import lib

SERVER_IP = "10.77.0.1"
PORT = 7101

ECHO_SERVER = """
import asyncio
async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    server = await asyncio.start_server(echo, "0.0.0.0", %d)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
""" % PORT

ECHO_CLIENT = """
import os, select, socket
peer = socket.create_connection(("%s", %d))
peer.setblocking(False)
waiter = select.epoll()
waiter.register(peer, select.EPOLLIN)
def exchange(data):
    sent, back = 0, b""
    while len(back) < len(data):
        if sent < len(data):
            try:
                sent += peer.send(data[sent:sent + 65536])
            except BlockingIOError:
                pass
        if sent == len(data):
            waiter.poll(30)
        try:
            back += peer.recv(65536)
        except BlockingIOError:
            pass
    assert back == data
for round in range(300):
    exchange(os.urandom(round + 1))
exchange(os.urandom(%d))
print("same")
"""


def run(*words):
    subprocess.run(words, check=True)


@unittest.skipIf(os.geteuid() != 0, "needs root: network namespaces with names")
class FabricCase(lib.Case):
    @classmethod
    def setUpClass(cls):
        cls.names = [f"smcd{os.getpid()}{side}" for side in "ab"]
        for name in cls.names:
            run("ip", "netns", "add", name)
        server, client = cls.names
        run("ip", "link", "add", "veth0", "netns", server, "type", "veth",
            "peer", "name", "veth0", "netns", client)
        for number, name in enumerate(cls.names, 1):
            run("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "veth0")
            run("ip", "-n", name, "link", "set", "veth0", "up")
            run("ip", "-n", name, "link", "set", "lo", "up")

    @classmethod
    def tearDownClass(cls):
        for name in cls.names:
            subprocess.run(["ip", "netns", "del", name], check=False)

    def setUp(self):
        super().setUp()
        self.region = self.folder / "region"
        with open(self.region, "wb") as file:
            file.truncate(64 << 20)
        self.base = {"SMCD_FABRIC": str(self.region), "SMCD_PNETID": "BLUE", "SMCD_DEBUG": "1"}

    def inside(self, side, *args, wrapped=True, **env):
        wrap = ["ip", "netns", "exec", self.names[side], *(lib.WRAP if wrapped else [])]
        return self.start(args, wrap, env={**self.base, **env})

    def wait_for_listener(self):
        def listens():
            found = subprocess.run(["ip", "netns", "exec", self.names[0], "cat", "/proc/net/tcp",
                                    "/proc/net/tcp6"], stdout=subprocess.PIPE, text=True,
                                   check=True)
            return any(f":{PORT:04X} " in line and " 0A " in line
                       for line in found.stdout.splitlines())
        lib.wait_until(listens, 20, "listener")

    def transfer(self, server_env=None, client_env=None, kbytes=20000):
        """Sends random bytes; the statistics of server and client, once they were compared.

        Bytes wait 50 ms for the verdict, which may be too short here and now: then once more.
        """
        for _ in range(20):
            server, client = self.transfer_once(server_env, client_env, kbytes)
            if "timed_out" not in client["tcp_reasons"]:
                break
        return server, client

    def transfer_once(self, server_env, client_env, kbytes):
        data = random.Random(lib.SEED).randbytes(kbytes * 1000)
        (self.folder / "data").write_bytes(data)
        server = self.inside(0, "socat", "-u", f"TCP-LISTEN:{PORT},reuseaddr",
                             f"OPEN:{self.folder}/out,creat,trunc", **(server_env or {}))
        self.wait_for_listener()
        client = self.inside(1, "socat", "-u", f"OPEN:{self.folder}/data",
                             f"TCP:{SERVER_IP}:{PORT}", **(client_env or {}))
        client.finish(60)
        server.finish(60)
        got = (self.folder / "out").read_bytes()
        self.assertEqual(hashlib.sha256(got).digest(), hashlib.sha256(data).digest())
        return server.stats(), client.stats()

    def assert_accelerated(self, stats, count=1):
        self.assertEqual(stats.get("accelerated", 0), count if lib.BOTH_SHIMMED else 0, stats)

    def assert_tcp(self, stats, reason):
        if lib.BOTH_SHIMMED:
            self.assertEqual((stats["accelerated"], stats["tcp_reasons"]), (0, {reason: 1}))

    def tables(self):
        """{pid: offset} of the tables of each slot (docs/shared-memory.md, "Regions")."""
        with open(self.region, "rb") as file:
            slots = int.from_bytes(file.read(4096)[40:44], "little")
            stride = ((64 << 20) - 4096) // max(slots, 1) // 4096 * 4096
            found = {}
            for slot in range(slots):
                offset = 4096 + slot * stride
                file.seek(offset + 20)
                found[int.from_bytes(file.read(4), "little")] = offset
            return found

    def region_has_dmbs(self):
        """Whether two peers have registered a DMB (PeerEntry::dmbs, docs/shared-memory.md)."""
        if not lib.BOTH_SHIMMED:
            return True
        with open(self.region, "rb") as file:
            header = file.read(4096)
            slots = int.from_bytes(header[40:44], "little")
            stride = ((64 << 20) - 4096) // max(slots, 1) // 4096 * 4096
            count = 0
            for slot in range(slots):
                file.seek(4096 + slot * stride)
                count += int.from_bytes(file.read(256)[52:56], "little") > 0
        return count == 2
