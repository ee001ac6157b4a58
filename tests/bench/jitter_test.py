"""`smcu jitter` from outside: its two phases, its outputs, its exit status. No time is judged."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

SMCU = os.environ["SMCU"]
CPUS = sorted(os.sched_getaffinity(0))
ORDER = ("min", "p50", "p99", "p99.9", "p99.99", "p99.999", "max")
TRIES = 5  # the verdict of a handshake may come too late on a busy machine
ON_TCP = 10


def jitter(*words, status=0):
    for _ in range(TRIES):
        done = subprocess.run([SMCU, "jitter", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=100, check=False)
        if done.returncode != ON_TCP:
            break
    if done.returncode != status:
        raise AssertionError(f"{words}: status {done.returncode}, wanted {status}\n{done.stdout}\n{done.stderr}")
    return done


@unittest.skipIf(len(CPUS) < 2, "one CPU: the ends cannot poll side by side")
class Jitter(unittest.TestCase):
    def check_cpu(self, row, cpu):
        self.assertEqual(row["cpu"], cpu)
        self.assertGreater(row["samples"], 1000)
        self.assertGreater(row["shortest_ns"], 0)
        self.assertAlmostEqual(row["noise_percent"] + row["available_percent"], 100)
        gaps = [row[f"over_{us}_us"] for us in (1, 5, 20, 100)]
        self.assertEqual(gaps, sorted(gaps, reverse=True))
        self.assertRegex(row["verdict"], r"^(ok|((tick|interrupts|preempted|steal|frequency|unexplained)(, )?)+)$")
        for name in ("system_calls", "migrations"):
            self.assertTrue(row[name] is None or row[name] >= 0, name)

    def test_json(self):
        report = json.loads(jitter("-t", "0.3", "--json").stdout)
        self.assertEqual((report["schema"], report["profile"]), ("smcu.jitter/1", "isolated"))
        for row, cpu in zip(report["machine"], CPUS):
            self.check_cpu(row, cpu)
            self.assertGreaterEqual(row["seconds"], 0.29)
        transport = report["transport"]
        self.assertTrue(transport["accelerated"])
        for row, cpu in zip(transport["sides"], CPUS):
            self.check_cpu(row, cpu)
            self.assertEqual((row["minor_faults"], row["major_faults"], row["voluntary_switches"]), (0, 0, 0), row)
            self.assertIn(row["system_calls"], (None, 0))
        for name in ("half_round_trip_us", "without_noise_us"):
            times = [transport[name][column] for column in ORDER]
            self.assertEqual(times, sorted(times), name)
        everything = transport["half_round_trip_us"]
        clean = transport["without_noise_us"]
        self.assertEqual(clean["count"] + transport["noise_hit_samples"], everything["count"])
        self.assertGreater(clean["count"], 0)
        self.assertLessEqual(clean["max"], everything["max"])
        locked = [row["locked_kib"] > 0 for row in transport["sides"]]
        self.assertEqual(report["isolation"], {0: "none", 1: "one side", 2: "both"}[sum(locked)])

    def test_text(self):
        out = jitter("-t", "0.1", "-m", "1000", "--profile", "balanced").stdout
        for part in ("The machine alone", "Ping-pong of 1000 B, profile balanced, isolation: none", "half round trip",
                     "without the machine", "verdict"):
            self.assertIn(part, out)
        self.assertEqual(len(re.findall(r"(?m)^all +\d+", out)), 1)

    def test_limit(self):
        jitter("-t", "0.05", "--max-us", "0.001", status=1)
        jitter("-t", "0.05", "--max-us", "1e12")

    def test_percentile_files(self):
        with tempfile.TemporaryDirectory() as folder:
            jitter("-t", "0.05", "--hdr", f"{folder}/x")
            for name in ("all", "clean"):
                self.assertIn("Percentile", pathlib.Path(folder, f"x-{name}.hgrm").read_text(encoding="ascii"))

    def test_wrong_usage(self):
        for words in (["--cpus", f"{CPUS[0]},{CPUS[0]}"], ["--cpus", "0,100000"], ["--profile", "warp"], ["-t", "x"],
                      ["extra"]):
            self.assertTrue(jitter(*words, status=2).stderr.startswith("smcu jitter"), words)


if __name__ == "__main__":
    unittest.main()
