"""A batch with broken series among the good ones, killed twice and gone on with."""
import csv
import os
import signal
import subprocess
import time

import numpy as np
import pytest

from conftest import MPI_ENVIRONMENT, program_command, read_mrc, write_series

TILTS = np.arange(-60, 61, 6.0)
N = 30
OPTIONS = ("-a", "SIRT", "-i", "10", "-T", "48", "--outside", "zero")


def break_it(k, folder):
    """Whether and how the series in this folder is broken."""
    series, angles = folder / "ts_ali.mrc", folder / "ts.tlt"
    if k == 3:
        series.write_bytes(b"")
    elif k == 7:
        angles.unlink()
    elif k == 11:
        series.write_bytes(series.read_bytes()[:4000])
    elif k == 12:
        np.savetxt(angles, TILTS[:4])
    elif k == 18:
        write_series(folder, np.full((len(TILTS), 64, 128), np.nan), TILTS, name=series.name)
        (folder / "ts_ali.tlt").unlink()
    elif k == 24 and os.geteuid() != 0:
        series.chmod(0)
    elif k == 24:  # root reads everything
        series.unlink()
        series.symlink_to("/nonexistent")
    elif k == 29:
        series.unlink()
        series.mkdir()
    else:
        return False
    return True


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("batch")
    rng = np.random.default_rng(8)
    for k in range(N):
        own = folder / f"ts{k:02d}"
        own.mkdir()
        write_series(own, rng.normal(50, 5, (len(TILTS), 64, 128)), TILTS, name="ts_ali.mrc")
        (own / "ts_ali.tlt").rename(own / "ts.tlt")
    return folder, {k for k in range(N) if break_it(k, folder / f"ts{k:02d}")}


def start(build_dir, folder):
    arguments = ("batch", *sorted(p.name if not (p / "ts_ali.mrc").is_symlink()
                                  else f"{p.name}/ts_ali.mrc" for p in folder.glob("ts*")),
                 "--", *OPTIONS, "-o", "out", "--threads", "1")
    return subprocess.Popen(program_command(build_dir, arguments, ranks=2, threads=None),
                            cwd=folder, env={**os.environ, **MPI_ENVIRONMENT}, text=True,
                            stderr=subprocess.PIPE, start_new_session=True)


def count(folder):
    return len(list((folder / "out").glob("*_rec.mrc")))


def test_killed_twice_and_gone_on_with(build_dir, tiltrec, archive):
    folder, broken = archive
    for number, least in (signal.SIGKILL, 5), (signal.SIGTERM, 12):
        run = start(build_dir, folder)
        until = time.monotonic() + 60
        while count(folder) < least and time.monotonic() < until:
            time.sleep(0.01)
        os.killpg(run.pid, number)
        run.communicate()
        assert least <= count(folder) < N - len(broken)
    before = count(folder)
    run = start(build_dir, folder)
    said = run.communicate(timeout=120)[1]
    assert run.returncode == 1 and "Sanitizer" not in said
    assert said.splitlines()[-1].endswith(
        "7 of 30 series failed; out/batch.html and out/batch.csv say which, and why")
    with open(folder / "out" / "batch.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {k for k, row in enumerate(rows) if row["state"] == "failed"} == broken
    assert all(row["error"] for k, row in enumerate(rows) if k in broken)
    assert sum(row["state"] == "was complete" for row in rows) >= before - 2
    assert not [p for p in (folder / "out").iterdir() if p.name.startswith(".")]
    for k in set(range(N)) - broken:
        tiltrec(*OPTIONS, "-o", "alone.mrc", f"ts{k:02d}/ts_ali.mrc", cwd=folder)
        assert np.array_equal(read_mrc(folder / rows[k]["tomogram"]),
                              read_mrc(folder / "alone.mrc"))
