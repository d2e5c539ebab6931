"""--find-axis on made scans, whose axis is known: right within a quarter of a pixel, or said
to be uncertain. Ellipses, whose projections are known exactly."""
import re

import h5py
import numpy as np
import pytest

N_U, ROWS = 192, 3


def project(ellipses, angles, axis):
    u = np.arange(N_U) - (N_U - 1) / 2 - axis
    t = np.radians(angles)[:, None]
    c, d = np.cos(t), np.sin(t)
    p = np.zeros((len(angles), N_U))
    for x, s, a, b, turn, density in ellipses:
        e, f = np.cos(turn), np.sin(turn)
        square = (a * (c * e - d * f)) ** 2 + (b * (-c * f - d * e)) ** 2
        rest = square - (u - (x * c - s * d)) ** 2
        p += 2 * density * a * b * np.sqrt(np.maximum(rest, 0)) / square
    return p


def specimen(r, size):
    """One large ellipse around others, all off the axis."""
    return [(r.uniform(-5, 5), r.uniform(-5, 5), size, 0.85 * size, r.uniform(0, 3), 0.012)] + [
        (*r.uniform(-0.4, 0.4, 2) * size, *r.uniform(0.05, 0.3, 2) * size, r.uniform(0, 3),
         r.uniform(-0.006, 0.02)) for _ in range(12)]


def write_scan(path, seed, size, axis, angles, counts, columns, drift=0.0):
    r = np.random.default_rng(seed)
    p = project(specimen(r, size), angles, axis)[:, None] * np.linspace(0.9, 1.1, ROWS)[:, None]
    gain = counts * np.exp(r.normal(0, 0.1, (ROWS, N_U)))
    response = np.ones(N_U)
    response[r.choice(N_U, columns, replace=False)] = 0.85
    views = r.poisson(gain * np.exp(-p) * response)
    for _ in range(len(angles) // 2):
        views[r.integers(len(angles)), r.integers(ROWS), r.integers(N_U)] += 3 * counts
    with h5py.File(path, "w") as file:
        file["/exchange/data"] = views.astype("u4")
        file["/exchange/data_white"] = r.poisson(np.broadcast_to(gain, (10, ROWS, N_U)))
        file["/exchange/theta"] = angles


def steps(n, span):
    return np.arange(n) * span / n


# size of the specimen (96 fills the views), axis, views, over degrees, counts, bad columns
SCANS = [(70, 7.3, 180, 180, 20000, 4), (70, -7.3, 181, 181, 20000, 4), (60, 21.6, 90, 180, 20000, 0),
         (60, -21.6, 360, 360, 5000, 4), (85, 3.25, 120, 180, 1000, 0), (85, -0.4, 240, 360, 1000, 8),
         (50, 30.1, 180, 180, 300, 0), (50, -30.1, 180, 180, 300, 4), (90, 0.0, 360, 180, 20000, 8),
         (40, 40.7, 120, 360, 20000, 0), (130, 5.3, 180, 180, 20000, 4), (130, -5.3, 360, 360, 20000, 4),
         (130, 12.8, 240, 360, 2000, 8), (200, 2.1, 360, 360, 2000, 0), (75, 15.5, 61, 183, 20000, 0),
         (75, -15.5, 45, 180, 20000, 0), (30, 2.6, 180, 180, 100, 0), (96, 9.9, 180, 180, 5000, 4),
         (65, 17.25, 500, 180, 500, 8), (65, -17.75, 721, 361, 500, 8)]


def found_axis(tiltrec, folder):
    said = tiltrec("-a", "FBP", "-T", 8, "--find-axis", "--dry-run", "a.h5", cwd=folder,
                   check=True).stderr
    number = r"(-?[\d.]+|unknown)"
    match = re.search(rf"mirrored pairs {number}, double wedge {number}, centre of mass {number}", said)
    sure = re.search(r"the rotation axis is (-?[\d.]+) pixels", said)
    assert bool(sure) != ("is uncertain" in said)
    return sure and float(sure[1]), [np.nan if m == "unknown" else float(m) for m in match.groups()]


@pytest.mark.parametrize("scan", SCANS, ids=lambda s: "-".join(map(str, s)))
def test_made_scans(tiltrec, tmp_path, scan):
    size, axis, n, span, counts, columns = scan
    write_scan(tmp_path / "a.h5", 10 + n, size, axis, steps(n, span), counts, columns)
    axis_found, methods = found_axis(tiltrec, tmp_path)
    assert axis_found is None or abs(axis_found - axis) <= 0.25, (axis_found, methods)
    # What fits into the field leaves no doubt.
    if size + abs(axis) < 85 and counts >= 500:
        assert axis_found is not None, methods


def test_uneven_and_unsorted_views(tiltrec, tmp_path):
    angles = np.sort(np.random.default_rng(1).uniform(0, 200, 150))
    order = np.random.default_rng(2).permutation(150)
    write_scan(tmp_path / "a.h5", 3, 60, 11.4, angles[order], 20000, 0)
    axis, (pair, wedge, mass) = found_axis(tiltrec, tmp_path)
    assert abs(axis - 11.4) < 0.25 and np.isnan(wedge) and abs(mass - 11.4) < 0.25


@pytest.mark.parametrize("rows", [pytest.param(slice(1, 2), marks=pytest.mark.slow),
                                  slice(0, 3)])
def test_a_sweep_suggests_what_is_found(tiltrec, tmp_path, rows):
    """Though sharpness would run to an end of the range, and with a single row."""
    write_scan(tmp_path / "a.h5", 3, 60, 11.4, steps(180, 180), 20000, 0)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        for name in "data", "data_white":
            data = file[f"/exchange/{name}"][:, rows]
            del file[f"/exchange/{name}"]
            file[f"/exchange/{name}"] = data
    for values in "9:14:1", "-4:4:1":
        said = tiltrec("-a", "FBP", "--try", f"axis-shift={values}", "-o", "s.png", "a.h5",
                       cwd=tmp_path).stderr
        suggested = re.search(r"suggested: --axis-shift (-?[\d.]+) \(from the views", said)
        assert suggested and abs(float(suggested[1]) - 11.4) <= 0.25, said
        assert "end of the range" not in said and (tmp_path / "s.png").exists()
    write_scan(tmp_path / "a.h5", 3, 60, 11.4, steps(60, 120), 20000, 0)
    done = tiltrec("-a", "FBP", "-T", 64, "--try", "axis-shift=9:14:1", "a.h5", cwd=tmp_path,
                   check=False)
    assert done.returncode == 2 and "--try needs at least 12 slices" in done.stderr


def test_refused(tiltrec, tmp_path):
    def refused(*arguments, words):
        done = tiltrec("-T", 8, "--find-axis", "--dry-run", "a.h5", *arguments, cwd=tmp_path,
                       check=False)
        assert done.returncode in (1, 2) and words in done.stderr, done.stderr
    write_scan(tmp_path / "a.h5", 3, 60, 11.4, steps(60, 120), 20000, 0)
    refused(words="the views go from 0 to 118 degrees; half a turn is needed")
    refused("--axis-shift", 3, words="contradict each other")
    write_scan(tmp_path / "a.h5", 3, 60, 11.4, steps(60, 180), 20000, 0)
    (tmp_path / "b.xf").write_text("1 0 0 1 0 0\n" * 60)
    refused("--transforms", "b.xf", words="where the axis is")
    with h5py.File(tmp_path / "a.h5", "w") as file:  # nothing but noise
        file["/exchange/data"] = (
            np.random.default_rng(1).normal(1, 0.1, (20, ROWS, N_U))
            * np.linspace(0.5, 1.5, 20)[:, None, None])
        file["/exchange/theta"] = np.sort(np.random.default_rng(2).uniform(0, 180, 20))
        file["/exchange/theta"][19] = 180
        file["/exchange/theta"][0] = 0
    refused(words="no method finds the rotation axis")
