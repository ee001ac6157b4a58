"""What each profile means, by counters: polls that found data, polls in vain, sleeps, locked memory."""

import os
import resource
import subprocess
import unittest
from pathlib import Path

import pair
from pair import lib

SMCU = lib.WRAP_S[0] if lib.WRAP_S else None


def locked_kib(pid):
    """VmLck of a process."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmLck:"):
            return int(line.split()[1])
    return 0


def sleeps(pid):
    """Whether the main thread does not run."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "S"


def may_lock(kib):
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return os.geteuid() == 0 or limit == resource.RLIM_INFINITY or limit >= kib * 1024


class Profiles(pair.Pair):
    def exchange(self, env):
        """Counters of both ends after a ping-pong of 2,000 messages, and what they held locked."""
        ends = self.start_pair("script", env=env)
        locked = [locked_kib(end.pid) for end in ends]
        for _ in range(200):
            for sender, receiver in (ends, reversed(ends)):
                sender.say("send 1")
                receiver.say("recv 1")
                receiver.expect("^done recv$")
        for end in ends:
            end.popen.stdin.close()
            end.finish()
        stats = [end.stats() for end in ends]
        print(f"\n  {env}: {stats[0]['spin_hits']} hits, {stats[0]['spin_misses']} misses, "
              f"{stats[0]['sleeps']} sleeps, {locked} KiB locked", end=" ")
        return stats, locked

    def test_efficient_never_polls(self):
        stats, locked = self.exchange({"SMCD_PROFILE": "efficient"})
        for end in stats:
            self.assertEqual((end["spin_hits"], end["spin_misses"]), (0, 0), end)
        self.assertEqual(locked, [0, 0])

    def test_balanced_and_latency_poll(self):
        for profile in ("balanced", "latency", "throughput"):
            stats, locked = self.exchange({"SMCD_PROFILE": profile})
            self.assertGreater(sum(end["spin_hits"] + end["spin_misses"] for end in stats), 0)
            self.assertEqual(locked, [0, 0])

    @unittest.skipIf(len(set(pair.two_cpus())) < 2, "one CPU: a peer on the same CPU is not polled for")
    def test_isolated_polls_in_memory_of_its_own(self):
        """It does not sleep between these messages, and its rings are locked as far as the limit goes."""
        stats, locked = self.exchange({"SMCD_PROFILE": "isolated"})
        for end in stats:
            self.assertEqual(end["sleeps"], 0, end)
            self.assertEqual(end["wakeups_sent"], 0, end)
        for kib in locked:
            self.assertGreater(kib, 1000 if may_lock(2000) else -1)

    def test_isolated_goes_to_sleep_in_the_end(self):
        """Its budget is one second: who has nothing to do for longer sleeps as all others."""
        server, client = self.start_pair("script", env={"SMCD_PROFILE": "isolated"})
        server.say("recv 1")
        lib.wait_until(lambda: sleeps(server.pid), 30, "a sleep")
        client.say("send 1")
        server.expect("^done recv$")

    def test_configuration_file(self):
        conf = self.folder / "conf"
        conf.write_text("profile = efficient\n", encoding="ascii")
        stats, _ = self.exchange({"SMCD_CONF": str(conf)})
        for end in stats:
            self.assertEqual((end["spin_hits"], end["spin_misses"]), (0, 0), end)

    def test_option_of_one_socket(self):
        """Set before listen() and connect(), it holds for what is accepted and connected."""
        ends = self.start_pair("--profile", "efficient", "script", env={"SMCD_PROFILE": "latency"})
        for sender, receiver in (ends, reversed(ends)):
            receiver.say("recv 1")
            lib.wait_until(lambda end=receiver: sleeps(end.pid), 30, "a sleep")
            sender.say("send 1")
            receiver.expect("^done recv$")
        for end in ends:
            end.popen.stdin.close()
            end.finish()
            stats = end.stats()
            self.assertEqual((stats["spin_hits"], stats["spin_misses"]), (0, 0), stats)


class ProfilesOfTheLibrary(Profiles):
    """The same through libsmcd: option "profile"."""

    program = "hot_library"


class Names(pair.Pair):
    def test_unknown_names(self):
        done = subprocess.run([SMCU, "run", "--profile", "warp", "true"], capture_output=True, text=True,
                              timeout=60, check=False)
        self.assertEqual(done.returncode, 125)
        for name in ("warp", "balanced", "latency", "efficient", "throughput", "isolated"):
            self.assertIn(name, done.stderr)
        done = subprocess.run([SMCU, "run", "true"], capture_output=True, text=True, timeout=60, check=False,
                              env=dict(os.environ, SMCD_PROFILE="warp"))
        self.assertEqual(done.returncode, 0)
        self.assertIn("SMCD_PROFILE 'warp'", done.stderr)
        done = subprocess.run([SMCU, "run", "true"], capture_output=True, text=True, timeout=60, check=False,
                              env=dict(os.environ, SMCD_PROFILE="isolated"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_the_library_names_them_in_its_log(self):
        server = self.server(lib.program("hot_sockets"), "serve", "script",
                             env={"SMCD_PROFILE": "warp", "SMCD_DEBUG": "1"})
        server.port()
        server.stop()
        self.assertIn("SMCD_PROFILE 'warp'", server.stderr())
        self.assertRegex(server.stderr(), r"smcd\[\d+\] SMCD_PROFILE 'warp' is none of")


if __name__ == "__main__":
    lib.main()
