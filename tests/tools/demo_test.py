#!/usr/bin/env python3
"""bench/demo.sh without its measurements: parsers on recorded outputs, ratios, proof, options."""
import contextlib
import io
import json
import socket
import sys
import tempfile
import types
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench" / "demo"))

import main as demo  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
import runner  # noqa: E402

REDIS = '''"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms"
"SET","29455.08","1.166","0.024","0.727"
"GET","30534.35","1.216","0.096","0.599"
'''
WRK = '''Running 1s test @ http://127.0.0.1:8080/file
  Thread Stats   Avg      Stdev     Max   +/- Stdev
  45000 requests in 1.00s, 15.00MB read
{errors}Requests/sec:  44926.93
Transfer/sec:     14.97MB
'''
SOCKPERF_PP = '''sockperf: \x1b[2;35m====> avg-latency=11.292 (std-dev=77.250)\x1b[0m
sockperf: Summary: Latency is 11.292 usec
sockperf: ---> percentile 99.999 = 2713.804
sockperf: ---> percentile 99.000 =   15.603
sockperf: ---> percentile 50.000 =    6.845
'''
SOCKPERF_TP = '''sockperf: Summary: Message Rate is 30434 [msg/sec], Packet Rate is about 1 [pkt/sec]
sockperf: Summary: BandWidth is 1857.544 MBps (14860.352 Mbps)
'''


class ParserTest(unittest.TestCase):
    def test_redis(self):
        self.assertEqual(programs.parse_redis(REDIS), {"set": 29455.08, "get": 30534.35})
        for text in ("", "Error: Connection reset by peer\n", REDIS.splitlines()[1]):
            self.assertRaises(ValueError, programs.parse_redis, text)

    def test_wrk(self):
        self.assertEqual(programs.parse_wrk(WRK.format(errors="")), {"rate": 44926.93})

    def test_wrk_takes_failed_requests_for_a_failure_and_late_ones_not(self):
        late = "  Socket errors: connect 0, read 0, write 0, timeout 7\n"
        self.assertEqual(programs.parse_wrk(WRK.format(errors=late)), {"rate": 44926.93})
        for errors in ("  Socket errors: connect 1, read 0, write 0, timeout 0\n",
                       "  Socket errors: connect 0, read 3, write 0, timeout 0\n",
                       "  Non-2xx or 3xx responses: 12\n"):
            self.assertRaises(ValueError, programs.parse_wrk, WRK.format(errors=errors))
        self.assertRaises(ValueError, programs.parse_wrk, "unable to connect\n")

    def test_iperf3(self):
        good = {"end": {"sum_received": {"bits_per_second": 30.5e9}}}
        self.assertEqual(programs.parse_iperf3(json.dumps(good)), {"rate": 30.5})
        self.assertRaises(ValueError, programs.parse_iperf3, json.dumps({"error": "no server"}))
        self.assertRaises(ValueError, programs.parse_iperf3, "iperf3: error\n")

    def test_sockperf(self):
        self.assertEqual(programs.parse_sockperf_latency(SOCKPERF_PP), {"p50": 6.845, "p99": 15.603})
        self.assertEqual(programs.parse_sockperf_stream(SOCKPERF_TP),
                         {"messages": 30434, "bandwidth": 1857.544})
        self.assertRaises(ValueError, programs.parse_sockperf_latency, SOCKPERF_TP)
        self.assertRaises(ValueError, programs.parse_sockperf_stream, SOCKPERF_PP)


class ScenarioTest(unittest.TestCase):
    def case(self, higher, arms=("tcp", "smcu")):
        return programs.Case(None, "case", "Case", None, None, [("x", "Case", "unit", higher)], arms)

    def test_ratio_of_medians_and_of_pairs(self):
        case = self.case(True)
        for round_number, (tcp, smcu) in enumerate([(10, 30), (20, 20), (10, 40)]):
            case.add("tcp", round_number, {"x": tcp})
            case.add("smcu", round_number, {"x": smcu})
        scenario = case.scenarios()[0]
        self.assertEqual((scenario.median("tcp"), scenario.median("smcu")), (10, 30))
        self.assertEqual(scenario.ratio(), 3)
        self.assertEqual(scenario.pair_ratios(), [3, 1, 4])

    def test_less_is_better_turns_the_ratio_round(self):
        case = self.case(False)
        case.add("tcp", 0, {"x": 12.0})
        case.add("smcu", 0, {"x": 3.0})
        self.assertEqual(case.scenarios()[0].ratio(), 4)

    def test_each_baseline_is_a_row_with_the_same_smcu_values(self):
        case = self.case(True, ("tcp", "tcp-cubic", "smcu"))
        for arm, value in (("tcp", 1), ("tcp-cubic", 2), ("smcu", 4)):
            case.add(arm, 0, {"x": value})
        self.assertEqual([s.ratio() for s in case.scenarios()], [4, 2])
        self.assertIn("cubic", case.scenarios()[1].title)

    def test_a_missing_side_has_no_ratio(self):
        case = self.case(True)
        case.add("tcp", 0, {"x": 1})
        self.assertIsNone(case.scenarios()[0].ratio())
        self.assertEqual(case.scenarios()[0].pair_ratios(), [])


class ProofTest(unittest.TestCase):
    LINE = {"pid": 1, "command": "c", "accelerated": 1, "tcp": 0, "tcp_reasons": {},
            "dmb_tx_bytes": 5, "dmb_rx_bytes": 6,
            "devices": {"ism": {"connections": 1, "tx_bytes": 5, "rx_bytes": 6}}}

    def failures(self, lines):
        options = types.SimpleNamespace(both_tcp=False, smcu="smcu", seconds=1, device="ism")
        one = runner.Runner(options, Path("."), Path("."), 1)
        one._check_proof(types.SimpleNamespace(name="case"), "here", lines)
        return one.failures

    def test_bytes_through_dmbs_are_proof(self):
        self.assertEqual(self.failures([self.LINE]), [])

    def test_no_line_and_no_bytes_are_failures(self):
        self.assertEqual(len(self.failures([])), 1)
        on_tcp = dict(self.LINE, devices={}, tcp_reasons={"peer_no_smc": 1})
        self.assertIn("peer_no_smc", self.failures([on_tcp])[0])
        elsewhere = dict(self.LINE, devices={"loopback": self.LINE["devices"]["ism"]})
        self.assertIn("over the ism device", self.failures([elsewhere])[0])

    def test_lines_are_read_and_broken_ones_left_out(self):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "stats"
            self.assertEqual(runner.read_stats(path), [])
            path.write_text(json.dumps(self.LINE) + "\n{broken\n")
            self.assertEqual(runner.read_stats(path), [self.LINE])


class ReportTest(unittest.TestCase):
    def test_the_table_shows_ratios_proof_and_failures(self):
        document = {
            "scenarios": [{"scenario": "a", "unit": "us", "higher_is_better": False, "tcp_median": 12.0,
                           "smcu_median": 3.0, "ratio": 4.0, "pair_ratios": [3.5, 4.5]},
                          {"scenario": "b", "unit": "req/s", "higher_is_better": True,
                           "tcp_median": 1234567.0, "smcu_median": None, "ratio": None,
                           "pair_ratios": []}],
            "proof": [{"who": "a client", "accelerated": 3, "tcp": 0, "tcp_reasons": {"x": 2},
                       "dmb_tx_bytes": 3 << 20, "dmb_rx_bytes": 10}],
            "failures": ["something"]}
        text = report.text(document)
        for part in ("us (less is better)", "4.00x", "3.50-4.50", "1,234,567", "3.0 MiB", "10 B", "x 2",
                     "FAILED:\n  something"):
            self.assertIn(part, text)


class OptionTest(unittest.TestCase):
    def refused(self, *words):
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit) as end:
            demo.parse_options(words)
        return end.exception.code

    def test_defaults_are_everything(self):
        options = demo.parse_options([])
        self.assertEqual(options.only, ["redis", "nginx", "iperf3", "sockperf"])
        self.assertGreaterEqual(options.rounds, 3)

    def test_nonsense_is_refused(self):
        for words in (["--only", "apache"], ["--only", ""], ["--rounds", "2"], ["--device", "rdma"],
                      ["--nonsense"]):
            self.assertEqual(self.refused(*words), 2, words)

    def test_without_the_library_it_says_so(self):
        options = demo.parse_options(["--smcu", "/nonexistent/smcu"])
        with self.assertRaisesRegex(runner.Failed, "does not exist"):
            demo.check_library(options)

    def test_every_run_has_a_place_in_the_progress(self):
        options = demo.parse_options(["--only", "redis,nginx"])
        self.assertEqual(demo.count_runs(options), (2 + 2) * 2 * options.rounds)


class ListenTest(unittest.TestCase):
    def test_a_listener_is_seen_and_its_end_too(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self.assertTrue(runner.is_listening(port))
        self.assertFalse(runner.is_listening(port))


if __name__ == "__main__":
    unittest.main(verbosity=2)
