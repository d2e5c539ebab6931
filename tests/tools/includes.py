"""Includes between the project's folders: each may use those listed before it, and no
header includes itself on a way round.

    includes.py          prints what is against that, nothing if all is well
    includes.py --table  the folders with their files and lines
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORDER = ["common/base", "kernels", "kernels/cpu", "kernels/cuda", "formats", "common/options",
         "common/geometry", "common/views", "common/series", "common/alignment",
         "common/algorithms",
         "common/tomogram", "common/run", "common/report", "common/trial", "common/help",
         "common/program", "tiltrec", "tiltrecz", "common/library"]


def sources(root=ROOT):
    for top in "common", "formats", "kernels", "tiltrec", "tiltrecz":
        for path in sorted((root / top).rglob("*")):
            if path.suffix in (".c", ".h", ".cu"):
                yield str(path.relative_to(root))


def includes_of(root, name):
    text = (root / name).read_text()
    return [i for i in re.findall(r'^ *# *include "([^"]+)"', text, re.M)]


def faults(root=ROOT):
    found, graph = [], {}
    for name in sources(root):
        folder = str(Path(name).parent)
        if folder not in ORDER:
            found.append(f"{name}: the folder {folder} is not in the order of tests/tools/includes.py")
            continue
        graph[name] = []
        for include in includes_of(root, name):
            if not (root / include).is_file():
                found.append(f"{name}: \"{include}\" is not written from the root")
                continue
            graph[name].append(include)
            other = str(Path(include).parent)
            if other in ORDER and ORDER.index(other) > ORDER.index(folder):
                found.append(f"{name}: \"{include}\" is of a folder above its own")
    return found + circles(graph)


def circles(graph):
    """Names of headers that reach themselves."""
    found, state = [], {}

    def visit(name, way):
        if state.get(name) == "open":
            found.append("a circle: " + " -> ".join(way[way.index(name):] + [name]))
        if name in state:
            return
        state[name] = "open"
        for other in graph.get(name, []):
            visit(other, way + [name])
        state[name] = "done"
    for name in graph:
        visit(name, [])
    return found


def table(root=ROOT):
    names = list(sources(root))
    for folder in ORDER:
        inside = [n for n in names if str(Path(n).parent) == folder]
        lines = sum(len((root / n).read_text().splitlines()) for n in inside)
        print(f"{folder:20} {len(inside):4} files {lines:6} lines")


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        table()
    else:
        print("\n".join(faults()))
