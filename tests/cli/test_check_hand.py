"""--check-hand against views of a dense specimen, made in numpy: noise with the spectrum of
one, through the CTF of each column's own defocus."""
import json

import numpy as np
import pytest

from conftest import read_mrc, write_series
from test_ctf import OPTICS, ctf

PIXEL, DEFOCUS, NODE = 5.4, 30000.0, 700.0
TILTS = np.arange(-60.0, 61.0, 8.0)


def views(hand, signal=1.0, noise=1.0, shape=(256, 1024), seed=1, tilts=TILTS, axis=0.0):
    """Of columns right of the middle and `axis` pixels the defocus grows by hand x tan tilt."""
    rng = np.random.default_rng(seed)
    fy, fx = np.meshgrid(np.fft.fftfreq(shape[0], PIXEL), np.fft.rfftfreq(shape[1], PIXEL),
                         indexing="ij")
    f = np.hypot(fx, fy)
    # An amplitude that falls as that of a crowded specimen, 1 about 1/40 of an angstrom.
    amplitude = signal * (np.maximum(f, 1 / 400) * 40) ** -1.5 * np.exp(-40 * f ** 2)
    u = PIXEL * (np.arange(shape[1]) - (shape[1] - 1) / 2 - axis)
    made = []
    for tilt in tilts:
        specimen = np.fft.rfft2(rng.standard_normal(shape)) * amplitude
        at = (DEFOCUS + hand * u * np.tan(np.radians(tilt))) / NODE
        image = noise * rng.standard_normal(shape)
        for node in range(int(at.min()), int(at.max()) + 2):
            near = np.clip(1 - np.abs(at - node), 0, None)
            if signal and near.any():
                image += near * np.fft.irfft2(specimen * ctf(shape, PIXEL, node * NODE), s=shape)
        made.append(image)
    return np.array(made, np.float32)


@pytest.fixture
def check(tiltrec, tmp_path):
    def run(data, *options, tilts=TILTS, ranks=None, threads=1, name="s_ali.mrc"):
        write_series(tmp_path, data, tilts, name, pixel=PIXEL)
        (tmp_path / "c.defocus").write_text(f"1 {len(tilts)} -60 60 {DEFOCUS / 10} 2\n")
        done = tiltrec("-a", "BPT", "-T", 2, "--slices", "0:2", "--ctf", "c.defocus", *OPTICS,
                       "--check-hand", "--json", "r.json", "-o", "rec.mrc", *options, name,
                       cwd=tmp_path, ranks=ranks, threads=threads)
        run.said = done.stderr
        return json.loads((tmp_path / "r.json").read_text())["hand_check"]
    return run


@pytest.mark.unsanitized
@pytest.mark.parametrize("hand", [1, -1])
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_dense_specimen(check, hand, seed):
    found = check(views(hand, seed=seed))
    right, wrong = ("plus", "minus")[::hand]
    assert found["verdict"] == hand
    assert found[right]["fit_of_ctf"] > found[wrong]["fit_of_ctf"] + 0.03
    assert found[right]["agreement_of_rings"] > found[wrong]["agreement_of_rings"]
    words = "speak for --defocus-hand -1, and +1 is taken" if hand < 0 else \
        "speak for --defocus-hand +1, which is taken"
    assert words in check.said
    assert found["views"] == 12 and found["tile_pixels"] == 256


@pytest.mark.parametrize("seed", [1, *(pytest.param(s, marks=pytest.mark.slow) for s in (2, 3))])
def test_noise_alone(check, seed):
    found = check(views(1, signal=0, seed=seed))
    assert found["verdict"] is None and "undetermined" in check.said


@pytest.fixture(scope="module")
def small():
    """A field whose tiles are of 128 pixels, with a strong signal."""
    return views(1, signal=3.0, shape=(256, 768))


def test_small_tiles_and_the_hand_that_is_given(check, small):
    """What is taken is kept, whatever the verdict."""
    found = check(small)
    assert found["tile_pixels"] == 128 and found["verdict"] == 1
    check(small, "--defocus-hand", -1)
    assert "speak for --defocus-hand +1, and -1 is taken" in check.said


def test_ranks_and_threads(check, small):
    """The same figures, to the last digit."""
    alone = check(small)
    assert check(small, threads=3) == alone
    assert check(small, ranks=3, threads=2) == alone


@pytest.mark.slow
def test_across(check, small, tmp_path):
    """Raw views that lie across: the distance is from the axis in the aligned ones."""
    across = np.ascontiguousarray(small.transpose(0, 2, 1)[:, ::-1])
    (tmp_path / "s.xf").write_text("0 -1 1 0 0 0\n" * len(TILTS))
    turned, straight = check(across, name="s.mrc"), check(small)
    assert turned["verdict"] == 1 and turned["tiles"] == straight["tiles"]
    for hand in "plus", "minus":
        for figure in "fit_of_ctf", "agreement_of_rings":
            assert abs(turned[hand][figure] / straight[hand][figure] - 1) < 2e-3


@pytest.mark.slow
@pytest.mark.unsanitized
def test_axis_beside_the_middle(check):
    """The other side of the axis has the other sign: without the shift most tiles are on the
    wrong one."""
    data = views(1, signal=3.0, shape=(256, 768), axis=250.0)
    told = check(data, "--axis-shift", 250)
    assert told["verdict"] == 1
    assert check(data)["plus"]["fit_of_ctf"] < told["plus"]["fit_of_ctf"]


def test_nothing_to_look_at(check):
    """Tilts below 20 degrees, and views that are smaller than a tile."""
    tilts = np.arange(-15.0, 16.0, 5.0)
    found = check(views(1, shape=(256, 256), tilts=tilts), tilts=tilts)
    assert found["verdict"] is None and found["views"] == 0
    found = check(views(1, shape=(64, 256)))
    assert found["verdict"] is None and found["tiles"] == 0
    assert "undetermined" in check.said


def test_nothing_is_changed(check, small, tiltrec, tmp_path):
    check(small)
    checked = read_mrc(tmp_path / "rec.mrc")
    tiltrec("-a", "BPT", "-T", 2, "--slices", "0:2", "--ctf", "c.defocus", *OPTICS, "-o",
            "rec.mrc", "s_ali.mrc", cwd=tmp_path)
    assert np.array_equal(read_mrc(tmp_path / "rec.mrc"), checked)
