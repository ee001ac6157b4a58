#!/usr/bin/env python3
"""smcu with the real library: what it reports of a connection that is accelerated, or is not.

Environment: SMCU the program.
"""
import json
import os
import subprocess
import unittest

SMCU = os.environ["SMCU"]
WATCHDOG_S = 60


def smcu(*words):
    return subprocess.run([SMCU, *words], text=True, timeout=WATCHDOG_S, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)


class LiveTest(unittest.TestCase):
    def start(self, *words):
        """A child under the library that prints lines and ends when its input is closed."""
        child = subprocess.Popen(words, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait, WATCHDOG_S)
        self.addCleanup(child.terminate)
        self.addCleanup(child.stdin.close)
        return child

    def test_the_library_loads(self):
        done = smcu("info", "--json")
        self.assertEqual(json.loads(done.stdout)["preload_loads"], "yes", done.stderr)
        self.assertEqual(done.returncode, 0)

    def test_check_self_is_accelerated(self):
        done = smcu("check", "--self", "--json")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["result"], report["device"]), ("accelerated", "loopback"))
        self.assertEqual(report["dmb_rx_bytes"], report["dmb_tx_bytes"])
        self.assertGreater(report["dmb_tx_bytes"], 0)

    def test_check_finds_a_server_under_the_library(self):
        server = self.start(SMCU, "check", "-S", "0")
        port = server.stdout.readline().split()[1]
        done = smcu("check", f"127.0.0.1:{port}")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("accelerated", done.stdout)

    def test_check_names_the_reason_for_a_plain_server(self):
        code = ("import socket,sys\nl=socket.create_server(('127.0.0.1',0))\n"
                "print(l.getsockname()[1],flush=True)\nsys.stdin.read()\n")
        server = self.start("/usr/bin/env", "python3", "-c", code)
        done = smcu("check", "--json", f"127.0.0.1:{server.stdout.readline().strip()}")
        self.assertEqual(done.returncode, 10, done.stdout + done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual((report["result"], report["reason_name"]), ("tcp", "peer_no_smc"))

    def test_ss_and_stats_show_both_ends(self):
        code = ("import socket,sys\nl=socket.create_server(('127.0.0.1',0))\n"
                "c=socket.create_connection(l.getsockname()); a=l.accept()[0]\n"
                "c.sendall(b'x'*1000)\nn=0\nwhile n<1000: n+=len(a.recv(1000))\n"
                "print('ready',flush=True)\nsys.stdin.read()\n")
        child = self.start(SMCU, "run", "--", "/usr/bin/env", "python3", "-c", code)
        self.assertEqual(child.stdout.readline(), "ready\n")
        rows = json.loads(smcu("ss", "-a", "--json", "--pid", str(child.pid)).stdout)["connections"]
        self.assertEqual(sorted(row["mode"] for row in rows), ["LISTEN", "SMCD", "SMCD"], rows)
        sent = sorted(row["tx_bytes"] for row in rows if row["mode"] == "SMCD")
        self.assertEqual(sent, [0, 1000])
        self.assertTrue([row for row in rows if row["mode"] == "LISTEN"][0]["beacon"])
        totals = json.loads(smcu("stats", "--json", "--pid", str(child.pid)).stdout)["total"]
        self.assertEqual([totals[key] for key in ("live_smc", "dmb_tx_bytes", "dmb_rx_bytes")],
                         [2, 1000, 1000])


if __name__ == "__main__":
    unittest.main(verbosity=2)
