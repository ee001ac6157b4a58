"""splice() out of a connection that returns to TCP in the middle: what was looked at in the ring and is in the pipe comes once."""

import lib

SENDER = """
import random, socket, sys, threading, time
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
for number in range(int(sys.argv[1])):
    sock, _ = listener.accept()
    data = random.Random(number).randbytes(4_000_000)
    sender = threading.Thread(target=sock.sendall, args=(data,))
    sender.start()
    time.sleep(random.random() * 0.003)
    if len(sys.argv) > 2:
        sock.setsockopt(286, 0x0FE0, 1)
    sender.join()
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)
    sock.close()
"""

RECEIVER = """
import os, random, socket, sys
out, into = os.pipe()
for number in range(int(sys.argv[2])):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    got = bytearray()
    while n := os.splice(sock.fileno(), into, 4096):
        got += os.read(out, n)
        assert len(got) <= 4_000_000, len(got)
    assert got == random.Random(number).randbytes(4_000_000), (number, len(got))
    sock.close()
"""


class SplicedOverReturn(lib.Case):
    def test_every_byte_once(self):
        rounds = 40
        server = self.server(lib.PYTHON, "-c", SENDER, rounds, *(["return"] if lib.WRAP_S else []))
        client = self.client(lib.PYTHON, "-c", RECEIVER, server.port(), rounds)
        client.finish(60)
        server.finish()
        self.check_stats(server, client, 1)


if __name__ == "__main__":
    lib.main()
