"""Correction of the contrast transfer: views against FFTs in numpy, a specimen that was
imaged with a CTF, files of other programs, and what is refused."""
import json
import re

import mrcfile
import numpy as np
import pytest

from conftest import correlation, difference, read_mrc, runner, write_series
from slab import Slab

USAGE, DATA = 2, 1
OPTICS = ["--voltage", 300, "--cs", 2.7, "--amplitude-contrast", 0.07]
PIXEL = 5.4


def wavelength(kilovolts):
    """h / sqrt(2 m E (1 + E / 2 m c^2)) in angstroms."""
    h, m, e, c = 6.62607015e-34, 9.1093837015e-31, 1.602176634e-19, 299792458.0
    energy = 1e3 * kilovolts * e
    return 1e10 * h / np.sqrt(2 * m * energy * (1 + energy / (2 * m * c * c)))


def ctf(shape, pixel, first, second=None, axis=0.0, phase=0.0, kilovolts=300.0, cs=2.7, a=0.07):
    """On the frequencies of np.fft.rfft2; angles in degrees."""
    second = first if second is None else second
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0], pixel), np.fft.rfftfreq(shape[1], pixel),
                         indexing="ij")
    fy[shape[0] // 2] *= -1 if shape[0] % 2 == 0 else 1  # the highest has either sign
    length, f = wavelength(kilovolts), np.hypot(fx, fy)
    defocus = (first + second + (first - second)
               * np.cos(2 * (np.arctan2(fy, fx) - np.radians(axis)))) / 2
    return np.sin(np.pi * length * defocus * f ** 2
                  - np.pi / 2 * cs * 1e7 * length ** 3 * f ** 4
                  + np.radians(phase) + np.arctan(a / np.sqrt(1 - a * a)))


def smooth(n):
    """The next even number without prime factors above 7."""
    while True:
        rest = n
        for prime in 2, 3, 5, 7:
            while rest % prime == 0:
                rest //= prime
        if rest == 1 and n % 2 == 0:
            return n
        n += 1


def filtered(image, pixel, defocus, transfer, kilovolts=300.0):
    """`transfer(shape)` times the spectrum of the image among zeros."""
    reach = wavelength(kilovolts) * defocus * 0.5 / pixel / pixel
    beside = int(np.ceil(2 * reach)) + 32
    shape = [smooth(n + 2 * beside) for n in image.shape]
    y, x = ((m - n) // 2 for m, n in zip(shape, image.shape))
    large = np.zeros(shape)
    large[y:y + image.shape[0], x:x + image.shape[1]] = image
    large = np.fft.irfft2(np.fft.rfft2(large) * transfer(shape), s=shape)
    return large[y:y + image.shape[0], x:x + image.shape[1]]


def spot(n_v=40, n_u=64, seed=5):
    """Noise that is 0 at the edges, so that it does not matter what is beyond them."""
    rng = np.random.default_rng(seed)
    image = np.zeros((n_v, n_u))
    image[8:-8, 10:-10] = rng.normal(0, 1, (n_v - 16, n_u - 20))
    return image


@pytest.fixture
def run(tiltrec, tmp_path):
    def reconstruct(series, *options, **how):
        done = tiltrec("-o", "rec.mrc", *options, series, cwd=tmp_path, **how)
        reconstruct.said = done.stderr
        return read_mrc(tmp_path / "rec.mrc")
    return reconstruct


def one_view(tmp_path, image, pixel=PIXEL):
    return write_series(tmp_path, image[None].astype(np.float32), [0], pixel=pixel)


# ---- single views ----

@pytest.mark.parametrize("mode, of", [("flip", np.sign), ("multiply", lambda c: c)])
@pytest.mark.parametrize("first, second, axis, phase", [
    (30000, 30000, 0, 0), (33000, 27000, 30, 0), (20000, 26000, -70, 90)])
def test_a_view(run, tmp_path, mode, of, first, second, axis, phase):
    image = spot()
    (tmp_path / "ctf.txt").write_text(f"1 {first} {second} {axis} {np.radians(phase)} 0.1 9\n")
    view = run(one_view(tmp_path, image), "-a", "BPT", "-T", 2, "--ctf", "ctf.txt",
               "--ctf-mode", mode, *OPTICS)[:, 1]
    wanted = filtered(image, PIXEL, max(first, second),
                      lambda shape: of(ctf(shape, PIXEL, first, second, axis, phase)))
    assert difference(view, wanted) < 1e-5
    assert difference(view, image) > 0.1
    what = {"flip": "CTF phases flipped", "multiply": "multiplied by CTF"}[mode]
    with mrcfile.open(tmp_path / "rec.mrc") as rec:
        assert what in rec.header.label[1].decode()


def test_other_optics(run, tmp_path):
    image = spot()
    (tmp_path / "ctf.txt").write_text(
        "# Pixel size: 1 ; acceleration voltage: 120.0 keV ; spherical aberration: 6.30 mm ; "
        "amplitude contrast: 0.20\n1 15000 15000 0 0 0.1 9\n")
    series = one_view(tmp_path, image, 2.5)
    view = run(series, "-a", "BPT", "-T", 2, "--ctf", "ctf.txt", "--ctf-mode", "multiply",
               "--json", "r.json")[:, 1]
    wanted = filtered(image, 2.5, 15000,
                      lambda shape: ctf(shape, 2.5, 15000, kilovolts=120, cs=6.3, a=0.2), 120)
    assert difference(view, wanted) < 1e-5
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["ctf"] == {"path": "ctf.txt", "voltage_kilovolt": 120, "cs_millimetre": 6.3,
                             "amplitude_contrast": 0.2, "hand": 1, "band_phase_radian": None}
    assert result["views"]["list"][0]["defocus_1_angstrom"] == 15000
    assert [i["role"] for i in result["inputs"]].count("CTF") == 1
    view = run(series, "-a", "BPT", "-T", 2, "--ctf", "ctf.txt", "--ctf-mode", "multiply",
               "--voltage", 300)[:, 1]
    wanted = filtered(image, 2.5, 15000,
                      lambda shape: ctf(shape, 2.5, 15000, cs=6.3, a=0.2))
    assert difference(view, wanted) < 1e-5
    assert "voltage in kilovolts 120; --voltage 300 is taken" in run.said


def test_without_it_nothing_changes(run, tmp_path):
    image = spot()
    assert difference(run(one_view(tmp_path, image), "-a", "BPT", "-T", 2)[:, 1], image) < 1e-6
    with mrcfile.open(tmp_path / "rec.mrc") as rec:
        assert "not CTF-corrected here" in rec.header.label[1].decode()


def test_astigmatism_of_an_aligned_series_is_turned(run, tmp_path):
    """By the alignment of the raw images beside it: 90 degrees counterclockwise."""
    image = spot()
    series = one_view(tmp_path, image)
    (tmp_path / "ctf.txt").write_text("1 33000 27000 20 0 0.1 9\n")
    options = ["-a", "BPT", "-T", 2, "--ctf", "ctf.txt", *OPTICS]
    as_it_is = run(series, *options)[:, 1]
    assert "put the alignment" in run.said
    (tmp_path / "s.xf").write_text("0 -1 1 0 0 0\n")
    turned = run(series, *options)[:, 1]
    assert "turned with" in run.said and "by 90.0 degrees" in run.said
    (tmp_path / "s.xf").unlink()
    (tmp_path / "other.star").write_text(
        "data_s\nloop_\n_rlnTomoYTilt #1\n_rlnTomoZRot #2\n_rlnTomoXShiftAngst #3\n"
        "_rlnTomoYShiftAngst #4\n0 -90 0 0\n")
    named = run(series, *options, "--tilts", "other.star")[:, 1]
    assert "turned with other.star, by 90.0 degrees" in run.said
    assert np.array_equal(named, turned)
    for view, axis in (as_it_is, 20), (turned, 110):
        assert difference(view, filtered(image, PIXEL, 33000, lambda shape: np.sign(
            ctf(shape, PIXEL, 33000, 27000, axis)))) < 1e-5


@pytest.mark.parametrize("name, before, axis", [
    ("s.mrc", 0, 20), ("s_ali.mrc", 0, 20), ("s_preali.mrc", 30, 50)])
def test_astigmatism_of_what_transforms_align(tiltrec, tmp_path, name, before, axis):
    """The correction comes before --transforms, also where the name says that the series is
    aligned: what has been turned already is the alignment beside it less these."""
    write_series(tmp_path, spot()[None].astype(np.float32), [0], name=name, pixel=PIXEL)
    (tmp_path / "ctf.txt").write_text("1 33000 27000 20 0 0.1 9\n")
    for file, degrees in ("s.xf", 85 + before), ("rest.xf", 85):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        (tmp_path / file).write_text(f"{c} {-s} {s} {c} 3 4\n")
    tiltrec("-a", "BPT", "-T", 2, "--ctf", "ctf.txt", *OPTICS, "--transforms", "rest.xf",
            "--json", "r.json", "-o", "rec.mrc", name, cwd=tmp_path)
    view = json.loads((tmp_path / "r.json").read_text())["views"]["list"][0]
    assert abs((view["astigmatism_degrees"] - axis + 90) % 180 - 90) < 1e-6


def test_views_are_matched_by_number(run, tmp_path):
    """Also where some are left out."""
    views = np.stack([spot(seed=k) for k in range(3)])
    series = write_series(tmp_path, views.astype(np.float32), [-10, 0, 10], pixel=PIXEL)
    (tmp_path / "ctf.txt").write_text("3 3e4 3e4 0 0 0 9\n1 1e4 1e4 0 0 0 9\n2 2e4 2e4 0 0 0 9\n")
    view = run(series, "-a", "BPT", "-T", 2, "--include", 2, "--ctf", "ctf.txt", *OPTICS)[:, 1]
    assert difference(view, filtered(views[1], PIXEL, 20000, lambda shape: np.sign(
        ctf(shape, PIXEL, 20000)))) < 1e-5


# ---- a specimen ----

def bands(a, b, edges):
    """Correlation of the two volumes' Fourier transforms between frequencies in 1/voxel."""
    f = np.sqrt(sum(g ** 2 for g in np.meshgrid(*(np.fft.fftfreq(n) for n in a.shape),
                                                indexing="ij")))
    a, b = np.fft.fftn(a), np.fft.fftn(b)
    found = []
    for low, high in zip(edges[:-1], edges[1:]):
        ring = (f >= low) & (f < high)
        cross = (a[ring] * b[ring].conj()).sum().real
        found.append(cross / np.sqrt((abs(a[ring]) ** 2).sum() * (abs(b[ring]) ** 2).sum()))
    return found


def whole_slab(beside=64):
    return Slab(192 + 2 * beside, 48 + 2 * beside, 60, density=0.004, beads=0)


@pytest.fixture(scope="module")
def specimen():
    """Views through a CTF of 3 um, made of larger ones without edges, and the densities."""
    beside, thick, n_u, n_v = 64, 60, 192, 48
    slab = whole_slab(beside)
    angles = np.arange(-60.0, 61.0, 3.0)
    views = []
    for angle in angles:
        image = slab.project(angle)
        transfer = ctf(image.shape, PIXEL, 30000)
        image = np.fft.irfft2(np.fft.rfft2(image) * transfer, s=image.shape)
        views.append(image[beside:-beside, beside:-beside])
    truth = np.zeros((n_v, thick, n_u))
    for x, y, z, weight in zip(slab.x, slab.y, slab.z, slab.weight):
        at = [y + (n_v - 1) / 2, z + (thick - 1) / 2, x + (n_u - 1) / 2]
        low = [max(0, int(p) - 5) for p in at]
        high = [min(n, int(p) + 6) for p, n in zip(at, truth.shape)]
        if all(a < b for a, b in zip(low, high)):
            near = [np.exp((np.arange(a, b) - p) ** 2 / -2) for a, b, p in zip(low, high, at)]
            truth[tuple(map(slice, low, high))] += weight * np.einsum("i,j,k->ijk", *near)
    return angles, np.array(views, np.float32), truth


def test_signs_of_bands(run, tmp_path, specimen):
    """Between the first and the second zero, 24 and 17 angstroms, contrast is inverted;
    flipping turns it and leaves the other bands."""
    angles, views, truth = specimen
    series = write_series(tmp_path, views, angles, pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text(f"1 {len(angles)} -60 60 3000 2\n")
    edges = [0.02, PIXEL / 33, PIXEL / 25.5, PIXEL / 24, PIXEL / 18]
    none = bands(run(series, "-T", 60), truth, edges)
    flip = bands(run(series, "-T", 60, "--ctf", "ctf.defocus", *OPTICS), truth, edges)
    assert none[3] < -0.4 and flip[3] > 0.45
    assert np.allclose(none[:2], flip[:2], atol=0.02)


def warp(shape):
    """Warp's deconvolution: CTF / (CTF^2 + 1 / SNR) with its constants."""
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0], PIXEL), np.fft.rfftfreq(shape[1], PIXEL),
                         indexing="ij")
    f = np.hypot(fx, fy)
    high_pass = (1 - np.cos(np.pi * np.minimum(1, 150 * f))) / 2
    transfer = ctf(shape, PIXEL, 30000)
    return transfer / (transfer ** 2 + 1 / np.maximum(1000 * np.exp(-200 * f) * high_pass, 1e-15))


def test_wiener_by_the_data(run, tmp_path, specimen):
    """Nearer to the truth than flipping, and than the same filter with Warp's constants."""
    angles, views, truth = specimen
    noise = np.random.default_rng(1).standard_normal(views.shape)
    noisy = (views + views.std() * noise).astype(np.float32)
    series = write_series(tmp_path, noisy, angles, pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text(f"1 {len(angles)} -60 60 3000 2\n")
    options = ["-T", 60, "--ctf", "ctf.defocus", *OPTICS]
    flip = correlation(run(series, *options), truth)
    wiener = correlation(run(series, *options, "--ctf-mode", "wiener"), truth)
    assert "Wiener filter: at 0 degrees the specimen has" in run.said
    with mrcfile.open(tmp_path / "rec.mrc") as rec:
        assert "CTF: Wiener filter" in rec.header.label[1].decode()
    constants = np.array([filtered(view, PIXEL, 30000, warp) for view in noisy])
    series = write_series(tmp_path, constants, angles, "w_ali.mrc", pixel=PIXEL)
    constants = correlation(run(series, "-T", 60), truth)
    assert wiener > flip + 0.1 and wiener > constants + 0.05


def test_wiener_without_a_plateau(run, tmp_path):
    """A view that was low-passed is filtered with Warp's constants."""
    image = spot()
    for axis in 0, 1:
        image = sum(np.roll(image, shift, axis) for shift in (-1, 0, 0, 1)) / 4
    (tmp_path / "ctf.txt").write_text("1 30000 30000 0 0 0.1 9\n")
    view = run(one_view(tmp_path, image), "-a", "BPT", "-T", 2, "--ctf", "ctf.txt",
               "--ctf-mode", "wiener", *OPTICS)[:, 1]
    assert "takes Warp's constants" in run.said
    assert difference(view, filtered(image, PIXEL, 30000, warp)) < 1e-4


def test_wiener_with_doses(run, tmp_path, specimen):
    """The weights are in the filter: it takes less from what exposure left little of, and
    what it makes goes through them once."""
    angles, views, truth = specimen
    noise = np.random.default_rng(2).standard_normal(views.shape)
    series = write_series(tmp_path, (views + views.std() * noise).astype(np.float32), angles,
                          pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text(f"1 {len(angles)} -60 60 3000 2\n")
    options = ["-T", 60, "--ctf", "ctf.defocus", *OPTICS, "--dose", 0.5, "--dose-order", "file"]
    flip = correlation(run(series, *options), truth)
    wiener = correlation(run(series, *options, "--ctf-mode", "wiener"), truth)
    assert wiener > flip + 0.1


def signal_to_noise(said):
    """At 1/100, 1/50 and 1/25 of an angstrom, as the program says it."""
    line = next(line for line in said.splitlines() if "the specimen has" in line)
    return np.array([float(word) for word in re.findall(r"([\d.e+-]+) times", line)])


def rings(image, frequencies):
    """Power a pixel near these, in 1/angstrom, of a windowed image."""
    window = np.outer(np.hanning(image.shape[0]), np.hanning(image.shape[1]))
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2 / (window ** 2).sum()
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(image.shape[0], PIXEL),
                              np.fft.fftfreq(image.shape[1], PIXEL), indexing="ij"))
    return np.array([power[np.abs(f / at - 1) < 0.2].mean() for at in frequencies])


@pytest.mark.parametrize("parts", [0.5, 1.0])
def test_wiener_from_frames(run, tmp_path, specimen, parts):
    """Signal and noise are those of the even and odd frames, whether the series is their sum
    or their mean; within a factor of 2 of the truth, and 25 % of what the series says. Both
    halves get the same filter, so that they add up to the whole."""
    angles, views, _ = specimen
    views = views - views.mean(axis=(1, 2), keepdims=True)  # contrast, not counts
    rng = np.random.default_rng(4)
    noise = 0.5 * views.std()
    halves = [parts * (views + 2 ** 0.5 * noise * rng.standard_normal(views.shape))
              for _ in range(2)]
    whole = sum(halves) * 0.5 / parts
    series = write_series(tmp_path, whole.astype(np.float32), angles, pixel=PIXEL)
    for name, half in zip(("even", "odd"), halves):
        write_series(tmp_path, half.astype(np.float32), angles, f"{name}.mrc", pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text(f"1 {len(angles)} -60 60 3000 2\n")
    options = ["-T", 60, "--ctf", "ctf.defocus", *OPTICS, "--ctf-mode", "wiener"]
    run(series, *options)
    alone = signal_to_noise(run.said)
    rec = run(series, *options, "--half-sets", "frames", "even.mrc", "odd.mrc")
    assert "from even and odd frames" in run.said
    found = signal_to_noise(run.said)
    power = rings(whole_slab().project(0.0), [1 / 100, 1 / 50, 1 / 25]) / noise ** 2
    assert np.all(np.abs(np.log2(found / power)) < 1), (found, power)
    assert np.all(np.abs(alone / found - 1) < 0.25), (alone, found)
    made = [read_mrc(tmp_path / f"rec_{name}.mrc") for name in ("EVN", "ODD")]
    assert difference(sum(made) * 0.5 / parts, rec) < 1e-4
    assert difference(made[0], parts * rec) > 0.1


def test_frames_of_low_passed_views(run, tmp_path, specimen):
    """Where the noise is not white, the series does not tell, and the frames do."""
    angles, views, truth = specimen
    rng = np.random.default_rng(5)
    halves = np.array([views + views.std() * rng.standard_normal(views.shape)
                       for _ in range(2)])
    for axis in 2, 3:
        halves = sum(np.roll(halves, shift, axis) for shift in (-1, 0, 0, 1)) / 4
    series = write_series(tmp_path, halves.sum(axis=0, dtype=np.float32), angles, pixel=PIXEL)
    for name, half in zip(("even", "odd"), halves):
        write_series(tmp_path, half.astype(np.float32), angles, f"{name}.mrc", pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text(f"1 {len(angles)} -60 60 3000 2\n")
    options = ["-T", 60, "--ctf", "ctf.defocus", *OPTICS, "--ctf-mode", "wiener"]
    constants = correlation(run(series, *options), truth)
    assert "takes Warp's constants" in run.said
    found = correlation(
        run(series, *options, "--half-sets", "frames", "even.mrc", "odd.mrc"), truth)
    assert "takes Warp's constants" not in run.said and found > constants + 0.03


@pytest.mark.parametrize("mode", ["flip", "multiply", "wiener"])
@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_ranks_make_the_same_bytes(build_dir, tmp_path, specimen, program, mode):
    angles, views, _ = specimen
    write_series(tmp_path, views[::4, :24, :96], angles[::4], pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text("17 0 0 0 0 3\n1 1 -60 -60 3000 2800 20\n"
                                          "11 11 60 60 3300 3100 10\n")
    made = []
    for ranks in 1, 2, 3:
        runner(build_dir, program)(
            "-T", 20, "--bin", 2, "--ctf", "ctf.defocus", "--ctf-mode", mode, *OPTICS,
            "-o", "rec.mrc", "s_ali.mrc", cwd=tmp_path, ranks=ranks)
        made.append((tmp_path / "rec.mrc").read_bytes())
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("mode", ["flip", "wiener"])
def test_some_slices_are_those_of_all(tiltrec, tmp_path, specimen, mode):
    """Whole views are read for them, also where only rows near them would do."""
    angles, views, _ = specimen
    write_series(tmp_path, views[::4, :, :96], angles[::4], pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text("1 11 -60 60 3000 2\n")
    options = ["-T", 20, "--ctf", "ctf.defocus", "--ctf-mode", mode, *OPTICS, "s_ali.mrc"]
    tiltrec(*options, "-o", "all.mrc", cwd=tmp_path)
    tiltrec(*options, "-o", "some.mrc", "--slices", "20:22", "--report", "r.html", cwd=tmp_path)
    assert np.array_equal(read_mrc(tmp_path / "some.mrc"), read_mrc(tmp_path / "all.mrc")[20:23])
    report = (tmp_path / "r.html").read_text()
    assert "defocus 3.00 to 3.00 \u00b5m, 300 kV, Cs 2.7 mm, amplitude contrast 0.07" in report


# ---- what is refused ----

def corrected(path):
    """IMOD's flag in the header."""
    with open(path, "r+b") as file:
        file.seek(152)
        file.write(np.array([1146047817, 32], "<i4").tobytes())


CTF = "1 20000 20000 0 0 0.1 9\n2 20000 20000 0 0 0.1 9\n"


@pytest.mark.parametrize("options, text, pixel, status, words", [
    (["--ctf", "none.txt"], CTF, 5, DATA, ["none.txt"]),
    (["--ctf", "c.txt"], CTF, 5, USAGE, ["--voltage, --cs, --amplitude-contrast"]),
    (["--ctf", "c.txt", "--cs", 0], CTF, 5, USAGE, ["--voltage, --amplitude-contrast of"]),
    (["--ctf", "c.txt", *OPTICS], CTF, 0, DATA,
     ["--ctf needs the size of the pixels", "does not say it", "--pixel"]),
    (["--ctf", "c.txt", *OPTICS], CTF, 1, DATA,
     ["--ctf needs the size of the pixels", "says 1 angstrom", "--pixel"]),
    (["--ctf", "c.txt", *OPTICS], CTF.replace("\n2 ", "\n3 "), 5, DATA, ["line 2", "view 3"]),
    (["--ctf", "c.txt", *OPTICS], CTF[:CTF.index("2 20", 9)], 5, DATA,
     ["no CTF of view 2", "--exclude 2"]),
    (["--ctf", "c.txt", *OPTICS], "1 2 -10 10 2000 2\n3 3 20 20 2000\n", 5, DATA,
     ["line 2", "no view 3"]),
    (["--voltage", 300], CTF, 5, USAGE, ["--voltage is about", "--ctf FILE"]),
    (["--cs", 2.7], CTF, 5, USAGE, ["--cs is about", "--ctf FILE"]),
    (["--ctf-mode", "multiply"], CTF, 5, USAGE, ["--ctf-mode is about"]),
    (["--ctf-again"], CTF, 5, USAGE, ["--ctf-again is about"]),
    (["--ctf", "c.txt"], "# acceleration voltage: 3.0 keV ; spherical aberration: 2.7 mm ; "
     "amplitude contrast: 0.1\n" + CTF, 5, DATA, ["cannot be 3", "--voltage"]),
    (["--ctf", "s_ali.tlt", *OPTICS], CTF, 5, DATA, ["none of the files"]),
])
def test_refused(tiltrec, tmp_path, options, text, pixel, status, words):
    views = np.stack([spot(), spot()]).astype(np.float32)
    write_series(tmp_path, views, [-10, 10], pixel=pixel)
    (tmp_path / "c.txt").write_text(text)
    done = tiltrec("-T", 8, *options, "s_ali.mrc", cwd=tmp_path, check=False)
    assert done.returncode == status
    for word in words:
        assert word in done.stderr, done.stderr
    assert not list(tmp_path.glob("s_ali_rec*"))


def test_not_into_admm(tiltrecz, tmp_path):
    write_series(tmp_path, np.stack([spot(), spot()]).astype(np.float32), [-10, 10], pixel=PIXEL)
    (tmp_path / "c.txt").write_text(CTF)
    done = tiltrecz("-a", "ADMM", "-T", 8, "--ctf", "c.txt", *OPTICS, "--ctf-mode", "wiener",
                    "s_ali.mrc", cwd=tmp_path, check=False)
    assert done.returncode == USAGE and "what ADMM does not expect" in done.stderr


@pytest.mark.parametrize("options, words", [
    (["-a", "SIRT", "--ctf-mode", "model"], ["for WIENER and ADMM", "flip with SIRT"]),
    (["-a", "WBP", "--ctf-mode", "model"], ["for WIENER and ADMM"]),
    (["-a", "CGLS", "--ctf-mode", "model"], ["for WIENER and ADMM"]),
    (["-a", "WIENER", "--ctf-mode", "flip"], ["WIENER has the CTF", "leave out --ctf-mode"]),
    (["-a", "WIENER", "--ctf-mode", "wiener"], ["WIENER has the CTF", "leave out --ctf-mode"]),
    (["-a", "ADMM", "--ctf-mode", "model", "--half-sets", "views"], ["--half-sets is not"]),
    (["-a", "WIENER", "--try"], ["--try is not"]),
    (["-a", "WIENER", "--normalize", "mean-std"], ["mean-std would"]),
])
def test_what_does_not_go_with_a_model(tiltrecz, tmp_path, options, words):
    write_series(tmp_path, np.stack([spot(), spot()]).astype(np.float32), [-10, 10], pixel=PIXEL)
    (tmp_path / "c.txt").write_text(CTF)
    done = tiltrecz("-T", 8, "--ctf", "c.txt", *OPTICS, "s_ali.mrc", *options, cwd=tmp_path,
                    check=False)
    assert done.returncode == USAGE, done.stderr
    assert all(word in done.stderr for word in words), done.stderr
    assert not list(tmp_path.glob("s_ali_rec*"))


def test_a_model_wants_views_of_their_own_size(tiltrecz, tmp_path):
    write_series(tmp_path, np.stack([spot(), spot()]).astype(np.float32), [-10, 10], pixel=PIXEL)
    (tmp_path / "c.txt").write_text(CTF)
    (tmp_path / "a.xf").write_text("1 0 0 1 0 0\n" * 2)
    done = tiltrecz("-a", "WIENER", "-T", 8, "--ctf", "c.txt", *OPTICS, "s_ali.mrc",
                    "--transforms", "a.xf", "--size", "40,40", cwd=tmp_path, check=False)
    assert done.returncode == USAGE and "leave out --size" in done.stderr, done.stderr


def test_corrected_already(tiltrec, run, tmp_path):
    series = one_view(tmp_path, spot())
    (tmp_path / "c.txt").write_text("1 20000 20000 0 0 0.1 9\n")
    options = ["-a", "BPT", "-T", 2, "--ctf", "c.txt", *OPTICS]
    wanted = run(series, *options)
    corrected(series)
    done = tiltrec(*options, series, cwd=tmp_path, check=False)
    assert done.returncode == USAGE
    assert "CTF-corrected already" in done.stderr and "--ctf-again" in done.stderr
    assert np.array_equal(run(series, *options, "--ctf-again"), wanted)
    run(series, "-a", "BPT", "-T", 2)  # without is no matter


def test_unlikely_defocus(run, tmp_path):
    series = one_view(tmp_path, spot())
    (tmp_path / "c.defocus").write_text("1 1 0 0 30 2\n")
    run(series, "-T", 2, "--ctf", "c.defocus", *OPTICS)
    assert "is unusual" in run.said


def test_wiener_of_normalized_views(run, tmp_path, specimen):
    """Counts, their differences from the mean and these over their deviation are filtered
    alike: what a view shows of the specimen is in units of its mean."""
    angles, views, _ = specimen
    keep = slice(None, None, 3)
    rng = np.random.default_rng(3)
    contrast = views[keep] / views.std() * 0.3
    contrast = contrast + rng.normal(0, 0.3, contrast.shape)
    counts = (100 - 2 * np.arange(len(contrast)))[:, None, None] * (1 + contrast)
    series = write_series(tmp_path, counts.astype(np.float32), angles[keep], pixel=PIXEL)
    (tmp_path / "ctf.defocus").write_text("1 14 -60 60 3000 2\n")
    said = []
    for how in "none", "mean", "mean-std", "contrast":
        run(series, "-T", 20, "--ctf", "ctf.defocus", "--ctf-mode", "wiener", *OPTICS,
            "--normalize", how)
        line = next(line for line in run.said.splitlines() if "Wiener filter: at" in line)
        said.append([float(word) for word in line.split()
                     if word.replace(".", "", 1).replace("e", "", 1).isdigit()])
    assert len(said[0]) >= 4 and np.allclose(said, said[0], rtol=0.02), said


@pytest.mark.parametrize("first, second", [
    (0, 0), (4.6e4, 4.6e4), (1.4e4, 1.4e4), (4.6e4, 1.4e4), (-3e4, 3e4), (-3e4, -3e4)])
def test_a_fit_that_failed(run, tmp_path, first, second):
    views = np.stack([spot(seed=k) for k in range(5)]).astype(np.float32)
    series = write_series(tmp_path, views, range(-4, 6, 2), name="s.mrc", pixel=PIXEL)
    for said, row in (True, f"{first} {second}"), (False, "4.4e4 3.6e4"), (False, "1.6e4 1.6e4"):
        (tmp_path / "ctf.txt").write_text("".join(
            f"{k} {row if k == 4 else '3e4 3e4'} 0 0 0.1 9\n" for k in range(1, 6)))
        run(series, "-a", "BPT", "-T", 2, "--ctf", "ctf.txt", *OPTICS)
        assert ("are unusual" in run.said) == said
        assert ("1 of 5 views are unusual" in run.said and "of view 4," in run.said) == said
