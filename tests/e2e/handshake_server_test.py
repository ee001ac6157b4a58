"""Hostile, broken and slow clients against a server under the library.

A client that marks its SYN is believed to speak SMC. Whatever it then sends, the server's program
sees either exactly the application's bytes or the end of the connection, and others are served.
"""

import clc
import lib
import raw
from handshake import HandshakeCase

TAIL = b"application data behind it"


class ServerHandshake(HandshakeCase):
    def setUp(self):
        super().setUp()
        self.process, self.port = self.echo()

    def exchange(self, data, marked=True):
        """Sends data in one segment and ends; what came back, without the server's own CLC."""
        sock = self.dial(self.port, marked)
        sock.sendall(data)
        raw.end_input(sock)
        answer, how = raw.receive_all(sock)
        sock.close()
        self.assertEqual(how, "end", f"reset after {answer!r}")
        return clc.strip(answer)[1] if lib.WRAP_S else answer

    def finish(self, connections=1):
        self.stop_server(self.process, self.port, connections)

    def test_decline_instead_of_a_proposal(self):
        for version in (1, 2):
            control = clc.decline(version)
            self.assertEqual(self.exchange(control + TAIL), self.seen_by_app(control, TAIL))
        self.finish()

    def test_decline_first_and_data_later(self):
        for version in (1, 2):
            control = clc.decline(version)
            sock = self.dial(self.port)
            sock.sendall(control)
            sock.sendall(TAIL)
            raw.receive_until(sock, TAIL)
            raw.end_input(sock)
            self.assertEqual(raw.receive_all(sock), (b"", "end"))
        self.finish()

    def test_proposal_decline_and_data_in_one_segment(self):
        for proposal in (clc.proposal(), self.real_proposal()):
            for version in (1, 2):
                control = proposal + clc.decline(version)
                self.assertEqual(self.exchange(control + TAIL), self.seen_by_app(control, TAIL))
        self.finish()

    def test_proposal_answer_decline_data(self):
        """Decline instead of Confirm, with the data glued to it."""
        for proposal in (clc.proposal(), self.real_proposal()):
            control = proposal + clc.decline()
            sock = self.dial(self.port)
            sock.sendall(proposal)
            if lib.WRAP_S:
                answer = raw.message(sock)
                self.assertIn(clc.first_message(answer)[0], (clc.ACCEPT, clc.DECLINE))
            sock.sendall(clc.decline() + TAIL)
            raw.end_input(sock)
            self.assertEqual(raw.receive_all(sock)[0], self.seen_by_app(control, TAIL))
        self.finish()

    def test_answer_to_a_real_proposal_is_an_accept(self):
        if lib.BOTH_SHIMMED:
            proposal = self.real_proposal()
            sock = self.dial(self.port)
            sock.sendall(proposal)
            self.assertEqual(clc.first_message(raw.message(sock))[0], clc.ACCEPT)
            sock.close()
        self.finish()

    def test_a_client_out_of_sync_begins_anew(self):
        """The server reuses its link until the client says that it has none."""
        if not lib.BOTH_SHIMMED:
            self.finish()
            return
        proposal = self.real_proposal()
        first_contacts = []
        for out_of_sync in (False, True, False, False):
            sock = self.dial(self.port)
            sock.sendall(proposal)
            answer = raw.message(sock)
            self.assertEqual(clc.first_message(answer)[0], clc.ACCEPT)
            first_contacts.append(bool(answer[7] & 8))
            decline = bytearray(clc.decline(2, 0x04000000))
            decline[7] |= 8 if out_of_sync else 0
            sock.sendall(bytes(decline) + TAIL)
            raw.end_input(sock)
            self.assertEqual(raw.receive_all(sock)[0], TAIL)
            sock.close()
        self.assertEqual(first_contacts, [True, False, True, False])
        self.finish()

    def test_one_byte_at_a_time(self):
        for proposal in (clc.proposal(), self.real_proposal()):
            control = proposal + clc.decline()
            sock = self.dial(self.port)
            for byte in control + TAIL:
                sock.sendall(bytes([byte]))
            raw.end_input(sock)
            answer, how = raw.receive_all(sock)
            self.assertEqual(how, "end")
            rest = clc.strip(answer)[1] if lib.WRAP_S else answer
            self.assertEqual(rest, self.seen_by_app(control, TAIL))
        self.finish()

    def test_marked_but_application_data(self):
        for data in (b"x", b"GET / HTTP/1.0\r\n\r\n", bytes(range(256)) * 3, clc.SMCR,
                     clc.SMCR[:2] + b"no", clc.SMCR + b"no", clc.SMCR + bytes([1, 1]),
                     clc.SMCR + bytes([9, 0, 44, 0x20]) + bytes(36) + clc.SMCR,
                     clc.SMCR + bytes([1, 0, 3, 0x26]) + b"length 3", b"\0" * 300):
            with self.subTest(data=data[:20]):
                self.assertEqual(self.exchange(data), data)
        self.finish()

    def test_marked_first_byte_then_a_wait_for_the_echo(self):
        """A client that speaks and waits: the first byte cannot wait for more bytes."""
        for data in (b"G", b"GE", b"HELO\n"):
            sock = self.dial(self.port)
            sock.sendall(data)
            self.assertEqual(raw.receive(sock, len(data)), data)
            sock.sendall(TAIL)
            self.assertEqual(raw.receive(sock, len(TAIL)), TAIL)
            sock.close()
        self.finish()

    def test_unmarked_bytes_that_look_like_a_handshake(self):
        for data in (clc.proposal() + TAIL, clc.decline() + TAIL, clc.proposal() + clc.decline(),
                     clc.accept() + clc.confirm()):
            sock = self.dial(self.port, marked=False)
            sock.sendall(data)
            raw.end_input(sock)
            self.assertEqual(raw.receive_all(sock), (data, "end"))
        self.finish()

    def test_cut_at_every_byte(self):
        """A client that ends, closes or resets behind each byte of a Proposal."""
        proposal = self.real_proposal()
        for leave in ("end", "close", "reset"):
            socks = []
            for size in range(len(proposal)):
                sock = self.dial(self.port)
                raw.send_quietly(sock, proposal[:size])
                if leave == "reset":
                    raw.reset(sock)
                elif leave == "close":
                    sock.close()
                else:
                    raw.end_input(sock)
                    socks.append((size, sock))
            for size, sock in socks:
                answer = raw.receive_all(sock)[0]
                sock.close()
                rest = clc.strip(answer)[1]
                self.assertIn(rest, (b"", proposal[:size]), f"cut at {size}")
        self.finish()

    def test_leaves_behind_the_accept_at_every_byte_of_confirm(self):
        proposal, confirm = self.real_proposal(), clc.confirm()
        for leave in ("end", "close", "reset"):
            socks = []
            for size in range(0, len(confirm) + 1, 1 if leave == "end" else 9):
                sock = self.dial(self.port)
                sock.sendall(proposal)
                if lib.WRAP_S:
                    raw.message(sock)
                raw.send_quietly(sock, confirm[:size])
                if leave == "reset":
                    raw.reset(sock)
                elif leave == "close":
                    sock.close()
                else:
                    raw.end_input(sock)
                    socks.append(sock)
            for sock in socks:
                raw.receive_all(sock)  # whatever it says, it says it in time
                sock.close()
        self.finish()

    def test_wrong_message_behind_the_accept(self):
        proposal = self.real_proposal()
        for wrong in (proposal, clc.accept(), clc.confirm(), clc.confirm()[:-4] + b"nope",
                      b"garbage" * 40, clc.SMCD + bytes([3, 0, 12, 0x29]) + clc.SMCD):
            with self.subTest(wrong=wrong[:12]):
                sock = self.dial(self.port)
                sock.sendall(proposal)
                if lib.WRAP_S:
                    raw.message(sock)
                raw.send_quietly(sock, wrong)
                raw.end_input(sock)
                raw.receive_all(sock)
                sock.close()
        self.finish()

    def test_wrong_fields(self):
        """Extreme lengths and offsets in a Proposal: the data arrives alone behind the Decline,
        or together with everything before it; a wrong total length may also end it all."""
        fields = ((5, 2), (38, 2), (50, 2), (80, 1), (81, 1), (83, 1), (86, 2), (47, 1))
        for proposal in (clc.proposal(), self.real_proposal()):
            for offset, size in fields:
                top = 256 ** size - 1
                for value in (0, 1, 7, 8, 9, 28, 40, 44, 172, 173, 255, 288, 289, 652, 653,
                              top // 2, top // 2 + 1, top - 1, top):
                    if value > top:
                        continue
                    bad = bytearray(proposal)
                    bad[offset:offset + size] = value.to_bytes(size, "big")
                    control = bytes(bad) + clc.decline()
                    with self.subTest(offset=offset, value=value):
                        sock = self.dial(self.port)
                        raw.send_quietly(sock, control + TAIL)
                        raw.end_input(sock)
                        answer = raw.receive_all(sock)[0]
                        sock.close()
                        rest = clc.strip(answer)[1] if lib.WRAP_S else answer
                        if offset != 5:  # the message's end is known: exact
                            self.assertIn(rest, (self.seen_by_app(control, TAIL),
                                                 control + TAIL))
                        else:
                            self.assertTrue((control + TAIL).endswith(rest), rest[:40])
        self.finish()

    def test_every_flipped_bit(self):
        """A Proposal with one wrong bit, a Decline, data: the data arrives, nothing hangs."""
        proposal = self.real_proposal()
        pending = []
        for bit in range(0, len(proposal) * 8):
            bad = bytearray(proposal)
            bad[bit // 8] ^= 1 << bit % 8
            sock = self.dial(self.port)
            raw.send_quietly(sock, bytes(bad) + clc.decline() + TAIL)
            raw.end_input(sock)
            pending.append((bit, bytes(bad) + clc.decline() + TAIL, sock))
            if len(pending) == 256:
                self.check_flips(pending)
                pending = []
        self.check_flips(pending)
        self.finish()

    def check_flips(self, pending):
        for bit, sent, sock in pending:
            answer = raw.receive_all(sock)[0]
            sock.close()
            self.assertTrue(answer.endswith(TAIL) or bit // 8 in (5, 6), f"bit {bit}: {answer!r}")
            self.assertTrue(sent.endswith(clc.strip(answer)[1]), f"bit {bit}: {answer!r}")


if __name__ == "__main__":
    lib.main()
