"""A Confirm that comes when the server cannot use it any more: it takes the connection back to TCP.

The client is live on shared memory by then. The server answers with a return frame of zero cursors,
the client with its own, and sends again what it had sent.
"""

import clc
import lib
import raw
from handshake import HandshakeCase

FRAME_OF_NOTHING = b"SMCT\1" + bytes(19)
TAIL = b"application data behind it"
# Accepts, forks when it is told to, and echoes in the child or, without fork, in itself.
SERVER = """
import os, select, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
while True:
    sock, _ = listener.accept()
    select.select([sock], [], [], 0)  # the first call on it begins the handshake
    print("accepted", flush=True)
    if sys.stdin.readline() == "fork\\n" and os.fork() != 0:
        sock.close()
        continue
    print("serving", flush=True)
    try:
        while data := sock.recv(65536):
            sock.sendall(data)
        print("end", flush=True)
    except ConnectionError:
        print("reset", flush=True)
    sock.close()
"""


class LateConfirm(HandshakeCase):
    def setUp(self):
        super().setUp()
        if not lib.BOTH_SHIMMED:
            self.skipTest("there is no handshake")
        self.process = self.server(lib.PYTHON, "-c", SERVER)
        self.port = self.process.port()

    def accepted(self, command):
        """A connection behind the server's Accept, and a Confirm whose token nobody owns."""
        sock = self.dial(self.port)
        sock.sendall(self.real_proposal())
        self.process.expect("^accepted")
        accept = raw.message(sock)
        self.assertEqual(clc.first_message(accept)[0], clc.ACCEPT)
        self.process.say(command)
        self.process.expect("^serving")
        return sock, accept[:4] + bytes([clc.CONFIRM]) + accept[5:16] + b"nobodys!" + accept[24:]

    def take_back(self, command):
        for doorbells in (b"", bytes(3)):
            sock, confirm = self.accepted(command)
            sock.sendall(confirm)
            self.assertEqual(raw.receive(sock, len(FRAME_OF_NOTHING)), FRAME_OF_NOTHING)
            # Produced 26 bytes into the server's ring; they come again behind the frame.
            sock.sendall(doorbells + b"SMCT\1" + bytes(13) + len(TAIL).to_bytes(4, "big") + bytes(2))
            sock.sendall(TAIL)
            self.assertEqual(raw.receive(sock, len(TAIL)), TAIL)
            raw.end_input(sock)
            self.assertEqual(raw.receive_all(sock), (b"", "end"))
            self.process.expect("^end")

    def test_proposal_and_decline_come_apart_behind_the_fork(self):
        """The server gave up before there was a Proposal; the client, when no answer came."""
        sock = self.dial(self.port)
        proposal = self.real_proposal()
        self.process.expect("^accepted")
        self.process.say("fork")
        self.process.expect("^serving")
        for message in (proposal, clc.decline() + TAIL):
            sock.sendall(message)
            lib.wait_until(lambda: self.taken(sock), what="an empty receive queue")
        self.assertEqual(raw.receive(sock, len(TAIL)), TAIL)
        raw.end_input(sock)
        self.assertEqual(raw.receive_all(sock), (b"", "end"))

    @staticmethod
    def taken(sock):
        """Whether the server's side has read all that was sent."""
        wanted = "%s:%04X" % ("0100007F", sock.getpeername()[1])
        client = "%s:%04X" % ("0100007F", sock.getsockname()[1])
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table]
        return any(row[1:3] == [wanted, client] and row[4].endswith(":00000000") for row in rows)

    def test_forked_in_between(self):
        self.take_back("fork")

    def test_memory_that_cannot_be_attached(self):
        self.take_back("serve")

    def test_the_client_leaves_instead_of_its_frame(self):
        for command in ("fork", "serve"):
            sock, confirm = self.accepted(command)
            sock.sendall(confirm)
            raw.receive(sock, len(FRAME_OF_NOTHING))
            raw.end_input(sock)
            self.process.expect("^reset")

    def test_garbage_instead_of_a_frame_is_never_read(self):
        sock, confirm = self.accepted("fork")
        sock.sendall(confirm)
        raw.receive(sock, len(FRAME_OF_NOTHING))
        sock.sendall(TAIL)
        self.assertEqual(raw.receive_all(sock), (b"", "reset"))
        self.process.expect("^reset")

    def test_a_confirm_that_contradicts_is_a_reset(self):
        sock, confirm = self.accepted("serve")
        sock.sendall(confirm[:40] + b"WRONG" + confirm[45:])
        self.assertEqual(raw.receive_all(sock), (b"", "reset"))
        self.process.expect("^reset")


if __name__ == "__main__":
    lib.main()
