"""Hot and dead pixels of the detector, and views of one level or contrast."""
import json
import re

import numpy as np
import pytest

from conftest import correlation, read_mrc, write_series
from specimen import make_slab

RAW = "s.mrc"  # a name that does not say that the views are aligned
SHAPE = 300, 400


def write_transforms(folder, n, shift=0.0, name="s.xf"):
    np.savetxt(folder / name, [[1, 0, 0, 1, shift, -shift]] * n, "%g")


@pytest.fixture
def picture(tiltrec, tmp_path):
    """What one view is when it is reconstructed: the mean over one view is the view."""
    def reconstruct(view, *options, name=RAW):
        series = write_series(tmp_path, view[None], [0.0], name=name)
        done = tiltrec("-a", "BPT", "-T", 1, "--outside", "zero", "-o", "rec.mrc", *options,
                       series, cwd=tmp_path)
        reconstruct.said = done.stderr
        return read_mrc(tmp_path / "rec.mrc")[:, 0]
    return reconstruct


def same(seen, view):
    """But for the rounding of a transform along the rows."""
    return np.abs(seen - view).max() < 2e-6 * np.abs(view).max()


def outcome(program, folder, *options, **how):
    done = program("-o", "rec.mrc", "--json", "rec.json", *options, cwd=folder, **how)
    return (json.loads((folder / "rec.json").read_text())["series"]["hot_pixels"], done.stderr,
            read_mrc(folder / "rec.mrc"))


def places(shape, n, rng, apart=4):
    """Not nearer to each other than that, so that each is a single one."""
    found = []
    while len(found) < n:
        one = np.array([rng.integers(0, size) for size in shape])
        if all(np.abs(one - other).max() >= apart for other in found):
            found.append(one)
    return tuple(np.array(found).T)


# ---- single views ----

@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_each_is_replaced_and_nothing_else(picture, sign, dtype):
    rng = np.random.default_rng(1)
    clean = np.rint(rng.normal(2000, 10, (700, 800))) if dtype == np.int16 else \
        rng.normal(2000, 10, (700, 800)).astype(np.float32)
    hot = clean.copy()
    at = places(clean.shape, 56, rng)  # 1e-4
    at[0][:4], at[1][:4] = [0, 699, 1, 350], [5, 700, 300, 799]  # at edges, too
    hot[at] += sign * 50 * 10
    hot[10, 200:202] += sign * 500  # two side by side
    assert same(picture(hot, "--hot-pixels", "off"), hot)
    seen = picture(hot, "--hot-pixels", "replace")
    assert "58 hot or dead pixels are replaced in 1 of 1 views" in picture.said
    changed = np.zeros(clean.shape, bool)
    changed[at] = changed[10, 200:202] = True
    assert same(seen[~changed], clean[~changed])
    assert np.abs(seen[changed] - 2000).max() < 10  # a median of 24 in noise of 10


def beads(shape, fwhm, height, rng, n=60):
    y, x = np.mgrid[:shape[0], :shape[1]].astype(float)
    image = np.zeros(shape)
    for cy, cx in zip(*places(shape, n, rng, apart=12)):
        cy, cx = cy + rng.uniform(-0.5, 0.5), cx + rng.uniform(-0.5, 0.5)
        image += height * np.exp(-4 * np.log(2) * ((y - cy) ** 2 + (x - cx) ** 2) / fwhm ** 2)
    return image


def discs(shape, diameter, height, rng, n=60):
    y, x = np.mgrid[:shape[0], :shape[1]].astype(float)
    image = np.zeros(shape)
    for cy, cx in zip(*places(shape, n, rng, apart=12)):
        cy, cx = cy + rng.choice([0, 0.5]), cx + rng.choice([0, 0.5])
        image[(y - cy) ** 2 + (x - cx) ** 2 <= diameter ** 2 / 4] = height
    return image


@pytest.mark.slow
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("height", [11, 20, 100, 1e4])
@pytest.mark.parametrize("kind", [beads, discs])
def test_a_bead_is_no_hot_pixel(picture, kind, height, sign):
    rng = np.random.default_rng(int(height))
    for noise in (1, 1e-3):
        view = rng.normal(100, noise, SHAPE) + sign * kind(SHAPE, 4, height, rng)
        view = view.astype(np.float32)
        assert same(picture(view, "--hot-pixels", "replace"), view)
        assert "hot or dead" not in picture.said and "far above" not in picture.said


@pytest.mark.slow
@pytest.mark.parametrize("gain", ["none", "flat", "scaled"])
@pytest.mark.parametrize("mean", [0.02, 0.1, 0.3, 1, 2, 3, 5, 30, 1000])
def test_counts_have_none(picture, mean, gain):
    rng = np.random.default_rng(int(100 * mean))
    view = rng.poisson(mean, (1500, 1500)).astype(np.float32)
    if gain == "flat":
        view *= rng.normal(1, 0.03, view.shape).astype(np.float32)
    elif gain == "scaled":
        view *= 37
    assert same(picture(view, "--hot-pixels", "replace"), view)
    assert "hot or dead" not in picture.said and "far above" not in picture.said


def test_counts_that_have_one(picture):
    rng = np.random.default_rng(4)
    for mean in (1, 5):
        view = rng.poisson(mean, SHAPE).astype(np.float32)
        hot = view.copy()
        hot[40, 50] = hot[200, 333] = 100
        seen = picture(hot, "--hot-pixels", "replace")
        hot[40, 50], hot[200, 333] = seen[40, 50], seen[200, 333]
        assert same(seen, hot) and seen[40, 50] <= 2 * mean + 0.01


def test_no_view_of_many(picture):
    rng = np.random.default_rng(5)
    view = rng.normal(0, 1, SHAPE).astype(np.float32)
    view[places(SHAPE, 150, rng)] += 40  # 1.25 in a thousand
    assert same(picture(view, "--hot-pixels", "replace"), view)
    assert re.search(r"in 1 of 1 views, the first of them view 1, more than 0.1 % of the "
                     r"pixels .* none of them is replaced", picture.said)


def test_beside_pixels_that_are_no_numbers(picture):
    rng = np.random.default_rng(6)
    view = rng.normal(500, 5, SHAPE).astype(np.float32)
    view[100, 100], view[100, 101], view[20, 20] = 1e30, np.nan, np.inf
    seen = picture(view, "--hot-pixels", "replace")
    bad = np.abs(view) < 1e20
    assert same(seen[bad], view[bad])
    assert abs(seen[100, 100] - 500) < 5
    # The mean that takes the place of the others is not the hot pixel's.
    assert np.allclose([seen[100, 101], seen[20, 20]], view[bad].mean(dtype=float), atol=0.01)


# ---- series ----

@pytest.fixture(scope="module")
def slab():
    """Views, tilts, truth [row][plane][column]."""
    views, tilts, truth = make_slab(128, 48, 40, 30, 3, 0.3, tilts=np.arange(-60.0, 61, 5))
    return views.astype(np.float32), tilts, truth


def raw_series(folder, views, tilts, name=RAW):
    write_transforms(folder, len(views), name=name.replace(".mrc", ".xf"))
    return write_series(folder, views, tilts, name=name)


def test_one_bright_pixel_in_one_view(tiltrec, slab, tmp_path):
    views, tilts, truth = slab
    bright = views.copy()
    bright[11, 20, 70] += 300 * views.std()
    series = raw_series(tmp_path, bright, tilts)
    clean = raw_series(tmp_path, views, tilts, "clean.mrc")
    options = "-T", 40
    good = correlation(outcome(tiltrec, tmp_path, *options, clean)[2], truth, 4)
    spoiled = outcome(tiltrec, tmp_path, *options, "--hot-pixels", "off", series)[2]
    assert correlation(spoiled, truth, 4) < 0.6 * good
    hot, said, volume = outcome(tiltrec, tmp_path, *options, series)
    assert abs(correlation(volume, truth, 4) - good) < 1e-3
    assert hot == {"replaced": True, "pixels": 1, "views": 1, "most_in_one_view": 1,
                   "persistent": 0}
    assert "s.mrc: 1 hot or dead pixels are replaced in 1 of 25 views, at most 1 in one (view " \
        "12); 0 are so in more than 30 % of the views" in said


def test_warned_of_or_not_where_views_may_be_interpolated(tiltrec, slab, tmp_path):
    views, tilts, _ = slab
    bright = views.copy()
    bright[11, 20, 70] += 300 * views.std()
    for series in (write_series(tmp_path, bright, tilts),
                   write_series(tmp_path, bright, tilts, name="other.mrc")):
        hot, said, volume = outcome(tiltrec, tmp_path, "-T", 40, series)
        assert hot["replaced"] is False and hot["pixels"] == 1
        assert said.count("1 pixels in 1 of 25 views are far above or below all around them, at "
                          "most 1 in one (view 12); if they are hot or dead pixels of the "
                          "detector, replace them with --hot-pixels replace") == 1
        hot, said, same = outcome(tiltrec, tmp_path, "-T", 40, "--hot-pixels", "off", series)
        assert hot["pixels"] == 0 and "far above" not in said and np.array_equal(same, volume)
        warned = outcome(tiltrec, tmp_path, "-T", 40, "--hot-pixels", "warn", series)
        assert "far above" in warned[1] and np.array_equal(warned[2], volume)


def test_little_is_not_worth_a_warning(picture):
    view = np.random.default_rng(3).normal(100, 1, SHAPE).astype(np.float32)
    for height, warned in ((113, False), (130, True)):
        view[100, 100] = height
        picture(view, name="s_ali.mrc")
        assert ("far above" in picture.said) == warned
        picture(view, "--hot-pixels", "replace")
        assert "1 hot or dead pixels are replaced" in picture.said


def test_without_any_nothing_changes(tiltrec, tiltrecz, slab, tmp_path):
    views, tilts, _ = slab
    series = raw_series(tmp_path, views, tilts)
    for program in (tiltrec, tiltrecz):
        for options in ([], ["--bin", 2], ["--log", 30], ["--hot-pixels", "replace", "--aligned"]):
            hot, said, volume = outcome(program, tmp_path, "-T", 40, *options, series)
            assert hot["replaced"] and hot["pixels"] == 0 and "hot or dead" not in said
            options = [o for o in options if o not in ("--hot-pixels", "replace")]
            off = outcome(program, tmp_path, "-T", 40, "--hot-pixels", "off", *options, series)
            assert np.array_equal(off[2], volume)


@pytest.fixture
def defects(slab, tmp_path):
    """Three pixels that are 7 deviations off in 10 of 25 views, each too little by itself, one
    that is so in 7, and others."""
    rng = np.random.default_rng(8)
    noise = rng.normal(100, 2, (25, 64, 128))
    for place in ((20, 30), (0, 60), (50, 77)):
        views = rng.choice(25, 10, replace=False)
        noise[(views, *place)] = 100 + 7 * 2.1 * (-1 if place[0] == 50 else 1)
    noise[(rng.choice(25, 7, replace=False), 40, 40)] = 100 + 7 * 2.1
    noise[3, 10, 10] = noise[17, 60, 100] = 1000
    noise[17, 9, 64] = -800
    return raw_series(tmp_path, noise.astype(np.float32), np.arange(-60.0, 61, 5))


def test_persistent_ones(tiltrec, defects, tmp_path):
    hot, said, _ = outcome(tiltrec, tmp_path, "-T", 16, defects)
    # Of the 30, noise of the neighbours hides a few.
    assert hot["persistent"] == 3 and 26 + 3 <= hot["pixels"] <= 30 + 3 + 1
    assert "3 are so in more than 30 % of the views" in said
    alone, _, _ = outcome(tiltrec, tmp_path, "-T", 16, "--include", "1-3", defects)
    assert alone["persistent"] == 0 and alone["pixels"] <= 2


@pytest.mark.parametrize("options", [
    [], ["--log", 900], *(pytest.param(options, marks=pytest.mark.slow) for options in (
        ["--bin", 2], ["--normalize", "mean-std"], ["-a", "SIRT", "-i", 2]))], ids=str)
def test_the_same_on_any_number_of_processes(tiltrec, defects, tmp_path, options):
    one, _, volume = outcome(tiltrec, tmp_path, "-T", 16, *options, defects)
    assert one["pixels"] > 26
    for ranks, threads in ((1, 3), (2, 1), (3, 2)):
        many, _, same = outcome(tiltrec, tmp_path, "-T", 16, *options, defects, ranks=ranks,
                                threads=threads)
        assert many == one and np.array_equal(same, volume)


def test_slices_are_those_of_the_whole(tiltrec, defects, tmp_path):
    for options in ([], ["--aligned", "--hot-pixels", "replace"],
                    ["--aligned", "--normalize", "contrast"]):
        _, _, volume = outcome(tiltrec, tmp_path, "-T", 16, *options, defects)
        for first in (0, 8, 55):
            part = outcome(tiltrec, tmp_path, "-T", 16, *options, "--slices",
                           f"{first}:{first + 8}", defects)[2]
            assert np.array_equal(part, volume[first:first + 9])


def test_half_sets_lack_them_all(tiltrec, tmp_path):
    """A pixel that half the frames do not show clearly is one in the tomogram of all."""
    rng = np.random.default_rng(9)
    halves = [rng.normal(1000, 10, (9, 64, 64)) for _ in range(2)]
    for half in halves:
        half[4, 30, 30] += 85  # less the noise 69 of 10.8 and 90 of 11.5; of the sum, 160 of 17.8
    names = [raw_series(tmp_path, half.astype(np.float32), np.arange(-40.0, 41, 10), name)
             for half, name in zip(halves, ("e.mrc", "o.mrc"))]
    series = raw_series(tmp_path, sum(halves).astype(np.float32), np.arange(-40.0, 41, 10))
    for name in names:
        assert outcome(tiltrec, tmp_path, "-T", 16, name)[0]["pixels"] == 0
    _, said, _ = outcome(tiltrec, tmp_path, "-T", 16, "--half-sets", "frames", *names, series)
    for name in ("s.mrc", "e.mrc", "o.mrc"):
        assert re.search(rf"{name}: 1 hot or dead pixels are replaced in 1 of 9 views, at most 1 "
                         r"in one \(view 5\)", said)


# ---- normalization ----

HOW = {"mean": lambda v: v - v.mean(), "mean-std": lambda v: (v - v.mean()) / v.std(),
       "contrast": lambda v: v / v.mean() - 1}


@pytest.mark.parametrize("change", [
    ([], lambda v: v), (["--log", 10], lambda v: -np.log(v + 10))], ids=["plain", "log"])
@pytest.mark.parametrize("how", HOW)
def test_normalized_as_by_numpy(picture, how, change):
    rng = np.random.default_rng(10)
    view = rng.normal(300, 20, SHAPE).astype(np.float32)
    options, step = change
    if how == "contrast" and options:
        pytest.skip("the logarithm is negative")
    for more, sign in ([], 1), (["--invert"], -1):
        seen = picture(view, "--normalize", how, *options, *more)
        wanted = sign * HOW[how](step(view.astype(float)))
        assert np.abs(seen - wanted).max() < 2e-6 * np.abs(wanted).max()


def test_hot_pixels_are_not_in_the_deviation(picture):
    view = np.random.default_rng(11).normal(300, 20, SHAPE).astype(np.float32)
    hot = view.copy()
    hot[100, 100] = 1e7
    seen = picture(hot, "--normalize", "mean-std", "--hot-pixels", "replace")
    wanted = HOW["mean-std"](view.astype(float))
    assert np.abs(np.delete(seen - wanted, 100 * SHAPE[1] + 100)).max() < 1e-3


def test_beyond_the_edge_is_the_mean(tiltrec, tmp_path):
    """The columns that a shift brings in are 0 once the mean is."""
    rng = np.random.default_rng(12)
    views = rng.normal(700, 5, (1, 32, 64)).astype(np.float32)
    series = write_series(tmp_path, views, [0.0], name=RAW)
    write_transforms(tmp_path, 1, shift=6)
    for how in HOW:
        tiltrec("-a", "BPT", "-T", 1, "-o", "rec.mrc", "--normalize", how, series, cwd=tmp_path)
        seen = read_mrc(tmp_path / "rec.mrc")[:, 0]
        assert np.abs(seen[:, :5]).max() < 1e-5 * np.ptp(seen) and seen[:26, 6:].std() > 0.1 * \
            np.ptp(seen)


@pytest.mark.parametrize("how", HOW)
def test_halves_are_normalized_alike(tiltrec, tmp_path, how):
    """Half the frames have half the counts: each its own mean, and one deviation for both."""
    rng = np.random.default_rng(13)
    tilts = np.arange(-40.0, 41, 10)
    level = np.linspace(40, 80, 9)[:, None, None]
    even, odd = (rng.poisson(np.broadcast_to(level, (9, 24, 48))).astype(np.float32)
                 for _ in range(2))
    names = [write_series(tmp_path, data, tilts, name=name)
             for data, name in ((even, "e_ali.mrc"), (odd, "o_ali.mrc"))]
    series = write_series(tmp_path, even + odd, tilts)
    tiltrec("-T", 8, "-o", "rec.mrc", "--normalize", how, "--half-sets", "frames", *names,
            series, cwd=tmp_path)

    def by_hand(views, whole):
        views, whole = views.astype(float), whole.astype(float)
        mean = views.mean(axis=(1, 2), keepdims=True)
        divisor = {"mean": 1, "mean-std": whole.std(axis=(1, 2), keepdims=True),
                   "contrast": mean}[how]
        return (views - mean) / divisor

    for data, name in ((even, "rec_EVN.mrc"), (odd, "rec_ODD.mrc"), (even + odd, "rec.mrc")):
        hand = write_series(tmp_path, by_hand(data, even + odd), tilts, name="hand_ali.mrc")
        tiltrec("-T", 8, "-o", "hand.mrc", hand, cwd=tmp_path)
        wanted = read_mrc(tmp_path / "hand.mrc")
        assert np.abs(read_mrc(tmp_path / name) - wanted).max() < 1e-5 * np.ptp(wanted)


def test_half_sets_of_views_are_those_of_the_whole(tiltrec, tmp_path):
    rng = np.random.default_rng(14)
    views, tilts = rng.normal(50, 3, (8, 16, 48)).astype(np.float32), np.arange(-40.0, 40, 10)
    series = write_series(tmp_path, views, tilts)
    tiltrec("-T", 8, "-o", "rec.mrc", "--normalize", "contrast", "--half-sets", "views", series,
            cwd=tmp_path)
    tiltrec("-T", 8, "-o", "odd.mrc", "--normalize", "contrast", "--include", "1,3,5,7", series,
            cwd=tmp_path)
    assert np.array_equal(read_mrc(tmp_path / "rec_ODD.mrc"), read_mrc(tmp_path / "odd.mrc"))


def test_contrast_needs_counts(bench):
    rng = np.random.default_rng(15)
    bench.stack("s.mrc", (rng.normal(0, 1, (7, 16, 32)) + np.array([9, 0, 9, 9, 9, 9, 9])[
        :, None, None]).astype(np.float32))
    bench.refused("s.mrc --normalize contrast", 1, "--normalize contrast divides by the mean of a "
                  "view, and that of view 2 is", "use --normalize mean-std")
