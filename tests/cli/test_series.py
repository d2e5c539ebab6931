"""What happens to the images before they are reconstructed."""
import gzip
import re

import h5py
import numpy as np
import pytest

import reference
from conftest import correlation, difference, read_mrc, write_series
from reference import Geometry

TILTS = np.array([-57, -40.5, -21, -3, 12, 33, 50, 61.5])
THICKNESS = 10


@pytest.fixture(scope="module")
def views():
    """Positive, so that they have a logarithm, and of whole numbers."""
    rng = np.random.default_rng(9)
    return np.rint(rng.uniform(200, 1000, (len(TILTS), 12, 32)))


@pytest.fixture
def run(tiltrec, tmp_path):
    def reconstruct(series, *options, thickness=THICKNESS, **how):
        done = tiltrec("-T", thickness, "-o", "rec.mrc", *options, series, cwd=tmp_path,
                       **how)
        reconstruct.said = done.stderr
        return read_mrc(tmp_path / "rec.mrc")
    return reconstruct


def expected(views, tilts=TILTS, method=reference.wbp):
    geometry = Geometry(tilts, views.shape[2], THICKNESS)
    return np.stack([method(geometry, rows) for rows in views.swapaxes(0, 1)])


# ---- which views, and their values ----

@pytest.mark.parametrize("options, chosen", [
    (["--exclude", "1-3,5"], [3, 5, 6, 7]), (["--exclude", 8], [0, 1, 2, 3, 4, 5, 6]),
    (["--include", "2,4-6"], [1, 3, 4, 5]),
    (["--include", "2-7", "--exclude", "3,4"], [1, 4, 5, 6])])
def test_choice_of_views(run, views, tmp_path, options, chosen):
    volume = run(write_series(tmp_path, views, TILTS), *options)
    assert difference(volume, expected(views[chosen], TILTS[chosen])) < 1e-5
    assert f"{len(chosen)} of 8 views" in run.said


@pytest.mark.parametrize("options, change", [
    (["--invert"], lambda v: -v), (["--log", 0], lambda v: -np.log(v)),
    (["--log", 150.5], lambda v: -np.log(v + 150.5)),
    (["--log", 10, "--invert"], lambda v: np.log(v + 10))])
def test_log_and_invert(run, views, tmp_path, options, change):
    volume = run(write_series(tmp_path, views, TILTS), *options)
    assert difference(volume, expected(change(views))) < 1e-5


def test_values_without_a_logarithm_are_raised(run, views, tmp_path):
    dark = views.copy()
    dark[2, 3, 4:7] = [0, -5, 0.01]
    volume = run(write_series(tmp_path, dark, TILTS), "--log", 0)
    dark[2, 3, 4:7] = 1e-3 * dark[2].mean()
    assert difference(volume, expected(-np.log(dark))) < 1e-5
    assert re.search(r"3 pixels are too small for a logarithm", run.said)


def test_pixels_that_are_no_numbers_get_the_mean_of_their_view(run, views, tmp_path):
    holes = views.copy()
    holes[1, 2, 3], holes[1, 2, 4], holes[6, 11, 31] = np.nan, np.inf, -np.inf
    volume = run(write_series(tmp_path, holes, TILTS))
    for k in (1, 6):
        bad = ~np.isfinite(holes[k])
        holes[k][bad] = holes[k][~bad].mean()
    assert difference(volume, expected(holes)) < 1e-5
    assert re.search(r"3 pixels are NaN or infinite, the first in view 2 at column 3, "
                     r"row 2", run.said)


# ---- how they are stored ----

@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.float16, np.int8])
def test_number_types(run, views, tmp_path, dtype):
    stored = np.rint(views / 10) if dtype == np.int8 else views
    volume = run(write_series(tmp_path, stored, TILTS))
    same = run(write_series(tmp_path, stored, TILTS, name="other_ali.mrc", dtype=dtype))
    assert np.array_equal(same, volume)


@pytest.mark.parametrize("layout", ["exchange", "MDF"])
def test_hdf5(run, views, tmp_path, layout):
    volume = run(write_series(tmp_path, views, TILTS))
    with h5py.File(tmp_path / "t.h5", "w") as file:
        if layout == "exchange":
            file["/exchange/data"] = views.astype(np.float32)
            file["/exchange/theta"] = TILTS
        else:
            for k, view in enumerate(views):
                file[f"/MDF/images/{k}/image"] = view.astype(np.float32)
            file["/MDF/images"].attrs["imageid_max"] = len(views) - 1
            np.savetxt(tmp_path / "t.tlt", TILTS)
    assert np.array_equal(run(tmp_path / "t.h5"), volume)


def test_gzip(run, views, tmp_path):
    series = write_series(tmp_path, views, TILTS)
    volume = run(series)
    packed = tmp_path / "packed.mrc.gz"
    packed.write_bytes(gzip.compress(series.read_bytes()))
    assert np.array_equal(run(packed, "-t", tmp_path / "s_ali.tlt"), volume)


# ---- binning ----

def waves(n_v, n_u, bin, sample):
    """Images of a few waves below the binned images' Nyquist frequency, with a whole
    number of periods in the part that binning uses. `sample` lists positions relative to
    the image's centre, columns and rows."""
    u, v = sample
    cut_u, cut_v = n_u // bin * bin, n_v // bin * bin
    image = 4 + 0 * u + 0 * v[:, None]
    for ku, kv, size, phase in ((1, 0, 1, 0.3), (3, 2, 0.7, 1.1), (2, -3, 0.5, 2.0),
                                (0, 2, 0.4, -1), (cut_u // bin // 2 - 1, 1, 0.3, 0.5)):
        image = image + size * np.cos(2 * np.pi * (ku * u / cut_u
                                                   + kv * v[:, None] / cut_v) + phase)
    return image


@pytest.mark.parametrize("n_u, n_v, bin", [(40, 32, 2), (41, 33, 2), (45, 36, 3),
                                           (47, 38, 3), (64, 48, 4)])
def test_binning_samples_the_image_about_its_centre(run, tmp_path, n_u, n_v, bin):
    """The voxels of a backprojected untilted view are its pixels."""
    def positions(nu, nv, step):
        return step * (np.arange(nu) - nu / 2 + 0.5), step * (np.arange(nv) - nv / 2 + 0.5)
    series = write_series(
        tmp_path, waves(n_v, n_u, bin, positions(n_u, n_v, 1))[None], [0])
    # The middle of an odd number of voxels lies half a voxel from that of the images.
    middle = bin / 2 if n_u // bin % 2 else 0
    binned = run(series, "-a", "BPT", "--bin", bin, "--x-shift", middle,
                 thickness=2 * bin)[:, 1]
    wanted = waves(n_v, n_u, bin, positions(n_u // bin, n_v // bin, bin))
    assert difference(binned, wanted) < 1e-5


def test_finer_detail_leaves_no_alias(run, tmp_path):
    x = np.arange(64) - 31.5
    image = 5 + np.cos(2 * np.pi * 0.375 * x) + 0 * np.arange(32)[:, None]
    image = image + np.cos(2 * np.pi * x / 64)
    binned = run(write_series(tmp_path, image[None], [0]), "-a", "BPT", "--bin", 2,
                 thickness=4)[:, 1]
    wanted = 5 + np.cos(2 * np.pi * (np.arange(32) - 15.5) / 32) + np.zeros((16, 1))
    assert difference(binned, wanted) < 1e-5


# ---- a specimen of balls with soft edges, seen from anywhere ----

SIZE = (60, 44, 20)  # columns, rows, thickness
BALLS = np.array([[0, 0, 0, 1.0], [14, 6, -4, 2.0], [-17, -9, 5, 1.5], [6, -13, 2, 1.2],
                  [-9, 14, -6, 1.8], [21, -4, 1, 0.8]])
SOFT = 2.2


def ball_views(turn=0.0, shift=(0, 0), stretch=1.0):
    """Aligned = stretch * turn(raw) + shift about the centre; here the raw images.
    turn in radians, one number or one per view."""
    nx, ny, _ = SIZE
    x, y = np.arange(nx) - nx / 2 + 0.5, np.arange(ny)[:, None] - ny / 2 + 0.5
    views = np.zeros((len(TILTS), ny, nx))
    turns = np.broadcast_to(turn, len(TILTS))
    for image, tilt, angle in zip(views, np.radians(TILTS), turns):
        for bx, by, bz, density in BALLS:
            u, v = bx * np.cos(tilt) - bz * np.sin(tilt) - shift[0], by - shift[1]
            u, v = (np.cos(angle) * u + np.sin(angle) * v,
                    -np.sin(angle) * u + np.cos(angle) * v)
            distance = (x - u / stretch) ** 2 + (y - v / stretch) ** 2
            image += density * np.exp(-distance / 2 / (SOFT / stretch) ** 2)
    return views + 1


def density_centre(volume, ball):
    """Where the maximum near a ball is, to a fraction of a voxel, from the centre."""
    nz, ny, nx = volume.shape
    z, y, x = np.meshgrid(*(np.arange(n) - n / 2 + 0.5 for n in volume.shape),
                          indexing="ij")
    near = (x - ball[0]) ** 2 + (y - ball[1]) ** 2 + (z - ball[2]) ** 2 < ball[3] ** 2
    weight = np.where(near, np.maximum(volume - volume[near].min(), 0), 0)
    return [float((weight * c).sum() / weight.sum()) for c in (x, y, z)]


def test_a_binned_tomogram_is_centred(run, tmp_path):
    """The ball in the middle stays there; the one at (14, 6, -4) is at half of that."""
    series = write_series(tmp_path, ball_views(), TILTS)
    volume = run(series, "-a", "SIRT", "-i", 20, "--bin", 2, thickness=20)
    volume = volume.swapaxes(0, 1)  # [z][y][x]
    assert volume.shape == (10, 22, 30)
    assert density_centre(volume, (0, 0, 0, 3)) == pytest.approx([0, 0, 0], abs=0.15)
    found = density_centre(volume, (7, 3, -2, 3))
    assert found[:2] == pytest.approx([7, 3], abs=0.15)
    assert found[2] == pytest.approx(-2, abs=0.6)  # blurred by the missing wedge


def write_xf(folder, turn, shift, stretch=1.0):
    turn = np.broadcast_to(turn, len(TILTS))
    c, s = stretch * np.cos(turn), stretch * np.sin(turn)
    dx, dy = (np.full(len(TILTS), d) for d in shift)
    np.savetxt(folder / "s.xf", np.column_stack([c, -s, s, c, dx, dy]), "%.8f")
    return folder / "s.xf"


@pytest.mark.parametrize("turn, shift, stretch", [
    (0.0, (3.25, -1.5), 1), (0.12, (0, 0), 1), (0.12, (2.5, 1.25), 1.05),
    (0.05 * np.sin(np.arange(8)), (-2, 3), 1), (np.pi / 2, (0, 0), 1)])
def test_transforms_align_the_views(run, tmp_path, turn, shift, stretch):
    aligned = run(write_series(tmp_path, ball_views(), TILTS), thickness=20)
    raw = write_series(tmp_path, ball_views(turn, shift, stretch), TILTS, name="raw.mrc")
    xf = write_xf(tmp_path, turn, shift, stretch)
    # Turned by 90 degrees, the raw images lack the ends of the aligned ones.
    ours = run(raw, "--transforms", xf, "--size", f"{SIZE[0]},{SIZE[1]}", thickness=20)
    assert correlation(ours, aligned, 6) > 0.994
    other = write_xf(tmp_path, -turn if np.any(turn) else turn,
                     shift if np.any(turn) else [-d for d in shift], stretch)
    assert correlation(run(raw, "--transforms", other, "--size", f"{SIZE[0]},{SIZE[1]}",
                           thickness=20), aligned, 6) < 0.97
    assert correlation(run(raw, thickness=20), aligned, 6) < 0.985


def test_transforms_and_binning(run, tmp_path):
    """The shifts of an alignment count pixels of the file."""
    aligned = run(write_series(tmp_path, ball_views(), TILTS), "--bin", 2, thickness=20)
    raw = write_series(tmp_path, ball_views(0.1, (4, -3)), TILTS, name="raw.mrc")
    ours = run(raw, "--transforms", write_xf(tmp_path, 0.1, (4, -3)), "--bin", 2,
               thickness=20)
    assert correlation(ours, aligned, 3) > 0.98
    half = run(raw, "--transforms", write_xf(tmp_path, 0.1, (2, -1.5)), "--bin", 2,
               thickness=20)
    assert correlation(half, aligned, 3) < 0.9
