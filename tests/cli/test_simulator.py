"""examples/simulate.py against formulas, sums and statistics that are written down here."""
import json
import re
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT, read_mrc

pytestmark = pytest.mark.slow
CLEAN = ["--noise-free", "--no-ctf", "--no-damping", "--b-factor", 0]


class Simulation:
    def __init__(self, folder, *options):
        self.name = folder / "sim"
        subprocess.run([sys.executable, "-B", ROOT / "examples" / "simulate.py", "--out-prefix",
                        self.name, "--jobs", "1", *map(str, options)], check=True,
                       capture_output=True)
        self.truth_told = json.loads(self.path("_simulation.json").read_text())
        self.views = self.truth_told["views"]
        self.parameters = self.truth_told["parameters"]

    def path(self, suffix=".mrc"):
        return self.name.parent / (self.name.name + suffix)

    def series(self, half=""):
        return read_mrc(self.path(f"{half}.mrc"))

    def contrast(self):
        """Of a noise-free series, without what its mean took."""
        electrons = [self.parameters["pixel"] ** 2 * v["dose"] * v["transmission"]
                     for v in self.views]
        return self.series() / np.reshape(electrons, (-1, 1, 1)) - 1


@pytest.fixture(scope="module")
def simulate(tmp_path_factory):
    return lambda *options: Simulation(tmp_path_factory.mktemp("simulation"), *options)


# ---- geometry ----

def place_of(x, s, y, tilt, pitch):
    """u, v and depth as in manual/geometry.md."""
    t, g = np.radians([tilt, pitch])
    z = y * np.sin(g) + s * np.cos(g)
    return (x * np.cos(t) - z * np.sin(t), y * np.cos(g) - s * np.sin(g),
            x * np.sin(t) + z * np.cos(t))


def middle_of_mass(image):
    """Column and row from the image's middle."""
    rows, columns = (np.arange(n) - (n - 1) / 2 for n in image.shape)
    return np.array([image.sum(axis=0) @ columns, image.sum(axis=1) @ rows]) / image.sum()


@pytest.mark.parametrize("x, s, y, pitch, shift", [(11, 7, -5, 0, 0), (-9.5, 8.25, 6, 12, 0),
                                                   (6, -9, 3.5, -8, -4.5)])
def test_a_dot_moves_as_the_geometry_says(simulate, x, s, y, pitch, shift):
    made = simulate("--specimen", "none", "--dots", f" {x},{s},{y}", *CLEAN, "--size", 64, 40, 32,
                    "--step", 20, "--pitch", pitch, "--axis-shift", shift, "--dot-sigma", 1.5)
    assert [v["tilt"] for v in made.views] == [-60, -40, -20, 0, 20, 40, 60]
    for view, image in zip(made.views, made.contrast()):
        u, v, _ = place_of(x, s, y, view["tilt"], pitch)
        assert middle_of_mass(image) == pytest.approx([u + shift, v], abs=0.01)
    truth = read_mrc(made.path("_truth.mrc"))
    ys, ss, xs = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in truth.shape), indexing="ij")
    r2 = (xs - shift - x) ** 2 + (ss - s) ** 2 + (ys - y) ** 2
    right = made.parameters["dot_volt"] * np.exp(-r2 / (2 * 1.5 ** 2))
    assert np.abs(truth - right).max() < 0.01 * right.max()
    # Projected: its integral in V A^2 x 2 sigma, sigma 6.526e-4 / (V A) at 300 kV.
    total = 2 * 6.526e-4 * 5 * (2 * np.pi) ** 1.5 * 1.5 ** 3 * 5.4
    assert made.contrast().sum(axis=(1, 2)) == pytest.approx(total * np.ones(7), rel=2e-3)


def test_transforms_undo_the_misalignment(simulate):
    x, s, y = 8, 5, -6
    options = ["--specimen", "none", "--dots", f"{x},{s},{y}", *CLEAN, "--size", 64, 64, 32,
               "--step", 30]
    made = simulate(*options, "--shifts", 3, "--axis-angle", 25)
    lines = np.loadtxt(made.path(".xf"))
    assert np.abs(lines[:, 4:]).max() > 1
    for line, view, image in zip(lines, made.views, made.contrast()):
        aligned = line[:4].reshape(2, 2) @ middle_of_mass(image) + line[4:]
        assert aligned == pytest.approx(place_of(x, s, y, view["tilt"], 0)[:2], abs=0.01)
    # The axis is turned counterclockwise: what is aligned at y lies to the left of it.
    at = np.linalg.solve(lines[0, :4].reshape(2, 2), [0, 1])
    assert at == pytest.approx([-np.sin(np.radians(25)), np.cos(np.radians(25))], abs=1e-6)


def rings(fields, pixel, edges):
    """Sums over shells of frequency 1/A and over the directions that +-57 degrees measure."""
    y, s, x = np.meshgrid(*(np.fft.fftfreq(n, pixel) for n in fields[0].shape), indexing="ij")
    f = np.sqrt(x ** 2 + y ** 2 + s ** 2)
    measured = np.abs(s) < np.abs(x) * np.tan(np.radians(57))
    a, b = (np.fft.fftn(k - k.mean()) for k in fields)
    for low, high in zip(edges, edges[1:]):
        shell = (f >= low) & (f < high) & measured
        yield ((a[shell] * b[shell].conj()).sum().real
               / np.sqrt((abs(a[shell]) ** 2).sum() * (abs(b[shell]) ** 2).sum()))


@pytest.mark.parametrize("specimen", ["chains", "blobs"])
def test_a_clean_series_gives_the_truth(simulate, tiltrec, specimen):
    made = simulate("--specimen", specimen, *CLEAN, "--step", 2, "--size", 160, 48, 64)
    tiltrec("-a", "WBP", "--radial", "0.5,0", "-T", 64, made.path(), "-o", "rec.mrc",
            cwd=made.name.parent)
    truth, volume = (read_mrc(made.name.parent / name)[8:-8, 8:-8, 24:-24]
                     for name in ("sim_truth.mrc", "rec.mrc"))
    agreement = list(rings((truth, volume), 5.4, 1 / np.array([100.0, 60, 40, 30, 20])))
    print(specimen, agreement)
    assert min(agreement) > 0.9


# ---- microscope ----

def chi(f, defocus, phase=0.0, cs=2.7, kv=300.0, contrast=0.07):
    """As Rohou and Grigorieff (2015) write it, angstroms; the wavelength from constants."""
    energy, mass = kv * 1e3 * 1.602176634e-19, 9.1093837e-31
    momentum = np.sqrt(2 * mass * energy * (1 + energy / (2 * mass * 299792458 ** 2)))
    length = 6.62607015e-34 / momentum * 1e10
    return (np.pi * length * f ** 2 * (defocus - length ** 2 * f ** 2 * cs * 1e7 / 2)
            + phase + np.arctan(contrast / np.sqrt(1 - contrast ** 2)))


def crossings(f, values):
    """Where the values change sign."""
    k = np.flatnonzero(np.diff(np.sign(values)))
    return f[k] - values[k] * (f[k + 1] - f[k]) / (values[k + 1] - values[k])


@pytest.mark.parametrize("options, along_x, along_y, between, phase, cs, kv", [
    ([], 2e4, 2e4, 2e4, 0, 2.7, 300),
    (["--astigmatism", 0.4, 0], 2.2e4, 1.8e4, 2e4, 0, 2.7, 300),
    (["--astigmatism", 0.4, 60], 1.9e4, 2.1e4, 2e4 + 2e3 * np.cos(np.pi / 6), 0, 2.7, 300),
    (["--phase-shift", 90, "--cs", 1.2, "--voltage", 200], 2e4, 2e4, 2e4, np.pi / 2, 1.2, 200)])
def test_the_ctf_changes_sign_at_its_zeros(simulate, options, along_x, along_y, between, phase, cs,
                                           kv):
    """Along x, y and 45 degrees."""
    made = simulate("--specimen", "none", "--dots", "0.5,0,0.5", "--noise-free", "--defocus", 2,
                    "--size", 256, 256, 16, "--pixel", 2, "--range", 0, 0, "--dot-sigma", 0.7,
                    "--depth-step", 1, "--no-truth", *options)
    spectrum = np.fft.fft2(np.roll(made.contrast()[0], (-128, -128), axis=(0, 1))).real[:128, :128]
    f = np.fft.rfftfreq(256, 2)[:128]
    for f, values, defocus in ((f, spectrum[0], along_x), (f, spectrum[:, 0], along_y),
                               (np.sqrt(2) * f, spectrum.diagonal(), between)):
        f, values = f[f < 0.22], values[f < 0.22]
        fine = np.linspace(0, f[-1], 20000)
        right = crossings(fine, np.sin(chi(fine, defocus, phase, cs, kv)))
        found = crossings(f, values)
        assert len(right) > 15 and found == pytest.approx(right, rel=0.002)
        assert np.all(values[f < 0.5 * right[0]] > 0)  # the contrast is kept


def test_the_b_factor(simulate):
    options = ["--specimen", "none", "--dots", "0,0,0", "--noise-free", "--no-ctf", "--no-damping",
               "--size", 64, 64, 8, "--range", 0, 0, "--no-truth"]
    whole, less = (np.abs(np.fft.fft2(simulate(*options, "--b-factor", b).contrast()[0]))
                   for b in (0, 80))
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(64, 5.4)] * 2))
    assert (less / whole)[f < 0.08] == pytest.approx(np.exp(-20 * f[f < 0.08] ** 2), rel=0.01)


@pytest.mark.parametrize("hand", [1, -1])
def test_the_defocus_is_that_of_the_depth(simulate, hand):
    """Fitted to the spectra of four dots, one at each corner, in each view."""
    corners = [(x, s, 0) for x in (-150, 150) for s in (-60, 60)]
    made = simulate("--specimen", "none", "--dots", *(f" {x},{s},{y}" for x, s, y in corners),
                    "--noise-free", "--size", 512, 128, 140, "--pixel", 4, "--range", -40, 40,
                    "--step", 80, "--no-damping", "--b-factor", 0, "--defocus", 2.5, "--hand",
                    hand, "--depth-step", 4, "--defocus-jitter", 0.05, "--no-truth")
    fx, fy = np.fft.fftfreq(64, 4), np.fft.fftfreq(64, 4)[:, None]
    f = np.hypot(fx, fy)
    keep = (f > 0.02) & (f < 0.1)
    trials = np.arange(2.2e4, 2.8e4, 10)
    for view, image in zip(made.views, made.contrast()):
        for corner in corners:
            u, v, depth = place_of(*corner, view["tilt"], 0)
            column, row = int(np.rint(u + 255.5)), int(np.rint(v + 63.5))
            part = np.fft.fft2(image[row - 32:row + 32, column - 32:column + 32])
            away = u + 255.5 - column + 32, v + 63.5 - row + 32
            part *= np.exp(2j * np.pi * 4 * (fx * away[0] + fy * away[1]))
            scores = []
            for defocus in trials:
                model = np.sin(chi(f[keep], defocus)) * np.exp(-2 * (np.pi * 4 * f[keep]) ** 2)
                scores.append((part.real[keep] * model).sum() / np.linalg.norm(model))
            layer = 40 * np.rint(4 * depth / 40)
            right = 1e4 * view["defocus"] + hand * layer
            assert abs(layer) > 150 and trials[np.argmax(scores)] == pytest.approx(right, abs=15)
    lines = np.loadtxt(made.path(".defocus"), skiprows=1)
    assert made.path(".defocus").read_text().split("\n")[0].split()[-1] == "3"
    assert lines[:, 4] == pytest.approx([1e3 * v["defocus"] for v in made.views], abs=0.01)
    assert np.ptp(lines[:, 4]) > 1


# ---- exposure ----

def ring_power(image, pixel, f, width=0.001):
    window = np.outer(*(np.hanning(n + 2)[1:-1] for n in image.shape))  # the edges do not match
    power = np.abs(np.fft.fft2((image - image.mean()) * window)) ** 2
    at = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n, pixel) for n in image.shape), indexing="ij"))
    return power[np.abs(at - f) < width].sum()


@pytest.mark.parametrize("where, scale, voltage", [("middle", 0.5, 300), ("end", 1.0, 200)])
def test_damping_of_a_white_specimen(simulate, where, scale, voltage):
    options = ["--specimen", "white", "--noise-free", "--no-ctf", "--size", 256, 256, 16,
               "--pixel", 4, "--range", -20, 40, "--step", 20, "--dose-per-view", 15,
               "--voltage", voltage, "--scheme", "bidirectional", "--output", "contrast",
               "--no-truth"]
    damped = simulate(*options, "--damping-at", where)
    whole = simulate(*options, "--no-damping")
    for view, a, b in zip(damped.views, damped.series(), whole.series()):
        for k in 0.02, 0.05, 0.08, 0.1:
            critical = (0.24499 * k ** -1.6649 + 2.8141) * (1 if voltage == 300 else 0.8)
            right = np.exp(-(view["prior"] + 15 * scale) / critical)  # of power
            ratio = ring_power(a, 4, k) / ring_power(b, 4, k)
            assert ratio == pytest.approx(right, rel=0.02)
    assert [v["prior"] for v in damped.views] == [45, 0, 15, 30]


def test_electrons_are_counted(simulate):
    options = ["--size", 128, 64, 32, "--step", 10, "--dose-per-view", 1.5, "--no-truth"]
    clean, made = simulate(*options, "--noise-free"), simulate(*options)
    expected, counts = clean.series(), made.series()
    even, odd = made.series("_EVN"), made.series("_ODD")
    assert np.array_equal(even + odd, counts) and np.array_equal(counts, np.rint(counts))
    for half in even, odd:
        off = (half - expected / 2) / np.sqrt(expected / 2)
        assert off.var() == pytest.approx(1, abs=0.02) and abs(off.mean()) < 0.01
    noise = [(half - expected / 2).ravel() for half in (even, odd)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.01
    ice = made.parameters["ice"]
    assert ice == pytest.approx(0.9 * 32 * 0.54)
    through = [1.5 * 5.4 ** 2 * np.exp(-ice / (320 * np.cos(np.radians(v["tilt"]))))
               for v in made.views]
    assert expected.mean(axis=(1, 2)) == pytest.approx(through, rel=0.01)
    again = simulate(*options, "--jobs", 2)
    assert again.path().read_bytes() == made.path().read_bytes()
    other = simulate(*options, "--seed", 2)
    assert np.corrcoef(other.series().ravel(), counts.ravel())[0, 1] < 0.5


def test_the_mdoc_tells_doses_and_times(simulate):
    made = simulate("--specimen", "none", "--size", 16, 16, 16, "--range", -9, 9, "--step", 3,
                    "--dose-per-view", 2.5)
    order = {tilt: i for i, tilt in enumerate([0, 3, -3, -6, 6, 9, -9])}  # Hagen's
    text = made.path(".mrc.mdoc").read_text()
    column = {key: re.findall(rf"^{key} = (.*)$", text, re.MULTILINE)
              for key in ("TiltAngle", "ExposureDose", "PriorRecordDose", "DateTime")}
    tilts = [float(t) for t in column["TiltAngle"]]
    assert tilts == np.loadtxt(made.path(".tlt")).tolist() == [-9, -6, -3, 0, 3, 6, 9]
    assert [float(d) for d in column["ExposureDose"]] == [2.5] * 7
    assert [float(d) for d in column["PriorRecordDose"]] == [2.5 * order[t] for t in tilts]
    assert [tilts[k] for k in np.argsort(column["DateTime"])] == list(order)


def test_bad_pixels_are_where_it_says(simulate):
    options = ["--size", 64, 48, 16, "--step", 30, "--noise-free", "--no-truth"]
    made = simulate(*options, "--hot-pixels", 3, "--dead-pixels", 4, "--flashes", 2,
                    "--hot-amplitude", 10)
    clean, series = simulate(*options), made.series()
    mean = clean.series().mean(axis=(1, 2))
    expected = clean.series()
    for column, row in made.truth_told["hot_pixels"]:
        expected[:, row, column] += 10 * mean
    for column, row in made.truth_told["dead_pixels"]:
        expected[:, row, column] = 0
    for k, view in enumerate(made.views):
        assert len(view["flashes"]) == 2
        for column, row, half in view["flashes"]:
            expected[k, row, column] += 10 * mean[k]
            halves = [made.series(name)[k, row, column] for name in ("_EVN", "_ODD")]
            assert halves[half] > 5 * halves[1 - half]
    assert np.abs(series - expected).max() < 0.02 * 10 * mean.max()
    assert len(made.truth_told["hot_pixels"]) == 3 and len(made.truth_told["dead_pixels"]) == 4


@pytest.mark.parametrize("options, said", [
    (["--range", "-80", "80"], "up to 75 degrees"), (["--dots", "1,2"], "X,S,Y"),
    (["--size", "999", "999", "999"], "as with --crowding 0."), (["--step", "0"], "a step above 0"),
    (["--dead-pixels", "-1"], "bad pixels")])
def test_options_that_cannot_be_met(tmp_path, options, said):
    done = subprocess.run([sys.executable, "-B", ROOT / "examples" / "simulate.py", *options],
                          cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode in (1, 2) and said in done.stderr
    assert "Traceback" not in done.stderr and not list(tmp_path.iterdir())


def test_dark_and_gold(simulate):
    options = ["--specimen", "none", "--gold", 2, "--size", 64, 64, 40, "--range", 0, 0,
               "--ice", 10, "--seed", 3, *CLEAN]
    bright, dark = simulate(*options), simulate(*options, "--dark")
    assert dark.contrast() == pytest.approx(-bright.contrast(), abs=1e-5)
    truth = read_mrc(bright.path("_truth.mrc"))
    assert truth.max() == pytest.approx(4, rel=0.1)
    # 4 V through the 10 nm of a bead, 2 sigma = 2 x 6.526e-4 for each volt and angstrom
    assert bright.contrast().max() == pytest.approx(2 * 6.526e-4 * 4 * 100, rel=0.1)
