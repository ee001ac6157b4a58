"""Bytes sent before the handshake's verdict, whatever the peer's buffer."""

import lib

COMMON = """
import socket, sys, time
SIZE = 300_000
DATA = bytes(i * 7919 >> 8 & 255 for i in range(SIZE))
def send_early(sock):
    sock.setblocking(False)
    early = sock.send(DATA)
    print("early", early, flush=True)
    sock.setblocking(True)
    sock.sendall(DATA[early:])
    sock.shutdown(socket.SHUT_WR)
def check(sock):
    data = b""
    while part := sock.recv(100_000):
        data += part
    assert data == DATA, (len(data), SIZE)
def small(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
"""

SERVER = COMMON + """
listener = socket.socket()
if "small" in sys.argv:
    small(listener)
listener.bind(("127.0.0.1", 0))
listener.listen()
print("port", listener.getsockname()[1], flush=True)
if "late" in sys.argv:
    sys.stdin.readline()
sock = listener.accept()[0]
send_early(sock) if "sends" in sys.argv else check(sock)
sock.recv(1)
"""

CLIENT = COMMON + """
sock = socket.socket()
if "small" in sys.argv:
    small(sock)
sock.connect(("127.0.0.1", int(sys.argv[1])))
send_early(sock) if "sends" in sys.argv else check(sock)
sock.close()
"""


class EarlyBytes(lib.Case):
    def test_the_client_fills_its_pre_buffer(self):
        for words in ((), ("small",)):
            with self.subTest(server=words):
                server = self.server(lib.PYTHON, "-c", SERVER, "late", *words)
                client = self.client(lib.PYTHON, "-c", CLIENT, server.port(), "sends")
                early = int(client.expect(r"^early (\d+)$").group(1))
                self.assertGreaterEqual(early, 38_000)
                server.say("now")
                server.finish(30)
                client.finish(30)
                if lib.BOTH_SHIMMED and words:
                    # On a busy machine the client may have lost its patience before.
                    self.assertLessEqual(set(client.stats()["tcp_reasons"]),
                                         {"peer_buffer_small", "timed_out"})

    def test_the_server_speaks_first(self):
        for words in ((), ("small",)):
            for _ in range(5):
                with self.subTest(client=words):
                    server = self.server(lib.PYTHON, "-c", SERVER, "sends")
                    client = self.client(lib.PYTHON, "-c", CLIENT, server.port(), *words)
                    client.finish(30)
                    server.finish(30)


if __name__ == "__main__":
    lib.main()
