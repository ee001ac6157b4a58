"""The options that gRPC sets on each of its sockets leave them accelerated: SO_ZEROCOPY, of which it makes no use by default, and
TCP_INQ, by whose answer it decides whether to wait for an edge."""

import lib

PROGRAM = """
import socket, sys, threading
ZEROCOPY = (socket.SOL_SOCKET, 60, 1)
INQ = (socket.IPPROTO_TCP, 36, 1)
listener = socket.socket()
listener.setsockopt(*ZEROCOPY)
listener.setsockopt(*(INQ if sys.argv[1] == "listener" else ZEROCOPY))
listener.bind(("127.0.0.1", 0))
listener.listen()
def serve():
    peer, _ = listener.accept()
    while data := peer.recv(100_000):
        peer.sendall(data)
    control = peer.recvmsg(1, 100)[1]
    left.append(int.from_bytes(control[0][2], "little") if control else None)
    peer.close()
left = []
server = threading.Thread(target=serve)
server.start()
sock = socket.socket()
sock.setsockopt(*ZEROCOPY)
sock.connect(listener.getsockname())
sock.setsockopt(*INQ)
sock.sendall(bytes(1000))
sock.recv(1000, socket.MSG_WAITALL | socket.MSG_PEEK)
for size in (1, 499, 500):
    data, control, flags, _ = sock.recvmsg(size, 100)
    left.append((len(data), control[0][:2], int.from_bytes(control[0][2], "little"), flags))
sock.shutdown(socket.SHUT_WR)
server.join()
left.append(int.from_bytes(sock.recvmsg(1, 100)[1][0][2], "little"))
print(left)
"""
ANSWERS = "[(1, (6, 36), 999, 0), (499, (6, 36), 500, 0), (500, (6, 36), 0, 0), {}, 1]"


class RpcOptions(lib.Case):
    def check(self, where, listener_tells):
        program = self.client(lib.PYTHON, "-c", PROGRAM, where, wrap=lib.WRAP_C if lib.BOTH_SHIMMED else ())
        self.assertIn(ANSWERS.format(listener_tells), program.finish(60))
        if lib.BOTH_SHIMMED:
            self.assertEqual(program.stats().get("accelerated", 0), 2, program.stats())

    def test_set_on_the_connection(self):
        self.check("connection", None)

    def test_inherited_from_the_listener(self):
        self.check("listener", 1)


if __name__ == "__main__":
    lib.main()
