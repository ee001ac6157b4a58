"""What the handshake tests share: a server under test, honest clients beside it, real messages."""

import signal

import clc
import lib
import raw


class HandshakeCase(lib.Case):
    """Scripted peers against programs under WRAP_S and WRAP_C; on plain TCP every byte of a
    script is application data, under the library the CLC messages are not."""

    watchdog_s = 180.0

    def echo(self, mode="echo"):
        """(process, port) of a server under test; stop_server() must find it alive."""
        server = self.server(lib.program("e2e_server"), mode)
        return server, server.port()

    def dial(self, port, marked=True):
        """A scripted client's connection, closed at the end of the test."""
        sock = raw.client(port, marked)
        self.addCleanup(sock.close)
        return sock

    def stop_server(self, server, port, connections=1):
        """The server survived: it still serves an honest client, then ends in good order."""
        self.honest(port)
        server.kill(signal.SIGTERM)
        server.finish()
        if lib.BOTH_SHIMMED:
            self.assertGreaterEqual(server.stats().get("accelerated", 0), connections,
                                    server.stats())

    def honest(self, port):
        """One client of our own: its bytes arrive, accelerated if both ends are shimmed.
        Returns the milliseconds that its connect() took."""
        client = self.client(lib.program("e2e_actor"), f"connect:{port}", "pattern-send:50k",
                             "pattern-recv:50k", "shutdown:wr", "recv-all")
        lines = client.finish(30).splitlines()
        self.assertIn("pattern 51200 full", lines)
        self.assertEqual(lines[-1], "received end ")
        if lib.BOTH_SHIMMED:
            self.assertEqual(client.stats().get("accelerated", 0), 1, client.stats())
        return float(next(line for line in lines if line.startswith("connected ")).split()[1])

    def real_proposal(self):
        """The Proposal of a client of ours, caught by a scripted server; on plain TCP the
        hand-made one. Its device and EIDs are those that a server of ours accepts."""
        if not lib.WRAP_C:
            return clc.proposal()
        server = raw.Server()
        self.addCleanup(server.close)
        self.client(lib.program("e2e_actor"), f"connect:{server.port}", "recv-all")
        sock = server.accept()
        self.addCleanup(sock.close)  # until then the client lives: a server can reach it
        return raw.message(sock)

    def real_accept(self):
        """The Accept of a server of ours to real_proposal(); on plain TCP the hand-made one."""
        if not (lib.WRAP_S and lib.WRAP_C):
            return clc.accept()
        server, port = self.echo()
        sock = self.dial(port)
        sock.sendall(self.real_proposal())
        caught = raw.message(sock)
        sock.close()
        server.kill(signal.SIGTERM)
        server.finish()
        return caught

    def seen_by_app(self, control, data):
        """What the application behind a shimmed server must get of control + data."""
        return data if lib.WRAP_S else control + data
