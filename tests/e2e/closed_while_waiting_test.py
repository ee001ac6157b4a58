"""A thread waits in recv() while another puts another file in the descriptor's place and interrupts
it, as Java's close() does."""

import lib

PROGRAM = """
import os, signal, socket, sys, threading, time
signal.signal(signal.SIGUSR1, lambda *_: None)
ended, other = socket.socketpair()
other.close()
def wait(sock, result):
    result.append(sock.recv(100))  # interrupted, it is called again and finds the other file
for _ in range(20):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    sock.sendall(b"hello")
    assert sock.recv(5) == b"hello"
    result = []
    thread = threading.Thread(target=wait, args=(sock, result))
    thread.start()
    time.sleep(0.01)  # it is to be asleep
    os.dup2(ended.fileno(), sock.fileno())
    signal.pthread_kill(thread.ident, signal.SIGUSR1)
    thread.join()
    assert result == [b""], result
    sock.close()
"""


class ClosedWhileWaiting(lib.Case):
    def test_another_file_in_its_place(self):
        server = self.server(lib.program("e2e_server"), "echo")
        client = self.client(lib.PYTHON, "-c", PROGRAM, server.port())
        client.finish(60)
        server.kill(15)
        server.finish()
        self.check_stats(server, client, 1)


if __name__ == "__main__":
    lib.main()
