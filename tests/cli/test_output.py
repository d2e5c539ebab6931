"""The tomogram's file as other programs read it: values, orders, header, scaling."""
import re
import time

import h5py
import mrcfile
import numpy as np
import pytest

from conftest import read_mrc, write_series
from timeline import read_timeline

N_U, N_V, THICKNESS = 30, 21, 9
TYPES = {"float": np.float32, "half": np.float16, "int16": np.int16,
         "uint16": np.uint16, "byte": np.int8}
LIMITS = {"int16": (-32768, 32767), "uint16": (0, 65535), "byte": (-128, 127)}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """With a spot so bright that it would cost the rest its grey values."""
    folder = tmp_path_factory.mktemp("series")
    views = np.random.default_rng(7).normal(size=(9, N_V, N_U)) + 5
    views[:, 10, 14:16] += 800
    path = write_series(folder, views, np.linspace(-60, 60, 9), pixel=2.75)
    with mrcfile.open(path, "r+") as file:
        file.header.origin = (11.5, -7.25, 3)
        file.add_label("taken on a Monday")
    return path


@pytest.fixture
def make(tiltrec, series, tmp_path):
    """make("--order", "xyz", name="rec.hdf") -> path, what the program said"""
    def run(*options, name="rec.mrc"):
        done = tiltrec("-a", "FBP", "-T", THICKNESS, "-o", name, *options, series,
                       cwd=tmp_path)
        return tmp_path / name, done.stderr
    return run


def header(path):
    with mrcfile.open(path) as file:
        return file.header.copy(), [str(label) for label in file.get_labels()]


def clipped(values, mode):
    return np.clip(np.rint(values), *LIMITS[mode])


@pytest.mark.parametrize("order", ["xzy", "xyz"])
@pytest.mark.parametrize("mode", TYPES)
def test_files_are_valid_and_their_statistics_exact(make, mode, order, capsys):
    small = ["--scale", "0,0.01"] if mode == "half" else []  # for mrcfile's own sums
    path, said = make("--mode", mode, "--order", order, *small)
    assert mrcfile.validate(path), capsys.readouterr().out
    with mrcfile.open(path) as file:
        data, head = file.data, file.header
        assert data.dtype == TYPES[mode]
        assert head.nsymbt == 0 and head.nversion >= 20140 and head.ispg == 1
        nx, ny, nz = data.shape[::-1]
        assert [int(head.nx), int(head.ny), int(head.nz)] == [nx, ny, nz]
        assert [int(head.mx), int(head.my), int(head.mz)] == [nx, ny, nz]
        assert path.stat().st_size == 1024 + data.nbytes
        values = data.astype(np.float64)
    assert head.dmin == values.min() and head.dmax == values.max()
    # As exact as the header's float32 holds them
    assert head.dmean == pytest.approx(values.mean(), rel=2e-6, abs=2e-6 * values.std())
    assert head.rms == pytest.approx(values.std(), rel=2e-6)
    spoken = [float(v) for v in re.search(
        r"min (\S+), max (\S+), mean (\S+), standard deviation (\S+)", said).groups()]
    assert spoken == pytest.approx([values.min(), values.max(), values.mean(),
                                    values.std()], rel=1e-5, abs=1e-5 * values.std())


def test_half_is_the_float_result_rounded(make):
    exact = mrcfile.read(make()[0])
    assert exact.dtype == np.float32
    assert np.array_equal(mrcfile.read(make("--mode", "half")[0]),
                          exact.astype(np.float16))


@pytest.mark.parametrize("order", ["xzy", "xyz"])
@pytest.mark.parametrize("mode", LIMITS)
def test_the_label_inverts_the_automatic_scaling(make, mode, order):
    exact = read_mrc(make("--order", order)[0])
    path, said = make("--mode", mode, "--order", order)
    label = next(text for text in header(path)[1] if text.startswith("density"))
    assert "scaling: " + label.strip() in said
    step, start = map(float, re.fullmatch(
        r"density = (\S+) \* stored ([+-]\S+)", label.strip()).groups())
    stored = read_mrc(path)
    assert [stored.min(), stored.max()] == list(LIMITS[mode])
    # The bright spot and its streaks are clipped, at 6 standard deviations, nothing else.
    low, high = exact.mean() + 6 * exact.std() * np.array([-1, 1])
    assert exact.min() < low and exact.max() > high
    inside = (exact > low) & (exact < high)
    assert 0.99 < inside.mean() < 1
    assert np.array_equal(stored[exact >= high], np.full((exact >= high).sum(),
                                                         LIMITS[mode][1]))
    assert np.array_equal(stored[exact <= low], np.full((exact <= low).sum(),
                                                        LIMITS[mode][0]))
    error = np.abs(step * stored + start - exact)[inside]
    assert error.max() <= 0.505 * step and error.max() > 0.4 * step


@pytest.mark.parametrize("add, multiply", [(0, 1), (-5, 2.5), (3, -0.5)])
def test_scale(make, add, multiply):
    exact = read_mrc(make()[0])
    wanted = (exact + add) * multiply
    scale = ("--scale", f"{add},{multiply}")
    assert read_mrc(make(*scale)[0]) == pytest.approx(wanted, rel=1e-6, abs=1e-5)
    for mode in LIMITS:
        path, said = make(*scale, "--mode", mode)
        stored = read_mrc(path)
        tie = np.abs(wanted % 1 - 0.5) < 1e-4
        assert np.array_equal(stored[~tie], clipped(wanted, mode)[~tie])
        assert not any(text.startswith("density") for text in header(path)[1])
        assert "scaling:" not in said


@pytest.mark.parametrize("mode", ["float", "int16"])
def test_xyz_is_xzy_rotated_about_x(make, mode):
    native = read_mrc(make("--mode", mode)[0])
    path, said = make("--mode", mode, "--order", "xyz")
    rotated = read_mrc(path)
    assert native.shape == (N_V, THICKNESS, N_U)
    assert rotated.shape == (THICKNESS, N_V, N_U)
    for z in range(THICKNESS):
        assert np.array_equal(rotated[z], native[:, THICKNESS - 1 - z])
    assert "hand kept" in said and any("hand kept" in t for t in header(path)[1])


@pytest.mark.parametrize("options", [{}, {"width": 20}, {"width": 33, "x_shift": 4},
                                     {"z_shift": -2.5}, {"slices": "5:11"}])
def test_pixel_size_and_origin(make, options):
    given = [text for name, value in options.items()
             for text in ("--" + name.replace("_", "-"), value)]
    head, labels = header(make(*given)[0])
    turned, _ = header(make(*given, "--order", "xyz")[0])
    pixel = np.float32(2.75)
    for h in (head, turned):
        assert h.cella.x / h.mx == h.cella.y / h.my == h.cella.z / h.mz == pixel
    width, x_shift, z_shift = (options.get(k, d) for k, d in
                               (("width", N_U), ("x_shift", 0), ("z_shift", 0)))
    first = int(str(options.get("slices", "0:0")).split(":")[0])
    # MRC2014: coordinate = index * pixel + origin; those of the series are kept.
    x = 11.5 + 2.75 * (N_U / 2 - width // 2 - x_shift)
    y = -7.25 + 2.75 * first
    assert list(head.origin.item()) == pytest.approx(
        [x, -2.75 * (THICKNESS // 2 + z_shift), y], abs=1e-4)
    # The same voxel from the other end: its height is the negative.
    voxel = 3
    height = (voxel + 0.5) * 2.75 + head.origin.y
    assert (THICKNESS - 1 - voxel + 0.5) * 2.75 + turned.origin.z == \
        pytest.approx(-height, abs=1e-4)
    assert [turned.origin.x, turned.origin.y] == pytest.approx([x, y], abs=1e-4)


def test_binning_makes_the_pixels_larger(make):
    head, _ = header(make("--bin", 2)[0])
    assert [int(head.nx), int(head.ny), int(head.nz)] == [15, 4, 10]
    assert head.cella.x / head.mx == pytest.approx(5.5)


def test_labels_say_what_was_done(make):
    _, labels = header(make("--filter", "hann", "--pitch", 3)[0])
    assert re.match(r"tiltrec-mpi \d+\.\d+\S*: FBP, hann filter", labels[0])
    assert "9 views" in labels[1] and "pitch 3" in labels[1]
    assert "not CTF-corrected here" in labels[1] and "xzy" in labels[1]
    assert any("taken on a Monday" in label for label in labels[2:])


@pytest.mark.parametrize("order", ["xzy", "xyz"])
@pytest.mark.parametrize("mode", ["float", "int16", "byte"])
def test_hdf5_holds_the_same(make, mode, order):
    options = ("--mode", mode, "--order", order, "--width", 24)
    mrc = mrcfile.read(make(*options)[0])
    head, _ = header(make(*options)[0])
    sizes = {}
    for level in (0, 6):
        path, _ = make(*options, "--deflate", level, name="rec.hdf")
        with h5py.File(path) as file:
            group = file["/MDF/images/0"]
            image = group["image"]
            assert image.chunks
            assert image.compression == ("gzip" if level else None)
            assert image.compression_opts == (level or None)
            # HDF5's bytes are unsigned or signed as it says; the values are the same.
            assert np.array_equal(image[...].astype(float), mrc.astype(float))
            at = {k: np.ravel(v)[0] for k, v in group.attrs.items()}
            assert [at[f"IMOD.MRC.n{a}"] for a in "xyz"] == list(mrc.shape[::-1])
            for ours, theirs in (("minimum", "dmin"), ("maximum", "dmax"),
                                 ("mean", "dmean"), ("rms", "rms")):
                assert at["IMOD.MRC." + ours] == head[theirs]
            assert at["IMOD.MRC.xlen"] / at["IMOD.MRC.mx"] == pytest.approx(2.75)
            assert at["IMOD.MRC.xorigin"] == head.origin.x
        sizes[level] = path.stat().st_size
    if mode == "byte":
        assert sizes[6] < sizes[0]


@pytest.mark.parametrize("options, name", [
    ([], "rec.mrc"), (["--mode", "byte", "--order", "xyz"], "rec.mrc"),
    (["--mode", "half", "--scale", "0,1e-6", "--deflate", "3"], "rec.hdf")])
def test_verified_tomogram_is_the_same(make, tiltrec, series, tmp_path, options, name):
    """Values of half precision down to its smallest; tests of faults show what --verify
    finds."""
    path, _ = make(*options, name=name)
    expected = path.read_bytes()
    for ranks in None, 2:
        done = tiltrec("-a", "FBP", "-T", THICKNESS, "-o", name, "--verify", *options, series,
                       cwd=tmp_path, ranks=ranks)
        assert done.stderr.count(f"read back {name}: {N_V} slices compared") == 1
        assert path.read_bytes() == expected


@pytest.mark.parametrize("ranks", [None, 2])
def test_timeline(tiltrec, series, tmp_path, ranks):
    """Every process has each stage, one thing at a time, and the last ends with the run."""
    begun = time.monotonic()
    tiltrec("-a", "WBP", "-T", THICKNESS, "-o", "rec.mrc", "--timeline", "t.json", series,
            cwd=tmp_path, ranks=ranks)
    wall = time.monotonic() - begun
    timeline = read_timeline(tmp_path / "t.json")
    assert sorted(timeline) == list(range(ranks or 1))
    for stages in timeline.values():
        assert {"reading", "filtering", "projecting", "writing"} <= stages.keys()
        for times in stages.values():
            assert all(0 <= start <= end < wall for start, end in times)
            assert all(end <= start + 1e-8 for (_, end), (start, _) in zip(times, times[1:]))
