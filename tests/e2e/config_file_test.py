"""The configuration file: what `smcu ueid` and `smcu seid` write is what connections obey."""

import json
import os
import subprocess
import unittest

import lib

SMCU = lib.WRAP_S[0] if lib.WRAP_S else None


@unittest.skipUnless(lib.BOTH_SHIMMED, "plain TCP has no configuration")
class ConfigFile(lib.Case):
    def setUp(self):
        super().setUp()
        self.files = {side: str(self.folder / side) for side in ("server", "client")}

    def smcu(self, side, *words, status=0):
        env = {name: value for name, value in os.environ.items() if not name.startswith("SMCD_")}
        done = subprocess.run([SMCU, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=60, check=False, env=dict(env, SMCD_CONF=self.files[side]))
        self.assertEqual(done.returncode, status, (words, done.stdout, done.stderr))
        return done.stdout

    def connect(self):
        """Reasons of server and client for one connection; nothing where it was accelerated.

        Bytes wait 50 ms for the verdict, which may be too short here and now: then once more.
        """
        for _ in range(20):
            reasons = self.connect_once()
            if reasons[1] != ["timed_out"]:
                break
        return reasons

    def connect_once(self):
        server = self.server(lib.program("e2e_stream"), "serve", "--tx", "10k", "--rx", "9k",
                             env={"SMCD_CONF": self.files["server"]})
        client = self.client(lib.program("e2e_stream"), "connect", "--port", server.port(), "--tx",
                             "9k", "--rx", "10k", env={"SMCD_CONF": self.files["client"]})
        client.finish()
        server.finish()
        return [list(side.stats()["tcp_reasons"]) for side in (server, client)]

    def test_user_ids(self):
        self.assertEqual(self.connect(), [[], []])
        self.assertEqual(self.smcu("server", "ueid", "show"), "SMCD-IN-USER-SPACE (built in)\n")
        self.smcu("server", "ueid", "add", "EAST")
        self.assertEqual(self.connect(), [["no_smcd_device"], ["peer_declined"]])
        self.smcu("client", "ueid", "add", "WEST")
        self.smcu("client", "ueid", "add", "EAST")
        self.assertEqual(self.connect(), [[], []])
        self.smcu("client", "ueid", "del", "EAST")
        self.assertEqual(self.connect(), [["no_smcd_device"], ["peer_declined"]])
        self.smcu("client", "ueid", "flush")
        self.smcu("server", "ueid", "flush")
        self.assertEqual(self.connect(), [[], []])

    def test_system_id(self):
        """Under one kernel it joins what user ids divide, if both sides let it count."""
        self.smcu("server", "ueid", "add", "EAST")
        self.smcu("client", "ueid", "add", "WEST")
        self.assertEqual(self.smcu("server", "seid", "show").split()[1], "[disabled]")
        for side, reasons in (("server", [["no_smcd_device"], ["peer_declined"]]),
                              ("client", [[], []])):
            self.smcu(side, "seid", "enable")
            self.assertEqual(self.connect(), reasons)
        shown = json.loads(self.smcu("client", "seid", "show", "--json"))
        self.assertTrue(shown["enabled"] and shown["seid"].startswith("SMCD-SEID-"), shown)
        self.smcu("client", "seid", "disable")
        self.assertEqual(self.connect(), [["no_smcd_device"], ["peer_declined"]])

    def test_limits_of_ids(self):
        self.smcu("server", "ueid", "add", "lower", status=2)
        self.smcu("server", "ueid", "add", "A..B", status=2)
        for number in range(4):
            self.smcu("server", "ueid", "add", f"ID-{number}")
        self.smcu("server", "ueid", "add", "ID-2", status=1)
        self.smcu("server", "ueid", "add", "ID-4", status=1)
        self.smcu("server", "ueid", "del", "ID-7", status=1)
        self.smcu("server", "ueid", "del", "ID-1")
        shown = json.loads(self.smcu("server", "ueid", "show", "--json"))
        self.assertEqual((shown["ueids"], shown["built_in"]), (["ID-0", "ID-2", "ID-3"], False))
        self.files["server"] = str(self.folder / "nowhere" / "conf")
        self.smcu("server", "ueid", "add", "ID-1", status=1)

    def test_order_of_devices(self):
        """And whatever else the file says; the environment comes first."""
        for side in self.files.values():
            with open(side, "w", encoding="ascii") as file:
                file.write("# of this host\ndevices = ism,loopback\n")
        for env, device in (({}, "ism"), ({"SMCD_DEVICES": "loopback"}, "loopback")):
            info = subprocess.run([SMCU, "device", "list", "--json"], capture_output=True, timeout=60,
                                  check=True, env=dict(os.environ, SMCD_CONF=self.files["client"],
                                                       **env)).stdout
            self.assertEqual(json.loads(info)["devices"][0]["name"], device)
        self.assertEqual(self.connect(), [[], []])
        with open(self.files["client"], "w", encoding="ascii") as file:
            file.write("disable = 1\n")
        self.assertEqual(self.connect(), [["peer_no_smc"], []])


if __name__ == "__main__":
    lib.main()
