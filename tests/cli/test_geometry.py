"""The pitch, the x-tilts, and the scale: against the reference, and against analytic
ellipsoids, whose projections owe nothing to the program or the reference."""
import sys

import numpy as np
import pytest

import reference
from conftest import ROOT, correlation, difference, read_mrc, write_series, write_xtilts
from reference import Geometry

sys.path.insert(0, str(ROOT / "examples"))
from make_phantom import make_cell  # noqa: E402 (needs the path above)

ITERATIONS = {"SIRT": ["-i", 8], "SART": ["-i", 1, "-r", 0.5]}
ALGORITHMS = ["BPT", "WBP", "FBP", "SIRT", "SART"]


def smooth_views(n_views, n_v, n_u):
    """Images without fine detail, none two alike."""
    x, y = np.arange(n_u), np.arange(n_v)[:, None]
    views = [np.sin(0.25 * x + 0.2 * y + k) + 0.5 * np.cos(0.1 * k * x - 0.3 * y)
             for k in range(n_views)]
    return np.float32(views).astype(float)


# ---- the pitch ----

METHODS = {"BPT": reference.bpt, "WBP": reference.wbp, "FBP": reference.fbp}


@pytest.mark.parametrize("algorithm", METHODS)
@pytest.mark.parametrize("pitch, z_shift, shape", [
    (6, 0, (40, 50, 14)), (-11.5, 2.5, (31, 37, 15)), (27, -4, (24, 90, 12)),
    (0.4, 0, (20, 40, 8))])
def test_pitch_equals_the_reference(tiltrec, tmp_path, algorithm, pitch, z_shift, shape):
    n_u, n_v, thickness = shape
    tilts = [-58, 40, 3, -20, 61, 19, -37]
    views = smooth_views(len(tilts), n_v, n_u)
    series = write_series(tmp_path, views, tilts)
    tiltrec("-a", algorithm, "--pitch", pitch, "-T", thickness, "--z-shift", z_shift,
            "--axis-shift", 1.5, "-o", "rec.mrc", series, cwd=tmp_path)
    volume = read_mrc(tmp_path / "rec.mrc")

    def expected(pitch):
        def rows_of(rows, z):
            return METHODS[algorithm](Geometry(tilts, n_u, len(z), axis_shift=1.5, z=z),
                                      rows)
        return reference.pitched(rows_of, views, pitch, thickness, z_shift)

    assert difference(volume, expected(pitch)) < 1e-5
    assert difference(expected(-pitch), expected(pitch)) > 0.02


@pytest.fixture(scope="session")
def pitched_phantom(make_phantom):
    return make_phantom("--size", 64, 64, 24, "--views", 31, "--noise-free",
                        "--pitch", 9)


def run(tiltrec, folder, algorithm, *options, **how):
    tiltrec("-a", algorithm, *ITERATIONS.get(algorithm, []), "-o", "rec.mrc", *options,
            cwd=folder, **how)
    return read_mrc(folder / "rec.mrc")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_right_pitch_makes_the_phantom_upright(tiltrec, pitched_phantom, tmp_path,
                                                   algorithm):
    truth = read_mrc(pitched_phantom.truth)
    right, none, wrong = (
        correlation(run(tiltrec, tmp_path, algorithm, "-T", 24, "--pitch", pitch,
                        pitched_phantom.series), truth, 4) for pitch in (9, 0, -9))
    assert right > {"BPT": 0.5, "WBP": 0.65, "FBP": 0.65}.get(algorithm, 0.72)
    gain = 0.03 if algorithm == "BPT" else 0.08
    assert right > none + gain and none > wrong + gain / 2


# ---- x-tilts ----

def test_equal_x_tilts_are_a_pitch(tiltrec, pitched_phantom, tmp_path):
    """Of the other sign: IMOD's tilt turns by XAXISTILT - XTILTFILE."""
    np.savetxt(tmp_path / "five.xtilt", np.full(31, 5.0))
    np.savetxt(tmp_path / "nine.xtilt", np.full(31, 9.0))
    files = []
    for options in (["--pitch", -9], ["--xtilts", "nine.xtilt"],
                    ["--xtilts", "five.xtilt", "--pitch", -4]):
        run(tiltrec, tmp_path, "WBP", "-T", 24, *options, pitched_phantom.series)
        files.append((tmp_path / "rec.mrc").read_bytes())
    data = [f[1024:] for f in files]
    assert data[0] == data[1] == data[2]
    run(tiltrec, tmp_path, "WBP", "-T", 24, "--pitch", 9, pitched_phantom.series)
    assert (tmp_path / "rec.mrc").read_bytes()[1024:] != data[0]


@pytest.fixture(scope="session")
def wobbling(tmp_path_factory):
    """A cell whose rotation about x is another one in every view (s_ali.mrc), and always
    the mean of these (steady_ali.mrc)."""
    folder = tmp_path_factory.mktemp("wobbling")
    nx, ny, nz = 64, 56, 24
    cell = make_cell(nx, ny, nz, 1)
    tilts = np.linspace(-60, 60, 31)
    xtilts = 3 + 14 * np.sin(np.arange(31) * 0.7)
    for name, angles in (("s", xtilts), ("steady", np.full(31, xtilts.mean()))):
        views = [cell.project(t, x, nx, ny, 0.0)
                 for t, x in zip(np.radians(tilts), np.radians(angles))]
        write_series(folder, np.stack(views), tilts, name=f"{name}_ali.mrc")
        write_xtilts(folder / f"{name}.xtilt", angles)
    write_xtilts(folder / "wrong.xtilt", 6 - xtilts)
    return folder, cell.voxels(nx, ny, nz)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_x_tilts_of_each_view_are_undone(tiltrec, tiltrecz, wobbling, tmp_path, algorithm):
    """Most of what ignoring them costs comes back. So much wobble couples all rows in
    iterations, which is for the program that holds the whole volume."""
    folder, truth = wobbling
    program = tiltrecz if algorithm in ITERATIONS else tiltrec

    def found(series, xtilts):
        volume = run(program, tmp_path, algorithm, "-T", 24, "--xtilts",
                     folder / f"{xtilts}.xtilt", folder / f"{series}_ali.mrc")
        return correlation(volume, truth, 4)

    best, right, ignored, wrong = (found(*names) for names in (
        ("steady", "steady"), ("s", "s"), ("s", "steady"), ("s", "wrong")))
    loss = best - ignored
    assert loss > 0.02 and best - wrong > 1.3 * loss
    assert best - right < 0.25 * loss


def test_x_tilts_that_couple_all_rows_are_refused(tiltrec, wobbling, tmp_path):
    folder, _ = wobbling
    done = tiltrec("-a", "SART", "-T", 24, "--xtilts", folder / "s.xtilt", "-o", "rec.mrc",
                   folder / "s_ali.mrc", cwd=tmp_path, check=False)
    assert done.returncode == 3 and "tiltrecz-mpi" in done.stderr
    assert not list(tmp_path.iterdir())


def test_small_x_tilts_in_slices_equal_the_whole_volume(tiltrec, tiltrecz, wobbling,
                                                        tmp_path):
    """Iterations on rows coupled a little: both programs solve the same problem."""
    folder, _ = wobbling
    np.savetxt(tmp_path / "small.xtilt", np.sin(np.arange(31) * 0.7))
    volumes = []
    for program in (tiltrec, tiltrecz):
        program("-a", "SIRT", "-i", 4, "-T", 24, "--xtilts", "small.xtilt", "-o", "rec.mrc",
                folder / "s_ali.mrc", cwd=tmp_path)
        volumes.append(read_mrc(tmp_path / "rec.mrc")[8:-8])
    assert np.corrcoef(volumes[0].ravel(), volumes[1].ravel())[0, 1] > 0.99


# ---- the scale ----

@pytest.fixture(scope="session")
def ball(tmp_path_factory):
    """A long cylinder along y with an off-centre hole, seen from all sides: everything
    about it is known, in its slices and in its views. And the matrix of a row."""
    folder = tmp_path_factory.mktemp("ball")
    tilts = np.arange(-90, 90, 3.0) + 1.5
    u = (np.arange(4 * 64) + 0.5) / 4 - 32
    line = []
    for t in np.radians(tilts):
        hole = 7 * np.cos(t) + 4 * np.sin(t)  # x = 7, z = -4
        fine = 2 * 0.8 * (np.sqrt(np.maximum(20 ** 2 - u ** 2, 0))
                          - 0.5 * np.sqrt(np.maximum(6 ** 2 - (u - hole) ** 2, 0)))
        line.append(fine.reshape(64, 4).mean(axis=1))
    views = np.repeat(np.array(line)[:, None], 3, axis=1)
    write_series(folder, views, tilts)
    return folder, views, tilts, Geometry(tilts, 64, 64).matrix().reshape(-1, 64 * 64)


@pytest.mark.parametrize("algorithm, options, tolerance", [
    ("WBP", [], 0.03), ("WBP", ["--radial", "0.5,0"], 0.02), ("FBP", [], 0.02),
    ("FBP", ["--filter", "hann"], 0.03), ("SIRT", ["-i", 50], 0.01),
    ("SART", ["-i", 20], 0.01)])
def test_densities_are_those_of_the_object(tiltrec, ball, tmp_path, algorithm, options,
                                           tolerance):
    """Density 0.8, half of it in the hole; and the views come back when the tomogram is
    projected."""
    folder, views, _, matrix = ball
    tiltrec("-a", algorithm, *options, "-T", 64, "-o", "rec.mrc", folder / "s_ali.mrc",
            cwd=tmp_path)
    slice_ = read_mrc(tmp_path / "rec.mrc")[1]
    x, z = np.arange(64) - 31.5, np.arange(64)[:, None] - 31.5
    from_hole = np.hypot(x - 7, z + 4)
    solid = (np.hypot(x, z) < 17) & (from_hole > 9)
    levels = [slice_[solid].mean(), slice_[from_hole < 3].mean(),
              slice_[(np.hypot(x, z) > 23) & (np.hypot(x, z) < 30)].mean()]
    assert levels[0] - levels[2] == pytest.approx(0.8, rel=tolerance)
    assert levels[1] - levels[2] == pytest.approx(0.4, rel=3 * tolerance)
    again = matrix @ slice_.ravel()
    slope, _ = np.polyfit(views[:, 1].ravel(), again, 1)
    assert slope == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("options", [[], ["--tolerance", 0.01]])
@pytest.mark.parametrize("algorithm", ["SIRT", "SART"])
def test_rows_beyond_the_images_are_iterated_like_their_edge(tiltrec, ball, tmp_path,
                                                             algorithm, options):
    """At a pitch of 30 degrees, the corners of slices are made from rows that lie far
    outside the images and repeat their edge. All rows of this object are equal, so
    densities must be the same there."""
    _, views, tilts, _ = ball
    series = write_series(tmp_path, np.repeat(views[:, :1], 40, axis=1), tilts)
    tiltrec("-a", algorithm, "-i", 12, "-r", {"SIRT": 1, "SART": 0.03}[algorithm],
            *options, "--pitch", 30, "-T", 64, "-o", "rec.mrc", series, cwd=tmp_path)
    volume = read_mrc(tmp_path / "rec.mrc")
    y, s = np.arange(40)[:, None] - 19.5, np.arange(64) - 31.5
    row, height = y * np.cos(np.pi / 6) - s / 2, y / 2 + s * np.cos(np.pi / 6)
    levels = volume[:, :, 22]  # x = -9.5
    beyond = (np.abs(row) > 22) & (np.abs(height) < 12)
    within = (np.abs(row) < 15) & (np.abs(height) < 12)
    assert beyond.sum() > 100
    assert levels[beyond].mean() == pytest.approx(levels[within].mean(), rel=0.03)
