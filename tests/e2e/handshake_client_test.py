"""Hostile, broken and slow servers against a client under the library.

A scripted server with a beacon makes the client send a Proposal. Whatever it answers, the client's
program sees either exactly the application's bytes or the end of the connection.
"""

import signal

import clc
import lib
import raw
from handshake import HandshakeCase

HELLO, WORLD = b"hello", b"world"


class ClientHandshake(HandshakeCase):
    def setUp(self):
        super().setUp()
        self.scripted = raw.Server()
        self.addCleanup(self.scripted.close)

    def start_client(self, *operations):
        """A program under test, connected to the script: (process, the script's socket)."""
        client = self.client(lib.program("e2e_actor"), f"connect:{self.scripted.port}",
                             *operations)
        sock = self.scripted.accept()
        self.addCleanup(sock.close)
        return client, sock

    def take_proposal(self, sock):
        if lib.WRAP_C:
            self.assertEqual(clc.first_message(raw.message(sock))[0], clc.PROPOSAL)

    def received(self, client, text, how="full"):
        self.assertIn(f"received {how} {text.decode()}", client.finish(30).splitlines())

    def test_proposal_is_sent_at_once(self):
        client, sock = self.start_client("recv-all")
        self.take_proposal(sock)
        sock.sendall(clc.decline() if lib.WRAP_C else b"")
        sock.close()
        self.received(client, b"", "end")

    def test_no_beacon_no_proposal(self):
        self.scripted.beacon.close()
        client, sock = self.start_client("send:hello", "recv:5")
        self.assertEqual(raw.receive(sock, 5), HELLO)
        sock.sendall(WORLD)
        self.received(client, WORLD)

    def test_decline_then_both_directions(self):
        for version in (1, 2):
            client, sock = self.start_client("send:hello", "recv:5")
            self.take_proposal(sock)
            sock.sendall(clc.decline(version) if lib.WRAP_C else b"")
            data = raw.receive_until(sock, HELLO)
            self.assertEqual(clc.strip(data)[1], HELLO)
            sock.sendall(WORLD)
            self.received(client, WORLD)

    def test_decline_with_data_glued_to_it(self):
        for version in (1, 2):
            client, sock = self.start_client("recv:5", "send:hello", "recv-all")
            self.take_proposal(sock)
            sock.sendall((clc.decline(version) if lib.WRAP_C else b"") + WORLD)
            data = raw.receive_until(sock, HELLO)
            self.assertEqual(clc.strip(data)[1], HELLO)
            sock.close()
            self.received(client, WORLD)

    def test_decline_one_byte_at_a_time(self):
        client, sock = self.start_client("recv:5", "send:hello", "recv-all")
        self.take_proposal(sock)
        for byte in (clc.decline() if lib.WRAP_C else b"") + WORLD:
            sock.sendall(bytes([byte]))
        self.assertEqual(clc.strip(raw.receive_until(sock, HELLO))[1], HELLO)
        sock.close()
        self.received(client, WORLD)

    def test_application_data_instead_of_an_answer(self):
        """The server sent before it knew of the Proposal."""
        for data in (b"2", b"220 ready", b"x" * 300):
            client, sock = self.start_client(f"recv:{len(data)}", "send:hello", "recv-all")
            self.take_proposal(sock)
            sock.sendall(data)
            self.assertEqual(clc.strip(raw.receive_until(sock, HELLO))[1], HELLO)
            sock.close()
            self.received(client, data)

    def test_application_data_before_the_proposal(self):
        client, sock = self.start_client("recv:9", "send:hello", "recv-all")
        sock.sendall(b"220 ready")
        self.assertEqual(clc.strip(raw.receive_until(sock, HELLO))[1], HELLO)
        sock.close()
        self.received(client, b"220 ready")

    def silence(self, late, answer_before=b""):
        """The client's bytes wait for an answer that does not come; `late` comes afterwards."""
        client, sock = self.start_client("send:hello", "recv:5")
        sock.sendall(answer_before if lib.WRAP_C else b"")
        data = raw.receive_until(sock, HELLO)
        kinds, rest = clc.strip(data)
        self.assertEqual(rest, HELLO)
        if lib.WRAP_C:
            self.assertEqual(kinds, [clc.PROPOSAL, clc.DECLINE])
        sock.sendall((late if lib.WRAP_C else b"") + WORLD)
        self.received(client, WORLD)

    def test_silence(self):
        self.silence(b"")

    def test_silence_then_a_late_decline(self):
        self.silence(clc.decline())
        self.silence(clc.decline(1))

    def test_silence_then_a_late_accept(self):
        self.silence(clc.accept())
        self.silence(self.real_accept())

    def test_half_a_message_and_the_rest_late(self):
        for message in (clc.decline(), clc.accept(), self.real_accept()):
            for size in (1, 4, 7, 8, 20, len(message) - 1):
                with self.subTest(kind=message[4], size=size):
                    self.silence(message[size:], message[:size])

    def test_accept_that_leads_nowhere(self):
        """A token and a link group that nobody owns: the client declines and goes on."""
        for accept in (clc.accept(), self.real_accept()):
            client, sock = self.start_client("send:hello", "recv:5")
            self.take_proposal(sock)
            sock.sendall(accept if lib.WRAP_C else b"")
            kinds, rest = clc.strip(raw.receive_until(sock, HELLO))
            self.assertEqual(rest, HELLO)
            if lib.WRAP_C:
                self.assertEqual(kinds, [clc.DECLINE])
            sock.sendall(WORLD)
            self.received(client, WORLD)

    def test_accept_over_a_link_that_the_client_does_not_have(self):
        """No first contact for the server, but for the client: out of sync, and both are on TCP."""
        if not lib.BOTH_SHIMMED:
            return
        accept = self.real_accept()  # of a process that has ended since
        accept = accept[:5] + (78).to_bytes(2, "big") + bytes([accept[7] & ~8]) + accept[8:74] + clc.SMCD
        client, sock = self.start_client("send:hello", "recv:5")
        self.take_proposal(sock)
        sock.sendall(accept)
        decline = raw.message(sock)
        self.assertEqual((decline[4], decline[7] & 8), (clc.DECLINE, 8))
        self.assertEqual(decline[16:20].hex(), "04000000")
        self.assertEqual(raw.receive(sock, 5), HELLO)
        sock.sendall(WORLD)
        self.received(client, WORLD)
        self.assertEqual(client.stats()["tcp_reasons"], {"sync_error": 1})

    def test_answers_out_of_order_or_broken(self):
        """The connection ends or lives, within its watchdog; the program is not hurt."""
        broken = [clc.proposal(), clc.confirm(), clc.accept()[:-4] + b"nope",
                  clc.SMCD + bytes([2, 0, 12, 0x29]) + clc.SMCD,
                  clc.SMCD + bytes([2, 0, 78, 0x29]) + bytes(66) + clc.SMCD,
                  clc.SMCR + bytes([4, 0, 12, 0x20]) + clc.SMCR,
                  clc.SMCR + bytes([4, 0, 0, 0x20]), clc.SMCD + bytes([2, 255, 255, 0x29]),
                  clc.accept() + clc.accept(), clc.decline() + clc.decline()]
        for answer in broken:
            with self.subTest(answer=answer[:10]):
                client, sock = self.start_client("send:hello", "recv-all", "say:alive")
                self.take_proposal(sock)
                sock.sendall(answer)
                raw.end_input(sock)
                raw.receive_all(sock)
                self.assertEqual(client.finish(30).splitlines()[-1], "alive")

    def test_server_leaves_at_every_byte_of_its_answer(self):
        answers = (clc.decline(), self.real_accept())
        for leave in ("end", "close", "reset"):
            for answer in answers:
                sizes = range(0, len(answer) + 1, 5 if leave == "end" else 13)
                clients = []
                for size in sizes:
                    client, sock = self.start_client("recv-all", "say:alive")
                    self.take_proposal(sock)
                    raw.send_quietly(sock, answer[:size] if lib.WRAP_C else b"")
                    if leave == "reset":
                        raw.reset(sock)
                    elif leave == "close":
                        sock.close()
                    else:
                        raw.end_input(sock)
                    clients.append((size, client))
                for size, client in clients:
                    lines = client.finish(30).splitlines()
                    with self.subTest(leave=leave, kind=answer[4], size=size):
                        self.assertEqual(lines[-1], "alive")
                        self.assertRegex(lines[-2], r"^received (end|E[A-Z]+) ")
                        if size < len(answer):
                            continue
                        self.assertIn(lines[-2], ("received end ", "received ECONNRESET "))

    def test_data_sent_at_exit_without_an_answer(self):
        """The server never answers; the client sends and leaves at once: every byte arrives."""
        for way in ("return", "exit", "_exit", "exec"):
            for size in (5, 100_000):
                with self.subTest(way=way, size=size):
                    client, sock = self.start_client(f"pattern-send:{size}", f"leave:{way}")
                    data, how = raw.receive_all(sock)
                    client.finish(30)
                    kinds, rest = clc.strip(data)
                    self.assertEqual((len(rest), how), (size, "end"), kinds)

    def test_close_without_an_answer(self):
        client, sock = self.start_client("send:hello", "close", "say:closed")
        client.expect("^closed")
        data, how = raw.receive_all(sock)
        self.assertEqual((clc.strip(data)[1], how), (HELLO, "end"))
        client.finish()

    def test_client_is_killed_without_an_answer(self):
        """kill -9 behind the Proposal: the server sees a prefix of the bytes, then the end."""
        for operations in (["go"], ["send:hello", "go"]):
            client, sock = self.start_client(*operations)
            self.take_proposal(sock)
            if len(operations) > 1:
                client.expect("^sent")
            client.kill(signal.SIGKILL)
            data, _ = raw.receive_all(sock)
            self.assertTrue(HELLO.startswith(clc.strip(data)[1]), data)


if __name__ == "__main__":
    lib.main()
