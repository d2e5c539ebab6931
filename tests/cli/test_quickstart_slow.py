"""examples/quickstart as a user runs it, into a folder of the test's."""
import re
import subprocess

import numpy as np
import pytest

from conftest import ROOT, read_mrc


def test_quickstart(build_dir, tmp_path):
    if build_dir.resolve() != ROOT / "build" / "release":
        pytest.skip("examples/quickstart builds and runs build/release, not this tree")
    done = subprocess.run([ROOT / "examples" / "quickstart", tmp_path / "out"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    wbp, sirt = (float(re.search(rf"^  {name} +([\d.]+)$", done.stdout, re.M)[1])
                 for name in ("WBP", "SIRT"))
    truth = read_mrc(tmp_path / "out" / "slab_truth.mrc")
    inner = tuple(slice(n // 16, n - n // 16) for n in truth.shape)
    for name, said in (("wbp", wbp), ("sirt", sirt)):
        volume = read_mrc(tmp_path / "out" / f"slab_{name}.mrc")
        measured = np.corrcoef(truth[inner].ravel(), volume[inner].ravel())[0, 1]
        assert said == pytest.approx(measured, abs=1e-4)
        for section in ("xy", "xz"):
            assert (tmp_path / "out" / f"slab_{name}_{section}.png").stat().st_size > 1000
    assert sirt > wbp > 0.2
    assert "No view stands out." in (tmp_path / "out" / "slab_sirt.html").read_text()
