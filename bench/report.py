"""Medians, ratios to nginx, tables."""

import statistics

from targets import OPEN, TRANSLATED


def summarise(rounds):
    return {name: summarise_target(name, rounds) for name in rounds[0]}


def summarise_target(name, rounds):
    """Medians. A ratio is taken within its round, so that noise which lasts longer than a round cancels out."""
    own = [results[name] for results in rounds]
    ratios = [{field: one[field] / results["nginx"][field] for field in one} for one, results in zip(own, rounds)]
    added = [one["p50_us"] - results["upstream"]["p50_us"] for one, results in zip(own, rounds)]
    cpu = [ratio["cpu_us"] for ratio in ratios]
    return {
        **medians(own),
        "to_nginx": medians(ratios),
        "cpu_to_nginx_range": [min(cpu), max(cpu)],
        "added_p50_us": statistics.median(added),
        **(to_other("passthrough", rounds, TRANSLATED, "keyward") if name == TRANSLATED else {}),
        **(to_other("open", rounds, "keyward", OPEN) if name == "keyward" and OPEN in rounds[0] else {}),
    }


def to_other(word, rounds, name, other):
    """What one costs by what another costs in the same round."""
    cpu = [results[name]["cpu_us"] / results[other]["cpu_us"] for results in rounds]
    return {f"cpu_to_{word}": statistics.median(cpu), f"cpu_to_{word}_range": [min(cpu), max(cpu)]}


def medians(samples):
    return {field: statistics.median(one[field] for one in samples) for field in samples[0]}


def load_rows(report):
    for scenario, by_load in report["summary"].items():
        alone = by_load["1"]
        for name, row in by_load[str(report["connections"])].items():
            low, high = row["cpu_to_nginx_range"]
            yield [
                scenario,
                name,
                f"{row['rps']:,.0f}",
                f"{row['p50_us'] / 1e3:.2f}",
                f"{row['p99_us'] / 1e3:.2f}",
                f"{row['cpu_us']:.1f}",
                f"{row['to_nginx']['rps']:.2f}",
                f"{row['to_nginx']['cpu_us']:.2f} ({low:.2f}–{high:.2f})",
                f"{alone[name]['p50_us']:.0f}",
                f"{alone[name]['p99_us']:.0f}",
                f"{alone[name]['added_p50_us']:+.0f}",
            ]


LOAD_HEADS = ["scenario", "target", "req/s", "p50 ms", "p99 ms", "CPU us/req", "req/s to nginx", "CPU to nginx (range)"]
LOAD_HEADS += ["p50 us alone", "p99 us alone", "added p50 us"]
CHECKS_HEADS = ["scenario", "without checks, CPU us/req", "with all checks, CPU us/req", "ratio (range)"]
TRANSLATION_HEADS = ["scenario", "passed through, CPU us/req", "translated, CPU us/req", "ratio (range)"]
MEMORY_HEADS = ["target", "idle MB", "after MB", "peak MB"]


def translation_rows(report):
    return compared_rows(report, "passthrough", TRANSLATED, "keyward")


def checks_rows(report):
    return compared_rows(report, "open", "keyward", OPEN)


def compared_rows(report, word, name, other):
    for scenario, by_load in report["summary"].items():
        summary = by_load[str(report["connections"])]
        if name in summary and other in summary:
            low, high = summary[name][f"cpu_to_{word}_range"]
            ratio = f"{summary[name][f'cpu_to_{word}']:.2f} ({low:.2f}–{high:.2f})"
            yield [scenario, *(f"{summary[one]['cpu_us']:.1f}" for one in (other, name)), ratio]


def memory_rows(report):
    for name, used in report["memory_mb"].items():
        yield [name, f"{used['idle']:.1f}", f"{used['rss']:.1f}", f"{used['peak']:.1f}"]


def table(heads, rows, markdown):
    rows = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*rows)]
    is_text = [head in ("scenario", "target") for head in heads]
    columns = list(zip(widths, is_text))
    aligned = [
        [cell.ljust(width) if text else cell.rjust(width) for cell, (width, text) in zip(row, columns)] for row in rows
    ]
    if not markdown:
        return "\n".join("  ".join(row).rstrip() for row in aligned)
    rule = ["-" * width if text else "-" * (width - 1) + ":" for width, text in columns]
    return "\n".join("| " + " | ".join(row) + " |" for row in [aligned[0], rule, *aligned[1:]])


def render(report, markdown):
    conditions = (
        f"{report['cpus']} CPUs, {report['connections']} connections (alone: 1), "
        f"median of {report['rounds']} alternating rounds of {report['seconds']} s."
    )
    if report["upstream_args"]:
        conditions += f" Upstream: {' '.join(report['upstream_args'])}."
    compared = [(TRANSLATION_HEADS, list(translation_rows(report))), (CHECKS_HEADS, list(checks_rows(report)))]
    return "\n\n".join(
        [
            conditions,
            table(LOAD_HEADS, load_rows(report), markdown),
            *(table(heads, rows, markdown) for heads, rows in compared if rows),
            table(MEMORY_HEADS, memory_rows(report), markdown),
        ]
    )


def over_ceiling(report, ceilings, translation_ceilings):
    loaded = {scenario: by_load[str(report["connections"])] for scenario, by_load in report["summary"].items()}
    for scenario, ceiling in ceilings.items():
        ratio = loaded[scenario]["keyward"]["to_nginx"]["cpu_us"]
        if ratio > ceiling:
            yield f"{scenario}: Keyward takes {ratio:.2f} times the CPU of nginx, over the ceiling of {ceiling:g}"
    for scenario, ceiling in translation_ceilings.items():
        ratio = loaded[scenario][TRANSLATED]["cpu_to_passthrough"]
        if ratio > ceiling:
            yield f"{scenario}: translated takes {ratio:.2f} times the CPU of passed through, over the ceiling of {ceiling:g}"
