"""Handshakes that stop in the middle: nobody else waits, and no accepted byte is lost.

The pauses in this file are the scenario (a program that accepts late, a patience that has to
pass), never a way to wait for an event.
"""

import signal
import time

import clc
import lib
import raw
from handshake import HandshakeCase

TAIL = b"application data behind it"
BANNER = b"220 ready\r\n"
LATE_S = 2.0  # longer than the patience of either side
BUSY_S = 0.5  # shorter
STALLERS = 200
WAYS_OUT = ("return", "exit", "_exit", "exec")


class Stalled(HandshakeCase):
    def test_half_a_proposal_then_others_are_served(self):
        server, port = self.echo()
        proposal = self.real_proposal()
        stalled = [self.dial(port) for _ in range(8)]
        for sock in stalled:
            sock.sendall(proposal[:len(proposal) // 2])
        for _ in range(5):
            self.honest(port)
        for sock in stalled:
            raw.end_input(sock)
            rest = clc.strip(raw.receive_all(sock)[0])[1]
            self.assertIn(rest, (b"", proposal[:len(proposal) // 2]))
        self.stop_server(server, port, 5)

    def test_two_hundred_stalled_handshakes(self):
        """Stalled at every sort of place; honest clients beside them, their times printed."""
        server, port = self.echo()
        proposal = self.real_proposal()
        alone = sorted(self.honest(port) for _ in range(30))
        stalled = []
        for number in range(STALLERS):
            sock = self.dial(port)
            sock.sendall(proposal[:number * len(proposal) // STALLERS])
            stalled.append(sock)
        beside = sorted(self.honest(port) for _ in range(30))
        print(f"\n  connect alone {alone[15]:.3f} ms (largest {alone[-1]:.3f}), beside {STALLERS} "
              f"stallers {beside[15]:.3f} ms (largest {beside[-1]:.3f})", end=" ")
        for sock in stalled:
            sock.close()
        self.stop_server(server, port, 60)

    def test_stalled_behind_the_accept(self):
        server, port = self.echo()
        proposal = self.real_proposal()
        stalled = []
        for number in range(50):
            sock = self.dial(port)
            sock.sendall(proposal)
            if lib.WRAP_S:
                raw.message(sock)
            raw.send_quietly(sock, clc.confirm()[:number * 2])
            stalled.append(sock)
        for _ in range(5):
            self.honest(port)
        for sock in stalled:
            sock.close()
        self.stop_server(server, port, 5)

    def test_closed_behind_the_accept(self):
        """The server's program sends, closes and goes on, however long the client needs: its
        bytes wait beside it."""
        if not lib.WRAP_S:
            self.skipTest("no handshake on plain TCP")
        proposal = self.real_proposal()
        other, other_port = self.echo()
        for size in (10, 30_000):
            server = self.server(lib.program("e2e_actor"), "listen", "go", "accept",
                                 f"pattern-send:{size}", "close", f"connect:{other_port}", "go")
            sock = self.dial(server.port())
            sock.sendall(proposal)  # in front of accept(): a program that closes before it comes gives up
            server.say("go")
            self.assertEqual(clc.first_message(raw.message(sock))[0], clc.ACCEPT)
            server.expect("^close 0")
            server.expect("^connected")
            time.sleep(LATE_S)
            sock.sendall(clc.decline())
            raw.end_input(sock)
            data, how = raw.receive_all(sock)
            self.assertEqual((len(data), how), (size, "end"))
            sock.close()
            server.say("go")
            server.finish()
        self.stop_server(other, other_port)

    def test_banner_for_a_marked_client_that_is_silent(self):
        """No Proposal comes: the banner is held for a bounded time, then it comes plainly."""
        server, port = self.echo("banner")
        start = time.monotonic()
        sock = self.dial(port)
        text = raw.receive(sock, len(BANNER))
        delay_ms = (time.monotonic() - start) * 1e3
        print(f"\n  banner after {delay_ms:.1f} ms", end=" ")
        self.assertEqual(text, BANNER)
        sock.sendall(TAIL)
        self.assertEqual(raw.receive(sock, len(TAIL)), TAIL)
        sock.close()
        server.kill(signal.SIGTERM)
        server.finish()

    def test_banner_for_a_client_that_stalls_in_its_proposal(self):
        """The banner arrives, or the connection lasts until the client leaves: both in time."""
        server, port = self.echo("banner")
        proposal = self.real_proposal()
        for size in (1, 4, 7, 8, 100, len(proposal) - 1):
            sock = self.dial(port)
            sock.sendall(proposal[:size])
            self.assertEqual(raw.receive(sock, len(BANNER)), BANNER, f"stalled at {size}")
            sock.close()
        server.kill(signal.SIGTERM)
        server.finish()

    def test_banner_before_the_proposal_arrives(self):
        """The server has given up waiting; the Proposal that then comes is not application data,
        nor is the Decline with which an honest client ends it."""
        server, port = self.echo("banner")
        for control in (clc.proposal() + clc.decline(), self.real_proposal() + clc.decline(),
                        clc.decline()):
            sock = self.dial(port)
            self.assertEqual(raw.receive(sock, len(BANNER)), BANNER)
            sock.sendall(control + TAIL)
            raw.end_input(sock)
            self.assertEqual(raw.receive_all(sock)[0], self.seen_by_app(control, TAIL))
        server.kill(signal.SIGTERM)
        server.finish()

    def test_scripted_client_is_gone_before_accept(self):
        """Proposal, Decline, data, end: all in the queue of a program that accepts later."""
        for control in (clc.proposal() + clc.decline(), clc.decline(), b""):
            server = self.server(lib.program("e2e_actor"), "listen", "go", "accept", "recv-all")
            sock = raw.client(server.port())
            sock.sendall(control + TAIL)
            sock.close()
            server.say("go")
            expected = self.seen_by_app(control, TAIL)
            shown = "".join(chr(b) if 32 <= b <= 126 and b != 92 else f"\\x{b:02x}"
                            for b in expected)
            self.assertEqual(server.finish().splitlines()[-1], f"received end {shown}")


class LateAccept(HandshakeCase):
    def test_client_sends_and_leaves_before_accept(self):
        """Every byte arrives although the client's process is long gone."""
        runs = []
        for way in WAYS_OUT:
            for size in (1, 1000, 100_000):
                server = self.server(lib.program("e2e_actor"), "listen", "go", "accept",
                                     "pattern-recv:1M")
                client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                                     f"pattern-send:{size}", f"leave:{way}")
                runs.append((way, size, server, client))
        for way, size, server, client in runs:
            client.finish(30)
        time.sleep(LATE_S)
        for way, size, server, client in runs:
            server.say("go")
        for way, size, server, client in runs:
            with self.subTest(way=way, size=size):
                self.assertEqual(server.finish().splitlines()[-1], f"pattern {size} end")

    def test_client_leaves_while_the_server_accepts(self):
        """The same with a server that is already waiting: the handshake is under way at exit."""
        for way in WAYS_OUT:
            for size in (1, 1000, 100_000):
                with self.subTest(way=way, size=size):
                    server = self.server(lib.program("e2e_actor"), "listen", "accept",
                                         "pattern-recv:1M")
                    client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                                         f"pattern-send:{size}", f"leave:{way}")
                    client.finish(30)
                    self.assertEqual(server.finish().splitlines()[-1], f"pattern {size} end")

    def test_server_answers_and_leaves(self):
        """A server that sends its reply and ends its process: every byte arrives."""
        for way in WAYS_OUT:
            for size in (1, 1000, 100_000):
                with self.subTest(way=way, size=size):
                    server = self.server(lib.program("e2e_actor"), "listen", "accept",
                                         f"pattern-send:{size}", f"leave:{way}")
                    client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                                         "go", "pattern-recv:1M")
                    server.finish(30)
                    client.say("go")
                    self.assertEqual(client.finish().splitlines()[-1], f"pattern {size} end")

    def test_client_waits_for_a_late_server(self):
        """Data held back in both directions until the program accepts; then it flows."""
        server = self.server(lib.program("e2e_actor"), "listen", "go", "accept",
                             "pattern-recv:70000", "pattern-send:70000", "recv-all")
        client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                             "pattern-send:70000", "pattern-recv:70000", "shutdown:wr",
                             "recv-all")
        client.expect("^sent")
        time.sleep(LATE_S)
        server.say("go")
        self.assertIn("pattern 70000 full", client.finish())
        self.assertIn("pattern 70000 full", server.finish())

    def test_client_of_a_busy_server(self):
        """A program that accepts half a second late still shares memory, unless the machine is
        so busy that it becomes a whole one."""
        for _ in range(5):
            server = self.server(lib.program("e2e_actor"), "listen", "go", "accept",
                                 "pattern-recv:1000", "pattern-send:1000", "recv-all")
            client = self.client(lib.program("e2e_actor"), f"connect:{server.port()}",
                                 "pattern-send:1000", "pattern-recv:1000", "shutdown:wr",
                                 "recv-all")
            client.expect("^sent")
            time.sleep(BUSY_S)
            server.say("go")
            self.assertIn("pattern 1000 full", client.finish())
            self.assertIn("pattern 1000 full", server.finish())
            stats = client.stats()
            if not lib.BOTH_SHIMMED or stats["accelerated"] == 1:
                return
            self.assertEqual(stats["tcp_reasons"], {"timed_out": 1})
        self.fail("five busy servers, none accelerated")

    def test_listener_that_never_accepts(self):
        """Sends are accepted until buffers are full; then EAGAIN; other connections go on."""
        silent = self.server(lib.program("e2e_server"), "silent")
        other, port = self.echo()
        client = self.client(lib.program("e2e_actor"), f"connect:{silent.port()}", "fill",
                             f"connect:{port}", "pattern-send:50k", "use:1", "recv:5",
                             "use:0", "fill", "close", "use:1", "shutdown:wr", "say:done")
        lines = client.finish(30).splitlines()
        filled = [line.split() for line in lines if line.startswith("filled")]
        self.assertEqual([words[2] for words in filled], ["EAGAIN", "EAGAIN"])
        self.assertTrue(0 < int(filled[0][1]) <= 64 << 20, filled)
        self.assertEqual(lines[-1], "done")
        self.stop_server(other, port)
        silent.kill(signal.SIGTERM)
        silent.finish()

    def test_listener_closes_with_connections_in_its_queue(self):
        """The client learns of it as on TCP: an error or the end, in bounded time."""
        server = self.server(lib.program("e2e_actor"), "listen", "go", "close-listener", "go")
        port = server.port()
        clients = [self.client(lib.program("e2e_actor"), f"connect:{port}", "pattern-send:1000",
                               "recv-all") for _ in range(10)]
        for client in clients:
            client.expect("^sent")
        server.say("go")
        for client in clients:
            self.assertRegex(client.finish(30).splitlines()[-1], r"^received (ECONNRESET|end) $")
        server.say("go")
        server.finish()


if __name__ == "__main__":
    lib.main()
