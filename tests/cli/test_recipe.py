"""What the steps from raw views to a tomogram are worth, on simulated series whose truth is
known: the specimen reaches beyond the field, layers have the CTF of their depth, the beam
damages it, and few electrons were counted."""
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from conftest import ROOT, read_mrc

PIXEL = 5.4
# Of the frequencies, in 1/A; the CTF of 3 micrometres is below 0 in the last but one.
EDGES = 1 / np.array([1000, 100, 50, 33, 25, 18])
CTF = ["--ctf", "s.defocus", "--voltage", 300, "--cs", 2.7, "--amplitude-contrast", 0.07]
pytestmark = [pytest.mark.unsanitized, pytest.mark.slow]
SEEDS = [1, pytest.param(2, marks=pytest.mark.long), pytest.param(3, marks=pytest.mark.long)]


def simulate(folder, seed, *options):
    subprocess.run([sys.executable, "-B", ROOT / "examples" / "simulate.py", "--specimen",
                    "blobs", "--size", "192", "48", "100", "--pixel", str(PIXEL), "--defocus",
                    "3", "--dose-per-view", "3", "--b-factor", "60", "--seed", str(seed),
                    "--out-prefix", "s", *map(str, options)],
                   cwd=folder, check=True, capture_output=True)


def inner(volume):
    return volume[6:-6, :, 24:-24].astype(float)


class Tomograms:
    def __init__(self, tiltrec, folder):
        self.tiltrec, self.folder = tiltrec, folder
        self.truth = inner(mrcfile.read(folder / "s_truth.mrc"))

    def make(self, *options):
        self.tiltrec("--aligned", "-T", 100, *options, "-o", "o.mrc", "s.mrc", cwd=self.folder,
                     threads=2)
        return inner(read_mrc(self.folder / "o.mrc"))

    def correlation(self, *options):
        return np.corrcoef(self.make(*options).ravel(), self.truth.ravel())[0, 1]

    def shells(self, *options):
        """Correlation with the truth in each band of frequencies."""
        a, b = (np.fft.rfftn(v - v.mean()) for v in (self.make(*options), self.truth))
        n = self.truth.shape
        k = np.sqrt(np.fft.fftfreq(n[0])[:, None, None]**2
                    + np.fft.fftfreq(n[1])[None, :, None]**2 + np.fft.rfftfreq(n[2])**2) / PIXEL
        which = [(k >= low) & (k < high) for low, high in zip(EDGES, EDGES[1:])]
        return np.array([(a[w] * b[w].conj()).sum().real
                         / np.sqrt((abs(a[w])**2).sum() * (abs(b[w])**2).sum()) for w in which])


@pytest.mark.parametrize("seed", SEEDS)
def test_flipping_turns_the_band_beyond_the_first_zero(tiltrec, tmp_path, seed):
    simulate(tmp_path, seed, "--noise-free")
    tomograms = Tomograms(tiltrec, tmp_path)
    before, after = tomograms.shells(), tomograms.shells(*CTF)
    assert before[-1] < -0.2 and after[-1] > 0.45
    assert np.all(np.abs(before - after)[:-1] < 0.03)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_each_step_gains(tiltrec, tmp_path, seed):
    simulate(tmp_path, seed)
    tomograms = Tomograms(tiltrec, tmp_path)
    raw = tomograms.correlation()
    dose = tomograms.correlation("--dose", "mdoc")
    flip = tomograms.correlation(*CTF)
    both = tomograms.correlation(*CTF, "--dose", "mdoc")
    wiener = tomograms.correlation(*CTF, "--dose", "mdoc", "--ctf-mode", "wiener")
    assert dose > raw + 0.03 and flip > raw + 0.02
    assert both > dose + 0.02 and both > flip + 0.03
    assert wiener > both + 0.2


def test_a_few_bright_pixels_do_not_ruin_it(tiltrec, tmp_path):
    simulate(tmp_path, 1, "--flashes", 4, "--hot-pixels", 4)
    tomograms = Tomograms(tiltrec, tmp_path)
    wiener = [*CTF, "--dose", "mdoc", "--ctf-mode", "wiener"]
    bad = tomograms.correlation(*wiener, "--hot-pixels", "off")
    good = tomograms.correlation(*wiener, "--hot-pixels", "replace")
    simulate(tmp_path, 1)
    clean = tomograms.correlation(*wiener)
    assert abs(good - clean) < 0.01 and bad < clean - 0.1
