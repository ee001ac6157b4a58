"""A program that has used up its descriptors or its memory: connections work on TCP, or are reset; no byte is wrong."""

import lib

# Takes connections one by one when the limit leaves few descriptors, echoes, and closes them.
SERVER = """
import os, resource, select, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
taken = []
what, how, rest, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
waiter = {"epoll": select.epoll, "poll": select.poll, "block": lambda: None}[how]()
def fill_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        pass
    for _ in range(rest):
        os.close(taken.pop())
def fill_memory():
    # The library's next piece of shared memory is refused, the interpreter lives on what it has.
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + 8192, resource.RLIM_INFINITY))
buffer = bytearray(1000)
def receive(sock):
    if waiter:
        assert waiter.poll() == [(sock.fileno(), select.POLLIN)]
    return sock.recv_into(buffer)
{"descriptors": fill_descriptors, "memory": fill_memory}[what]()
for number in range(rounds):
    sock, peer = listener.accept()
    if waiter:
        waiter.register(sock, select.POLLIN)
    try:
        while count := receive(sock):
            sock.sendall(buffer[:count])
    except OSError as error:
        print("error", flush=True)
    if waiter:
        waiter.unregister(sock)
    sock.close()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print("done", flush=True)
"""

CLIENT = """
import socket, sys
for number in range(int(sys.argv[2])):
    with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as sock:
        try:
            for text in b"first", b"second", b"x" * 900:
                sock.sendall(text)
                assert sock.recv(len(text), socket.MSG_WAITALL) == text
            print("echoed", flush=True)
        except ConnectionError:
            print("reset", flush=True)
"""

# Both ends in one process: nothing is left at connect(), and one descriptor at accept().
PAIR = """
import os, resource, socket
listener = socket.create_server(("127.0.0.1", 0))
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
taken = []
for again in range(3):
    client = socket.socket()
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        pass
    client.connect(listener.getsockname())
    os.close(taken.pop())
    server, peer = listener.accept()
    client.sendall(b"to the server")
    assert server.recv(100) == b"to the server"
    server.sendall(b"to the client")
    assert client.recv(100) == b"to the client"
    client.close()
    assert server.recv(100) == b""
    server.close()
"""

ROUNDS = 3


class Exhaustion(lib.Case):
    def serve(self, what, how, rest=1):
        server = self.server(lib.PYTHON, "-c", SERVER, what, how, rest, ROUNDS)
        client = self.client(lib.PYTHON, "-c", CLIENT, server.port(), ROUNDS)
        server.expect("^done")
        server.finish()
        return client.finish().split()

    def test_server_without_descriptors(self):
        for how in "block", "poll", "epoll":
            for rest in range(1, 9):
                with self.subTest(how=how, rest=rest):
                    self.assertEqual(self.serve("descriptors", how, rest), ["echoed"] * ROUNDS)

    def test_server_without_memory(self):
        wanted = "reset" if lib.BOTH_SHIMMED else "echoed"
        self.assertEqual(self.serve("memory", "block"), [wanted] * ROUNDS)

    def test_both_ends_without_descriptors(self):
        self.client(lib.PYTHON, "-c", PAIR).finish()


if __name__ == "__main__":
    lib.main()
