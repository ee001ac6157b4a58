"""`smcu bench` from outside: every mode runs, its outputs can be read, a fallback is noticed. No figure is judged."""
import csv
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree

SMCU = os.environ["SMCU"]
ALL = ("--through", "shim,library,zerocopy", "--against", "tcp,unix")
SHORT = ("-r", "1", "--warmup", "0", "--no-floor")


def bench(*words, status=0, **environment):
    """Standard output and error of one run."""
    done = subprocess.run([SMCU, "bench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, **environment))
    if done.returncode != status:
        raise AssertionError(f"{words}: status {done.returncode}, wanted {status}\n{done.stdout}\n{done.stderr}")
    return done.stdout, done.stderr


def report(*words, status=0, **environment):
    return json.loads(bench(*words, "--json", status=status, **environment)[0])


def congestion_used():
    """What bench's TCP uses: cubic, unless only root may choose it here."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
        except PermissionError:
            pass
        return probe.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


class BenchTest(unittest.TestCase):
    def check_series(self, document, mode, paths):
        self.assertEqual(document["schema"], "smcu.bench/1")
        self.assertEqual([(s["mode"], s["path"]) for s in document["series"]], [(mode, path) for path in paths])
        for series in document["series"]:
            for sample in series["samples"]:
                self.assertFalse(sample["failed"], sample)
                self.assertGreater(sample["messages"], 0, series)
                self.assertGreater(sample["seconds"], 0)
                if series["path"] in ("shim", "library", "zerocopy") and mode not in ("connect", "request"):
                    self.assertTrue(sample["accelerated"], sample)

    def test_closed_loops(self):
        for mode in ("pingpong", "load", "mixed"):
            with self.subTest(mode):
                extra = ("--mps", "500") if mode == "load" else ()
                count = ("-n", "200") if mode != "mixed" else ("-t", "0.1")
                document = report(mode, *SHORT, *ALL, *count, *extra, "--require-smc")
                self.check_series(document, mode, ["tcp", "unix", "shim", "library", "zerocopy"])
                for series in document["series"]:
                    times = series["samples"][0]["latency_us"]
                    self.assertGreater(times["count"], 0)
                    self.assertLessEqual(times["min"], times["p50"])
                    self.assertLessEqual(times["p50"], times["max"])

    def test_streams(self):
        document = report("stream", *SHORT, *ALL, "-t", "0.1", "-P", "2", "-m", "64000", "--require-smc")
        self.check_series(document, "stream", ["tcp", "unix", "shim", "library", "zerocopy"])
        self.assertTrue(all(series["connections"] == 2 for series in document["series"]))

    def test_message_rate_takes_both_modes_of_tcp(self):
        document = report("rate", *SHORT, *ALL, "-t", "0.1", "-b", "16", "--require-smc")
        self.check_series(document, "rate", ["tcp", "tcp", "unix", "shim", "library", "zerocopy"])
        self.assertEqual([s["nodelay"] for s in document["series"][:2]], [True, False])
        self.assertTrue(all(c["ratio"]["median"] > 0 for c in document["comparisons"]))

    def test_connections(self):
        for mode in ("connect", "request"):
            with self.subTest(mode):
                self.check_series(report(mode, *SHORT, *ALL, "-n", "50"), mode,
                                  ["tcp", "unix", "shim", "library", "zerocopy"])

    def test_many_connections(self):
        document = report("many", *SHORT, "--against", "tcp,unix", "-P", "60", "--active", "10", "-n", "300",
                          "--require-smc")
        self.check_series(document, "many", ["tcp", "unix", "shim"])
        self.assertTrue(all(s["samples"][0]["setups_per_s"] > 0 for s in document["series"]))
        bench("many", "--through", "library", status=2)

    def test_sizes_from_one_byte_to_64_mib(self):
        document = report("pingpong", *SHORT, "--through", "shim,zerocopy", "-n", "2", "-m", "1,100k,64M",
                          "--against", "none", "--require-smc")
        self.assertEqual([s["message_bytes"] for s in document["series"]],
                         [1, 1, 102400, 102400, 64 << 20, 64 << 20])

    def test_over_the_copying_device(self):
        document = report("pingpong", *SHORT, "--through", "shim,library,zerocopy", "-n", "100", "-m", "14,100k",
                          "--against", "none", "--device", "ism", "--require-smc")
        self.assertEqual({series["device"] for series in document["series"]}, {"ism"})

    def test_placements(self):
        for cpus, wanted in (("none", "none"), ("same", "server 0, client 0"), ("0,0", "server 0, client 0")):
            document = report("pp", *SHORT, "-n", "50", "--cpus", cpus, "--against", "none")
            if 0 in os.sched_getaffinity(0):
                self.assertEqual(document["series"][0]["placement"], wanted)

    def test_outputs(self):
        with tempfile.TemporaryDirectory() as folder:
            top = pathlib.Path(folder)
            text, _ = bench("pingpong", "-r", "2", "-t", "0.05", "--warmup", "0", "-m", "14,1k", "-J", str(top / "a.json"),
                            "--csv", str(top / "a.csv"), "--svg", str(top / "a.svg"), "--hdr", str(top / "a"))
            for word in ("shim / tcp, 14 B:", "floor: cache line", "half round trip", f"TCP: {congestion_used()} ",
                         "interval of the median"):
                self.assertIn(word, text)
            document = json.loads((top / "a.json").read_text())
            self.assertEqual(len(document["series"]), 4)
            self.assertGreater(document["floor"]["cache_line_round_trip_ns"], 0)
            self.assertIn("Linux", text)
            with open(top / "a.csv", newline="") as file:
                rows = list(csv.DictReader(file))
            self.assertEqual(len(rows), 8)
            self.assertEqual({row["bytes"] for row in rows}, {"14", "1024"})
            self.assertEqual(xml.etree.ElementTree.parse(top / "a.svg").getroot().tag, "{http://www.w3.org/2000/svg}svg")
            histograms = sorted(path.name for path in top.glob("*.hgrm"))
            self.assertEqual(histograms, ["a-shim-14.hgrm", "a-shim-1k.hgrm", "a-tcp-14.hgrm", "a-tcp-1k.hgrm"])
            self.assertIn("#[Mean", (top / "a-shim-14.hgrm").read_text())

    def test_require_smc_fails_on_fallback(self):
        words = ("pingpong", *SHORT, "-n", "20", "--through", "shim", "--against", "none")
        bench(*words, "--require-smc")
        _, error = bench(*words, "--require-smc", status=10, SMCD_DISABLE="1")
        self.assertIn("stayed on TCP", error)
        text, _ = bench(*words, SMCD_DISABLE="1")
        self.assertIn("on TCP: no connection was accelerated", text)

    def test_a_failed_sample_is_said_in_quiet_runs_too(self):
        text, error = bench("load", "--mps", "1", "-q", *SHORT, "-t", "0.001", "--through", "shim", "--against", "none",
                            status=1)
        self.assertEqual(text, "")
        self.assertIn("shim: nothing was measured", error)

    def test_require_smc_is_about_every_connection(self):
        # A burst of short ones is left on TCP, when the machine is fast enough for it to be one.
        words = [SMCU, "bench", "request", *SHORT, "-n", "400", "--against", "none", "--require-smc", "--json"]
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        sample = json.loads(done.stdout)["series"][0]["samples"][0]
        counters = sample["counters"]
        self.assertEqual(sample["accelerated"], counters["tcp"] == 0, sample)
        self.assertEqual(done.returncode, 0 if sample["accelerated"] else 10)

    def test_started_under_the_shim_it_still_measures_tcp(self):
        done = subprocess.run([SMCU, "run", "--", SMCU, "bench", "pingpong", *SHORT, "-n", "50", "--json"],
                              stdout=subprocess.PIPE, text=True, check=True)
        series = json.loads(done.stdout)["series"]
        self.assertEqual(series[0]["path"], "tcp")
        self.assertEqual(series[0]["samples"][0].get("counters", {}), {})

    def test_wrong_usage(self):
        for words in (("fly",), ("pingpong", "-m", "65M"), ("pingpong", "--through", "tcp"), (),
                      ("pingpong", "--cpus", "x"), ("pingpong", "-r", "0"), ("pingpong", "--nodelay", "maybe")):
            _, error = bench(*words, status=2)
            self.assertIn("smcu bench:", error)
        self.assertIn("pingpong", bench("--help")[0])

    def test_floor(self):
        text, _ = bench("floor", "-t", "0.01")
        self.assertEqual(len(text.splitlines()), 5)

    def test_rfc_runs_what_is_installed(self):
        document = report("rfc", "-r", "1", "-t", "1", "-n", "200", "--warmup", "0")
        rows = document["published"]
        self.assertEqual(len(rows), 5)
        for row in rows:
            if not row["note"].startswith("not installed"):
                self.assertGreater(row["tcp_here"], 0, row)
                self.assertGreater(row["smc_here"], 0, row)


if __name__ == "__main__":
    unittest.main()
