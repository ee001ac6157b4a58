"""bench/table.sh: what it makes of reports, and that its rows name things that exist. Nothing is measured."""
import argparse
import contextlib
import io
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench" / "table"), str(ROOT / "bench" / "demo")]

import figures  # noqa: E402
import main as table  # noqa: E402
import rows  # noqa: E402
import wakeups  # noqa: E402


def sample(messages, failed=False, accelerated=True, p50=1.0):
    return {"messages": messages, "bytes": messages * 64, "seconds": 2.0, "failed": failed, "reason": "",
            "accelerated": accelerated, "latency_us": {"p50": p50}}


def series(path, *samples):
    return {"mode": "rate", "path": path, "samples": list(samples)}


REPORT = {"floor": {"cache_line_round_trip_ns": 400.0, "two_copy_ring_gb_per_s": 0.000001},
          "series": [series("tcp", sample(100), sample(120), sample(110)),
                     series("tcp", sample(200), sample(240), sample(220)),
                     series("shim", sample(800), sample(720), sample(880))]}


def row(**more):
    base = {"name": "r", "title": "t", "published": "-", "required": 3, "aim": 5, "measure": rows.bench("rate")}
    return rows.Row(**{**base, **more})


TRACE = """
# tracer: nop
 smcu-bench-11  [000] .....  7.000000: sys_enter: NR 44 (3, 7f, e, 4000, 0, 0)
 smcu-bench-11  [000] d..1.  7.000004: sched_waking: comm=smcu-bench pid=12 prio=120 target_cpu=001
 smcu-bench-11  [000] .....  7.000006: sys_exit: NR 44 = 14
 smcu-bench-12  [001] .....  7.000030: sys_exit: NR 45 = 14
 smcu-bench-12  [001] .....  7.000031: sys_enter: NR 44 (3, 7f, e, 4000, 0, 0)
 smcu-bench-12  [001] d..1.  7.000036: sched_waking: comm=smcu-bench pid=11 prio=120 target_cpu=000
 smcu-bench-12  [001] .....  7.000040: sys_exit: NR 44 = 14
 smcu-bench-11  [000] .....  7.000061: sys_exit: NR 45 = 14
 smcu-bench-11  [000] d..1.  7.000062: sched_waking: comm=smcu-bench pid=22 prio=120 target_cpu=000
 smcu-bench-21  [000] .....  8.000000: sys_enter: NR 202 (7f69d6f1b010, 1, 7fffffff, 0, 0, 0)
 smcu-bench-21  [000] d..1.  8.000001: sched_waking: comm=smcu-bench pid=22 prio=120 target_cpu=001
 smcu-bench-22  [001] .....  8.000019: sys_exit: NR 202 = 0
 smcu-bench-22  [001] d..1.  8.000019: sched_waking: comm=smcu-bench pid=21 prio=120 target_cpu=001
 smcu-bench-22  [001] .....  8.000021: sys_enter: NR 202 (7f69d6f1b090, 1, 7fffffff, 0, 0, 0)
 smcu-bench-22  [001] .....  8.000022: sys_enter: NR 202 (7f69d6f1b010, 0, 1, 0, 0, 0)
 smcu-bench-21  [000] .....  8.000029: sys_exit: NR 202 = 0
"""


class WakeupsTest(unittest.TestCase):
    def test_a_trace_is_cut_into_halves(self):
        events = list(wakeups.parse(TRACE.splitlines()))
        pairs = wakeups.pairs_of(events)
        self.assertEqual(pairs, [(11, 12), (21, 22)])
        cut = [[{part: round(us) for part, us in half.items()} for half in wakeups.halves(events, pair)] for pair in pairs]
        self.assertEqual(cut[0], [{"program": 1, "reach": 30, "woken": 5}])
        self.assertEqual(cut[1], [{"program": 2, "reach": 8, "woken": -2}])  # woken before there is a message


class FigureTest(unittest.TestCase):
    def test_ratio_is_of_pairs_against_the_better_mode(self):
        outcome = figures.from_report(row(), REPORT)
        self.assertEqual(outcome["tcp"], 110)
        self.assertEqual(outcome["ours"], 400)
        self.assertEqual(outcome["result"], {"median": 4, "low": 3, "high": 4})
        self.assertEqual(figures.verdict(row(), outcome["result"]), "required")

    def test_absolute_and_floor_rows(self):
        self.assertEqual(figures.from_report(row(unit="/s"), REPORT)["result"]["median"], 400)
        ring = row(unit="of the ring", over="two_copy_ring_gb_per_s",
                   measure=rows.bench("stream", figure="bandwidth"))
        self.assertAlmostEqual(figures.from_report(ring, REPORT)["result"]["median"], 25.6)
        polled = row(unit="cache lines", over="cache_line_round_trip_ns", lower_is_better=True,
                     measure=rows.bench("pingpong", figure="latency"))
        outcome = figures.from_report(polled, REPORT)
        self.assertEqual(outcome["result"]["median"], 5)  # 2 * 1 us / 400 ns
        self.assertEqual(figures.verdict(polled, outcome["result"]), "aim")
        self.assertEqual(figures.verdict(polled, {"median": 6}), "MISSED")

    def test_failures_and_fallbacks_are_problems(self):
        self.assertEqual(figures.problems_of(REPORT, True), [])
        report = {"series": [series("shim", sample(1, accelerated=False)), series("tcp", sample(1, failed=True))]}
        self.assertEqual(len(figures.problems_of(report, True)), 2)
        self.assertEqual(len(figures.problems_of(report, False)), 1)

    def test_nothing_measured(self):
        outcome = figures.from_report(row(), {"series": []})
        self.assertIsNone(outcome["result"])
        self.assertEqual(figures.verdict(row(), None), "not measured")
        self.assertIn("not measured", figures.table([row()], {}))

    def test_interval_is_that_of_smcu_bench(self):
        self.assertEqual(figures.interval(range(1, 10)), {"median": 5, "low": 2, "high": 8})
        self.assertEqual(figures.interval([3, 1, 2]), {"median": 2, "low": 1, "high": 3})
        self.assertIsNone(figures.interval([]))


class RowTest(unittest.TestCase):
    def test_names_are_unique_and_programs_have_their_figures(self):
        names = [one.name for one in rows.ROWS]
        self.assertEqual(len(names), len(set(names)))
        options = argparse.Namespace(seconds=1)
        known = set()
        for program in table.PROGRAMS.values():
            for case in program(options, None).cases():
                known |= {(case.name, figure[0]) for figure in case.figures}
        for one in rows.ROWS:
            if isinstance(one.measure, rows.Program):
                self.assertIn((one.measure.case, one.measure.key), known)

    def test_redis_gets_its_connections(self):
        cases = {case.name: case for case in table.Redis(argparse.Namespace(seconds=1), None).cases()}
        words = cases["redis-c200-p1"].client("tcp", 1)
        self.assertEqual(words[words.index("-c") + 1], "200")

    def test_options(self):
        self.assertEqual(len(table.parse_options([]).only), len(rows.ROWS))
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            table.parse_options(["--only", "nonsense"])

    def test_congestion_of_a_real_connection(self):
        self.assertTrue(table.loopback_congestion())


if __name__ == "__main__":
    unittest.main()
