"""Two virtual machines that share a region: ordinary programs of both talk through it.

No KVM is needed. What runs in the guests: guest_init.sh.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

import machine

REGION_BYTES = 64 << 20


class VirtualMachines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        machine.CACHE.mkdir(parents=True, exist_ok=True)
        cls.image, modules = machine.kernel()
        cls.initramfs = machine.make_initramfs(modules)

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="smcd-vm-")
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)

    def boot(self, role, memory):
        """A guest with that memory; servers and clients are joined by a datagram socket pair."""
        side, other, mac = ("a", "b", 1) if role == "server" else ("b", "a", 2)
        (self.folder / side).unlink(missing_ok=True)
        network = (f"dgram,id=net,local.type=unix,local.path={self.folder}/{side},"
                   f"remote.type=unix,remote.path={self.folder}/{other}")
        devices = ["-netdev", network, "-device",
                   f"virtio-net-pci,netdev=net,mac=52:54:00:00:00:0{mac}", *memory]
        guest = machine.Guest(role, self.image, self.initramfs, devices, self.folder)
        self.addCleanup(guest.kill)
        return guest

    def check_transfer(self, server, client, name):
        """The bytes arrived, and they went through the region."""
        sent = client.expect(rf"sent {name} (\w+)")[1].group(1)
        received = server.expect(rf"received {name} (\w+)")[1].group(1)
        self.assertEqual(sent, received)
        for guest, role, counter in ((client, "client", "dmb_tx_bytes"),
                                     (server, "server", "dmb_rx_bytes")):
            stats = json.loads(guest.expect(rf"stats {role} {name} (\{{.*\}})")[1].group(1))
            self.assertEqual((stats["accelerated"], stats[counter]), (1, 8 << 20), stats)

    def check_pause(self, paused, client):
        """A pause loses nothing, is no death, and the exchange goes on after it."""
        client.expect(r"tick \d+")
        paused.qmp("stop")
        self.assertTrue(client.falls_silent(), "lines while a machine is paused")
        start = time.monotonic()
        paused.qmp("cont")
        when, _ = client.expect(r"tick \d+")
        print(f"pause of the {paused.role}: next line {1000 * (when - start):.0f} ms after cont",
              flush=True)
        self.assertFalse([line for line in client.lines if "WRONG" in line or "ended" in line])

    def check_death(self, server, client):
        """The survivor hears of it as over TCP: by the keepalive probes that it asked for."""
        client.kill()
        ends = dict(server.expect(r"ended (\w+): (.*)")[1].groups() for _ in range(2))
        self.assertEqual(ends, {"shared": "Connection timed out", "plain": "Connection timed out"})
        stats = json.loads(server.expect(r"stats server shared (\{.*\})")[1].group(1))
        self.assertEqual(stats["accelerated"], 1, stats)

    def whole_story(self, memory):
        server = self.boot("server", memory)
        client = self.boot("client", memory)
        server.expect("server ready")
        self.check_transfer(server, client, "first")
        self.check_pause(server, client)
        self.check_pause(client, client)
        self.check_death(server, client)
        again = self.boot("again", memory)  # the survivor and the region take newcomers
        self.check_transfer(server, again, "second")

    def test_plain(self):
        """ivshmem-plain: a file of the host is the memory; nobody can ring."""
        region = self.folder / "region"
        with open(region, "wb") as file:
            file.truncate(REGION_BYTES)
        self.whole_story(["-object", f"memory-backend-file,id=pool,size={REGION_BYTES},share=on,"
                          f"mem-path={region}", "-device", "ivshmem-plain,memdev=pool"])

    def test_doorbell(self):
        """ivshmem-doorbell on our fabric server, which is started anew while the guests talk."""
        directory = self.folder / "fabric"
        serve = [machine.BIN / "smcu", "fabric", "-d", directory, "serve", "-s", str(REGION_BYTES)]

        def start():
            server = subprocess.Popen(serve, stdout=subprocess.PIPE, text=True)
            self.addCleanup(server.stdout.close)
            self.addCleanup(server.wait)
            self.addCleanup(server.kill)
            self.assertIn("ready", server.stdout.readline())
            return server

        def peers():
            done = subprocess.run([machine.BIN / "smcu", "fabric", "-d", directory, "peers", "--json"],
                                  stdout=subprocess.PIPE, text=True, check=True)
            return {(peer["client"], peer["state"]) for peer in json.loads(done.stdout)["peers"]}

        def memory():
            return ["-chardev", f"socket,path={directory}/ivshmem,id=fabric",
                    "-device", "ivshmem-doorbell,chardev=fabric,vectors=1"]

        first = start()
        server, client = self.boot("server", memory()), self.boot("client", memory())
        server.expect("server ready")
        self.check_transfer(server, client, "first")
        self.assertEqual({number for number, _ in peers()}, {0, 1})
        self.assertIn("live", {state for _, state in peers()})
        # The end of a machine is known at once; a pause is none.
        client.qmp("stop")
        self.assertEqual(len({number for number, state in peers() if state == "live"}), 2)
        client.qmp("cont")
        client.expect(r"tick \d+")
        first.terminate()
        self.assertEqual(first.wait(60), 0)
        client.forget_lines()
        client.expect(r"tick \d+")  # what is established goes on
        start()
        client.forget_lines()
        client.expect(r"tick \d+")
        again = self.boot("again", memory())
        self.check_transfer(server, again, "second")
        # The server tells everybody when a machine is gone, whatever its processes were about.
        live = self.wait_for(lambda: {number for number, state in peers()
                                      if number >= 2048 and state == "live"})
        again.kill()
        self.wait_for(lambda: live <= {number for number, state in peers() if state == "left"})

    def test_devdax(self):
        """The same persistent memory in both guests, attached by its devdax node."""
        region = self.folder / "region"
        with open(region, "wb") as file:
            file.truncate(REGION_BYTES)
        memory = ["-m", "384M,slots=1,maxmem=1G", "-object",
                  f"memory-backend-file,id=pool,size={REGION_BYTES},share=on,mem-path={region}",
                  "-device", "virtio-pmem-pci,memdev=pool"]
        server = self.boot("server", memory)
        server.expect("server ready")
        client = self.boot("client", memory)
        self.check_transfer(server, client, "first")

    def test_version_1_in_a_vlan(self):
        """The host's kernel may lack VLAN interfaces; the guest's has them. Both ends are in one guest."""
        guest = self.boot("vlan", [])
        guest.expect("vlan done")
        told = "\n".join(guest.lines)
        sums = re.findall(r"(?:sent client|received server) (\w+)", told)
        self.assertEqual((len(sums), len(set(sums))), (2, 1), told)
        for role in ("client", "server"):
            stats = json.loads(re.search(rf"stats \w+ {role} (\{{.*\}})", told).group(1))
            self.assertEqual((stats["accelerated"], list(stats["devices"])), (1, ["ism"]), told)
        stats = json.loads(re.search(r"stats server inside (\{.*\})", told).group(1))
        self.assertEqual(stats["tcp_reasons"], {"no_smcd_device": 1}, told)

    def wait_for(self, condition, seconds=120):
        """The first value that is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.05)
        raise machine.Failure("what was waited for did not come")


if __name__ == "__main__":
    sys.exit(not unittest.main(verbosity=2, exit=False).result.wasSuccessful())
