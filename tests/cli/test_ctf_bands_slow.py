"""Dots far from the axis, whose views have the CTF of their depth in closed form."""
import numpy as np
import pytest

from conftest import read_mrc, write_series
from test_ctf import OPTICS, ctf

PIXEL, DEFOCUS, SIGMA = 2.0, 20000.0, 1.2
TILTS = np.arange(-60, 61, 3.0)
N_V, N_U, WIDTH, THICKNESS = 160, 1280, 1060, 520
CORNERS = [(x, s) for x in (499.5, -499.5) for s in (249.5, -249.5)]  # 100 and 50 nm


def make_views(transfer):
    fy, fx = np.meshgrid(np.fft.fftfreq(N_V), np.fft.rfftfreq(N_U), indexing="ij")
    dot = np.exp(-2 * np.pi ** 2 * SIGMA ** 2 * (fx ** 2 + fy ** 2) - 1j * np.pi * N_V * fy)
    views = []
    for t in np.radians(TILTS):
        spectrum = np.zeros_like(dot)
        for x, s in CORNERS:
            u = N_U / 2 - 0.5 + x * np.cos(t) - s * np.sin(t)
            depth = x * np.sin(t) + s * np.cos(t)
            c = ctf((N_V, N_U), PIXEL, DEFOCUS + PIXEL * depth) if transfer else 1
            spectrum += c * dot * np.exp(-2j * np.pi * fx * u)
        views.append(np.fft.irfft2(spectrum, s=(N_V, N_U)))
    return np.array(views, np.float32)


@pytest.mark.slow
@pytest.mark.unsanitized
def test_dots_in_four_corners(tiltrec, tmp_path):
    """Their peaks, of those without CTF, are what flipped phases leave at no depth, in all
    corners: so both terms of the depth and their signs are right."""
    (tmp_path / "a.defocus").write_text(f"1 {len(TILTS)} -60 60 {DEFOCUS / 10} 2\n")
    with_ctf, without = make_views(True), make_views(False)

    def peaks(views, *options):
        path = write_series(tmp_path, views, TILTS, pixel=PIXEL)
        tiltrec("-a", "WBP", "--radial", "0.5,0", "-T", THICKNESS, "-w", WIDTH, *options,
                "--slices", f"{N_V // 2}:{N_V // 2}", "-o", "rec.mrc", path, cwd=tmp_path,
                threads=2)
        slice_ = read_mrc(tmp_path / "rec.mrc")[0]
        return np.array([slice_[int(THICKNESS / 2 - 0.5 + s), int(WIDTH / 2 - 0.5 + x)]
                         for x, s in CORNERS])

    wanted = peaks(without)
    options = ["--ctf", "a.defocus", *OPTICS]
    right = peaks(with_ctf, *options) / wanted
    assert right.min() > 0.6 and np.ptp(right) < 1e-3
    assert (peaks(with_ctf, *options, "--ctf-band", "off") / wanted).max() < 0.9 * right.min()
    wrong = peaks(with_ctf, *options, "--defocus-hand", "-1") / wanted
    assert wrong.max() < 0.7 * right.min()
    assert (peaks(with_ctf) / wanted).max() < 0.1
