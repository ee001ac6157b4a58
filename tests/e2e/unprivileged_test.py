"""A part of the other files as user nobody: nothing in the library may need privileges.

Run by root, each file is started again with another uid and no capabilities; run by another user,
the other files already were unprivileged and this one says so.
"""

import os
import shutil
import subprocess
import sys
import unittest

import lib

NOBODY = 65534
PARTS = {
    "stream_test.py": ("Stream.test_small_and_odd_totals", "Stream.test_random_mixtures",
                       "Stream.test_four_threads_on_one_set", "Stream.test_address_families"),
    "mixes_test.py": (),
    "handshake_server_test.py": ("ServerHandshake.test_proposal_answer_decline_data",
                                 "ServerHandshake.test_marked_but_application_data"),
    "handshake_stall_test.py": ("LateAccept.test_client_sends_and_leaves_before_accept",
                                "Stalled.test_banner_for_a_marked_client_that_is_silent"),
    "handshake_client_test.py": ("ClientHandshake.test_silence",
                                 "ClientHandshake.test_decline_then_both_directions"),
    "kill_test.py": ("Kill.test_sender_is_killed", "Kill.test_server_is_killed"),
}


def demote():
    """In the child, before exec: user nobody, without groups or capabilities."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


@unittest.skipIf(os.geteuid() != 0, "already unprivileged: the other files are this test")
class Unprivileged(lib.Case):
    watchdog_s = 500.0

    @classmethod
    def setUpClass(cls):
        lib.publish()

    def run_part(self, name):
        # The sources may lie where nobody cannot read: the scripts are run from a copy.
        copy = self.folder / "e2e"
        copy.mkdir()
        for source in lib.HERE.glob("*.py"):
            shutil.copy(source, copy)
        home = self.folder / "tmp"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        environment = dict(os.environ, TMPDIR=str(home), HOME=str(home),
                           SMCD_SEED=str(lib.SEED), SMCD_E2E_TOTAL="400M")
        done = subprocess.run([lib.PYTHON, "-B", copy / name, *PARTS[name]], env=environment,
                              preexec_fn=demote, cwd=home, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=400 * lib.SCALE)
        sys.stdout.write(done.stdout)
        self.assertEqual(done.returncode, 0, name)
        self.assertIn("Ran ", done.stdout)

    def test_stream(self):
        self.run_part("stream_test.py")

    def test_mixes(self):
        self.run_part("mixes_test.py")

    def test_handshake_server(self):
        self.run_part("handshake_server_test.py")

    def test_handshake_stall(self):
        self.run_part("handshake_stall_test.py")

    def test_handshake_client(self):
        self.run_part("handshake_client_test.py")

    def test_kill(self):
        self.run_part("kill_test.py")

    def test_peers_of_another_uid_stay_on_tcp(self):
        """Root and nobody never share memory; the connection works."""
        home = self.folder / "tmp"
        home.mkdir()
        os.chown(home, NOBODY, NOBODY)
        server = self.server(lib.program("e2e_stream"), "serve", "--rx", "3M", "--tx", "2M")
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups",
                  "--inh-caps=-all"]
        client = self.client(lib.program("e2e_stream"), "connect", "--tx", "3M", "--rx", "2M",
                             "--port", server.port(), wrap=[*prefix, *lib.WRAP_C],
                             env={"SMCD_STATS_FILE": str(home / "stats")})
        client.finish(60)
        server.finish(60)
        client.stats_file = home / "stats"
        for process in (server, client):
            self.assertEqual(process.stats().get("accelerated", 0), 0, process.stats())
        if lib.BOTH_SHIMMED:
            self.assertGreaterEqual(client.stats().get("tcp", 0), 1, client.stats())


if __name__ == "__main__":
    lib.main()
