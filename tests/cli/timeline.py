"""Reads what --timeline wrote: when which stage worked, and what ran beside what. Used by
tests and by tests/bench/programs; needs no other module."""
import json


def read_timeline(path):
    """{rank: {stage: [(start, end), ...]}} in seconds, in order of time."""
    ranks = {}
    with open(path, encoding="ascii") as file:
        events = json.load(file)["traceEvents"]
    for event in events:
        start = 1e-6 * event["ts"]
        stages = ranks.setdefault(event["pid"], {})
        stages.setdefault(event["name"], []).append((start, start + 1e-6 * event["dur"]))
    for stages in ranks.values():
        for times in stages.values():
            times.sort()
    return ranks


def seconds(times):
    return sum(end - start for start, end in times)


def share_beside(times, others):
    """The share of these times during which one of the others ran as well. Within each
    list nothing overlaps."""
    both = sum(max(0.0, min(end, other_end) - max(start, other_start))
               for start, end in times for other_start, other_end in others)
    return both / seconds(times) if times and seconds(times) > 0 else 0.0
