"""Many series in one run: what is made, left alone, refused, and said of it."""
import csv
import html.parser
import os
import time
from urllib.parse import unquote

import numpy as np
import pytest

from conftest import read_mrc, write_series

TILTS = np.arange(-50, 51, 10)
OPTIONS = ("-T", 12, "--threads", 1)


def make_series(folder, seed, name="ts_ali.mrc", views=len(TILTS)):
    folder.mkdir(parents=True, exist_ok=True)
    data = np.random.default_rng(seed).normal(50, 5, (views, 10, 24))
    return write_series(folder, data, TILTS, name=name)


@pytest.fixture
def folders(tmp_path):
    for k in range(4):
        make_series(tmp_path / f"in {k}", k)
    return tmp_path


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def states(path):
    return [row["state"] for row in table(path)]


class Page(html.parser.HTMLParser):
    """What a page links to and shows."""

    def __init__(self, path):
        super().__init__()
        self.links, self.images, self.text = [], [], ""
        self.feed(path.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "a":
            self.links.append(unquote(attributes["href"]))
        if tag == "img":
            self.images.append(unquote(attributes["src"]))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("ranks, each", [(None, 1), (2, 1), (3, 2), (2, 2)])
def test_each_series_gets_the_tomogram_of_a_run_of_its_own(tiltrec, folders, ranks, each):
    done = tiltrec("batch", *(f"in {k}" for k in range(4)), "--", *OPTIONS, "-o", "out",
                   "--ranks-per-series", each, cwd=folders, ranks=ranks, threads=None)
    assert "4 of 4 series are complete, 0 of them before; 0 failed" in done.stderr
    rows = table(folders / "out" / "batch.csv")
    for k, row in enumerate(rows):
        assert row["series"] == f"in {k}/ts_ali.mrc" and row["state"] == "complete"
        assert row["tomogram"] == f"out/in {k}_ts_rec.mrc"  # all have one name
        assert (row["columns"], row["rows"], row["sections"]) == ("24", "12", "10")
        tiltrec(*OPTIONS, "-o", "alone.mrc", f"in {k}/ts_ali.mrc", cwd=folders, threads=None)
        found, alone = read_mrc(folders / row["tomogram"]), read_mrc(folders / "alone.mrc")
        assert np.array_equal(found, alone) and np.ptp(found) > 0
    page = Page(folders / "out" / "batch.html")
    assert "4 series: 4 complete, 0 failed" in page.text
    assert page.images == [f"in {k}_ts_rec_xy.png" for k in range(4)]
    for target in page.links + page.images:
        assert (folders / "out" / target).is_file()
    assert not [p for p in (folders / "out").iterdir() if p.name.startswith(".")]


def test_what_is_complete_is_left_alone(tiltrec, folders):
    def batch(*options):
        tiltrec("--batch", "list", "-o", "out", *OPTIONS, *options, cwd=folders, threads=None)
        return states(folders / "out" / "batch.csv")

    (folders / "list").write_text("# those of Monday\nin 0\nin 1/ts_ali.mrc\n\nin 2/\n")
    assert batch() == ["complete"] * 3
    first = folders / "out" / "in 0_ts_rec.mrc"
    made = first.stat().st_mtime_ns
    assert batch() == ["was complete"] * 3 and first.stat().st_mtime_ns == made
    assert batch("-T", 12) == ["complete"] * 3, "said in another way"
    assert batch("-a", "SIRT", "-i", 2) == ["complete"] * 3
    time.sleep(0.02)
    (folders / "in 1" / "ts_ali.tlt").touch()
    assert batch("-a", "SIRT", "-i", 2) == ["was complete", "complete", "was complete"]
    first.unlink()
    assert batch("-a", "SIRT", "-i", 2) == ["complete", "was complete", "was complete"]
    record = folders / "out" / "in 2_ts_rec.json"
    record.write_text(record.read_text().replace('"status": "ok"', '"status": "failed"'))
    assert batch("-a", "SIRT", "-i", 2) == ["was complete", "was complete", "complete"]


def test_failures_do_not_stop_the_others(tiltrec, folders):
    (folders / "in 1" / "ts_ali.mrc").write_bytes(b"")
    (folders / "in 2" / "ts_ali.mrc").unlink()
    done = tiltrec("batch", *(f"in {k}" for k in range(4)), "gone.mrc", "--", *OPTIONS,
                   cwd=folders, ranks=2, threads=None, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "tiltrec-mpi: error: 3 of 5 series failed; batch.html and batch.csv say which, and why")
    rows = table(folders / "batch.csv")
    assert [r["state"] for r in rows] == ["complete", "failed", "failed", "complete", "failed"]
    assert "is empty" in rows[1]["error"]
    assert "no tilt series in in 2" in rows[2]["error"]
    assert "cannot open gone.mrc" in rows[4]["error"]
    assert (folders / "in 0" / "ts_rec.mrc").is_file(), "without -o beside its series"
    assert "is empty" in (folders / "in 1" / "ts_rec.log").read_text()
    make_series(folders / "in 1", 1)
    tiltrec("batch", "in 0", "in 1", "in 3", "--", *OPTIONS, cwd=folders, threads=None)
    assert states(folders / "batch.csv") == ["was complete", "complete", "was complete"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_series_that_may_not_be_read_is_a_failure(tiltrec, folders):
    (folders / "in 1" / "ts_ali.mrc").chmod(0)
    tiltrec("batch", "in 0", "in 1", "--", *OPTIONS, cwd=folders, threads=None, check=False)
    assert states(folders / "batch.csv") == ["complete", "failed"]


def test_braces_stand_for_the_name_of_the_series(tiltrec, tmp_path):
    angles = {"a": 0.0, "b": 7.0}
    (tmp_path / "angles").mkdir()
    for name, offset in angles.items():
        make_series(tmp_path, 5, name=f"{name}_ali.mrc")
        (tmp_path / f"{name}_ali.tlt").unlink()
        np.savetxt(tmp_path / "angles" / f"{name}.tlt", TILTS + offset)
    tiltrec("batch", "a_ali.mrc", "b_ali.mrc", "--", *OPTIONS, "--tilts", "angles/{}.tlt",
            cwd=tmp_path, threads=None)
    for name in angles:
        tiltrec(*OPTIONS, "-t", f"angles/{name}.tlt", "-o", "alone.mrc", f"{name}_ali.mrc",
                cwd=tmp_path, threads=None)
        assert np.array_equal(read_mrc(tmp_path / f"{name}_rec.mrc"),
                              read_mrc(tmp_path / "alone.mrc"))


def test_the_geometry_of_a_folder_comes_from_its_tilt_com(tiltrec, folders):
    (folders / "in 0" / "tilt.com").write_text(
        "$tilt -StandardInput\nInputProjections ts_ali.mrc\nTILTFILE ts_ali.tlt\nTHICKNESS 18\n"
        "FULLIMAGE 24 10\nOutputFile ts_rec.mrc\n")
    tiltrec("batch", "in 0", "--", "-o", "out", cwd=folders)
    assert table(folders / "out" / "batch.csv")[0]["rows"] == "18"


def test_a_dry_run_writes_nothing(tiltrec, folders):
    (folders / "in 3" / "ts_ali.tlt").write_text("1\n2\n")
    before = sorted(folders.rglob("*"))
    done = tiltrec("batch", "in 0", "in 1", "in 3", "--", *OPTIONS, "--dry-run", "-o", "out",
                   cwd=folders, ranks=2, threads=None, check=False)
    assert done.returncode == 1 and "1 of 3 series failed" in done.stderr
    assert "out/in 0_ts_rec.mrc could be made" in done.stderr
    assert sorted(folders.rglob("*")) == before


def test_a_series_that_another_run_makes_is_left_to_it(tiltrec, folders):
    lock = folders / "in 0" / ".ts_rec.mrc.lock"
    lock.write_text("\n".join(["host elsewhere", "machine 1", "boot 2", "space 3", "process 4",
                               "begun 5", "program tiltrec-mpi", "since 2026-01-01 00:00:00",
                               ""]))
    done = tiltrec("batch", "in 0", "in 1", "--", *OPTIONS, cwd=folders, threads=None)
    assert "1 are made by other runs" in done.stderr
    assert states(folders / "batch.csv") == ["made by another run", "complete"]


@pytest.mark.parametrize("words, said", [
    (["batch", "--", "-T", "9"], "a batch needs series"),
    (["batch", "in 0", "--", "in 1"], "in 1 stands among the options of a batch"),
    (["batch", "in 0", "--", "--json", "x.json"], "a batch has a --json of its own"),
    (["batch", "in 0", "--", "--residual-of", "v.mrc"], "a batch has a --residual-of of its own"),
    (["batch", "in 0", "--", "--thicknes", "9"], "--thickness"),
    (["--batch", "none"], "cannot open the list of series none"),
    (["batch", "in 0", "in 0/ts_ali.mrc", "--", "-T", "9"],
     "two series of the batch would be written to in 0/ts_rec"),
    (["in 0/ts_ali.mrc", "--ranks-per-series", "2"], "--ranks-per-series is for a batch"),
])
def test_command_lines_that_are_refused(tiltrec, folders, words, said):
    before = sorted(folders.rglob("*"))
    done = tiltrec(*words, cwd=folders, check=False, threads=None)
    assert done.returncode in (1, 2) and said in done.stderr
    assert sorted(folders.rglob("*")) == before
