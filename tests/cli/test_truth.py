"""Tomograms of the phantom against the truth, whose projections owe nothing to the
program: right with the geometry that the series was made with, wrong with another."""
import numpy as np
import pytest

from conftest import read_mrc


def correlation(a, b):
    inner = tuple(slice(n // 16, n - n // 16) for n in a.shape)
    return np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1]


def reconstruct(tiltrec, made, folder, *options):
    tiltrec("-T", 24, "-o", "rec.mrc", *options, made.series, cwd=folder)
    return read_mrc(folder / "rec.mrc")


@pytest.mark.parametrize("algorithm, least", [("BPT", 0.55), ("WBP", 0.7),
                                              ("FBP", 0.7), ("SIRT", 0.76),
                                              ("SART", 0.78)])
def test_every_algorithm_finds_the_cell(tiltrec, phantom, tmp_path, algorithm, least):
    volume = reconstruct(tiltrec, phantom, tmp_path, "-a", algorithm)
    assert correlation(read_mrc(phantom.truth), volume) > least


@pytest.mark.parametrize("option, value", [("--pitch", 8), ("--axis-shift", 3.5)])
def test_geometry_options_have_the_sign_of_the_manual(tiltrec, make_phantom, tmp_path,
                                                      option, value):
    made = make_phantom("--size", 64, 40, 24, "--views", 31, "--noise-free",
                        option, value)
    truth = read_mrc(made.truth)
    right, none, wrong = (
        correlation(truth, reconstruct(tiltrec, made, tmp_path, "-a", "SIRT", option, v))
        for v in (value, 0, -value))
    assert right > 0.76
    assert right > none + 0.05 > wrong + 0.1


@pytest.mark.parametrize("algorithm", ["SIRT", "SART"])
def test_iterations_give_densities_on_the_scale_of_the_truth(tiltrec, phantom, tmp_path,
                                                             algorithm):
    truth = read_mrc(phantom.truth)
    volume = reconstruct(tiltrec, phantom, tmp_path, "-a", algorithm)
    assert volume.sum() == pytest.approx(truth.sum(), rel=0.01)
