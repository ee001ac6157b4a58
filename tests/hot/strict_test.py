"""A steady state without system calls, page faults and memory allocation, enforced by seccomp.

SMCD_HOT_MESSAGES: messages of the long runs (default 1,000,000).
"""

import os
import signal
import unittest

import pair
from pair import lib

MESSAGES = int(os.environ.get("SMCD_HOT_MESSAGES", "1000000"))


class Strict(pair.Pair):
    watchdog_s = 800.0

    def run_strict(self, mode, strict, messages, profile, **more):
        server, client = self.start_pair(mode, "--messages", str(messages), "--warmup", "20000",
                                         "--strict", strict, env={"SMCD_PROFILE": profile}, **more)
        costs = []
        for end in (server, client):
            status = end.wait(self.watchdog_s)
            if status == pair.NO_SECCOMP:
                self.skipTest("seccomp is not to be had here")
            if status < 0:
                raise lib.Failure(f"{end}: a forbidden call: signal {-status}\n{end.report()}")
            costs.append(self.cost(end))
            print(f"\n  {self.program} {profile} {mode}: {costs[-1]}", end=" ")
        return costs

    def assert_nothing(self, costs):
        for cost in costs:
            self.assertEqual((cost["minor"], cost["major"], cost["allocations"]), (0, 0, 0), cost)

    def assert_no_allocation(self, costs):
        for cost in costs:
            self.assertEqual(cost["allocations"], 0, cost)

    @unittest.skipIf(len(set(pair.two_cpus())) < 2, "one CPU: a peer on the same CPU is not polled for")
    def test_isolated_is_alone_with_its_memory(self):
        """Nothing at all: not even a wake-up."""
        for mode, messages in (("pingpong", MESSAGES), ("stream", MESSAGES)):
            self.assert_nothing(self.run_strict(mode, "all", messages, "isolated"))

    def test_balanced_asks_for_wake_ups_only(self):
        for mode in ("pingpong", "stream"):
            self.assert_no_allocation(self.run_strict(mode, "wakes", 200000, "balanced"))

    def test_efficient_sleeps_and_nothing_else(self):
        self.assert_no_allocation(self.run_strict("pingpong", "wakes", 20000, "efficient"))

    def test_the_filter_is_there(self):
        """The canary: one forbidden call in the middle is the end."""
        server, client = self.start_pair("pingpong", "--messages", "1000", "--warmup", "100",
                                         "--strict", "wakes", client_words=("--stray",))
        self.assertIn(client.wait(60), (-signal.SIGSYS, pair.NO_SECCOMP))
        server.stop()


@unittest.skipIf(len(set(pair.two_cpus())) < 2, "one CPU: a peer on the same CPU is not polled for")
class StrictSets(Strict):
    """Through poll() and select(), which look at connections of ours alone."""

    modes = ("poll", "select")

    def test_isolated_is_alone_with_its_memory(self):
        for mode in self.modes:
            self.assert_nothing(self.run_strict(mode, "all", MESSAGES // 4, "isolated"))

    test_balanced_asks_for_wake_ups_only = None
    test_efficient_sleeps_and_nothing_else = None
    test_the_filter_is_there = None


class StrictSetsOfTheLibrary(StrictSets):
    """smcd_poll()."""

    program = "hot_library"
    modes = ("poll",)


class StrictLibrary(Strict):
    """The same through libsmcd."""

    program = "hot_library"


if __name__ == "__main__":
    lib.main()
