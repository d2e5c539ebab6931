"""A small training of examples/denoise.py. Needs a Python with PyTorch and mrcfile: that of the
tests, or the one named by TR_TORCH_PYTHON."""
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from conftest import ROOT, read_mrc, write_series
from scan_phantom import ellipsoids, projections

WIDTH, ROWS, VIEWS = 96, 16, 128
PYTHON = os.environ.get("TR_TORCH_PYTHON", sys.executable)
SMALL = ["--channels", 8, "--levels", 2, "--steps", 30, "--patch", 64, "--overlap", 16,
         "--neighbours", 2, "--device", "cpu"]


@pytest.fixture(scope="module")
def scan(build_dir, tmp_path_factory):
    """Tomograms without noise and with, and its parts."""
    if subprocess.run([PYTHON, "-c", "import torch, mrcfile"], capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no PyTorch; TR_TORCH_PYTHON names one that has")
    folder = tmp_path_factory.mktemp("scan")
    angles = np.arange(VIEWS) * 180 / VIEWS
    clean = projections(ellipsoids(3, WIDTH, ROWS), angles, WIDTH, ROWS)
    noise = np.random.default_rng(1).normal(0, 0.3 * clean.std(), clean.shape)
    for name, data, more in (("clean", clean, []), ("half", clean + noise, []),
                             ("noisy", clean + noise, ["--splits", "4"])):
        write_series(folder, data, angles, name=f"{name}.mrc")
        halves = [] if name == "clean" else ["--half-sets", "views", *more]
        subprocess.run([build_dir / "tiltrec-mpi", "-a", "FBP", "-T", str(WIDTH), "--aligned",
                        "-o", f"{name}_rec.mrc", *halves, f"{name}.mrc"], cwd=folder, check=True)
    return folder


def command(folder, output, parts, *more):
    files = sorted(folder.glob(parts))
    return [str(word) for word in (PYTHON, "-B", ROOT / "examples" / "denoise.py", "-o", output,
                                   *SMALL, *more, *files)]


def snr(scan, path):
    clean = read_mrc(scan / "clean_rec.mrc").astype(float)
    return clean.var() / np.mean((read_mrc(path) - clean) ** 2)


@pytest.mark.unsanitized
@pytest.mark.parametrize("parts, whole", [("noisy_rec_?of4.mrc", "noisy_rec.mrc"),
                                          ("half_rec_???.mrc", "half_rec.mrc")])
def test_the_gain(scan, tmp_path, parts, whole):
    """The network never saw the truth, and the denoised tomogram is nearer to it."""
    subprocess.run(command(scan, tmp_path / "d.mrc", parts, "--epochs", 3), check=True,
                   timeout=500)
    before, after = snr(scan, scan / whole), snr(scan, tmp_path / "d.mrc")
    print(f"signal-to-noise ratio {before:.2f} before, {after:.2f} after")
    assert after > 4 * before
    clean, out = read_mrc(scan / "clean_rec.mrc"), read_mrc(tmp_path / "d.mrc")
    assert np.polyfit(out.ravel(), clean.ravel(), 1)[0] == pytest.approx(1, abs=0.15)


@pytest.mark.unsanitized
def test_a_training_that_was_stopped_goes_on(scan, tmp_path):
    """As if it had not been; a network of other parts or settings is refused."""
    words = ["--epochs", 4]
    straight = command(scan, tmp_path / "a.mrc", "half_rec_???.mrc", *words)
    subprocess.run(straight, check=True, timeout=500)
    process = subprocess.Popen(command(scan, tmp_path / "b.mrc", "half_rec_???.mrc", *words))
    model, begun = tmp_path / "b.pt", time.monotonic()
    while not model.exists() and process.poll() is None and time.monotonic() < begun + 300:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "b.mrc").exists()
    again = command(scan, tmp_path / "b.mrc", "half_rec_???.mrc", "--resume", *words)
    said = subprocess.run(again, check=True, timeout=500, capture_output=True, text=True).stdout
    assert re.search(r"going on after epoch [1-4] of", said)
    a, b = read_mrc(tmp_path / "a.mrc"), read_mrc(tmp_path / "b.mrc")
    assert np.abs(a - b).max() <= 1e-4 * np.abs(a).max()
    for parts, more in ("half_rec_???.mrc", ["--rate", "1e-2"]), ("noisy_rec_?of4.mrc", []):
        done = subprocess.run(command(scan, tmp_path / "b.mrc", parts, "--resume", *words, *more),
                              capture_output=True, text=True, timeout=100)
        assert done.returncode == 1 and "of a training with other settings or parts" in done.stderr
