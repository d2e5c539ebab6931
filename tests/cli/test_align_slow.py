"""--align on simulated series, against the shifts and the axis that they were made with."""
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT, read_mrc, write_mrc

DATA = 1
AXIS, SIZE = 4.0, 192


def simulate(folder, *options):
    subprocess.run([sys.executable, "-B", ROOT / "examples" / "simulate.py", "--out-prefix",
                    folder / "raw", "--jobs", "2", "--no-truth", "--shifts", "15", "--axis-angle",
                    str(AXIS), "--size", str(SIZE), str(SIZE), "48", "--pixel", "8", "--step", "4",
                    *map(str, options)], check=True, capture_output=True)
    # What an aligner is not told.
    (folder / "raw.xf").rename(folder / "made.txt")
    (folder / "raw.mrc.mdoc").unlink()
    return folder / "raw.mrc"


def angle(rows):
    return np.degrees(np.arctan2(rows[0, 1], rows[0, 0]))


def turned(shifts, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return shifts @ np.array([[c, s], [-s, c]]).T


def errors(made, found, tilts):
    """Of the shifts, in the frame of the true axis, without what a translation of the specimen
    does, X cos t - Z sin t and Y; and of the axis, in degrees."""
    off = angle(found) - angle(made)
    e = turned(found[:, 4:], -off) - made[:, 4:]
    t = np.radians(tilts)
    base = np.stack([np.cos(t), -np.sin(t)], 1)
    e[:, 0] -= base @ np.linalg.lstsq(base, e[:, 0], rcond=None)[0]
    e[:, 1] -= e[:, 1].mean()
    return np.sqrt((e**2).mean(0)), off


@pytest.mark.unsanitized  # the next test runs the same code
@pytest.mark.parametrize("specimen, dose, seed, told", [
    (["chains", "--gold", 6], 3, 1, True), (["chains"], 3, 2, False)])
def test_shifts_and_axis(tiltrec, tmp_path, specimen, dose, seed, told):
    """To less than half a pixel and 0.2 degrees; without --axis-angle also from all round."""
    series = simulate(tmp_path, "--specimen", *specimen, "--dose-per-view", dose, "--seed", seed)
    nominal = ["--axis-angle", 0] if told else []
    run = tiltrec(series, "--align", *nominal, "-T", 60, "-o", "rec.mrc", cwd=tmp_path)
    made = np.loadtxt(tmp_path / "made.txt")
    found = np.loadtxt(tmp_path / "rec_align.xf")
    tilts = np.loadtxt(tmp_path / "raw.rawtlt")
    assert np.allclose(np.loadtxt(tmp_path / "rec_align.tlt"), tilts, atol=0.006)
    rms, off = errors(made, found, tilts)
    before, _ = errors(made, np.hstack([made[:, :4], 0 * made[:, 4:]]), tilts)
    assert (before > 5).all(), "there was nothing to align"
    assert rms[0] < 0.5 and rms[1] < 0.25 and abs(off) < 0.2, (rms, off)
    assert ("the hand is unknown" in run.stderr) != told
    # The tomogram is the one that the files make.
    tiltrec(series, "--transforms", "rec_align.xf", "-T", 60, "-o", "again.mrc", cwd=tmp_path)
    a, b = read_mrc(tmp_path / "rec.mrc"), read_mrc(tmp_path / "again.mrc")
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.9999


def test_the_same_whatever_threads_and_ranks(build_dir, tiltrec, tmp_path):
    from conftest import MPI_ENVIRONMENT, program_command
    series = simulate(tmp_path, "--dose-per-view", 3, "--seed", 5, "--step", 8)
    tiltrec(series, "--align", "-T", 60, "-o", "a.mrc", "--threads", 1, cwd=tmp_path)
    subprocess.run(program_command(build_dir, [series, "--align", "-T", 60, "-o", "b.mrc"],
                                   ranks=2), cwd=tmp_path, check=True, capture_output=True,
                   env={**MPI_ENVIRONMENT, "PATH": "/usr/bin:/bin"})
    assert (tmp_path / "a_align.xf").read_bytes() == (tmp_path / "b_align.xf").read_bytes()
    assert np.array_equal(read_mrc(tmp_path / "a.mrc"), read_mrc(tmp_path / "b.mrc"))


def test_noise_is_not_aligned(tiltrec, tmp_path):
    data = np.random.default_rng(1).normal(100, 10, (21, SIZE, SIZE))
    series = write_mrc(tmp_path / "noise.mrc", data)
    np.savetxt(tmp_path / "noise.rawtlt", np.linspace(-60, 60, 21), "%g")
    run = tiltrec(series, "--align", "-T", 60, "-o", "rec.mrc", cwd=tmp_path, check=False)
    assert run.returncode == DATA and "cannot be aligned" in run.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["noise.mrc", "noise.rawtlt"]


def test_refused(tiltrec, tmp_path):
    data = np.random.default_rng(1).normal(100, 10, (4, 70, 70))
    series = write_mrc(tmp_path / "s.mrc", data)
    np.savetxt(tmp_path / "s.rawtlt", [-30, -10, 10, 30], "%g")
    np.savetxt(tmp_path / "t.xf", [[1, 0, 0, 1, 0, 0]] * 4, "%g")
    for options, sentence in [([], "too few or too small"),
                              (["--aligned"], "is aligned already"),
                              (["--transforms", "t.xf"], "has one: leave out --align")]:
        run = tiltrec(series, "--align", *options, "-T", 20, "-o", "r.mrc", cwd=tmp_path,
                      check=False)
        assert run.returncode != 0 and sentence in run.stderr
    assert not (tmp_path / "r.mrc").exists()
