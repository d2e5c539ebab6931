"""tests/gpu/bundle, and its archive on this machine; skipped without nvcc."""
import os
import re
import shutil
import subprocess
import sys
import tarfile

import pytest

from conftest import ROOT

pytestmark = pytest.mark.long  # it builds everything once more


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    cuda = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    if not shutil.which("nvcc") and not os.access(f"{cuda}/bin/nvcc", os.X_OK):
        pytest.skip("no nvcc")
    path = tmp_path_factory.mktemp("bundle") / "tiltrec.tar.xz"
    done = subprocess.run([ROOT / "tests" / "gpu" / "bundle", path], capture_output=True,
                          text=True, timeout=850)
    assert done.returncode == 0, done.stderr
    return path


def test_libraries_are_in_it(archive, tmp_path):
    """Nothing of this machine's folders is named, and MPICH's libraries are not there."""
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path)
    folder, = tmp_path.iterdir()
    libraries = {path.name for path in (folder / "lib").iterdir()}
    assert {"libmpich.so.12", "libfftw3f.so.3", "libpng16.so.16"} <= libraries
    assert not any(name.startswith(("libuc", "libhwloc", "libc.", "libcufft"))
                   for name in libraries)
    for name in ("tiltrec-cuda", "tests/gpu/test_operators_gpu"):
        dynamic = subprocess.run(["readelf", "-d", folder / name], capture_output=True,
                                 text=True, check=True).stdout
        paths = re.search(r"\(RPATH\).*\[(.*)\]", dynamic)[1].split(":")
        assert all(path.startswith("$ORIGIN/") for path in paths)
        assert "RUNPATH" not in dynamic


def test_first_day_with_it(archive, tmp_path):
    """All passes on a GPU; without one every program and test says so."""
    done = subprocess.run([sys.executable, "-B", ROOT / "tests" / "gpu" / "first-day",
                           archive, tmp_path / "out"], capture_output=True, text=True,
                          timeout=700, cwd=tmp_path)
    summary = (tmp_path / "out" / "summary.txt").read_text()
    assert done.stdout == summary
    assert done.returncode in (0, 77), summary
    assert ("no GPU" in summary) == (done.returncode == 77)
    assert summary.count("passed") >= 8
