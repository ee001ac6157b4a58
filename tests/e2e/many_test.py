"""Many connections in one epoll set, few of them busy: every request is answered, and all are accelerated.

e2e_many (programs/many_main.cpp) hangs where a wake-up is lost. SMCD_HOT_ENTRIES=0 makes the library put every entry
aside that is not ready, which otherwise takes more than 16 busy ones.
"""

import os

import lib

MODES = (("level", 1), ("edge", 1), ("oneshot", 1), ("oneshot", 4))
ROUNDS = int(os.environ.get("SMCD_E2E_ROUNDS", "5000"))


class Many(lib.Case):
    watchdog_s = 240.0

    def pair(self, mode, threads, conns, inflight, rounds, hot):
        env = {"SMCD_HOT_ENTRIES": str(hot), "SMCD_LEARN": "0"}
        server = self.server(lib.program("e2e_many"), "serve", "--mode", mode, "--threads", threads, env=env)
        client = self.client(lib.program("e2e_many"), "connect", "--port", server.port(), "--conns", conns,
                             "--inflight", inflight, "--rounds", rounds, "--seed", lib.SEED, env=env)
        self.assertIn(f"answered {rounds}", client.finish(100))
        server.finish(30)
        self.check_stats(server, client, conns)

    def test_every_request_is_answered(self):
        for mode, threads in MODES:
            for inflight, hot in ((1, 0), (8, 0), (30, 16)):
                with self.subTest(mode=mode, threads=threads, inflight=inflight, hot=hot):
                    self.pair(mode, threads, 200, inflight, ROUNDS, hot)

    def test_thousands_are_all_accelerated(self):
        self.pair("level", 1, 3000, 30, ROUNDS, 16)

    def test_streams_with_every_entry_put_aside(self):
        for wait in ("epoll-level", "epoll-edge", "epoll-oneshot"):
            for call in ("send-recv", "vector", "wait-all", "truncate"):
                with self.subTest(wait=wait, call=call):
                    common = ["--host", "127.0.0.1", "--tx", "5617371", "--rx", "5617371", "--conns", "1", "--seed",
                              lib.SEED, "--wait", wait, "--call", call, "--chunk", "48k"]
                    env = {"SMCD_HOT_ENTRIES": "0"}
                    server = self.server(lib.program("e2e_stream"), "serve", *common, env=env)
                    client = self.client(lib.program("e2e_stream"), "connect", "--port", server.port(), *common,
                                         env=env)
                    client.finish(60)
                    server.finish(30)
                    self.check_stats(server, client, 1)


if __name__ == "__main__":
    lib.main()
