"""Scans of transmission tomography: views are divided by flat fields, of which the file or
others say what they are; stripes and zingers go. Against NumPy in double precision."""
import h5py
import numpy as np
import pytest

from conftest import read_mrc, write_mrc

N_U, ROWS, VIEWS = 96, 6, 72
ANGLES = np.arange(VIEWS) * 180.0 / VIEWS
DATA, USAGE = 1, 2


def random(seed):
    return np.random.default_rng(seed)


class Scan:
    """Counts of 72 views of something smooth behind a detector with its own response."""

    def __init__(self, seed=1):
        r = random(seed)
        u = np.arange(N_U)
        self.density = np.array([[
            1.2 * np.exp(-((u - 48 - 9 * np.cos(np.radians(t) + y)) / 14.0) ** 2)
            for y in range(ROWS)] for t in ANGLES])
        self.dark = r.uniform(90, 110, (ROWS, N_U))
        gain = r.uniform(15000, 25000, (ROWS, N_U))
        late = np.arange(VIEWS)[:, None, None] / (VIEWS - 1)
        self.first, self.last = gain, gain * r.uniform(0.9, 1.1, (ROWS, N_U))
        self.beam = self.first + late * (self.last - self.first)
        self.counts = np.rint(self.beam * np.exp(-self.density) + self.dark)
        frames = np.arange(-2, 3)[:, None, None]
        self.whites = [np.rint(f + self.dark) + 3 * frames for f in (self.first, self.last)]
        self.darks = np.rint(self.dark) + 2 * frames
        # What a cosmic ray adds to one image of five is not in the mean.
        self.whites[0][4, 2, 30] += 40000

    def mean(self, frames):
        middle = np.sort(frames, axis=0)[1:-1] if len(frames) >= 4 else frames
        return middle.mean(axis=0)

    def minus_log(self, before=0, after=0):
        dark = self.mean(self.darks)
        a, b = self.mean(self.whites[before]), self.mean(self.whites[after])
        late = np.arange(VIEWS)[:, None, None] / (VIEWS - 1)
        return -np.log((self.counts - dark) / (a + late * (b - a) - dark))

    def exchange(self, path, **more):
        with h5py.File(path, "w") as file:
            file["/exchange/data"] = self.counts.astype("u2")
            file["/exchange/theta"] = ANGLES
            for name, value in more.items():
                file["/exchange/data_" + name] = value.astype("u2")
        return path

    def nxtomo(self, path, group="/entry", units="deg"):
        images = np.concatenate([self.darks, self.whites[0], self.counts[:40],
                                 self.counts[:1], self.counts[40:], self.whites[1]])
        keys = [2] * 5 + [1] * 5 + [0] * 40 + [3] + [0] * (VIEWS - 40) + [1] * 5
        angles = np.zeros(len(keys))
        angles[np.array(keys) == 0] = ANGLES
        angles[50] = 77  # of the image that is left out
        with h5py.File(path, "w") as file:
            file[group + "/instrument/detector/data"] = images.astype("u2")
            file[group + "/instrument/detector/image_key"] = np.array(keys, "i4")
            file[group + "/sample/rotation_angle"] = (
                np.radians(angles) if units == "rad" else angles)
            file[group + "/sample/rotation_angle"].attrs["units"] = units
        return path


@pytest.fixture(scope="module")
def scan():
    return Scan()


@pytest.fixture
def tomogram(tiltrec, tmp_path):
    """The slices of a run, and what it said."""
    def run(*arguments):
        out = tmp_path / "out.mrc"
        done = tiltrec("-a", "FBP", "-T", 64, *arguments, "-o", out, cwd=tmp_path, check=True)
        return read_mrc(out), done.stderr + done.stdout
    return run


def plain(tmp_path, views, name="plain.h5"):
    """Views that need nothing more."""
    with h5py.File(tmp_path / name, "w") as file:
        file["/exchange/data"] = views.astype("f4")
        file["/exchange/theta"] = ANGLES
    return tmp_path / name


def agree(found, wanted, most=2e-5):
    assert np.abs(found - wanted).max() < most * np.abs(wanted).max()


def test_fields_of_dxchange(scan, tomogram, tmp_path):
    path = scan.exchange(tmp_path / "a.h5", white=scan.whites[0], dark=scan.darks)
    found, said = tomogram(path)
    assert "the mean of 5, less 5 dark), and their logarithm is taken" in said
    wanted, _ = tomogram(plain(tmp_path, scan.minus_log()))
    agree(found, wanted)
    bare, _ = tomogram(path, "--no-flats")
    wanted, _ = tomogram(plain(tmp_path, scan.counts))
    agree(bare, wanted)


@pytest.mark.parametrize("group,units", [("/entry", "deg"), ("/entry0000", "rad"),
                                         ("/entry1/tomo_entry", "deg")])
def test_fields_of_nxtomo(scan, tomogram, tmp_path, group, units):
    """Flat fields before and after the views, in whose times the beam changed by up to a
    tenth; an image that is to be left out."""
    found, said = tomogram(scan.nxtomo(tmp_path / "a.nxs", group, units))
    assert "the means of 5 before them and of 5 after them, less 5 dark" in said
    wanted, _ = tomogram(plain(tmp_path, scan.minus_log(0, 1)))
    agree(found, wanted)
    same, _ = tomogram(plain(tmp_path, scan.minus_log(0, 0)))
    assert np.abs(found - same).max() > 0.05 * np.abs(found).max()


def test_fields_in_files(scan, tomogram, tmp_path):
    write_mrc(tmp_path / "before.mrc", scan.whites[0].astype("f4"))
    write_mrc(tmp_path / "after.mrc", scan.whites[1].astype("f4"))
    write_mrc(tmp_path / "dark.mrc", scan.darks.astype("f4"))
    path = scan.exchange(tmp_path / "a.h5")
    found, _ = tomogram(path, "--flats", "before.mrc,after.mrc", "--darks", "dark.mrc")
    wanted, _ = tomogram(plain(tmp_path, scan.minus_log(0, 1)))
    agree(found, wanted)
    # --log BASE adds to the transmission.
    found, _ = tomogram(path, "--flats", "before.mrc", "--darks", "dark.mrc", "--log", 0.5)
    wanted, _ = tomogram(plain(tmp_path, -np.log(np.exp(-scan.minus_log()) + 0.5)))
    agree(found, wanted)


def test_bytes_whatever_ranks_and_threads(scan, tiltrec, tmp_path):
    path = scan.nxtomo(tmp_path / "a.nxs")
    results = []
    for name, ranks, threads, more in (("a", None, 1, ()), ("b", 3, 1, ()),
                                       ("c", None, 2, ("--memory", "80M"))):
        out = tmp_path / (name + ".mrc")
        tiltrec("-a", "FBP", "-T", 64, path, "--stripes", "dead,large,sort", "-o", out, *more,
                cwd=tmp_path, ranks=ranks, threads=threads, check=True)
        results.append(read_mrc(out))
    assert results[0].tobytes() == results[1].tobytes() == results[2].tobytes()


@pytest.mark.parametrize("x, size, zingers, method, gain", [
    (0, 100, 60, "sort", 0.03), (12, 95, 0, "wavelet-fourier", 0.006)])
def test_rings(tiltrec, tmp_path, x, size, zingers, method, gain):
    """Columns of wrong response and zingers, against the truth: an ellipse with a hole, whose
    projections are known exactly."""
    r, n = random(5), 256
    angles = np.arange(120) * 1.5
    u, axis = np.arange(n) - (n - 1) / 2 - 7.3, 7.3

    def disc(x, s, radius, density):
        c, d = np.cos(np.radians(angles)), np.sin(np.radians(angles))
        off = u[None] - (x * c - s * d)[:, None]
        return 2 * density * np.sqrt(np.maximum(radius**2 - off**2, 0))

    # What is concentric about the axis is like a stripe to wavelets.
    density = disc(x, -x, size, 0.01) - disc(30, 20, 25, 0.006) + disc(-40, 35, 15, 0.02)
    counts = 20000 * np.exp(-density)[:, None] * np.ones((1, 2, 1))
    counts[:, :, r.choice(n, 9, replace=False)] *= r.choice([0.8, 0.9, 1.15], 9)
    counts = r.poisson(counts) + 100.0
    for _ in range(zingers):
        counts[r.integers(120), r.integers(2), r.integers(n)] += 40000
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["/exchange/data"] = np.minimum(counts, 65535).astype("u2")
        file["/exchange/data_white"] = r.poisson(20000 * np.ones((9, 2, n))) + 100
        file["/exchange/data_dark"] = np.full((9, 2, n), 100, "u2")
        file["/exchange/theta"] = angles
    s, across = np.mgrid[:n, :n] - (n - 1) / 2
    across -= axis
    truth = 0.01 * (np.hypot(across - x, s + x) < size) + (
        0.02 * (np.hypot(across + 40, s - 35) < 15)) - 0.006 * (
        np.hypot(across - 30, s - 20) < 25)
    inside = np.hypot(across, s) < 115

    def correlation(*more):
        tiltrec("-a", "FBP", "--filter", "hamming", "--axis-shift", axis, "a.h5", "-o",
                "a.mrc", *more, cwd=tmp_path, check=True)
        slice_ = read_mrc(tmp_path / "a.mrc")[0]
        return np.corrcoef(truth[inside], slice_[inside])[0, 1]

    bare, cleaned = correlation(), correlation("--stripes", method)
    assert cleaned > 0.97 and bare < cleaned - gain, (bare, cleaned)
    assert correlation("--no-flats") < 0


def test_dead_pixels_of_the_flat_field(scan, tomogram, tmp_path):
    """Where it is not above the dark one, nothing is known of the views."""
    white = scan.whites[0].copy()
    white[:, 3, 50] = 0
    path = scan.exchange(tmp_path / "a.h5", white=white, dark=scan.darks)
    found, said = tomogram(path)
    assert f"{VIEWS} pixels are NaN or infinite" in said and "column 50, row 3" in said
    assert np.isfinite(found).all()


@pytest.mark.parametrize("make,arguments,words", [
    (lambda s, p: s.exchange(p, white=s.whites[0][:, :-1]), (),
     ("a.h5: /exchange/data_white has images of 96 x 5 pixels", "96 x 6")),
    (lambda s, p: s.exchange(p, white=0 * s.whites[0], dark=s.darks), (),
     ("only 0 of 576 pixels of the flat field are above the dark one", "--no-flats")),
    (lambda s, p: s.exchange(p), ("--darks", "a.h5"), ("--darks a.h5: there are no flat",)),
    (lambda s, p: s.exchange(p), ("--flats", "none.mrc"), ("cannot open none.mrc",)),
    (lambda s, p: s.exchange(p), ("--no-flats", "--flats", "a.h5"), ("contradict",)),
    (lambda s, p: s.exchange(p, white=s.whites[0]),
     ("--half-sets", "frames", "a.h5", "a.h5"), ("--half-sets frames", "--no-flats")),
    (lambda s, p: s.exchange(p), ("--stripes", "sort:2"), ("--stripes sort:2: must be",)),
    (lambda s, p: s.exchange(p), ("--stripes", "sort,"), ("a method is missing",)),
    (lambda s, p: s.exchange(p), ("--stripes", "vo"), ("dead, large, sort, wavelet-fourier and titarenko",)),
    (lambda s, p: s.exchange(p), ("--stripes", "sort", "--include", "1-59"),
     ("59 views are too few", "60 are needed")),
    (lambda s, p: s.exchange(p), ("--stripes", "wavelet-fourier:4"),
     ("72 views of 96 columns can be halved 3 times",)),
    (lambda s, p: s.exchange(p), ("--stripes", "wavelet-fourier:13"), ("must be none",)),
])
def test_refused(scan, tiltrec, tmp_path, make, arguments, words):
    make(scan, tmp_path / "a.h5")
    done = tiltrec("-T", 64, "a.h5", *arguments, "-o", "out.mrc", cwd=tmp_path,
                   check=False)
    assert done.returncode in (DATA, USAGE)
    assert all(word in done.stderr for word in words), done.stderr
    assert not (tmp_path / "out.mrc").exists()


def test_keys_of_nxtomo(scan, tiltrec, tmp_path):
    for change, words in ((lambda k: k[:-1], "87 numbers for 88 images"),
                          (lambda k: np.full_like(k, 3), "none of the 88 images is a view")):
        path = scan.nxtomo(tmp_path / "a.nxs")
        with h5py.File(path, "a") as file:
            detector = file["/entry/instrument/detector"]
            keys = change(detector["image_key"][...])
            del detector["image_key"]
            detector["image_key"] = keys
        done = tiltrec("-T", 64, path, cwd=tmp_path, check=False)
        assert done.returncode == DATA and words in done.stderr, done.stderr


def test_dark_fields_alone(scan, tiltrec, tmp_path):
    path = scan.exchange(tmp_path / "a.h5", dark=scan.darks)
    done = tiltrec("-T", 64, path, cwd=tmp_path, check=True)
    assert "has dark fields but no flat fields" in done.stderr


# ---- stripes ----

def running_median(a, width):
    half = (width - 1) // 2
    padded = np.pad(a, half, mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=-1)


def detect(level):
    n, ordered = len(level), np.sort(level)
    x = np.arange(n // 4, n - n // 4)
    slope, low = np.polyfit(x, ordered[x], 1)
    high = low + slope * (n - 1)
    noise = max(abs(high - low), 1e-6)
    mask = (level > high + 1.5 * noise) | (level < low - 1.5 * noise)
    return mask | np.roll(mask, 1) & (np.arange(n) > 0) | np.roll(mask, -1) & (
        np.arange(n) < n - 1)


def in_ranks(s, change):
    order = np.argsort(s, axis=0, kind="stable")
    ranked = change(np.take_along_axis(s, order, 0))
    back = np.empty_like(s)
    np.put_along_axis(back, order, ranked, 0)
    return back


def sort(s, width):
    return in_ranks(s, lambda ranked: np.array([running_median(r, width) for r in ranked]))


def large(s, width):
    drop = len(s) // 10
    kept = slice(drop, len(s) - drop)
    ranked = np.sort(s, axis=0)
    smooth = np.array([running_median(r, width) for r in ranked])
    a, b = ranked[kept].sum(0), smooth[kept].sum(0)
    level = np.where(np.abs(b) > 0.05 * np.abs(b).max(), a / b, 1)
    return np.where(detect(level), sort(s, width), s / level)


def dead(s, width):
    padded = np.pad(s, ((5, 5), (0, 0)), mode="edge")
    means = np.array([padded[k:k + 10].mean(0) for k in range(len(s))])
    rough = np.abs(s - means).sum(0)
    mask = detect(rough / running_median(rough, width))
    mask[:2] = mask[-2:] = False
    u = np.arange(s.shape[1])
    return np.array([np.interp(u, u[~mask], line[~mask]) for line in s])


def titarenko(s):
    n, beta = s.shape[1], 0.022
    mean = s.mean(0)
    twice = np.concatenate([mean, mean[::-1]])
    distance = np.minimum(np.arange(2 * n), 2 * n - np.arange(2 * n))
    a = (1 - beta) / (1 + beta)
    weight = sum(beta * a ** np.abs(np.arange(2 * n) + 2 * n * k) for k in range(-9, 10))
    assert distance[1] == 1 and abs(weight.sum() - 1) < 1e-9
    smooth = np.fft.irfft(np.fft.rfft(twice) * np.fft.rfft(weight), 2 * n)[:n]
    return s + smooth - mean


# Daubechies' polynomial for N = 5 has these zeros within the unit circle; the taps are
# (1 + z)^5 times their factors.
def daubechies(n=5):
    # |m0|^2 = cos^2n(w/2) P(sin^2(w/2)), P(y) = sum of binom(n - 1 + k, k) y^k
    from math import comb
    p = np.array([comb(n - 1 + k, k) for k in range(n)], float)
    taps = np.ones(1)
    for y in np.roots(p[::-1]):
        # y = (2 - z - 1/z) / 4
        zeros = np.roots([1, 4 * y - 2, 1])
        taps = np.convolve(taps, [1, -zeros[np.argmin(abs(zeros))]])
    for _ in range(n):
        taps = np.convolve(taps, [1, 1])
    taps = taps.real
    return taps * np.sqrt(2) / taps.sum()  # the first is the largest end: minimum phase


def analysis(n, taps):
    """The matrix of c[k] = sum of taps[j] x[2k + 1 - j], x going on as its mirror image."""
    m = (n + len(taps) - 1) // 2
    a = np.zeros((m, n))
    for k in range(m):
        for j, tap in enumerate(taps):
            i = (2 * k + 1 - j) % (2 * n)
            a[k, i if i < n else 2 * n - 1 - i] += tap
    return a


def wavelet_fourier(s, levels, sigma=1.0):
    """Muench et al. by matrices; the bands are put together again by the analysis' inverse."""
    low = daubechies()[::-1]
    high = low[::-1] * (-1.0) ** np.arange(1, len(low) + 1)
    if not levels:
        return s
    ly, hy = (analysis(s.shape[0], t) for t in (low, high))
    lx, hx = (analysis(s.shape[1], t) for t in (low, high))
    smooth, across = ly @ s @ lx.T, ly @ s @ hx.T
    along, both = hy @ s @ lx.T, hy @ s @ hx.T
    k = np.fft.fftfreq(len(across)) * len(across)
    damp = 1 - np.exp(-k**2 / (2 * sigma**2))
    across = np.fft.ifft(damp[:, None] * np.fft.fft(across, axis=0), axis=0).real
    smooth = wavelet_fourier(smooth, levels - 1, sigma)
    return synthesis(s.shape[0], low, high, synthesis(
        s.shape[1], low, high, smooth.T, across.T).T, synthesis(
        s.shape[1], low, high, along.T, both.T).T)


def synthesis(n, low, high, a, d):
    """x[i] = sum of a[k] low[2k + 1 - i] + d[k] high[2k + 1 - i], down the columns."""
    x = np.zeros((n, a.shape[1]))
    for i in range(n):
        for k in range(len(a)):
            if 0 <= 2 * k + 1 - i < len(low):
                x[i] += a[k] * low[2 * k + 1 - i] + d[k] * high[2 * k + 1 - i]
    return x


def test_the_wavelet():
    """That of the tests is orthonormal, has five vanishing moments, and can be undone."""
    low = daubechies()
    for shift in range(5):
        assert np.dot(low[2 * shift:], low[:10 - 2 * shift]) == pytest.approx(float(shift == 0), abs=1e-9)
    high = low * (-1.0) ** np.arange(10)
    for power in range(5):
        assert np.dot(high, np.arange(10.0) ** power) == pytest.approx(0, abs=1e-6)
    s = random(2).normal(size=(37, 50))
    back = low[::-1], high * np.sign(high[0] * -low[0])
    a, d = (analysis(37, taps) @ s for taps in back)
    assert np.allclose(synthesis(37, *back, a, d), s, atol=1e-9)


def striped(seed=3):
    """A sinogram [view][column] with columns that do not respond, respond wrongly, or
    both over some width; and noise."""
    r = random(seed)
    u = np.arange(N_U)
    s = np.array([2 + np.exp(-((u - 48 - 9 * np.cos(np.radians(t))) / 14.0) ** 2)
                  for t in ANGLES])
    s *= 1 + 0.01 * r.normal(size=N_U)
    s[:, 20] *= 1.1
    s[:, 60:64] *= 0.8
    s[:, 75] = 2.5
    s[:, 33] += r.normal(0, 1, VIEWS)
    return s + 0.02 * r.normal(size=s.shape)


@pytest.mark.parametrize("method,wanted", [
    ("sort", lambda s: sort(s, 11)), ("sort:5", lambda s: sort(s, 5)),
    ("large", lambda s: large(s, 61)), ("large:31", lambda s: large(s, 31)),
    ("dead", lambda s: dead(s, 61)), ("titarenko", titarenko),
    ("wavelet-fourier", lambda s: wavelet_fourier(s, 3)),
    ("wavelet-fourier:2", lambda s: wavelet_fourier(s, 2)),
    ("sort,dead,large:41", lambda s: sort(large(dead(s, 61), 41), 11))])
def test_methods(tomogram, tmp_path, method, wanted):
    views = np.array([striped(y) for y in range(ROWS)])  # [row][view][column]
    path = plain(tmp_path, views.swapaxes(0, 1), "striped.h5")
    found, _ = tomogram(path, "--stripes", method)
    # As the file has them.
    views = views.astype("f4").astype("f8")
    clean = np.array([wanted(s) for s in views]).swapaxes(0, 1)
    expected, _ = tomogram(plain(tmp_path, clean))
    agree(found, expected)
    untouched, _ = tomogram(path)
    assert np.abs(untouched - expected).max() > 0.01 * np.abs(expected).max()
