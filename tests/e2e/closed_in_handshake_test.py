"""A side that closes in the middle of the handshake: the peer sees an end as on TCP, and no reset that its own CLC message
has drawn."""

import errno
import signal
import socket
from pathlib import Path

import clc
import lib
import raw
from handshake import HandshakeCase

SERVER = """
import select, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
sock, _ = listener.accept()
select.select([sock], [], [], 0)  # the first call on it begins the handshake
print("accepted", flush=True)
"""

CLIENT = """
import socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
"""

CLOSE = """
sys.stdin.readline()
sock.close()
print("closed", flush=True)
sys.stdin.readline()
"""


class ClosedInHandshake(HandshakeCase):
    def setUp(self):
        super().setUp()
        if not lib.BOTH_SHIMMED:
            self.skipTest("there is no handshake")

    def close(self, process):
        process.say("close")
        process.expect("^closed")

    def pause(self, process):
        process.kill(signal.SIGSTOP)
        stat = Path(f"/proc/{process.pid}/stat")
        lib.wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T")

    def check_end(self, sock):
        self.assertEqual(raw.receive_all(sock), (b"", "end"))
        self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)

    def test_server_closes_behind_its_accept(self):
        server = self.server(lib.PYTHON, "-c", SERVER + CLOSE)
        sock = self.dial(server.port())
        sock.sendall(self.real_proposal())
        server.expect("^accepted")
        self.assertEqual(clc.first_message(raw.message(sock))[0], clc.ACCEPT)
        self.close(server)
        sock.sendall(clc.decline())  # in the place of a Confirm
        self.check_end(sock)
        server.say("exit")
        server.finish()

    def test_client_closes_behind_its_proposal(self):
        """What the server says then draws a reset at once."""
        scripted = raw.Server()
        self.addCleanup(scripted.close)
        client = self.client(lib.PYTHON, "-c", CLIENT + CLOSE, scripted.port)
        sock = scripted.accept()
        self.addCleanup(sock.close)
        client.expect("^connected")
        self.assertEqual(clc.first_message(raw.message(sock))[0], clc.PROPOSAL)
        self.close(client)
        self.assertEqual(clc.first_message(raw.message(sock))[0], clc.DECLINE)
        self.check_end(sock)
        sock.sendall(b"too late")
        with self.assertRaises(OSError) as caught:
            sock.getpeername()
        self.assertEqual(caught.exception.errno, errno.ENOTCONN)
        client.say("exit")
        client.finish()

    def test_server_answers_no_client_that_has_closed(self):
        """An answer would draw a reset, and the server's first send would fail."""
        server = self.server(lib.PYTHON, "-c", """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
sys.stdin.readline()
sock, _ = listener.accept()
print("received", sock.recv(10), sock.recv(10), sock.send(b"too late"), flush=True)
try:
    sock.shutdown(socket.SHUT_RDWR)
except OSError as error:
    print("shutdown", error.errno, flush=True)
""")
        client = self.client(lib.PYTHON, "-c", CLIENT.replace("print", "sock.sendall(b'hello'); print") + CLOSE,
                             server.port())
        client.expect("^connected")
        self.close(client)
        server.say("accept")
        server.expect("^received b'hello' b'' 8$")
        server.expect(f"^shutdown {errno.ENOTCONN}$")
        server.finish()
        self.assertEqual(server.stats()["tcp_reasons"], {"peer_declined": 1})
        client.say("exit")
        client.finish()

    def test_server_is_gone_behind_its_accept(self):
        """The client does not confirm what nobody hears."""
        answer = self.real_accept()
        scripted = raw.Server()
        self.addCleanup(scripted.close)
        client = self.client(lib.PYTHON, "-c", CLIENT + """
print("received", sock.recv(10), sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), flush=True)
sock.getpeername()
sock.close()
""", scripted.port)
        sock = scripted.accept()
        self.addCleanup(sock.close)
        self.assertEqual(clc.first_message(raw.message(sock))[0], clc.PROPOSAL)
        client.expect("^connected")
        self.pause(client)
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        client.kill(signal.SIGCONT)
        client.expect("^received b'' 0$")
        client.finish()
        self.check_end(sock)

    def test_server_closes_while_bytes_wait_for_its_answer(self):
        server = self.server(lib.PYTHON, "-c", SERVER.replace("sock, _ =", "sys.stdin.readline(); sock, _ =") + CLOSE)
        client = self.client(lib.PYTHON, "-c", CLIENT.replace("print", "sock.sendall(b'hello'); print") + """
print("received", sock.recv(10), sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), flush=True)
sock.getpeername()
sock.close()
""", server.port())
        client.expect("^connected")
        self.pause(client)
        server.say("accept")
        server.expect("^accepted")
        self.close(server)
        client.kill(signal.SIGCONT)
        client.expect("^received b'' 0$")
        client.finish()
        server.say("exit")
        server.finish()


if __name__ == "__main__":
    lib.main()
