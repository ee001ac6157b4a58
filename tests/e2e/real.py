"""What the tests with real programs share: packages, configuration folders, proof of use."""

import os
import random
import shutil

import lib


class RealCase(lib.Case):
    """Servers and clients as Debian ships them. A program that is not installed skips its tests;
    with SMCD_E2E_REQUIRE=1 (where tests/setup.sh has run) it fails them instead."""

    watchdog_s = 240.0
    programs = ()

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

    def listening_server(self, *args, port, **options):
        """Starts a server under WRAP_S and waits until it listens."""
        server = self.server(*args, **options)
        lib.wait_until(lambda: lib.listening(port) or not server.alive(), 20,
                       f"{server} on port {port}")
        if not server.alive():
            raise lib.Failure(server.report())
        return server

    def prove(self, process, connections, payload_bytes=0):
        """An ended process used shared memory if both ends ran under the library, or not at all."""
        stats = process.stats()
        if not lib.BOTH_SHIMMED:
            self.assertEqual(stats.get("accelerated", 0), 0, stats)
            return
        self.assertGreaterEqual(stats.get("accelerated", 0), connections, f"{process}: {stats}")
        moved = stats.get("dmb_tx_bytes", 0) + stats.get("dmb_rx_bytes", 0)
        self.assertGreaterEqual(moved, payload_bytes, f"{process}: {stats}")
