"""The peer has closed, and a thread passes the descriptor on while another reads: the rest goes into another connection, and
the reader gets every byte, once."""

import lib

PROGRAM = """
import array, os, select, socket, threading
from socket import SOL_SOCKET, SCM_RIGHTS
data = bytes(range(250)) * 8
def read(sock, parts):
    while part := sock.recv(1):
        parts.append(part)
def pass_to_itself(sock):
    one, two = socket.socketpair()
    one.sendmsg([b"x"], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [sock.fileno()]))])
    _, control, _, _ = two.recvmsg(1, socket.CMSG_SPACE(4))
    copy = array.array("i", control[0][2])[0]
    os.dup2(copy, sock.fileno(), inheritable=False)
    for end in (copy, one.detach(), two.detach()):
        os.close(end)
with socket.create_server(("127.0.0.1", 0)) as listener:
    for number in range(150):
        sock = socket.create_connection(listener.getsockname())
        peer, _ = listener.accept()
        sock.sendall(b"hello")  # the handshake is over
        assert peer.recv(5) == b"hello"
        peer.sendall(data)
        peer.close()
        poller = select.poll()
        poller.register(sock, select.POLLRDHUP)
        poller.poll()
        parts = []
        reader = threading.Thread(target=read, args=(sock, parts))
        reader.start()
        pass_to_itself(sock)
        reader.join()
        assert b"".join(parts) == data, (number, len(parts))
        sock.close()
"""


class PassedWhileReading(lib.Case):
    def test_every_byte_once(self):
        program = self.client(lib.PYTHON, "-c", PROGRAM, wrap=lib.WRAP_C if lib.BOTH_SHIMMED else (),
                              env={"SMCD_LEARN": "0"})
        program.finish(60)
        if lib.BOTH_SHIMMED:
            self.assertGreaterEqual(program.stats().get("accelerated", 0), 150, program.stats())


if __name__ == "__main__":
    lib.main()
