"""A child takes a connection over exec(), for which it returns to TCP, while the parent closes it: the end stays an end. The parent
had found the connection accelerated, had waited for the child, and said goodbye with a reset for bytes that TCP had delivered."""

import concurrent.futures
import os
import subprocess

import lib

RUNS = 160
AT_ONCE = 4  # more than there are processors: the parent loses its own between two looks


class ExecRace(lib.Case):
    def run_case(self, number):
        environment = dict(os.environ, SMCD_STATS_FILE=str(self.folder / f"stats-{number}"))
        case = subprocess.run([*lib.WRAP_S, lib.program("e2e_semantics"), "run", "exec_without_the_library", "--server"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment, timeout=60 * lib.SCALE, check=False)
        return case.stdout

    def test_parent_closes(self):
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            texts = set(pool.map(self.run_case, range(RUNS)))
        self.assertEqual(len(texts), 1, texts)
        self.assertIn("'' end", texts.pop())


if __name__ == "__main__":
    lib.main()
