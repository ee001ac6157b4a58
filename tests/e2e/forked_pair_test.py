"""Both ends of a connection fork: nobody who reads the link knows the doorbells of the children, and
they are woken by bytes on the TCP connection, which parent and child both watch."""

import lib

ROUNDS = 300
SERVER = """
import os, select, socket, time
listener = socket.create_server(("127.0.0.1", 0))
print("port", listener.getsockname()[1], flush=True)
sock, _ = listener.accept()
sock.sendall(sock.recv(5))
if os.fork() == 0:
    wait = select.poll()
    wait.register(sock, select.POLLIN)
    for number in range(%d):
        time.sleep(0.001)  # the peer is to be asleep, so that it must be woken
        sock.sendall(b"x" * 100)
        wait.poll()
        assert len(sock.recv(100, socket.MSG_WAITALL)) == 100
    os._exit(0)
sock.close()
raise SystemExit(os.wait()[1])
""" % ROUNDS
CLIENT = """
import os, select, socket, sys
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sock.sendall(b"hello")
assert sock.recv(5) == b"hello"
wait = select.poll()
wait.register(sock, select.POLLIN)
if os.fork() == 0:
    for number in range(%d):
        wait.poll()
        assert len(sock.recv(100, socket.MSG_WAITALL)) == 100
        sock.sendall(b"y" * 100)
    os._exit(0)
raise SystemExit(os.wait()[1])
""" % ROUNDS


class ForkedPair(lib.Case):
    def test_children_wake_each_other(self):
        server = self.server(lib.PYTHON, "-c", SERVER)
        client = self.client(lib.PYTHON, "-c", CLIENT, server.port())
        client.finish(60)
        server.finish(60)
        self.check_stats(server, client, 1)


if __name__ == "__main__":
    lib.main()
