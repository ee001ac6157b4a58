"""A server hands its connection to TCP while the client, which has marked its SYN, has not yet been scheduled to send its
Proposal: on a busy machine that may take seconds. What comes then must not be read as data, by whoever reads."""

import threading
import time

import clc
import lib
import raw
from fabric import SERVER_IP, FabricCase
from handshake import HandshakeCase

PAUSE = 0.5  # seconds that the client is late
TAIL = b"application data behind it"
# Hands each connection over at once, and says what whoever has it reads.
SERVER = """
import array, os, socket, subprocess, sys
OTHER = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
READ = [sys.executable, "-c", "import os\\nwhile data := os.read(0, 65536): os.write(1, data)"]
listener = socket.create_server((sys.argv[1], 0))
print("port", listener.getsockname()[1], flush=True)

def read_all(sock):
    data = b""
    while part := sock.recv(65536):
        data += part
    return data

def on_request(sock):
    try:
        sock.setsockopt(286, 0x0FE0, 1)
    except OSError:
        pass  # there is no library
    return read_all(sock)

def passed(sock):
    one, two = socket.socketpair()
    one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])
    two.recv(1)  # the descriptor is closed on the way
    print("handed over", flush=True)
    return read_all(sock)

def spawned(sock):
    return subprocess.run(READ, stdin=sock, env=OTHER, stdout=subprocess.PIPE).stdout

def executed(sock):
    one, two = os.pipe()
    if os.fork() == 0:
        os.dup2(sock.fileno(), 0)
        os.dup2(two, 1)
        os.execve(READ[0], READ, OTHER)
    os.close(two)
    with open(one, "rb") as results:
        return results.read()

for word in sys.stdin:
    sock, _ = listener.accept()
    print("accepted", flush=True)
    try:
        print("read", globals()[word.strip()](sock).hex(), flush=True)
    except ConnectionError:
        print("reset", flush=True)
    sock.close()
"""

# On a network where the mark means something else.
STRANGER = """
import socket, sys
sock = socket.socket()
sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, %d)
sock.connect((sys.argv[1], int(sys.argv[2])))
sys.stdin.readline()
sock.sendall(%r)
""" % (raw.MARK, TAIL)


class LateProposal(HandshakeCase):
    def setUp(self):
        super().setUp()
        self.process = self.server(lib.PYTHON, "-c", SERVER, "127.0.0.1")
        self.port = self.process.port()

    def handed_over(self, how):
        """A client's connection whose other end is on its way to TCP."""
        self.process.say(how)
        sock = self.dial(self.port)
        self.process.expect("^accepted")
        return sock

    def hand_over(self, how, *pieces):
        """What is read of a client's pieces, each behind a pause."""
        sock = self.handed_over(how)
        sender = threading.Thread(target=self.send_late, args=(sock, pieces))
        sender.start()
        read = self.process.expect("^(?:read (.*)|reset)$").group(1)
        sender.join()
        return None if read is None else bytes.fromhex(read)

    @staticmethod
    def send_late(sock, pieces):
        for piece in pieces:
            time.sleep(PAUSE)
            raw.send_quietly(sock, piece)
        raw.end_input(sock)

    def test_a_late_proposal_is_not_data(self):
        proposal = self.real_proposal()
        for how in ("on_request", "passed", "spawned", "executed"):
            with self.subTest(how):
                self.assertEqual(self.hand_over(how, proposal + clc.decline() + TAIL),
                                 self.seen_by_app(proposal + clc.decline(), TAIL))

    def test_a_late_proposal_is_answered(self):
        """A client of ours waits for an answer, and sends its bytes behind it."""
        if not lib.WRAP_S:
            self.skipTest("nobody answers")
        sock = self.handed_over("passed")
        time.sleep(PAUSE)
        sock.sendall(self.real_proposal())
        self.assertEqual(clc.first_message(raw.message(sock))[0], clc.DECLINE)
        sock.sendall(TAIL)
        raw.end_input(sock)
        self.assertEqual(self.process.expect("^read (.*)$").group(1), TAIL.hex())

    def test_a_client_that_stays_silent_is_reset(self):
        """Nobody knows what it will send."""
        if not lib.WRAP_S:
            self.skipTest("any silence is taken")
        sock = self.handed_over("passed")
        self.process.expect("^reset$", 30)
        self.assertEqual(raw.receive_all(sock), (b"", "reset"))

    def test_a_client_that_sends_data_instead(self):
        for how in ("on_request", "passed", "spawned", "executed"):
            with self.subTest(how):
                self.assertEqual(self.hand_over(how, TAIL), TAIL)

    def test_a_client_that_ends_instead(self):
        for how in ("on_request", "passed", "spawned", "executed"):
            with self.subTest(how):
                self.assertEqual(self.hand_over(how), b"")


class Stranger(FabricCase):
    def test_a_mark_from_another_machine_is_not_waited_for(self):
        server = self.server(lib.PYTHON, "-c", SERVER, SERVER_IP,
                             wrap=["ip", "netns", "exec", self.names[0], *lib.WRAP_S])
        port = server.port()
        server.say("passed")
        client = self.client(lib.PYTHON, "-c", STRANGER, SERVER_IP, port,
                             wrap=["ip", "netns", "exec", self.names[1]])
        server.expect("^handed over")
        client.say("now")
        self.assertEqual(server.expect("^(?:read (.*)|reset)$").group(1), TAIL.hex())


if __name__ == "__main__":
    lib.main()
