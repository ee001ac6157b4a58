"""Both ends of a connection in one process: each call finds what it finds on TCP, without waiting for any thread."""

from pathlib import Path

import lib

PROGRAM = Path(__file__).parent / "both_ends.py"


def differs(name):
    """docs/known-differences.md, "What TCP tells about the connection" and "Ends"."""
    who, before, done, after = name.split()
    both_shut = done == "both" and after == "wen"
    unread_at_a_server_that_was_not_used = (who, before, done) == ("s", "c", "close")
    return both_shut or unread_at_a_server_that_was_not_used


class OwnPeer(lib.Case):
    def compare(self, mode):
        args = (lib.PYTHON, PROGRAM, mode)
        plain = self.start(args).finish()
        process = self.start(args, lib.WRAP, env={"SMCD_LEARN": "0"})
        found = process.finish()
        for line, expected in zip(found.splitlines(), plain.splitlines(), strict=True):
            if not differs(line.split(":")[0]):
                self.assertEqual(line, expected)
        if lib.BOTH_SHIMMED:
            self.assertGreater(process.stats()["accelerated"], 300)

    def test_connect_waits(self):
        self.compare("blocking")

    def test_connect_does_not_wait(self):
        self.compare("non-blocking")


if __name__ == "__main__":
    lib.main()
