"""Real series: a needle in the electron microscope, a pulley in X-rays."""
import re

import numpy as np
import pytest

from conftest import read_mrc

ALGORITHMS = ["BPT", "WBP", "FBP", "SIRT", "SART"]


def axes(slice_):
    """Of what is brighter than half the maximum (of the smoothed slice): the shorter
    over the longer axis of its ellipse, and its extent in z over that in x."""
    kernel = np.ones((3, 3)) / 9
    padded = np.pad(slice_, 1, mode="edge")
    smooth = sum(kernel[i, j] * padded[i:i + slice_.shape[0], j:j + slice_.shape[1]]
                 for i in range(3) for j in range(3))
    base = np.percentile(smooth, 10)
    z, x = np.nonzero(smooth > base + 0.5 * (np.percentile(smooth, 99.5) - base))
    moments = np.cov(x, z)
    values = np.linalg.eigvalsh(moments)
    return np.sqrt(values[0] / values[1]), np.sqrt(moments[1, 1] / moments[0, 0])


@pytest.fixture(scope="module")
def needle(shared_data):
    return shared_data / "needle" / "needle.ali"


def cut_needle(tiltrec, needle, folder, algorithm, *options):
    tiltrec("-a", algorithm, "-T", 64, *options, "-o", "rec.mrc", needle, cwd=folder)
    volume = read_mrc(folder / "rec.mrc")
    assert volume.shape == (64, 64, 64)
    # Rows where the needle is of one material all around
    return [axes(volume[y]) for y in (16, 25, 34)]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_needle_is_round(tiltrec, needle, tmp_path, algorithm):
    found = cut_needle(tiltrec, needle, tmp_path, algorithm)
    assert min(ratio for ratio, _ in found) > 0.8


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_missing_wedge_makes_it_longer_along_the_beam(tiltrec, needle, tmp_path,
                                                        algorithm):
    """Views 1 to 15 and 77 to 91 are those beyond 60 degrees."""
    whole = cut_needle(tiltrec, needle, tmp_path, algorithm)
    wedge = cut_needle(tiltrec, needle, tmp_path, algorithm, "--exclude", "1-15,77-91")
    for (_, before), (_, after) in zip(whole, wedge):
        assert after > 1.1 * before


def test_the_pulley_is_round_and_sharp_with_its_axis(tiltrec, shared_data, tmp_path):
    """A wrong axis makes an arc of every point. Seen from 0 to 180 degrees, slices are
    sharpest with the right one, which shows as the kurtosis of their densities."""
    slices, sharpness = {}, {}
    for shift in (0, 5.5, 6.5, 7.5):
        done = tiltrec("-a", "FBP", "--log", 0, "--axis-shift", shift, "-T", 160,
                       "--slices", "60:75", "-o", "rec.mrc",
                       shared_data / "pulley" / "pulley.mrc", cwd=tmp_path)
        slices[shift] = read_mrc(tmp_path / "rec.mrc")
        sharpness[shift] = np.mean([np.mean((s - s.mean()) ** 4) / s.var() ** 2
                                    for s in slices[shift]])
    assert sharpness[6.5] > 1.05 * max(sharpness[5.5], sharpness[7.5])
    assert sharpness[6.5] > 1.5 * sharpness[0]
    round_ones = slice(12, 16)  # slices 72 to 75 show the axle as a disc
    assert min(axes(s)[0] for s in slices[6.5][round_ones]) > 0.95
    # One pixel of each view is NaN in the file.
    assert re.search(r"\b91 pixels are NaN or infinite, the first in view 1 at column 0, "
                     r"row 0", done.stderr)
    assert all(np.isfinite(s).all() for s in slices.values())
