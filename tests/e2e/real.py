"""What the tests with real programs share: packages, configuration folders, proof of use."""

import os
import pwd
import random
import shutil
import subprocess

import lib


class RealCase(lib.Case):
    """Servers and clients as Debian ships them. A program that is not installed skips its tests;
    with SMCD_E2E_REQUIRE=1 (where tests/setup.sh has run) it fails them instead."""

    watchdog_s = 240.0
    programs = ()
    user = None

    def setUp(self):
        missing = [name for name in self.programs if not shutil.which(name, path=self.path())]
        if missing and os.environ.get("SMCD_E2E_REQUIRE") == "1":
            self.fail(f"not installed: {missing}")
        if missing:
            self.skipTest(f"not installed: {missing}")
        super().setUp()
        self.choose = random.Random(lib.SEED)

    @staticmethod
    def path():
        return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

    def tool(self, name):
        """The full path of an installed program."""
        return shutil.which(name, path=self.path())

    def run_as(self, name):
        """The command prefix that makes root another user, for programs that refuse root."""
        if os.geteuid() != 0:
            return []
        lib.publish()
        self.user = pwd.getpwnam(name)
        return ["setpriv", f"--reuid={name}", f"--regid={self.user.pw_gid}", "--clear-groups",
                "--inh-caps=-all"]

    def own(self, path):
        """Gives a file to the user of run_as()."""
        if self.user is not None:
            os.chown(path, self.user.pw_uid, self.user.pw_gid)

    def certificate(self):
        """Paths of a key, of its self-signed certificate for localhost, and of both in one."""
        files = {name: self.folder / f"tls.{name}" for name in ("key", "crt", "pem")}
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,"
                        "IP:127.0.0.1", "-keyout", files["key"], "-out", files["crt"]],
                       check=True, capture_output=True)
        files["pem"].write_bytes(files["key"].read_bytes() + files["crt"].read_bytes())
        for path in files.values():
            path.chmod(0o644)
        return files

    def listening_server(self, *args, port, **options):
        """Starts a server under WRAP_S and waits until it listens."""
        server = self.server(*args, **options)
        lib.wait_until(lambda: lib.listening(port) or not server.alive(), 20,
                       f"{server} on port {port}")
        if not server.alive():
            raise lib.Failure(server.report())
        return server

    def prove(self, process, connections, payload_bytes=0, inner=False):
        """An ended process used shared memory if both ends ran under the library, or not at all;
        inner: it also had connections to other servers."""
        stats = process.stats()
        if inner and lib.WRAP_S and not lib.WRAP_C:
            self.assertGreaterEqual(stats.get("accelerated", 0), 1, f"{process}: {stats}")
            return
        if not lib.BOTH_SHIMMED:
            self.assertEqual(stats.get("accelerated", 0), 0, stats)
            return
        self.assertGreaterEqual(stats.get("accelerated", 0), connections, f"{process}: {stats}")
        moved = stats.get("dmb_tx_bytes", 0) + stats.get("dmb_rx_bytes", 0)
        self.assertGreaterEqual(moved, payload_bytes, f"{process}: {stats}")
