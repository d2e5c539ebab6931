"""CTF and dose in the projection (--ctf-mode model): a specimen of which all is simulated,
against the truth, with what views filtered beforehand give."""
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT, read_mrc, runner

pytestmark = [pytest.mark.slow, pytest.mark.unsanitized]

OPTICS = ["--voltage", 300, "--cs", 2.7, "--amplitude-contrast", 0.07]


def inner(volume):
    """Without what lies next to the field's edges."""
    return volume[4:-4, 8:-8, 16:-16].astype(np.float64)


def best_correlation(volume, truth):
    """After the isotropic filter that makes it largest: how much there is to be seen,
    whatever the weights of frequencies are."""
    a, b = (np.fft.rfftn(inner(v) - inner(v).mean()) for v in (volume, truth))
    n = inner(truth).shape
    frequency = np.sqrt(sum(np.meshgrid(np.fft.fftfreq(n[0]) ** 2, np.fft.fftfreq(n[1]) ** 2,
                                        np.fft.rfftfreq(n[2]) ** 2, indexing="ij")))
    twice = np.full(a.shape, 2.0)
    twice[..., 0] = 1.0
    if n[2] % 2 == 0:
        twice[..., -1] = 1.0
    shell = (100 * frequency).astype(int).ravel()
    both, own, true = (np.bincount(shell, (twice * v).ravel())[1:] for v in (
        (a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2))
    return np.sqrt((np.maximum(both, 0) ** 2 / own).sum() / true.sum())


def correlation(volume, truth):
    return np.corrcoef(inner(volume).ravel(), inner(truth).ravel())[0, 1]


class Specimen:
    def __init__(self, build_dir, folder, *options):
        self.folder = folder
        self.program = runner(build_dir, "tiltrecz-mpi")
        subprocess.run([sys.executable, "-B", ROOT / "examples" / "simulate.py", "--out-prefix",
                        folder / "ts", "--jobs", "2", *map(str, options)], check=True,
                       capture_output=True)
        self.truth = read_mrc(folder / "ts_truth.mrc")

    def reconstruct(self, *options, ranks=None):
        self.program("-q", "--ctf", "ts.defocus", *OPTICS, "--dose", "mdoc",
                     "-T", self.truth.shape[1], *options, "ts.mrc", "-o", "rec.mrc",
                     cwd=self.folder, ranks=ranks, threads=2)
        return read_mrc(self.folder / "rec.mrc")


def make(build_dir, tmp_path_factory, seed):
    return Specimen(build_dir, tmp_path_factory.mktemp("model"), "--specimen", "blobs", "--size",
                    192, 48, 100, "--defocus", 3, "--seed", seed)


@pytest.fixture(scope="module")
def specimen(build_dir, tmp_path_factory):
    return make(build_dir, tmp_path_factory, 1)


@pytest.mark.parametrize("seed", [1, 2])
def test_each_way_sees_more_than_the_one_before(build_dir, tmp_path_factory, seed):
    specimen = make(build_dir, tmp_path_factory, seed)
    filtered = specimen.reconstruct("-a", "WBP", "--ctf-mode", "wiener", "--normalize",
                                    "contrast")
    wiener = specimen.reconstruct("-a", "WIENER")
    admm = specimen.reconstruct("-a", "ADMM", "--ctf-mode", "model", "-i", 6)
    sees = [best_correlation(v, specimen.truth) for v in (filtered, wiener, admm)]
    looks = [correlation(v, specimen.truth) for v in (filtered, wiener, admm)]
    assert sees[1] > sees[0] + 0.005, sees  # seen: .014 and .021
    assert sees[2] > sees[1] + 0.03, sees   # .07 and .10
    assert looks[1] > looks[0] + 0.005 and looks[2] > looks[1] + 0.03, looks


@pytest.mark.parametrize("algorithm, ranks", [(["WIENER"], 2), (["WIENER"], 3), (
    ["ADMM", "--ctf-mode", "model", "-i", 1], 3)])
def test_ranks_share_it(specimen, algorithm, ranks):
    alone = specimen.reconstruct("-a", *algorithm)
    shared = specimen.reconstruct("-a", *algorithm, ranks=ranks)
    assert np.abs(shared - alone).max() < 1e-3 * alone.std()


def test_some_slices_are_those_of_all(specimen):
    assert np.array_equal(specimen.reconstruct("-a", "WIENER", "--slices", "10:20"),
                          specimen.reconstruct("-a", "WIENER")[10:21])
