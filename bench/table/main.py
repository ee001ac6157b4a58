#!/usr/bin/env python3
"""The measuring part of bench/table.sh: see there for what it does and for its options."""
import argparse
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "demo")]

import figures  # noqa: E402
import machine  # noqa: E402
import programs  # noqa: E402
from rows import MAY_STAY_ON_TCP, ROWS, Bench, Program  # noqa: E402
from runner import Failed, Runner  # noqa: E402

BENCH_PATIENCE_S = 900


class Redis(programs.Redis):
    """The demonstration's redis with the numbers of connections of the table."""

    def make_cases(self):
        return [self.case(50, 1), self.case(200, 1), self.case(50, 16)]

    def case(self, connections, pipeline):
        made = self._case(pipeline, 20000 if pipeline == 1 else 200000)
        inner = made.client

        def client(arm, port):
            words = inner(arm, port)
            words[words.index("-c") + 1] = str(connections)
            return words

        made.client = client
        made.name = f"redis-c{connections}-p{pipeline}"
        made.title = f"redis -c{connections} -P{pipeline}"
        return made


PROGRAMS = {**programs.ALL, "redis": Redis}


def parse_options(words):
    parser = argparse.ArgumentParser(prog="table.sh", add_help=False, usage="bash bench/table.sh --help")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results" / "table")
    parser.add_argument("--smcu", default="")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")  # options alone; run nothing
    options = parser.parse_args(words)
    names = [row.name for row in ROWS]
    options.only = [name for name in options.only.split(",") if name] or names
    if unknown := set(options.only) - set(names):
        parser.error(f"no rows {', '.join(sorted(unknown))}; --list names them")
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds: at least 1")
    # What the demonstration's runner asks for besides.
    options.both_tcp = False
    options.device = "loopback"
    return options


def run_bench(options, row, raw, commands):
    """The report of `smcu bench` for a row."""
    plan = row.measure
    # Relative names: the report keeps the command, and no folder of one machine belongs there.
    words = [options.smcu, "bench", *plan.words, "-r", str(options.rounds), "-t", str(options.seconds),
             "--through", plan.ours, "--against", ",".join(plan.peers) or "none",
             "--json", f"{row.name}.json", "--csv", f"{row.name}.csv"]
    commands.append(shlex.join(["smcu", *words[1:]]))
    with open(raw / f"{row.name}.txt", "wb") as out:
        subprocess.run(words, stdout=out, stderr=None, cwd=raw, timeout=BENCH_PATIENCE_S + 60 * options.rounds, check=False)
    return json.loads((raw / f"{row.name}.json").read_text())


def run_program(options, program_name, rows, runner, outcomes):
    """All rows that one program measures; TCP and ours in turns, each round beginning with the other."""
    program = PROGRAMS[program_name](options, runner.folder)
    wanted = {row.measure.case for row in rows}
    cases = [case for case in program.cases() if case.name in wanted]
    with runner.servers(program) as ports:
        for case in cases:
            case.scenarios()
        for round_number in range(options.rounds):
            for case in cases:
                for arm in case.arms if round_number % 2 == 0 else tuple(reversed(case.arms)):
                    runner.measure(case, arm, ports[case.server_of(arm)], round_number)
    for row in rows:
        for case in cases:
            # Against cubic where the program has both.
            fitting = [s for s in case.made if case.name == row.measure.case and s.key == row.measure.key]
            if fitting:
                outcomes[row.name] = figures.from_scenario(fitting[-1])


def loopback_congestion():
    """What a TCP connection over loopback really uses here."""
    with socket.create_server(("127.0.0.1", 0)) as listener, \
            socket.create_connection(listener.getsockname()) as client:
        return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


def missing_tools(rows):
    names = {row.measure.case.split("-")[0] for row in rows if isinstance(row.measure, Program)}
    return sorted(tool for name in names for tool in PROGRAMS[name].tools if machine.which(tool) is None)


def measure(options, rows, raw, folder):
    outcomes, problems, commands = {}, [], []
    by_program = {}
    for row in rows:
        if isinstance(row.measure, Program):
            by_program.setdefault(row.measure.case.split("-")[0], []).append(row)
    total = len(rows) * options.rounds * 2
    runner = Runner(options, folder, raw, total)
    for name, its_rows in by_program.items():
        run_program(options, name, its_rows, runner, outcomes)
    runner.progress.end()
    problems += runner.failures
    commands += [f"{what}: {command}".replace(options.smcu, "smcu").replace(str(folder), "FOLDER")
                 for what, command in runner.commands.items()]
    for row in rows:
        if isinstance(row.measure, Bench):
            report = run_bench(options, row, raw, commands)
            problems += [f"{row.name}: {text}"
                         for text in figures.problems_of(report, row.name not in MAY_STAY_ON_TCP)]
            outcomes[row.name] = figures.from_report(row, report)
    return outcomes, problems, commands


def drop_large(raw, limit=100_000):
    """Raw data must fit into the repository: outputs beyond the limit keep their ends."""
    for path in raw.iterdir():
        if path.stat().st_size > limit and path.suffix not in (".json", ".csv"):
            data = path.read_bytes()
            path.write_bytes(data[:limit // 2] + b"\n[...]\n" + data[-limit // 2:])


def run(options):
    rows = [row for row in ROWS if row.name in options.only]
    if options.list:
        print("\n".join(f"{row.name:16} {row.title}" for row in ROWS))
        return 0
    if options.check:
        return 0
    if missing := missing_tools(rows):
        raise Failed(f"programs are missing: {', '.join(missing)} (bash tests/setup.sh demo)")
    if not os.access(options.smcu, os.X_OK):
        raise Failed(f"{options.smcu} does not exist: bash tests/run.sh --build-only")
    options.smcu = os.path.abspath(options.smcu)
    options.out = options.out.absolute()
    raw = options.out / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for old in raw.iterdir():
        old.unlink()
    facts = machine.describe(options)
    facts["loopback_congestion"] = loopback_congestion()
    with tempfile.TemporaryDirectory(prefix="smcu-table-") as folder:
        Path(folder).chmod(0o755)
        outcomes, problems, commands = measure(options, rows, raw, Path(folder))
    facts["load_after"] = machine.load()
    drop_large(raw)
    text = (f"TCP: {facts['loopback_congestion']}; {options.rounds} rounds of {options.seconds} s in turns; "
            f"{facts['cpu']}, {facts['cpus']} CPUs, Linux {facts['kernel']}; load before {facts['load_before']}, "
            f"after {facts['load_after']}\n\n" + figures.table(rows, outcomes))
    text += "".join(f"\nPROBLEM: {problem}" for problem in problems) + ("\n" if problems else "")
    (options.out / "table.md").write_text(text)
    (options.out / "commands.txt").write_text("\n".join(commands) + "\n")
    (options.out / "summary.json").write_text(json.dumps(
        {"schema": "smcu.table/1", "machine": facts, "outcomes": outcomes, "problems": problems}, indent=2) + "\n")
    print(text, end="")
    whole = all(outcomes.get(row.name, {}).get("result") for row in rows)
    return 0 if whole and not problems else 1


def main():
    # SIGTERM ends the run as an exception, so that servers are stopped and the folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(run(parse_options(sys.argv[1:])))
    except Failed as failure:
        print(f"table: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
