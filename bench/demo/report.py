"""The demonstration's last words: settings, table, proof and failures; and the same as JSON."""
import runner

# Sums of these members of the lines that processes under the library write at their exit.
COUNTERS = ("accelerated", "tcp", "dmb_tx_bytes", "dmb_rx_bytes", "tcp_tx_bytes", "tcp_rx_bytes",
            "wakeups_sent", "wakeups_suppressed", "sleeps", "spin_hits", "spin_misses")


def settings_text(facts):
    cpus = f"{facts['cpus']} CPUs" + (", virtual machine" if facts["virtual"] else "")
    load = facts["load_before"].rsplit(" ", 2)[0]
    lines = [f"Machine:  {facts['cpu']}, {cpus}, {facts['memory_mib']} MiB, "
             f"Linux {facts['kernel']}",
             f"TCP:      {facts['congestion_control']}, loopback",
             f"Run:      {facts['rounds']} rounds of {facts['seconds']} s per side, in turns; "
             f"device {facts['device']}; load before: {load}"]
    if facts["both_tcp"]:
        lines.append("NOTE:     both sides ran on plain TCP")
    return "\n".join(lines) + "\n"


def print_settings(facts):
    print(settings_text(facts), flush=True)


def total(lines, key):
    return sum(line.get(key, 0) for line in lines)


def device_totals(lines):
    """Connections and bytes per device, of all the lines."""
    totals = {}
    for line in lines:
        for name, counters in line.get("devices", {}).items():
            sums = totals.setdefault(name, {})
            for key, value in counters.items():
                sums[key] = sums.get(key, 0) + value
    return totals


def proof_rows(the_runner):
    rows = []
    for kind, proofs in (("client", the_runner.proof), ("server", the_runner.server_proof)):
        for name, lines in proofs.items():
            if not lines:
                continue  # a server that a signal ended by default action leaves no line
            reasons = {}
            for line in lines:
                for reason, count in line.get("tcp_reasons", {}).items():
                    reasons[reason] = reasons.get(reason, 0) + count
            row = {"who": f"{name} {kind}", "processes": len(lines), "tcp_reasons": reasons}
            row.update({key: total(lines, key) for key in COUNTERS})
            row["devices"] = device_totals(lines)
            rows.append(row)
    return rows


def scenario_row(scenario):
    return {"scenario": scenario.title, "unit": scenario.unit,
            "higher_is_better": scenario.higher_is_better,
            "baseline": scenario.baseline, "tcp_median": scenario.median(scenario.baseline),
            "smcu_median": scenario.median("smcu"), "ratio": scenario.ratio(),
            "pair_ratios": scenario.pair_ratios(),
            "tcp_values": list(scenario.values.get(scenario.baseline, {}).values()),
            "smcu_values": list(scenario.values.get("smcu", {}).values())}


def summary(options, before, load_after, scenarios, the_runner: "runner.Runner"):
    return {"schema": "smcu.demo/1", "settings": before, "load_after": load_after,
            "commands": the_runner.commands, "scenarios": [scenario_row(s) for s in scenarios],
            "proof": [] if options.both_tcp else proof_rows(the_runner),
            "failures": the_runner.failures}


def figure(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}"


def table(header, rows, right):
    """Aligned columns; `right`: indexes of the columns of numbers."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [cell.rjust(width) if i in right else cell.ljust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append(" | ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def byte_text(count):
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def scenario_cells(row):
    better = "" if row["higher_is_better"] else " (less is better)"
    ratio = "-" if row["ratio"] is None else f"{row['ratio']:.2f}x"
    pairs = [pair for pair in row["pair_ratios"] if pair is not None]
    spread = f"{min(pairs):.2f}-{max(pairs):.2f}" if pairs else "-"
    return [row["scenario"], row["unit"] + better, figure(row["tcp_median"]),
            figure(row["smcu_median"]), ratio, spread]


def proof_cells(row):
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(row["tcp_reasons"].items()))
    devices = ", ".join(f"{name} {counters['connections']}"
                        for name, counters in sorted(row.get("devices", {}).items()))
    return [row["who"], str(row["accelerated"]), str(row["tcp"]), devices or "-",
            byte_text(row["dmb_tx_bytes"]), byte_text(row["dmb_rx_bytes"]), reasons]


def text(document):
    out = table(["Scenario", "Unit", "TCP median", "smcu median", "Ratio", "per round"],
                [scenario_cells(row) for row in document["scenarios"]], {2, 3, 4, 5})
    if document["proof"]:
        out += "\nProof, from the processes' own counters (all rounds together):\n"
        out += table(["Process", "accelerated", "on TCP", "over device", "sent through DMBs",
                      "received through DMBs", "reasons"],
                     [proof_cells(row) for row in document["proof"]], {1, 2, 4, 5})
    if document["failures"]:
        out += "\nFAILED:\n" + "".join(f"  {failure}\n" for failure in document["failures"])
    return out + "\n"
