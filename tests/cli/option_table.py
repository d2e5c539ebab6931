"""The rows of the option tables, as tests/tools/optiontable prints them."""
import collections
import re
import subprocess

Row = collections.namedtuple("Row", "group name letter metavar default min max choices help")

CPU, GPU = ("tiltrec-mpi", "tiltrecz-mpi"), ("tiltrec-cuda", "tiltrecz-cuda")
PROGRAMS = CPU + GPU
WHOLE_VOLUME = {"ADMM", "WIENER"}


def rows(build_dir, program):
    """The program's rows that are shown; those of an algorithm it lacks are left out."""
    said = subprocess.run([build_dir / "tests" / "optiontable"], text=True, check=True,
                          capture_output=True).stdout
    every = [Row(*line.split("\t")) for line in said.splitlines()]
    return [row for row in every if row.help
            and (row.group != "device" or program in GPU)
            and (row.group not in WHOLE_VOLUME or program.startswith("tiltrecz"))]


def words(row):
    """The choices; what is in capitals stands for more arguments."""
    return " ".join(word for word in row.choices.split() if not word.isupper())


def choice_words(row):
    """What the reference says of them."""
    return re.sub(r" (?=[a-z0-9+-])", ", ", row.choices)


def limit(value):
    return f"{float(value):.10g}"


def range_words(row):
    """What the reference says of the row's range, or None where sizes have their units."""
    low, high = float(row.min), float(row.max)
    if (low == 0 and high == 0) or row.metavar == "SIZE":
        return None
    if high == float("inf"):
        return f"at least {limit(low)}"
    return f"from {limit(low)} to {limit(high)}"
