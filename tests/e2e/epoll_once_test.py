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


if __name__ == "__main__":
    lib.main()
