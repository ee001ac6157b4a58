"""Programs that write more than a ring holds before anybody reads: TCP's buffers take it, so it must go through here, too."""

import lib

# Two megabytes: more than any ring, less than what TCP takes on loopback.
SIZE = 2_000_000

PRELUDE = """
import hashlib, os, select, socket, sys
size = int(sys.argv[1])
data = hashlib.shake_128(b"held up").digest(size)
def receive(sock):
    parts, got = [], 0
    while got < size:
        part = sock.recv(1 << 16)
        assert part, got
        parts.append(part)
        got += len(part)
    assert b"".join(parts) == data
def pair():
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    server, _ = listener.accept()
    listener.close()
    client.sendall(b"hello")  # the handshake is over
    assert server.recv(5) == b"hello"
    server.sendall(b"hello")
    assert client.recv(5) == b"hello"
    return client, server
"""

PROGRAMS = {
    "to_itself": """
client, server = pair()
client.sendall(data)
receive(server)
""",
    "both_write_first": """
client, server = pair()
if os.fork() == 0:
    client.close()
    server.sendall(data)
    receive(server)
    os._exit(0)
server.close()
client.sendall(data)
receive(client)
assert os.wait()[1] == 0
""",
    "by_poll": """
client, server = pair()
client.setblocking(False)
poller, sent = select.poll(), 0
poller.register(client, select.POLLOUT)
while sent < size:
    poller.poll()
    sent += client.send(data[sent:])
receive(server)
""",
    "by_edge": """
client, server = pair()
client.setblocking(False)
poller, sent = select.epoll(), 0
poller.register(client, select.EPOLLOUT | select.EPOLLET)
while sent < size:
    poller.poll()
    try:
        while sent < size:
            sent += client.send(data[sent:])
    except BlockingIOError:
        pass
receive(server)
""",
    "file": """
client, server = pair()
with open(sys.argv[2], "wb+") as file:
    file.write(data)
    file.flush()
    assert client.sendfile(file, 0) == size
receive(server)
""",
    "in_a_child": """
client, server = pair()
client.setblocking(False)
try:
    while True:
        client.send(bytes(1 << 16))  # the ring is full: a look is due in the parent
except BlockingIOError:
    pass
server.setblocking(False)
try:
    while server.recv(1 << 16):
        pass
except BlockingIOError:
    pass
server.setblocking(True)
client.setblocking(True)
if os.fork() == 0:
    client.sendall(data)
    receive(server)
    os._exit(0)
client.close()
server.close()
assert os.wait()[1] == 0
""",
}


class HeldUp(lib.Case):
    def check(self, name):
        program = self.client(lib.PYTHON, "-c", PRELUDE + PROGRAMS[name], SIZE,
                              self.folder / "file", wrap=lib.WRAP_C if lib.BOTH_SHIMMED else ())
        program.finish(60)
        if lib.BOTH_SHIMMED:
            stats = program.stats()
            self.assertGreaterEqual(stats.get("accelerated", 0), 2, stats)
            self.assertGreaterEqual(stats["tcp_reasons"].get("peer_not_reading", 0), 1, stats)


for _name in PROGRAMS:
    setattr(HeldUp, f"test_{_name}", lambda self, name=_name: self.check(name))


if __name__ == "__main__":
    lib.main()
