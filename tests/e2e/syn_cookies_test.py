"""SYN cookies: the server cannot see the client's mark, yet no byte of a handshake reaches the program.

Runs in a network namespace of its own, in which the kernel answers every SYN with a cookie.
"""

import os
import subprocess
import sys

import late_proposal_test
import lib

COOKIES = "/proc/sys/net/ipv4/tcp_syncookies"


class SynCookies(lib.Case):
    def test_echo(self):
        server = self.server(lib.program("e2e_server"), "echo")
        port = server.port()
        for _ in range(20):
            client = self.client(lib.program("e2e_actor"), f"connect:{port}", "pattern-send:50k",
                                 "pattern-recv:50k", "shutdown:wr", "recv-all")
            lines = client.finish(30).splitlines()
            self.assertIn("pattern 51200 full", lines)
            self.assertEqual(lines[-1], "received end ")

    def test_banner(self):
        server = self.server(lib.program("e2e_server"), "banner")
        port = server.port()
        for _ in range(5):
            client = self.client(lib.program("e2e_actor"), f"connect:{port}", "recv:11",
                                 "send:hello", "shutdown:wr", "recv-all")
            self.assertIn("220 ready", client.finish(30))

    def test_a_silent_client_is_not_waited_for(self):
        """It may be a plain one, to which whoever gets the connection will speak first."""
        server = self.server(lib.PYTHON, "-c", late_proposal_test.SERVER, "127.0.0.1")
        port = server.port()
        server.say("passed")
        client = self.client(lib.PYTHON, "-c", late_proposal_test.STRANGER, "127.0.0.1", port, wrap=())
        server.expect("^handed over")
        client.say("now")
        self.assertEqual(server.expect("^(?:read (.*)|reset)$").group(1), late_proposal_test.TAIL.hex())


def main():
    if os.environ.get("SMCD_E2E_NAMESPACE") != "own":
        own = ["unshare", *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net"]
        refused = subprocess.run([*own, "true"], stderr=subprocess.PIPE, text=True, check=False)
        if refused.returncode != 0 and os.geteuid() != 0:
            print("skipped: this user may have no network namespace of its own:", refused.stderr)
            return
        environment = dict(os.environ, SMCD_E2E_NAMESPACE="own")
        raise SystemExit(subprocess.run([*own, sys.executable, "-B", *sys.argv],
                                        env=environment, check=False).returncode)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with open(COOKIES, "w", encoding="ascii") as setting:
        setting.write("2")
    lib.main()


if __name__ == "__main__":
    main()
