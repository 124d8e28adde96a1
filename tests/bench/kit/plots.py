"""Plots of the results, as SVG."""

import statistics

import matplotlib as mpl
from matplotlib import pyplot

mpl.rcParams.update({"svg.hashsalt": "callback", "figure.figsize": (9, 4), "axes.grid": True, "grid.alpha": 0.3})


def plots(seen, stem):
    """Write the plots for which there are results, and return their paths, which begin with the stem."""
    made = []
    if points := seen.get("connections"):
        made.append(_plot(points, "connections", f"{stem}-connections.svg"))
    if points := {count: rounds for count, rounds in seen.get("cases", {}).items() if "many" in rounds}:
        made.append(_plot(points, "open cases (few: always 1,000)", f"{stem}-cases.svg"))
    return made


def _plot(points, what, path):
    """Plot throughput and latency against a number: for each number, the rounds of each subject."""
    figure, (rate, latency) = pyplot.subplots(ncols=2, layout="constrained")
    numbers = [int(number) for number in points]
    for name in (name for name, rounds in next(iter(points.values())).items() if isinstance(rounds, list)):
        rates, medians, tails = (
            [[seen[figure] for seen in rounds[name]] for rounds in points.values()]
            for figure in ("per_second", "p50_us", "p99_us")
        )
        (line,) = rate.plot(numbers, list(map(statistics.median, rates)), "o-", label=name)
        rate.fill_between(numbers, list(map(min, rates)), list(map(max, rates)), color=line.get_color(), alpha=0.2)
        for each, style, part in ((medians, "o-", "median"), (tails, "o:", "p99")):
            milliseconds = [statistics.median(us) / 1000 for us in each]
            latency.plot(numbers, milliseconds, style, color=line.get_color(), label=f"{name}, {part}")
    for axes, unit in ((rate, "calls per second"), (latency, "milliseconds")):
        axes.set(xlabel=what, ylabel=unit, xscale="log", xticks=numbers, xticklabels=[f"{each:,}" for each in numbers])
        axes.minorticks_off()
        axes.legend(frameon=False)
    rate.set_ylim(bottom=0)
    latency.set_yscale("log")
    latency.yaxis.set_major_formatter("{x:g}")
    latency.yaxis.set_minor_formatter("{x:g}")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
