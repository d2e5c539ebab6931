"""The manual's table of what comes from other programs and goes to them: each row names a
test that is there."""
import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
CHAPTER = TESTS.parents[1] / "manual" / "exchange.md"


def test_every_row_has_a_test():
    rows = [line for line in CHAPTER.read_text().splitlines()
            if line.startswith("| ") and not line.startswith(("| from", "| to", "| ---"))]
    assert len(rows) > 30
    for row in rows:
        cell = row.strip("| ").split("|")[-1].strip()
        file, name = re.fullmatch(r"`(test_\w+\.py)::(test_\w+)`", cell).groups()
        tree = ast.parse((TESTS / file).read_text())
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in functions, row
