"""Programs that serve sockets through a ring of liburing, which makes its own system calls: what a ring does with a connection, the
kernel does, on TCP."""

import ctypes
import itertools
import unittest

import lib


def has_rings():
    try:
        library = ctypes.CDLL("liburing.so.2")
    except OSError:
        return False
    ring = ctypes.create_string_buffer(1024)
    return library.io_uring_queue_init(8, ring, 0) == 0


@unittest.skipUnless(has_rings(), "no liburing, or the kernel makes no rings")
class Uring(lib.Case):
    def exchange(self, accept, served, asked):
        server = self.server(lib.program("e2e_uring"), "server", accept, served)
        client = self.client(lib.program("e2e_uring"), "client", server.port(), asked)
        self.assertEqual(client.finish(), "right 300000\n")
        self.assertEqual(server.finish().splitlines()[-1], "returned 300000")
        return server, client

    def test_data_through_a_ring(self):
        ways = ("libc", "ring", "poll", "registered", "passed")
        for served, asked in itertools.product(ways, ways):
            with self.subTest(server=served, client=asked):
                server, client = self.exchange("libc", served, asked)
                if not lib.BOTH_SHIMMED:
                    continue
                if (served, asked) == ("libc", "libc"):  # who has a ring for other purposes
                    self.assertEqual((server.stats()["tcp"], client.stats()["accelerated"]), (0, 1))
                    continue
                reasons = {**server.stats()["tcp_reasons"], **client.stats()["tcp_reasons"]}
                self.assertTrue({"unsupported_call", "left_control"} & reasons.keys(), reasons)

    def test_accepted_by_a_ring(self):
        """The listener is not announced: no Proposal, which nobody would take out of the stream."""
        for served, asked in itertools.product(("libc", "ring"), repeat=2):
            with self.subTest(server=served, client=asked):
                _, client = self.exchange("ring", served, asked)
                if lib.BOTH_SHIMMED:
                    self.assertEqual(client.stats()["accelerated"], 0)


if __name__ == "__main__":
    lib.main()
