"""Threads with small stacks: the library's thread-local memory comes out of them."""

import lib

# The sizes that programs are known to ask for: 64 KiB (the timer thread of MariaDB).
PROGRAM = """
import socket, sys, threading
threading.stack_size(65536)
listener = socket.create_server(("127.0.0.1", 0))
def serve():
    sock, _ = listener.accept()
    while data := sock.recv(1000):
        sock.sendall(data)
    sock.close()
server = threading.Thread(target=serve)
server.start()
def talk():
    with socket.create_connection(listener.getsockname()) as sock:
        for number in range(100):
            sock.sendall(b"%d" % number)
            assert sock.recv(1000) == b"%d" % number
client = threading.Thread(target=talk)
client.start()
client.join()
server.join()
"""


class SmallStack(lib.Case):
    def test_echo(self):
        process = self.client(lib.PYTHON, "-c", PROGRAM)
        process.finish()
        if lib.BOTH_SHIMMED:
            self.assertEqual(process.stats().get("accelerated", 0), 2, process.stats())


if __name__ == "__main__":
    lib.main()
