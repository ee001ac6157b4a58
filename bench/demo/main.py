#!/usr/bin/env python3
"""The measuring part of bench/demo.sh: see there for what it does and for its options."""
import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import device  # noqa: E402
import machine  # noqa: E402
import programs  # noqa: E402
import report  # noqa: E402
from runner import Failed, Runner  # noqa: E402

RESULTS = Path(__file__).resolve().parent.parent / "results"
ROUNDS_MIN = 3


def parse_options(words):
    parser = argparse.ArgumentParser(prog="demo.sh", add_help=False,
                                     usage="bash bench/demo.sh --help")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--device", choices=device.NAMES, default=device.NAMES[0])
    parser.add_argument("--only", default=",".join(programs.ALL))
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN)
    parser.add_argument("--smcu", default="")
    parser.add_argument("--check", action="store_true")     # options and programs; run nothing
    parser.add_argument("--both-tcp", action="store_true")  # a test of this program
    options = parser.parse_args(words)
    options.only = [name for name in options.only.split(",") if name]
    unknown = set(options.only) - set(programs.ALL)
    if unknown or not options.only:
        parser.error(f"--only takes some of {','.join(programs.ALL)}, "
                     f"not {','.join(sorted(unknown)) or 'nothing'}")
    if options.rounds < ROUNDS_MIN:
        parser.error(f"--rounds: at least {ROUNDS_MIN}, a median of fewer says nothing")
    options.seconds = 1 if options.quick else 2
    return options


def check_programs(options):
    missing = [tool for name in options.only for tool in programs.ALL[name].tools
               if machine.which(tool) is None]
    if missing:
        raise Failed(f"programs are missing: {', '.join(missing)} (bash tests/setup.sh demo)")


def check_library(options):
    if options.both_tcp:
        return
    if not os.access(options.smcu, os.X_OK):
        raise Failed(f"{options.smcu} does not exist: bash tests/run.sh --build-only")
    done = subprocess.run([options.smcu, "info", "--json"], stdout=subprocess.PIPE, timeout=60,
                          check=False)
    facts = json.loads(done.stdout or b"{}")
    if done.returncode != 0:
        raise Failed(f"the library does not work: {facts.get('preload')}, "
                     f"loads: {facts.get('preload_loads')}")


def measure(options, runner, folder):
    """All scenarios of the programs asked for; their sides take turns within each round."""
    scenarios = []
    for name in options.only:
        program = programs.ALL[name](options, folder)
        with runner.servers(program) as ports:
            for case in program.cases():
                scenarios += case.scenarios()
            for round_number in range(options.rounds):
                for case in program.cases_made:
                    # TCP first in even rounds, smcu in odd ones: neither profits from the order.
                    arms = case.arms if round_number % 2 == 0 else tuple(reversed(case.arms))
                    for arm in arms:
                        runner.measure(case, arm, ports[case.server_of(arm)], round_number)
    return scenarios


def count_runs(options):
    total = 0
    for name in options.only:
        total += sum(len(case.arms) for case in programs.ALL[name](options, None).cases())
    return total * options.rounds


def run(options):
    check_programs(options)
    if options.check:
        return 0
    check_library(options)
    results = RESULTS / time.strftime("%Y%m%d-%H%M%S")
    (results / "raw").mkdir(parents=True)
    before = machine.describe(options)
    with tempfile.TemporaryDirectory(prefix="smcu-demo-") as folder, \
            device.environment(options, results / "raw") as variables:
        Path(folder).chmod(0o755)
        runner = Runner(options, Path(folder), results / "raw", count_runs(options))
        runner.variables = variables
        report.print_settings(before)
        scenarios = measure(options, runner, Path(folder))
    runner.progress.end()
    document = report.summary(options, before, machine.load(), scenarios, runner)
    text = report.text(document)
    (results / "summary.json").write_text(json.dumps(document, indent=2) + "\n")
    (results / "summary.txt").write_text(report.settings_text(before) + text)
    print(text, end="")
    print(f"Raw outputs: {results}")
    return 1 if document["failures"] else 0


def main():
    # SIGTERM ends the run as an exception, so that servers are stopped and the folder is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        sys.exit(run(parse_options(sys.argv[1:])))
    except (Failed, device.NoFabric) as failure:
        print(f"demo: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
