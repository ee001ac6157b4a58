"""Socket semantics on plain TCP and under the library: the same calls, the same results.

e2e_semantics (semantics/) runs one case for each process and prints every result as text; the
texts must be equal. Without WRAP both runs are plain: then this checks the cases themselves.
SMCD_E2E_CASES, a regular expression, selects cases.
"""

import concurrent.futures
import difflib
import json
import os
import re
import signal
import subprocess
import unittest

import lib

CASE_SECONDS = 25
# Differences that are meant, each with its reason; a case that no longer differs fails.
KNOWN_DIFFERENCES = {
    # Bytes are copied in the process itself: a bad pointer above the first page is a fault there.
    "bad_pointers": "SIGSEGV instead of EFAULT",
    "bad_headers": "SIGSEGV instead of EFAULT",
    "pointer_bad_in_the_middle": "SIGSEGV instead of EFAULT",
}
# Differences that depend on the moment, most of them on whether the handshake has ended yet; at most
# two lines of the output.
SOMETIMES_DIFFERENT = {
    "number_is_used_again": "the library takes the lowest free number for a moment",
    "epoll_closed_while_registered": "the library takes the lowest free number for a moment",
    "connection_information": "the idle TCP connection tells of the peer's end a moment later",
    "own_receiving_shut_down": "what arrives during the handshake after SHUT_RD is not shown",
    "names": "getpeername() may find the idle TCP connection a moment longer",
    "peer_half_closed_then_reset": "the reset may come before the half close is seen",
}
# In the child of a thread that forked, AddressSanitizer says once that it does not know the stack.
SANITIZER_NOTE = re.compile(r"^==\d+==WARNING: ASan is ignoring .*\nFalse positive .*\nFor details .*\n", re.M)
MODES = {
    "client": ["--warm"],
    "client_cold": [],
    "server": ["--server", "--warm"],
    "server_cold": ["--server"],
    "one_process": ["--in-process", "--warm"],
    "one_process_cold": ["--in-process"],
}


def run(wrap, arguments, stats=None):
    """The text that a run printed, with its end."""
    environment = dict(os.environ)
    if stats:
        environment["SMCD_STATS_FILE"] = str(stats)
    process = subprocess.Popen([*wrap, lib.program("e2e_semantics"), *arguments],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env=environment,
                               errors="replace", start_new_session=True)
    try:
        text, _ = process.communicate(timeout=CASE_SECONDS * lib.SCALE)
        end = f"exit status {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, _ = process.communicate()
        end = "hangs"
    return [*SANITIZER_NOTE.sub("", text).splitlines(), end]


class Semantics(lib.Case):
    watchdog_s = 500.0

    @classmethod
    def setUpClass(cls):
        lines = run([], ["list"])
        chosen = re.compile(os.environ.get("SMCD_E2E_CASES", ""))
        cls.cases = [name for name in lines[:-1] if chosen.search(name)]

    def compare(self, name, options):
        """(case, the differences as text or nothing, connections accelerated)."""
        stats = self.folder / f"stats-{name}"
        plain = run([], ["run", name, *options])
        other = run(lib.WRAP, ["run", name, *options], stats)
        if plain[-1] != "exit status 0" or any("WATCHDOG" in line for line in plain):
            raise lib.Failure(f"{name}: the case itself is wrong on plain TCP: {plain}")
        lines = difflib.unified_diff(plain, other, "plain TCP", "under the library", lineterm="",
                                     n=2)
        accelerated = 0
        if stats.exists():
            accelerated = max(json.loads(line).get("accelerated", 0)
                              for line in stats.read_text().splitlines())
        return name, "\n".join(lines), accelerated

    def run_mode(self, mode):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda name: self.compare(name, MODES[mode]), self.cases))
        for name, difference, _ in results:
            with self.subTest(case=name):
                if name in SOMETIMES_DIFFERENT:
                    self.assertLessEqual(difference.count("\n+"), 2, difference)
                elif name in KNOWN_DIFFERENCES:
                    self.assertTrue(difference, f"{name} no longer differs")
                else:
                    self.assertEqual(difference, "", f"{name} {' '.join(MODES[mode])}\n"
                                                     f"{difference}")
        used = sum(1 for _, _, accelerated in results if accelerated)
        print(f"\n  {len(results)} cases, {used} with accelerated connections", end=" ")
        if lib.WRAP and "SMCD_E2E_CASES" not in os.environ:
            self.assertGreater(used, len(results) // 2, "hardly any case was accelerated")
        elif not lib.WRAP:
            self.assertEqual(used, 0)

    def test_client(self):
        self.run_mode("client")

    def test_client_cold(self):
        self.run_mode("client_cold")

    def test_server(self):
        self.run_mode("server")

    def test_server_cold(self):
        self.run_mode("server_cold")

    def test_one_process(self):
        self.run_mode("one_process")

    def test_one_process_cold(self):
        self.run_mode("one_process_cold")

    @unittest.skipIf("SMCD_E2E_CASES" in os.environ, "a selection of cases")
    def test_enough_cases(self):
        self.assertGreater(len(self.cases), 200)


if __name__ == "__main__":
    lib.main()
