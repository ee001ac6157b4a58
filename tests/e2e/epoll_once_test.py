"""Connections go to TCP, each with bytes that have come already, while a set with all of them is waited on: a descriptor
that the kernel and we both know of for a moment is reported once in a batch."""

import lib
import raw
import clc

COUNT = 400
ROUNDS = 3

CLIENT = """
import select, socket, sys
port, count, rounds = (int(word) for word in sys.argv[1:4])
for _ in range(rounds):
    socks, got = {}, {}
    poller = select.epoll()
    for _ in range(count):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setblocking(False)
        sock.sendall(b"hello")
        socks[sock.fileno()], got[sock.fileno()] = sock, b""
        poller.register(sock, select.EPOLLIN)
    missing = count
    while missing:
        events = poller.poll()
        names = [fd for fd, _ in events]
        assert len(names) == len(set(names)), "reported twice in one batch"
        for fd, _ in events:
            got[fd] += socks[fd].recv(100)  # nothing there: BlockingIOError
            missing -= got[fd] == b"world"
    for sock in socks.values():
        sock.close()
    poller.close()
print("done", flush=True)
"""


HALF_CLOSE = """
import select, socket
listener = socket.create_server(("127.0.0.1", 0))
first = socket.create_connection(listener.getsockname())
second, _ = listener.accept()
first.sendall(b"1")
assert second.recv(1) == b"1"
first.shutdown(socket.SHUT_WR)
poller = select.epoll()
poller.register(first, select.EPOLLOUT | select.EPOLLET)
assert poller.poll(0) == [(first.fileno(), select.EPOLLOUT)]
print("more", len(poller.poll(0.2)))
assert second.recv(1) == b""
"""


class EpollOnce(lib.Case):
    def test_connections_that_go_to_tcp_with_bytes(self):
        server = raw.Server()
        self.addCleanup(server.close)
        client = self.client(lib.PYTHON, "-c", CLIENT, server.port, COUNT, ROUNDS)
        for _ in range(ROUNDS):
            socks = [server.accept() for _ in range(COUNT)]
            for sock in socks:
                data = raw.receive_until(sock, b"hello")
                self.assertEqual(clc.strip(data)[1], b"hello")
                # The answer to the Proposal comes late, and what the client waits for right behind it.
                sock.sendall((clc.accept() if lib.WRAP_C else b"") + b"world")
            for sock in socks:
                raw.receive_all(sock)
                sock.close()
        client.expect("^done", 60)
        client.finish()

    def test_a_half_close_is_one_edge(self):
        """On TCP the acknowledgement of the FIN, which may wait 40 ms, is another one."""
        program = self.start([lib.PYTHON, "-c", HALF_CLOSE], wrap=lib.WRAP_C)
        self.assertIn(program.finish(), ("more 0\n",) if lib.WRAP_C else ("more 0\n", "more 1\n"))
        if lib.WRAP_C:
            self.assertEqual(program.stats()["accelerated"], 2)


if __name__ == "__main__":
    lib.main()
