"""The scenarios of the table: what is asked for, and how each is measured."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Bench:
    """A run of `smcu bench`; `ours` and `peers` are paths, `figure` is rate, latency or bandwidth."""
    words: tuple
    ours: str = "shim"
    peers: tuple = ("tcp",)
    figure: str = "rate"


@dataclasses.dataclass(frozen=True)
class Program:
    """A figure of another program: the key of a case in programs.py and of its figure."""
    case: str
    key: str


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    title: str
    published: str    # of the kernel's SMC-D loopback
    required: float   # ratio to TCP, or in `unit`
    aim: float
    measure: object
    unit: str = "x"   # "x": ratio; else an absolute figure
    lower_is_better: bool = False
    over: str = ""    # absolute rows: the floor that the figure is divided by or into


def bench(*words, **more):
    return Bench(words, **more)


ROWS = (
    Row("pingpong", "sockperf ping-pong 14 B, two CPUs", "1.8x", 12, 25, Program("sockperf-pp-14", "p50")),
    Row("sleeping", "ping-pong 14 B, both ends asleep (efficient), two CPUs", "-", 1.4, 1.6,
        bench("pingpong", "--profile", "efficient")),
    Row("sleeping-unix", "the same against AF_UNIX", "-", 1.0, 1.0,
        bench("pingpong", "--profile", "efficient", peers=("unix",))),
    Row("same-cpu", "ping-pong 14 B, both on one CPU", "-", 2, 3.5, bench("pingpong", "--cpus", "same")),
    Row("stream", "sockperf stream 64,000 B", "1.67x", 1.6, 2.2, Program("sockperf-tp-64000", "bandwidth")),
    Row("stream-ring", "stream 64,000 B, share of the two-copy ring", "-", 0.8, 0.9,
        bench("stream", figure="bandwidth"), unit="of the ring", over="two_copy_ring_gb_per_s"),
    Row("iperf3-1", "iperf3, 1 stream", "1.88x", 1.5, 2, Program("iperf3-1", "rate")),
    Row("iperf3-4", "iperf3, 4 streams", "-", 1.4, 2, Program("iperf3-4", "rate")),
    Row("rate", "64 B messages one by one, against TCP's better mode", "1.9x", 4, 8, bench("rate")),
    Row("rate-sockperf", "the same with sockperf (Nagle)", "-", 4, 8, Program("sockperf-tp-64", "messages")),
    Row("batch", "64 B messages, library, zero-copy, batches of 64", "50-70 M/s (netmap pipes)", 40e6, 70e6,
        bench("rate", "-b", "64", ours="zerocopy"), unit="/s"),
    Row("nginx-64", "nginx + wrk, 64 connections, keep-alive", "1.34-1.47x", 1.8, 2.5, Program("nginx-c64", "rate")),
    Row("nginx-500", "nginx + wrk, 500 connections", "1.34-1.47x", 1.8, 2.5, Program("nginx-c500", "rate")),
    Row("redis-get-50", "redis GET, 50 connections, 1 KiB", "1.35x", 2.5, 4, Program("redis-c50-p1", "get")),
    Row("redis-set-50", "redis SET, 50 connections, 1 KiB", "1.35x", 2.5, 4, Program("redis-c50-p1", "set")),
    Row("redis-get-200", "redis GET, 200 connections, 1 KiB", "1.35x", 2.5, 4, Program("redis-c200-p1", "get")),
    Row("redis-set-200", "redis SET, 200 connections, 1 KiB", "1.35x", 2.5, 4, Program("redis-c200-p1", "set")),
    Row("redis-get-p16", "redis GET -P 16", "-", 1.25, 1.5, Program("redis-c50-p16", "get")),
    Row("redis-set-p16", "redis SET -P 16", "-", 1.25, 1.5, Program("redis-c50-p16", "set")),
    Row("request", "connect + request + close", "<1", 0.95, 1.1, bench("request")),
    Row("many", "10,000 connections, 1 % active", "-", 1.3, 2, bench("many", "-P", "10000", "--active", "1")),
    Row("copy-stream", "copying device, stream 64,000 B", "1.0x", 1.2, 1.8,
        bench("stream", "--device", "ism", figure="bandwidth")),
    Row("copy-pingpong", "copying device, ping-pong 14 B", "1.9x", 6, 10, bench("pingpong", "--device", "ism")),
    Row("polled-library", "polled round trip through the library, in cache-line round trips", "-", 3, 2,
        bench("pingpong", "--profile", "latency", ours="library", figure="latency"), unit="cache lines",
        lower_is_better=True, over="cache_line_round_trip_ns"),
    Row("polled-shim", "the same through the shim", "-", 6, 3,
        bench("pingpong", "--profile", "latency", figure="latency"), unit="cache lines", lower_is_better=True,
        over="cache_line_round_trip_ns"),
)
# Rows in which bytes may stay on TCP by design, and that therefore prove nothing about DMBs.
MAY_STAY_ON_TCP = ("request",)
