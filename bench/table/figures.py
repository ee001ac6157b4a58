"""From a report of `smcu bench`, or the values of a program, to the figure of a row."""
import statistics


def interval(values):
    """Median, and the smallest and largest of few or the 95 % interval of many, as `smcu bench` gives it."""
    ordered = sorted(values)
    count = len(ordered)
    if count == 0:
        return None
    cut, term, below = 0, 0.5 ** count, 0.5 ** count
    for i in range(1, count // 2):
        term = term * (count - i + 1) / i
        below += term
        if 1 - 2 * below < 0.95:
            break
        cut = i
    return {"median": statistics.median(ordered), "low": ordered[cut], "high": ordered[-1 - cut]}


def value_of(sample, figure):
    if figure == "latency":
        return sample["latency_us"]["p50"]
    amount = sample["bytes"] if figure == "bandwidth" else sample["messages"]
    return amount / sample["seconds"] if sample["seconds"] else 0.0


def values_of(report, path, figure):
    """Per repetition; of TCP's two modes for small messages the better one."""
    best = []
    for series in report["series"]:
        if series["path"] == path:
            values = [value_of(sample, figure) for sample in series["samples"] if not sample["failed"]]
            if not best or (values and statistics.median(values) > statistics.median(best)):
                best = values
    return best


def problems_of(report, must_accelerate):
    """What a report says against itself."""
    found = []
    for series in report["series"]:
        for sample in series["samples"]:
            ours = series["path"] in ("shim", "library", "zerocopy")
            if sample["failed"] or (ours and must_accelerate and not sample["accelerated"]):
                found.append(f"{series['mode']} {series['path']}: {sample['reason'] or 'failed'}")
    return sorted(set(found))


def from_report(row, report):
    """{"tcp", "ours", "result"} of a row measured by `smcu bench`."""
    plan = row.measure
    ours = values_of(report, plan.ours, plan.figure)
    peer = values_of(report, plan.peers[0], plan.figure) if plan.peers else []
    if row.unit == "x":
        result = interval([a / b for a, b in zip(ours, peer) if b])
    elif row.over == "cache_line_round_trip_ns":
        # Half a round trip was recorded, in microseconds.
        result = interval([2000 * value / report["floor"][row.over] for value in ours])
    elif row.over:
        result = interval([value / 1e9 / report["floor"][row.over] for value in ours])
    else:
        result = interval(ours)
    return {"tcp": statistics.median(peer) if peer else None,
            "ours": statistics.median(ours) if ours else None, "result": result}


def from_scenario(scenario):
    """The same of a figure of another program."""
    return {"tcp": scenario.median(scenario.baseline), "ours": scenario.median("smcu"),
            "result": interval(scenario.pair_ratios())}


def verdict(row, result):
    if result is None:
        return "not measured"
    value = result["median"]
    reaches = (lambda goal: value <= goal) if row.lower_is_better else (lambda goal: value >= goal)
    if reaches(row.aim):
        return "aim"
    return "required" if reaches(row.required) else "MISSED"


def short(value, unit="x"):
    """12.3x, 45.6 M/s, 0.93 of the ring."""
    if value is None:
        return "-"
    if unit == "/s":
        return f"{value / 1e6:.1f} M/s"
    return f"{value:.2f}x" if unit == "x" else f"{value:.2f} {unit}"


def number(value, unit):
    """Without the unit, for intervals."""
    return f"{value / 1e6:.1f}" if unit == "/s" else f"{value:.2f}"


def plain(value):
    return "-" if value is None else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"


def table(rows, outcomes):
    """Markdown."""
    lines = ["| scenario | kernel SMC-D loopback (published) | required | aim | TCP | ours | result | |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        outcome = outcomes.get(row.name) or {"tcp": None, "ours": None, "result": None}
        result = outcome["result"]
        text = "-"
        if result is not None:
            text = (f"**{short(result['median'], row.unit)}** "
                    f"({number(result['low'], row.unit)} .. {number(result['high'], row.unit)})")
        lines.append(f"| {row.title} | {row.published} | {short(row.required, row.unit)} | "
                     f"{short(row.aim, row.unit)} | {plain(outcome['tcp'])} | {plain(outcome['ours'])} | "
                     f"{text} | {verdict(row, result)} |")
    return "\n".join(lines) + "\n"
