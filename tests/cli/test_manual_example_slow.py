"""The example of the manual's chapter on writing an algorithm: built as the chapter says,
it runs on any number of processes and computes what numpy computes."""
import re
import shutil
import subprocess

import numpy as np
import pytest

from conftest import ROOT, read_mrc, runner, write_series
from volume_reference import Frame, direct_matrix

CHAPTER = ROOT / "manual" / "write-your-own-algorithm.md"
TILTS = [-55, -31, -8, 12.5, 40, 61]
SHAPE = dict(n_u=14, n_v=9, thickness=6)


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """tiltrecz-mpi with the example in it."""
    tree = tmp_path_factory.mktemp("example") / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(
        "build*", ".*", "quickstart-output", "__pycache__"))
    chapter = CHAPTER.read_text()
    blocks = re.findall(r"^```c\n(.*?)^```$", chapter, flags=re.M | re.S)
    assert len(blocks) == 1
    lines = re.findall(r"^    (TR_ALGORITHM\(tr_algorithm_landweber\))$", chapter, flags=re.M)
    assert len(lines) == 1
    algorithms = tree / "common" / "algorithms"
    (algorithms / "landweber.c").write_text(blocks[0])
    with open(algorithms / "algorithm_list.h", "a") as file:
        file.write(lines[0] + "\n")
    for command in (["cmake", "-B", "build", "-DTR_WERROR=ON", "-DBUILD_TESTING=OFF"],
                    ["cmake", "--build", "build", "--target", "tiltrecz-mpi",
                     "--parallel", "2"]):
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    yield runner(tree / "build", "tiltrecz-mpi")
    shutil.rmtree(tree)


def landweber(a, b, iterations, step):
    """All iterates, and the residuals before each."""
    if step == 0:
        v = a.T @ b
        for _ in range(10):
            square = (a @ v) @ (a @ v) / (v @ v)
            v = a.T @ (a @ v) / square
        step = 1 / square
    x, norms = np.zeros(a.shape[1]), []
    for _ in range(iterations):
        r = b - a @ x
        norms.append(np.linalg.norm(r) / np.linalg.norm(b))
        x = x + step * a.T @ r
    return x, norms


@pytest.mark.parametrize("step, pitch", [(0, 0), (0, 6), (0.01, 6)])
def test_equals_numpy(example, tmp_path, step, pitch):
    views = np.random.default_rng(0).normal(1, 1, (6, 9, 14)).astype(np.float32)
    series = write_series(tmp_path, views, TILTS)
    frame = Frame(pitch, **SHAPE)
    a = frame.matrix(TILTS) if pitch else direct_matrix(TILTS, **SHAPE)
    x, norms = landweber(a, views.ravel().astype(float), 30, step)
    expected = frame.slices(x) if pitch else x.reshape(
        SHAPE["n_v"], SHAPE["thickness"], SHAPE["n_u"])
    for ranks in (1, 2):
        said = example("-a", "landweber", "-i", 30, "--step", step, "--pitch", pitch, "-T", 6,
                       "-o", "rec.mrc", series, cwd=tmp_path, ranks=ranks).stderr
        volume = read_mrc(tmp_path / "rec.mrc")
        assert np.abs(volume - expected).max() < 1e-4 * np.abs(expected).max()
        printed = [float(v) for v in re.findall(r"\d+: (\d\.\d{6})", said)]
        assert printed == pytest.approx(norms, abs=1e-5)
        assert np.all(np.diff(printed) < 0)


def test_its_option_is_documented_and_checked(example, tmp_path):
    text = " ".join(example("--help", "all", cwd=tmp_path, threads=None).stdout.split())
    assert re.search(r"LANDWEBER gradient descent.* LANDWEBER: .*--step FACTOR Factor of the "
                     r"gradient; .*\(from 0 to 1000; default 0\)", text)
    assert "\\-\\-step" in example("--man", cwd=tmp_path, threads=None).stdout
    series = write_series(tmp_path, np.ones((2, 4, 4)), [0, 10])
    for step in ("-1", "1001", "wide"):
        done = example("-a", "LANDWEBER", "--step", step, "-T", 4, series, cwd=tmp_path,
                       check=False)
        assert done.returncode == 2 and f"--step {step}" in done.stderr
        assert "from 0 to 1000" in done.stderr or "number" in done.stderr
