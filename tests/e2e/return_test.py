"""Return to TCP at random positions of the stream: no byte lost, added or moved.

One test for each class of what makes a connection return (docs/known-differences.md, "Back to TCP").
SMCD_E2E_RETURNS: connections for each class.
"""

import os

import lib

OWN_OPTION = 400
OTHERS = 40


class Return(lib.Case):
    watchdog_s = 100.0

    def setUp(self):
        self.count = int(os.environ.get("SMCD_E2E_RETURNS", "0"))
        self.watchdog_s += self.count
        super().setUp()

    def exchange(self, trigger, count):
        count = self.count or count
        learn = {"SMCD_LEARN": "0"}  # many of the connections are short
        port = lib.free_port()
        script = str(lib.HERE / "return_peer.py")
        words = [port, count, lib.SEED, trigger]
        server = self.server(lib.PYTHON, "-B", script, "server", *words, env=learn)
        server.expect("^ready")
        client = self.client(lib.PYTHON, "-B", script, "client", *words, env=learn)
        self.assertIn("ok", client.finish(90 + count))
        self.assertIn("ok", server.finish(90 + count))
        if not lib.BOTH_SHIMMED:
            return
        accelerated = max(process.stats().get("accelerated", 0) for process in (server, client))
        forks = trigger == "executed"  # it ends handshakes that are under way
        self.assertGreaterEqual(accelerated, 1 if forks else count * 2 // 3)
        reasons = server.stats()["tcp_reasons"]
        mine = {"own_option": "returned_on_request", "stdio": "unsupported_call",
                "asynchronous": "unsupported_call", "signals": "unsupported_call",
                "kernel_tls": "unsupported_option", "zero_copy": "unsupported_call",
                "urgent_inline": "unsupported_option"}.get(trigger, "left_control")
        returned = reasons.get(mine, 0) + reasons.get("returned_by_peer", 0)
        print(f"\n  {returned} of {count} connections returned to TCP", end=" ")
        self.assertGreater(returned, 0 if forks else count // 3, reasons)

    def test_random_positions(self):
        self.exchange("own_option", OWN_OPTION)

    def test_passed(self):
        self.exchange("passed", OTHERS)

    def test_spawned(self):
        self.exchange("spawned", OTHERS)

    def test_executed(self):
        self.exchange("executed", OTHERS)

    def test_stdio(self):
        self.exchange("stdio", OTHERS)

    def test_standard_stream(self):
        self.exchange("standard_stream", OTHERS)

    def test_asynchronous(self):
        self.exchange("asynchronous", OTHERS)

    def test_signals(self):
        self.exchange("signals", OTHERS)

    def test_kernel_tls(self):
        self.exchange("kernel_tls", OTHERS)

    def test_zero_copy(self):
        self.exchange("zero_copy", OTHERS)

    def test_urgent_inline(self):
        self.exchange("urgent_inline", OTHERS)


if __name__ == "__main__":
    lib.main()
