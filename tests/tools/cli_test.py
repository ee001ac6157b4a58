#!/usr/bin/env python3
"""The command line of smcu from outside, with a stand-in for the library.

Environment: SMCU the program; FAKE_PRELOAD the stand-in, a shared library that publishes a page and
does nothing else.
"""
import json
import os
import platform
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path

NAME = "libsmcd-preload.so"
WATCHDOG_S = 60


class CliTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        root = Path(cls.folder.name)
        (root / "bin").mkdir()
        (root / "lib").mkdir()
        cls.smcu = root / "bin" / "smcu"
        cls.preload = root / "lib" / NAME
        shutil.copy(os.environ["SMCU"], cls.smcu)
        shutil.copy(os.environ["FAKE_PRELOAD"], cls.preload)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_smcu(self, *words, status=0, env=None, program=None):
        environment = {k: v for k, v in os.environ.items()
                       if k != "LD_PRELOAD" and not k.startswith(("SMCD_", "SMC_"))}
        environment.update(env or {})
        done = subprocess.run([program or self.smcu, *words], env=environment, text=True,
                              timeout=WATCHDOG_S, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, status, f"{words}: {done.stdout}{done.stderr}")
        return done

    def environment_of(self, *words, env=None):
        """What `env` prints as the command of `smcu run WORDS env`."""
        out = self.run_smcu("run", *words, "env", env=env).stdout
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def test_every_command_has_help(self):
        self.assertIn("Subcommands", self.run_smcu("--help").stdout)
        for command in ("run", "ss", "stats", "check", "explain", "info"):
            self.assertIn("Usage: smcu " + command, self.run_smcu(command, "--help").stdout)

    def test_isolation_tells_each_cpu(self):
        done = subprocess.run([self.smcu, "check", "--isolation", "0", "--json"], text=True,
                              timeout=WATCHDOG_S, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        document = json.loads(done.stdout)
        self.assertEqual(document["schema"], "smcu.isolation/1")
        self.assertEqual(done.returncode, 0 if document["isolated"] else 10)
        self.assertEqual([entry["what"] for entry in document["findings"]],
                         ["isolated", "tickless", "callbacks", "interrupts", "tasks", "frequency",
                          "sibling", "locked memory"])
        for cpus in ("x", "", "4095", "1-0"):
            self.run_smcu("check", "--isolation", cpus, status=2)

    def test_internal_commands_stay_out_of_the_help(self):
        self.assertNotIn("internal", self.run_smcu("--help").stdout)

    def test_version(self):
        self.assertRegex(self.run_smcu("--version").stdout, r"^smcu \d+\.\d+\.\d+\n$")

    def test_wrong_usage_is_status_2(self):
        for words in ([], ["nonsense"], ["ss", "--nonsense"], ["check"], ["check", "--self", "-S"],
                      ["check", "no-port"], ["explain"], ["explain", "x", "--list"],
                      ["stats", "reset"], ["ss", "--pid", "x"], ["ss", "--interval", "0"]):
            self.assertTrue(self.run_smcu(*words, status=2).stderr.startswith("smcu"), words)

    # --- run ---------------------------------------------------------------------------------

    def test_run_preloads_the_library_beside_it(self):
        self.assertEqual(self.environment_of()["LD_PRELOAD"], str(self.preload))

    def test_run_appends_to_what_is_preloaded(self):
        before = self.preload.parent / "other.so"
        shutil.copy(self.preload, before)
        self.assertEqual(self.environment_of(env={"LD_PRELOAD": str(before)})["LD_PRELOAD"],
                         f"{before}:{self.preload}")

    def test_run_inside_run_preloads_once(self):
        out = self.run_smcu("run", "--", str(self.smcu), "run", "env").stdout
        self.assertIn(f"LD_PRELOAD={self.preload}\n", out)

    def test_run_sets_what_was_asked_for(self):
        seen = self.environment_of("-r", "64k", "-t", "1M", "--profile", "latency", "--debug")
        names = ("SMCD_RCVBUF", "SMCD_SNDBUF", "SMCD_PROFILE", "SMCD_DEBUG")
        self.assertEqual([seen[name] for name in names], ["64k", "1M", "latency", "3"])

    def test_run_sets_nothing_else(self):
        self.assertEqual([name for name in self.environment_of() if name.startswith("SMCD_")], [])

    def test_run_leaves_the_commands_options_alone(self):
        for words in (["echo", "-r", "--profile", "x"], ["--", "echo", "-r", "--profile", "x"],
                      ["-r", "64k", "echo", "-r", "--profile", "x"]):
            self.assertEqual(self.run_smcu("run", *words).stdout, "-r --profile x\n")
        self.assertEqual(self.run_smcu("run", "echo", "--", "--help").stdout, "-- --help\n")

    def test_run_has_the_status_of_the_command(self):
        self.run_smcu("run", "sh", "-c", "exit 7", status=7)

    def test_run_fails_as_env_does(self):
        self.run_smcu("run", "no-such-program-anywhere", status=127)
        self.run_smcu("run", "/", status=126)
        self.run_smcu("run", str(self.preload.parent), status=126)
        for words in ([], ["--"], ["-r", "5x", "true"], ["-r", "0", "true"], ["--nonsense", "true"],
                      ["--profile", "warp", "true"], ["-r"]):
            done = self.run_smcu("run", *words, status=125)
            self.assertTrue(done.stderr.startswith("smcu"), words)

    def test_run_without_the_library_says_where_it_looked(self):
        lonely = Path(self.folder.name) / "lonely" / "bin"
        lonely.mkdir(parents=True)
        shutil.copy(self.smcu, lonely / "smcu")
        done = self.run_smcu("run", "true", status=125, program=lonely / "smcu")
        self.assertIn(NAME, done.stderr)

    def test_run_refuses_a_path_that_the_loader_would_split(self):
        odd = Path(self.folder.name) / "my folder"
        shutil.copytree(Path(self.folder.name) / "bin", odd / "bin", dirs_exist_ok=True)
        shutil.copytree(Path(self.folder.name) / "lib", odd / "lib", dirs_exist_ok=True)
        done = self.run_smcu("run", "true", status=125, program=odd / "bin" / "smcu")
        self.assertIn("space", done.stderr)

    @unittest.skipUnless(platform.machine() == "x86_64", "the program is x86-64 code")
    def test_run_warns_about_a_static_program(self):
        program = Path(self.folder.name) / "static"
        # mov eax,60; mov edi,7; syscall: exit(7)
        code = b"\xb8\x3c\0\0\0" b"\xbf\x07\0\0\0" b"\x0f\x05"
        base, headers = 0x400000, 64 + 56
        size = headers + len(code)
        ident = b"\x7fELF\2\1\1" + bytes(9)
        header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0,
                                     64, 56, 1, 0, 0, 0)
        segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 4096)
        program.write_bytes(header + segment + code)
        program.chmod(0o755)
        done = self.run_smcu("run", str(program), status=7)
        self.assertIn("statically linked; it stays on TCP", done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_run_says_nothing_about_an_ordinary_program(self):
        self.assertEqual(self.run_smcu("run", "true").stderr, "")

    # --- ss, stats ---------------------------------------------------------------------------

    def start_listener(self):
        code = ("import socket,sys\n"
                "l=socket.create_server(('127.0.0.1',0))\n"
                "c=socket.create_connection(l.getsockname())\n"
                "a=l.accept()[0]; print(l.getsockname()[1],flush=True); sys.stdin.read()\n")
        child = subprocess.Popen([self.smcu, "run", "--", "/usr/bin/env", "python3", "-c", code],
                                 text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.wait, WATCHDOG_S)
        self.addCleanup(child.stdin.close)
        return child, int(child.stdout.readline())

    def test_ss_shows_the_sockets_of_a_program_under_the_library(self):
        child, port = self.start_listener()
        pid = str(child.pid)

        rows = json.loads(self.run_smcu("ss", "-a", "--json", "--pid", pid).stdout)["connections"]

        self.assertEqual(sorted(row["mode"] for row in rows), ["LISTEN", "TCP", "TCP"])
        self.assertTrue(all(row["pid"] == child.pid for row in rows))
        listener = [row for row in rows if row["mode"] == "LISTEN"][0]
        self.assertEqual(listener["local"], f"127.0.0.1:{port}")
        for option, count in (("-l", 1), ("-t", 2), ("--fallback", 2), ("-s", 0), ("-a", 3),
                              ("-e", 2)):
            out = self.run_smcu("ss", option, "--pid", pid).stdout
            self.assertEqual(out.count("127.0.0.1:"), 2 * count - out.count("0.0.0.0:0"), out)

    def test_ss_counts_tcp_bytes(self):
        child, _ = self.start_listener()
        out = self.run_smcu("ss", "--json", "--pid", str(child.pid)).stdout
        rows = json.loads(out)["connections"]
        self.assertEqual([row["rx_bytes"] for row in rows], [0, 0])
        self.assertTrue(all(row["tx_bytes"] <= 1 for row in rows))

    def test_ss_of_a_process_that_is_not_there(self):
        self.run_smcu("ss", "--pid", "1073741823", status=1)

    def test_ss_watch_prints_again_until_it_is_stopped(self):
        with subprocess.Popen([self.smcu, "ss", "--json", "--watch", "--interval", "0.1"],
                              text=True, stdout=subprocess.PIPE) as child:
            for _ in range(3):
                self.assertEqual(json.loads(child.stdout.readline())["schema"], "smcu.ss/1")
            child.terminate()

    def test_stats_shows_a_program_under_the_library(self):
        child, _ = self.start_listener()
        for words in (["stats", "json"], ["stats", "--json"],
                      ["stats", "--json", "--pid", str(child.pid)]):
            document = json.loads(self.run_smcu(*words).stdout)
            self.assertEqual(document["schema"], "smcu.stats/1")
            self.assertIn(child.pid, [process["pid"] for process in document["processes"]])
        self.assertIn(str(child.pid), self.run_smcu("stats").stdout)
        self.run_smcu("stats", "--pid", str(os.getpid()), status=1)

    # --- check, explain, info ------------------------------------------------------------------

    def test_check_without_a_listener_is_status_20(self):
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            target = f"127.0.0.1:{bound.getsockname()[1]}"
            self.assertIn("Connection refused", self.run_smcu("check", target, status=20).stdout)
            self.run_smcu("check", "-C", target, status=20)

    def test_check_on_tcp_is_status_10_and_sends_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            target = f"127.0.0.1:{listener.getsockname()[1]}"
            out = self.run_smcu("check", "--json", "--timeout", "50", target, status=10).stdout
            with listener.accept()[0] as server:
                server.settimeout(WATCHDOG_S)
                self.assertEqual(server.recv(1), b"")
        report = json.loads(out)
        self.assertEqual([report[key] for key in ("schema", "result", "peer")],
                         ["smcu.check/1", "tcp", target])
        self.assertTrue(report["problem"])

    def test_check_self_tells_what_the_stand_in_does(self):
        self.assertIn("on TCP", self.run_smcu("check", "--self", status=10).stdout)

    def test_check_with_its_own_server(self):
        with subprocess.Popen([self.smcu, "check", "-S", "0"], text=True,
                              stdout=subprocess.PIPE) as server:
            port = server.stdout.readline().split()[1]
            self.run_smcu("check", f"localhost:{port}", status=10)
            server.terminate()

    def test_explain(self):
        listed = json.loads(self.run_smcu("explain", "--list", "--json").stdout)["reasons"]
        self.assertTrue(listed)
        for reason in listed:
            self.assertTrue(reason["name"] and reason["text"], reason)
        one = listed[0]
        for what in (one["code"], one["name"], one["name"].upper(), str(int(one["code"], 16))):
            self.assertIn(one["text"], self.run_smcu("explain", what).stdout)
        self.run_smcu("explain", "no-such-reason", status=1)
        self.run_smcu("explain", "0xdeadbeef", status=1)

    def test_explain_has_each_code_and_name_once(self):
        listed = json.loads(self.run_smcu("explain", "--list", "--json").stdout)["reasons"]
        for key in ("code", "name"):
            values = [reason[key] for reason in listed]
            self.assertEqual(len(values), len(set(values)))

    def test_info(self):
        facts = json.loads(self.run_smcu("info", "--json").stdout)
        self.assertEqual((facts["schema"], facts["preload"], facts["preload_loads"]),
                         ("smcu.info/1", str(self.preload), "yes"))
        self.assertIn(str(self.preload), self.run_smcu("info").stdout)

    def test_info_sees_a_library_that_does_not_load(self):
        broken = Path(self.folder.name) / "broken"
        shutil.copytree(Path(self.folder.name) / "bin", broken / "bin", dirs_exist_ok=True)
        (broken / "lib").mkdir(exist_ok=True)
        (broken / "lib" / NAME).write_bytes(b"no library")
        done = self.run_smcu("info", "--json", status=1, program=broken / "bin" / "smcu")
        self.assertTrue(json.loads(done.stdout)["preload_loads"].startswith("no"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
