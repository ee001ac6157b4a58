"""Every byte of long and short streams, in every way a program may move and await them.

e2e_stream (programs/stream_main.cpp) runs on both ends and checks each byte against its position.
SMCD_E2E_TOTAL sets the bytes of the whole file (default 1500M, e.g. 10G for a long run).
"""

import os
import random
import re

import lib

CALLS = ("read-write", "send-recv", "vector", "message", "send-to", "multi", "file", "splice",
         "peek", "wait-all", "truncate", "mix")
WAITS = ("blocking", "poll", "select", "epoll-level", "epoll-edge", "epoll-oneshot")
SHAPES = 140  # roughly the number of connections that move "a share"


def parse_bytes(text):
    number, suffix = re.fullmatch(r"(\d+)([kMG]?)", text).groups()
    return int(number) << {"": 0, "k": 10, "M": 20, "G": 30}[suffix]


SHARE = parse_bytes(os.environ.get("SMCD_E2E_TOTAL", "1500M")) // SHAPES


class Stream(lib.Case):
    watchdog_s = 300.0

    def pair(self, tx, rx, conns=1, host="127.0.0.1", target=None, both=(), server=(), client=()):
        """One server and one client; tx and rx as seen from the client, for each connection."""
        seed = lib.SEED
        common = ["--conns", conns, "--seed", seed, *both]
        serve = self.server(lib.program("e2e_stream"), "serve", "--host", host, "--tx", rx,
                            "--rx", tx, *common, *server)
        connect = self.client(lib.program("e2e_stream"), "connect", "--host", target or host,
                              "--port", serve.port(), "--tx", tx, "--rx", rx, *common, *client)
        text = connect.finish(120)
        serve.finish(30)
        self.check_stats(serve, connect, conns)
        return text

    def test_every_call_in_every_wait_mode(self):
        for wait in WAITS:
            for call in CALLS:
                with self.subTest(wait=wait, call=call):
                    chunk = "random:96k" if call == "mix" else "48k"
                    self.pair(SHARE // 2, SHARE // 2,
                              both=["--wait", wait, "--call", call, "--chunk", chunk])

    def test_dont_wait_on_a_blocking_socket(self):
        for wait in WAITS[1:]:
            with self.subTest(wait=wait):
                self.pair(SHARE, SHARE // 2, both=["--wait", wait, "--call", "dont-wait"])

    def test_small_and_odd_totals(self):
        for total in (0, 1, 2, 7, 8, 63, 64, 65, 4095, 4096, 65535, 65536, 65537, 262143, 262145):
            with self.subTest(total=total):
                self.pair(total, total // 2 + 1, both=["--wait", "blocking"])

    def test_single_calls_up_to_64_mib(self):
        for size in ("1M", "4M", "64M"):
            for wait in ("blocking", "poll", "epoll-edge"):
                with self.subTest(size=size, wait=wait):
                    self.pair(size, 0, both=["--wait", wait, "--chunk", size])

    def test_tiny_calls_against_large_ones(self):
        for call in ("read-write", "vector", "message"):
            with self.subTest(call=call):
                self.pair("512k", "512k", server=["--chunk", "random:31", "--wait", "poll"],
                          client=["--chunk", "1M", "--wait", "blocking"],
                          both=["--call", call])

    def test_random_mixtures(self):
        choose = random.Random(lib.SEED)
        for round_number in range(12):
            chunks = [choose.choice((16, 700, 4096, 70000, 300000)) for _ in range(2)]
            sides = [["--wait", choose.choice(WAITS), "--call", choose.choice(CALLS),
                      "--chunk", f"random:{chunk}"] for chunk in chunks]
            most = min(SHARE, min(chunks) * 10000)
            with self.subTest(round=round_number, sides=sides):
                self.pair(choose.randrange(most), choose.randrange(most),
                          conns=choose.randrange(1, 4), server=sides[0], client=sides[1])

    def test_many_connections_in_one_process(self):
        for wait in WAITS:
            with self.subTest(wait=wait):
                self.pair(SHARE // 24, SHARE // 24, conns=24,
                          both=["--wait", wait, "--call", "mix", "--chunk", "random:64k"])

    def test_four_threads_with_a_set_each(self):
        for wait in WAITS[3:]:
            with self.subTest(wait=wait):
                self.pair(SHARE // 16, SHARE // 16, conns=16,
                          both=["--wait", wait, "--threads", 4, "--chunk", "random:64k"])

    def test_four_threads_on_one_set(self):
        for wait in WAITS[3:]:
            with self.subTest(wait=wait):
                self.pair(SHARE // 16, SHARE // 16, conns=16,
                          both=["--wait", wait, "--threads", 4, "--shared",
                                "--chunk", "random:64k"])

    def test_both_ends_in_one_process(self):
        for wait in WAITS:
            with self.subTest(wait=wait):
                process = self.server(lib.program("e2e_stream"), "self", "--conns", 3,
                                      "--tx", "4M", "--rx", "3M", "--wait", wait,
                                      "--seed", lib.SEED)
                process.finish(60)
                accelerated = process.stats().get("accelerated", 0)
                self.assertTrue(accelerated >= 3 if lib.WRAP_S else accelerated == 0,
                                process.stats())

    def test_address_families(self):
        for host, target in (("::1", "::1"), ("::", "::1"), ("::", "127.0.0.1"),
                             ("127.0.0.1", "::ffff:127.0.0.1"), ("::", "::ffff:127.0.0.1"),
                             ("0.0.0.0", "127.0.0.1")):
            with self.subTest(host=host, target=target):
                self.pair("1M", "1M", host=host, target=target)

    def test_canary_a_wrong_stream_is_noticed(self):
        serve = self.server(lib.program("e2e_stream"), "serve", "--rx", "1M", "--seed", 1)
        connect = self.client(lib.program("e2e_stream"), "connect", "--tx", "1M", "--seed", 2,
                              "--port", serve.port())
        self.assertEqual(serve.wait(), 1)
        self.assertIn("wrong byte 0 ", serve.stderr())
        connect.wait()


if __name__ == "__main__":
    lib.main()
