"""The programs of the demonstration: how servers and clients are started, and their figures."""
import csv
import dataclasses
import io
import json
import os
import re
import signal
import statistics
from pathlib import Path

import machine

VALUE_BYTES = 1024
FILE_BYTES = 128
# The sides that smcu is compared with, and what their rows add to the title.
BASELINE_NOTES = {"tcp": "", "tcp-cubic": " (TCP with cubic)"}


@dataclasses.dataclass
class Scenario:
    """One figure of one case: values per arm and round."""
    case: "Case"
    key: str
    title: str
    unit: str
    higher_is_better: bool = True
    baseline: str = "tcp"  # the arm that "smcu" is compared with
    values: dict = dataclasses.field(default_factory=dict)

    def median(self, arm):
        seen = list(self.values.get(arm, {}).values())
        return statistics.median(seen) if seen else None

    def ratio(self):
        """How many times better smcu is, from the medians; None without both."""
        return self._better(self.median(self.baseline), self.median("smcu"))

    def pair_ratios(self):
        """The same per round, from runs that were neighbours in time."""
        base, ours = self.values.get(self.baseline, {}), self.values.get("smcu", {})
        return [self._better(base[r], ours[r]) for r in sorted(base) if r in ours]

    def _better(self, tcp, smcu):
        if not tcp or not smcu:
            return None
        return smcu / tcp if self.higher_is_better else tcp / smcu


class Case:
    """One way to run a client against the program's server."""

    def __init__(self, program, name, title, client, parse, figures, arms=("tcp", "smcu")):
        self.program = program
        self.name = name
        self.title = title
        self.client = client  # (arm, port) -> words
        self.parse = parse    # text -> {key: value}; ValueError when the run failed
        self.figures = figures  # (key, title, unit, higher_is_better)
        self.arms = arms
        self.made = None
        self.calibrate = None  # (arm, figures): called with those of one unmeasured run per arm

    def scenarios(self):
        if self.made is None:
            baselines = [arm for arm in self.arms if arm != "smcu"]
            self.made = [Scenario(self, key, title + BASELINE_NOTES[arm], unit, higher, arm)
                         for key, title, unit, higher in self.figures for arm in baselines]
        return self.made

    def server_of(self, arm):
        return "smcu" if arm == "smcu" else "tcp"

    def add(self, arm, round_number, figures):
        for scenario in self.scenarios():
            if arm in (scenario.baseline, "smcu"):
                scenario.values.setdefault(arm, {})[round_number] = figures[scenario.key]


class Program:
    """Base: `pinned` programs have the server on one CPU and the client on another."""
    name = ""
    tools = ()
    pinned = True
    stop_signal = signal.SIGTERM

    def __init__(self, options, folder):
        self.options = options
        self.folder = Path(folder) if folder else None
        self.cases_made = None

    def cases(self):
        if self.cases_made is None:
            self.cases_made = self.make_cases()
        return self.cases_made


def found(pattern, text, what):
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"no {what}")
    return match


def parse_redis(text):
    figures = {}
    for row in csv.reader(io.StringIO(text)):
        if len(row) >= 2 and row[0] in ("SET", "GET"):
            figures[row[0].lower()] = float(row[1])
    if set(figures) != {"set", "get"}:
        raise ValueError("rows for SET and GET are not both there")
    return figures


class Redis(Program):
    name = "redis"
    tools = ("redis-server", "redis-benchmark")

    def server(self, port, _side):
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "",
                "--appendonly", "no", "--daemonize", "no"]

    def make_cases(self):
        return [self._case(1, 20000), self._case(16, 200000)]

    def _case(self, pipeline, requests_first):
        # redis-benchmark counts requests, not seconds: a first short run tells each side's number.
        requests = {}

        def client(arm, port):
            return ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), "-t", "set,get",
                    "-c", "50", "-P", str(pipeline), "-n", str(requests.get(arm, requests_first)),
                    "-d", str(VALUE_BYTES), "--csv"]

        def calibrate(arm, figures):
            # SET and GET run one after the other, each with this number.
            per_second = statistics.harmonic_mean([figures["set"], figures["get"]])
            requests[arm] = max(requests_first, int(per_second * self.options.seconds / 2))

        title = f"redis -c50 -P{pipeline} 1 KiB"
        case = Case(self, f"redis-p{pipeline}", title, client, parse_redis,
                    [("get", title.replace("redis", "redis GET"), "req/s", True),
                     ("set", title.replace("redis", "redis SET"), "req/s", True)])
        case.calibrate = calibrate
        return case


def parse_wrk(text):
    rate = float(found(r"Requests/sec:\s*([\d.]+)", text, "request rate")[1])
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+)", text)
    broken = sum(int(errors[i]) for i in (1, 2, 3)) if errors else 0
    if bad or broken or rate == 0:
        raise ValueError(f"requests failed: {(bad or errors or [None])[0]}")
    return {"rate": rate}


NGINX_CONFIG = """\
daemon off;
worker_processes 1;
{user}pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


class Nginx(Program):
    name = "nginx"
    tools = ("nginx", "wrk")

    def server(self, port, side):
        folder = self.folder / f"nginx-{side}"
        (folder / "www").mkdir(parents=True)
        (folder / "www" / "file").write_bytes(b"x" * FILE_BYTES)
        # Processes of different users never share memory: the worker keeps the user of the client.
        user = "user root;\n" if os.geteuid() == 0 else ""
        config = folder / "nginx.conf"
        config.write_text(NGINX_CONFIG.format(folder=folder, port=port, user=user))
        return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(config)]

    def make_cases(self):
        return [self._case(64), self._case(500)]

    def _case(self, connections):
        def client(_arm, port):
            return ["wrk", "-t1", f"-c{connections}", f"-d{self.options.seconds}s",
                    f"http://127.0.0.1:{port}/file"]

        title = f"nginx wrk -c{connections} keep-alive {FILE_BYTES} B"
        return Case(self, f"nginx-c{connections}", title, client, parse_wrk,
                    [("rate", title, "req/s", True)])


def parse_iperf3(text):
    document = json.loads(text)
    if "error" in document:
        raise ValueError(document["error"])
    return {"rate": document["end"]["sum_received"]["bits_per_second"] / 1e9}


class Iperf3(Program):
    name = "iperf3"
    tools = ("iperf3",)
    pinned = False

    def server(self, port, _side):
        return ["iperf3", "-s", "-B", "127.0.0.1", "-p", str(port)]

    def make_cases(self):
        return [self._case(1), self._case(4)]

    def _case(self, streams):
        def client(arm, port):
            words = ["iperf3", "-c", "127.0.0.1", "-p", str(port), "-t", str(self.options.seconds),
                     "-P", str(streams), "-J"]
            return words + (["-C", "cubic"] if arm == "tcp-cubic" else [])

        arms = ("tcp", "smcu")
        if machine.congestion_control() != "cubic" and machine.may_use_cubic():
            arms = ("tcp", "tcp-cubic", "smcu")
        title = f"iperf3 {streams} stream{'s' if streams > 1 else ''}"
        return Case(self, f"iperf3-{streams}", title, client, parse_iperf3,
                    [("rate", title, "Gbit/s", True)], arms)


COLOURS = re.compile(r"\x1b\[[\d;]*m")


def parse_sockperf_latency(text):
    plain = COLOURS.sub("", text)
    return {"p50": float(found(r"percentile 50\.000 =\s*([\d.]+)", plain, "median")[1]),
            "p99": float(found(r"percentile 99\.000 =\s*([\d.]+)", plain, "99th percentile")[1])}


def parse_sockperf_stream(text):
    plain = COLOURS.sub("", text)
    rate = found(r"Message Rate is (\d+) \[msg/sec\]", plain, "message rate")
    return {"messages": float(rate[1]),
            "bandwidth": float(found(r"BandWidth is ([\d.]+) MBps", plain, "bandwidth")[1])}


class Sockperf(Program):
    name = "sockperf"
    tools = ("sockperf",)
    stop_signal = signal.SIGINT  # its own way to end; it does not know SIGTERM

    def server(self, port, _side):
        return ["sockperf", "sr", "--tcp", "-i", "127.0.0.1", "-p", str(port)]

    def make_cases(self):
        latency = [("p50", "sockperf ping-pong 14 B, median", "us", False),
                   ("p99", "sockperf ping-pong 14 B, p99", "us", False)]
        return [self._case("pp", 14, parse_sockperf_latency, latency),
                self._case("tp", 64000, parse_sockperf_stream,
                           [("bandwidth", "sockperf stream 64000 B", "MiB/s", True)]),
                self._case("tp", 64, parse_sockperf_stream,
                           [("messages", "sockperf stream 64 B", "msg/s", True)])]

    def _case(self, mode, size, parse, figures):
        # Without --mps, ping-pong reserves room for 600,000 round trips a second and gives up at more.
        room = ["--mps", "5000000"] if mode == "pp" else []

        def client(_arm, port):
            return ["sockperf", mode, "--tcp", "-i", "127.0.0.1", "-p", str(port), "-m", str(size),
                    "-t", str(self.options.seconds), *room]

        return Case(self, f"sockperf-{mode}-{size}", f"sockperf {mode} {size} B", client, parse,
                    figures)


ALL = {program.name: program for program in (Redis, Nginx, Iperf3, Sockperf)}
