"""tiltrecz-mpi gives the same volume on any number of processes, also where the rows of
two processes meet."""
import numpy as np
import pytest

from conftest import read_mrc, write_series
from volume_reference import rotations

N_V, THICKNESS = 23, 10  # 12 pairs of rows, the last of which has one

@pytest.fixture(autouse=True)
def release_only(sanitized):
    if sanitized:
        pytest.skip("the same paths run sanitized in test_volume.py; this takes minutes")


OPTIONS = {"BPT": [], "WBP": [], "FBP": [], "SIRT": ["-i", 5], "SART": ["-i", 2],
           "CGLS": ["-i", 5], "ADMM": ["-i", 3, "--cg", 3, "--regularizer", "tv", "--lambda", 0.01]}
GEOMETRIES = {
    "pitch 0": [], "pitch 6": ["--pitch", 6],
    "x-tilts": ["--xtilts", "s.xtilt", "--pitch", 6],
    "12 degrees": ["--transforms", "twelve.xf", "--pitch", 6],
    "85 degrees": ["--transforms", "eightyfive.xf", "--xtilts", "s.xtilt"],
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Noise upon waves: no two rows alike, and nothing smooth where rows meet."""
    folder = tmp_path_factory.mktemp("ranks")
    rng = np.random.default_rng(0)
    x, y, k = np.arange(26), np.arange(N_V)[:, None], np.arange(11)[:, None, None]
    views = 1 + np.sin(0.4 * x + 0.3 * y + k) + rng.normal(size=(11, N_V, 26))
    write_series(folder, views, np.linspace(-60, 62, 11))
    np.savetxt(folder / "s.xtilt", 2 + 5 * np.sin(2.1 * np.arange(11)))
    shifts = rng.normal(size=(11, 2))
    np.savetxt(folder / "twelve.xf", rotations([12] * 11, shifts))
    np.savetxt(folder / "eightyfive.xf", rotations([85] * 11, shifts))
    return folder


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("algorithm", OPTIONS)
def test_the_volume_does_not_depend_on_the_ranks(tiltrecz, folder, algorithm, geometry):
    if algorithm not in tiltrecz("--help", cwd=folder, threads=None).stdout:
        pytest.skip(f"{algorithm} is not in this build")
    volumes = []
    for ranks in (1, 2, 3, 5):
        tiltrecz("-a", algorithm, *OPTIONS[algorithm], *GEOMETRIES[geometry], "-T",
                 THICKNESS, "-o", "rec.mrc", "s_ali.mrc", cwd=folder, ranks=ranks,
                 threads=1 + ranks % 2)
        volumes.append(read_mrc(folder / "rec.mrc"))
    alone = volumes[0]
    assert alone.std() > 0
    for shared, ranks in zip(volumes[1:], (2, 3, 5)):
        error = np.abs(shared - alone).max(axis=(1, 2))
        assert error.max() < 1e-5 * np.abs(alone).max()
        # Where two processes meet, each row by its own measure.
        pairs = np.array_split(np.arange((N_V + 1) // 2), ranks)
        seams = [row for part in pairs[1:] for row in (2 * part[0] - 1, 2 * part[0])]
        assert np.all(error[seams] < 1e-5 * np.abs(alone[seams]).max(axis=(1, 2)))
