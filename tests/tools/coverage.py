#!/usr/bin/env python3
"""Lines and branches that ran in a tree built with gcov's counters, by folder.

    tests/tools/coverage.py BUILD [--files] [--missing]

A source that is compiled several times, for different processors, counts once: a line ran
if it ran in any of them.
"""
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENOUGH = 85  # percent of the lines, of the groups that are wanted
# (name, what its files are called, whether ENOUGH is asked of it)
GROUPS = [("common", r"common/", True), ("formats", r"formats/", True),
          ("kernels, host", r"kernels/(?!cuda/).*\.[ch]$", True),
          ("tiltrec", r"tiltrec/", False), ("tiltrecz", r"tiltrecz/", False),
          ("kernels, GPU, emulated", r"kernels/cuda/", False)]


class Source:
    def __init__(self):
        self.lines = defaultdict(int)
        self.branches = defaultdict(int)

    def counts(self):
        """(lines, that ran, branches, that were taken)"""
        return (len(self.lines), sum(n > 0 for n in self.lines.values()),
                len(self.branches), sum(n > 0 for n in self.branches.values()))


def read_counters(build):
    """{path in the project: Source}"""
    sources = defaultdict(Source)
    for data in sorted(build.rglob("*.gcda")):
        done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                               str(data)], cwd=build, capture_output=True, text=True,
                              check=True)
        for text in done.stdout.splitlines():
            for file in json.loads(text)["files"]:
                add_file(sources, build, file)
    return sources


def add_file(sources, build, file):
    path = (build / file["file"]).resolve()
    if not path.is_relative_to(ROOT) or path.is_relative_to(build):
        return
    source = sources[str(path.relative_to(ROOT))]
    for line in file["lines"]:
        number = line["line_number"]
        source.lines[number] += line["count"]
        for k, branch in enumerate(line["branches"]):
            source.branches[number, k] += branch["count"]


def percent(part, whole):
    return 100 * part / whole if whole else 100


def row(name, counts):
    lines, ran, branches, taken = counts
    return (f"{name:32}{ran:6} of {lines:5} lines {percent(ran, lines):5.1f} %"
            f"{taken:7} of {branches:5} branches {percent(taken, branches):5.1f} %")


def ranges(numbers):
    """1-3,7"""
    parts = []
    for n in sorted(numbers):
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def main(arguments):
    options = {a for a in arguments if a.startswith("--")}
    folders = [a for a in arguments if not a.startswith("--")]
    if len(folders) != 1 or options - {"--files", "--missing"}:
        sys.exit(__doc__)
    sources = read_counters(Path(folders[0]).resolve())
    if not sources:
        sys.exit(f"{folders[0]} has no counters of gcov: run tests/coverage")
    enough = True
    for name, pattern, wanted in GROUPS:
        members = {p: s for p, s in sorted(sources.items()) if re.match(pattern, p)}
        if not members:
            continue
        counts = [sum(each) for each in zip(*(s.counts() for s in members.values()))]
        print(row(name, counts))
        for path, source in members.items() if options else ():
            print(row("  " + path, source.counts()))
            gone = [n for n, count in source.lines.items() if not count]
            if gone and "--missing" in options:
                print(f"      lines {ranges(gone)}")
        enough = enough and (not wanted or percent(counts[1], counts[0]) >= ENOUGH)
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
