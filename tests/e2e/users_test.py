"""Two users: they share memory if each allows the other, and stay on TCP with a reason if not."""

import os
import unittest

import lib

NOBODY = 65534

SERVER = """
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
os.setresuid(*[int(sys.argv[1])] * 3)  # as a daemon that begins as root
print("port", listener.getsockname()[1], flush=True)
sock = listener.accept()[0]
while data := sock.recv(100000):
    sock.sendall(data)
"""

CLIENT = """
import os, socket, sys
os.setresuid(*[int(sys.argv[1])] * 3)
sock = socket.create_connection(("127.0.0.1", int(sys.argv[2])))
for size in (1, 5000, 60000):
    sock.sendall(b"x" * size)
    answer = b""
    while len(answer) < size:
        answer += sock.recv(100000)
    assert answer == b"x" * size
"""


@unittest.skipUnless(lib.BOTH_SHIMMED, "nothing is shared on plain TCP")
@unittest.skipIf(os.geteuid() != 0, "another user cannot become two users")
class Users(lib.Case):
    def pair(self, server_uid, client_uid, server_allows, client_allows):
        """The two processes' statistics."""
        server = self.server(lib.PYTHON, "-c", SERVER, str(server_uid),
                             env={"SMCD_ALLOW_UIDS": server_allows})
        client = self.client(lib.PYTHON, "-c", CLIENT, str(client_uid), server.port(),
                             env={"SMCD_ALLOW_UIDS": client_allows})
        client.finish(30)
        server.finish(30)
        return server.stats(), client.stats()

    def setUp(self):
        super().setUp()
        self.folder.chmod(0o777)  # both write their statistics here

    def test_each_allows_the_other(self):
        for server_uid, client_uid in ((NOBODY, 0), (0, NOBODY), (NOBODY, NOBODY - 1)):
            with self.subTest(server=server_uid, client=client_uid):
                both = f"{client_uid},{server_uid}"
                for stats in self.pair(server_uid, client_uid, both, both):
                    self.assertEqual((stats["accelerated"], stats["tcp"]), (1, 0))

    def test_one_side_alone_allows(self):
        for server_allows, client_allows in (("", ""), ("0", ""), ("", str(NOBODY))):
            with self.subTest(server=server_allows, client=client_allows):
                server, client = self.pair(NOBODY, 0, server_allows, client_allows)
                self.assertEqual((server["accelerated"], client["accelerated"]), (0, 0))
                self.assertEqual((server["tcp"], client["tcp"]), (1, 1))
                if not server_allows:
                    self.assertIn("peer_uid", server["tcp_reasons"])


if __name__ == "__main__":
    lib.main()
