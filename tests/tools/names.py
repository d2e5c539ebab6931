"""Prints the files that comments of the sources name and that the project does not have; nothing
if all is well. Names with a capital are other projects'."""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = "common", "formats", "kernels", "tiltrec", "tiltrecz", "tests"
SUFFIXES = {".c", ".h", ".cu"}


def sources(root):
    return [path for top in FOLDERS for path in sorted((root / top).rglob("*"))
            if path.suffix in SUFFIXES]


def faults(root=ROOT):
    paths = sources(root)
    have = {"/" + str(path.relative_to(root)) for path in paths}
    found = []
    for path in paths:
        text = path.read_text()
        for comment in re.finditer(r"/\*.*?\*/|//[^\n]*", text, re.S):
            for name in re.finditer(r"(?<![\w.>*/-])((?:\w+/)*[a-z][a-z0-9_]+\.(?:c|cu|h))(?![\w.(])",
                                    comment[0]):
                if not any(file.endswith("/" + name[1]) for file in have):
                    line = text[:comment.start() + name.start()].count("\n") + 1
                    found.append(f"{path.relative_to(root)}:{line}: {name[1]}")
    return found


if __name__ == "__main__":
    found = faults()
    print("".join(f"{line}\n" for line in found), end="")
    sys.exit(bool(found))
