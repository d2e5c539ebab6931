"""Scans of a full turn whose axis is near an edge of the views."""
import re

import h5py
import numpy as np
import pytest

from conftest import read_mrc, write_series
from scan_phantom import ellipsoids, projections

WIDE, ROWS = 192, 3


def steps(n, span=360.0):
    return np.arange(n) * span / n


def wide(angles, axis=0.0, width=WIDE):
    return projections(ellipsoids(7, WIDE, ROWS), angles, width, ROWS, axis) * 0.01


def cut(angles, n_u, axis):
    """Views of n_u columns whose middle is so far from the axis."""
    return wide(angles, axis, n_u)


@pytest.mark.parametrize("axis", [35.0, -35.5, 41.25, -38.3])
@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_as_wide_views(build_dir, tmp_path, axis, program):
    """The tomogram is that of half a turn of views that are wide enough."""
    from conftest import runner
    run = runner(build_dir, program)
    n_u, n = 100, 180
    series = write_series(tmp_path, cut(steps(n), n_u, axis), steps(n), name="s.mrc")
    said = run("-a", "FBP", "-o", "a.mrc", "--stitch", "--axis-shift", axis, "--aligned", series,
               cwd=tmp_path).stderr
    width, overlap = map(int, re.search(
        rf"stitched: {n // 2} views of half a turn with (\d+) columns, from {n} with {n_u}, of "
        r"which (\d+) overlap", said).groups())
    assert width == n_u + int(2 * abs(axis)) and overlap == 2 * n_u - width - (2 * axis % 1 > 0)
    got = read_mrc(tmp_path / "a.mrc").astype(float)
    assert got.shape[2] == width == got.shape[1]
    # The axis is where it is relative to the middle of what is stitched.
    rest = abs(axis) - int(2 * abs(axis)) / 2
    rest = rest if axis > 0 else -rest
    other = write_series(tmp_path, cut(steps(n)[:n // 2], width, rest), steps(n)[:n // 2],
                         name="w.mrc")
    run("-a", "FBP", "-o", "b.mrc", "--aligned", "--axis-shift", rest, other, cwd=tmp_path)
    want = read_mrc(tmp_path / "b.mrc").astype(float)
    # Between columns the other view is interpolated.
    least = 0.9995 if 2 * axis % 1 == 0 else 0.998
    assert np.corrcoef(got.ravel(), want.ravel())[0, 1] > least
    assert np.abs(got - want).mean() < (0.02 if 2 * axis % 1 == 0 else 0.06) * want.std()


def test_between_views_and_out_of_order(tiltrec, tmp_path):
    """The view half a turn on lies between two, and the file has them in any order; what is left
    out is not used."""
    angles = steps(361)[:361]  # an odd number: no view faces another
    order = np.random.default_rng(2).permutation(361)
    data = cut(angles, 100, 37.25)
    for name, which in ("s", np.arange(361)), ("m", order):
        series = write_series(tmp_path, data[which], angles[which], name=f"{name}.mrc")
        said = tiltrec("-a", "FBP", "-o", f"{name}_rec.mrc", "--stitch", "--axis-shift", 37.25,
                       "--aligned", series, cwd=tmp_path).stderr
        assert "stitched: 181 views" in said
    a, b = (read_mrc(tmp_path / f"{n}_rec.mrc").astype(float) for n in "sm")
    assert np.abs(a - b).max() < 1e-4 * np.abs(a).max()
    other = write_series(tmp_path, cut(angles[:181], 174, 0.25), angles[:181], name="w.mrc")
    tiltrec("-a", "FBP", "-o", "b.mrc", "--aligned", "--axis-shift", 0.25, other, cwd=tmp_path)
    want = read_mrc(tmp_path / "b.mrc").astype(float)
    assert a.shape == want.shape and np.corrcoef(a.ravel(), want.ravel())[0, 1] > 0.999


def write_scan(path, n_u, axis, n, counts, seed):
    r = np.random.default_rng(seed)
    p = cut(steps(n), n_u, axis)
    gain = counts * np.exp(r.normal(0, 0.1, p.shape[1:]))
    with h5py.File(path, "w") as file:
        file["/exchange/data"] = r.poisson(gain * np.exp(-p)).astype("u4")
        file["/exchange/data_white"] = r.poisson(np.broadcast_to(gain, (10, *p.shape[1:])))
        file["/exchange/theta"] = steps(n)


@pytest.mark.parametrize("n_u, axis, n, counts", [
    (100, 35.4, 360, 20000), (100, -35.4, 360, 20000), *(
        pytest.param(*scan, marks=pytest.mark.slow) for scan in (
            (120, -43.7, 720, 5000), (104, 44.15, 361, 20000), (110, 38.85, 200, 5000))),
    (128, 30.0, 360, 20000)])
def test_the_axis_is_found(tiltrec, tmp_path, n_u, axis, n, counts):
    write_scan(tmp_path / "a.h5", n_u, axis, n, counts, 4)
    said = tiltrec("-a", "FBP", "--find-axis", "--stitch", "a.h5", cwd=tmp_path).stderr
    print(said)
    sure = re.search(r"the rotation axis is (-?[\d.]+) pixels", said)
    assert sure and abs(float(sure[1]) - axis) <= 0.25
    got = read_mrc(tmp_path / "a_rec.mrc").astype(float)
    width = got.shape[2]
    assert abs(width - n_u - 2 * abs(axis)) < 1.5
    rest = axis - np.sign(axis) * (width - n_u) / 2
    half = steps(n)[steps(n) < 180]
    other = write_series(tmp_path, cut(half, width, rest), half, name="w.mrc")
    tiltrec("-a", "FBP", "-o", "b.mrc", "--aligned", "--axis-shift", rest, other, cwd=tmp_path)
    want = read_mrc(tmp_path / "b.mrc").astype(float)
    y, x = np.indices(want.shape[1:]) - width / 2
    inside = np.hypot(x, y) < 0.48 * width
    smooth = [np.array([np.fft.irfft2(np.fft.rfft2(s) * (
        np.hypot(*np.meshgrid(np.fft.rfftfreq(width), np.fft.fftfreq(width))) < 0.15), s.shape)
        for s in v]) for v in (got, want)]
    assert np.corrcoef(*(v[:, inside].ravel() for v in smooth))[0, 1] > 0.97


def test_refused(tiltrec, tmp_path):
    def refused(*arguments, words):
        done = tiltrec("-a", "FBP", "-T", 8, "--stitch", "--dry-run", "--aligned", "s.mrc",
                       *arguments, cwd=tmp_path, check=False)
        assert done.returncode == 2 and words in done.stderr, done.stderr
    write_series(tmp_path, cut(steps(60, 180), 100, 30), steps(60, 180), name="s.mrc")
    refused(words="give --find-axis or --axis-shift")
    refused("--axis-shift", 30, words="the views go from 0 to 177 degrees; a full turn is needed")
    write_series(tmp_path, cut(steps(60), 100, 30), steps(60), name="s.mrc")
    refused("--axis-shift", 30, "--try", "axis-shift=1:4:1", words="needs the axis first")
    for shift in 0, 0.2, 50, -70:
        refused("--axis-shift", shift, words="there is nothing to stitch")
