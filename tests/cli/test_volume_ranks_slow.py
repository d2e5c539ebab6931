"""tiltrecz-mpi gives the same file, byte for byte, on any number of processes and threads,
also where rays leave their rows and where lambda, steps and stops follow from sums over
the whole volume."""
import numpy as np
import pytest

from conftest import EVERY, read_mrc, write_series
from volume_reference import rotations

N_V, THICKNESS = 23, 10  # 12 pairs of rows, the last of which has one

@pytest.fixture(autouse=True)
def release_only(sanitized):
    if sanitized:
        pytest.skip("the same paths run sanitized in test_volume.py; this takes minutes")


OPTIONS = {
    "BPT": [], "WBP": [], "FBP": [], "SIRT": ["-i", 5], "SART": ["-i", 2],
    "CGLS": ["-i", 5],
    "SIRT to the noise": [],  # of at most 30 iterations
    "SIRT Chebyshev": ["-i", 12, "--accelerate", "chebyshev"],
    "CGLS tolerance": ["-i", 9, "--tolerance", 0.8],
    "ADMM": ["-i", 3, "--cg", 3, "--lambda-times", 0.04],
    "ADMM haar": ["-i", 2, "--cg", 2, "--regularizer", "haar", "--positive"],
    "ADMM l1": ["-i", 2, "--cg", 2, "--regularizer", "l1", "--outside", "zero",
                "--lambda-times", 0.1],
}
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


def run(tiltrecz, folder, algorithm, geometry, ranks, *more):
    output = folder / "rec.mrc"
    tiltrecz("-a", algorithm.split()[0], *OPTIONS[algorithm], *GEOMETRIES[geometry], "-T",
             THICKNESS, "-o", output, *more, "s_ali.mrc", cwd=folder, ranks=ranks,
             threads=1 + ranks % 2)
    return output.read_bytes(), read_mrc(output)


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("algorithm", list(OPTIONS)[::1 if EVERY == 1 else 2])
def test_the_file_does_not_depend_on_the_ranks(tiltrecz, folder, algorithm, geometry):
    if algorithm.split()[0] not in tiltrecz("--help", cwd=folder, threads=None).stdout:
        pytest.skip(f"{algorithm} is not in this build")
    alone, volume = run(tiltrecz, folder, algorithm, geometry, 1)
    assert np.isfinite(volume).all() and volume.std() > 0
    for ranks in (2, 3, 5) if EVERY == 1 else (3, 5):  # which share the rows unevenly
        shared, other = run(tiltrecz, folder, algorithm, geometry, ranks)
        assert shared == alone, (ranks, np.abs(other - volume).max(axis=(1, 2)))


@pytest.mark.parametrize("options", [["--mode", "byte"], ["--outside", "continue"],
                                     ["--outside", "zero"], ["--slices", "5:16"]])
def test_nor_with_other_options(tiltrecz, folder, options):
    made = {run(tiltrecz, folder, "SIRT", geometry, ranks, *options)[0]
            for geometry in ("12 degrees",) for ranks in (1, 2, 3, 5)}
    assert len(made) == 1


@pytest.mark.parametrize("isa", ["baseline", "avx2"])
def test_nor_with_another_instruction_set(tiltrecz, folder, isa, monkeypatch):
    with open("/proc/cpuinfo") as file:
        if isa not in file.read() + "baseline":
            pytest.skip("this processor lacks it")
    monkeypatch.setenv("TR_ISA", isa)
    for geometry in ("12 degrees", "85 degrees"):
        made = {run(tiltrecz, folder, "SIRT", geometry, ranks)[0] for ranks in (1, 3, 5)}
        assert len(made) == 1


@pytest.mark.parametrize("geometry", ["x-tilts", "12 degrees", "85 degrees"])
def test_very_large_and_very_small_densities(tiltrecz, folder, geometry, tmp_path):
    """The sums' last bits go with the densities: scaled by a power of two, all is scaled."""
    volumes = []
    for k, factor in enumerate((2.0 ** -60, 1.0, 2.0 ** 60)):
        scaled = tmp_path / str(k)
        scaled.mkdir()
        for name in ("s.xtilt", "twelve.xf", "eightyfive.xf"):
            (scaled / name).write_bytes((folder / name).read_bytes())
        views = read_mrc(folder / "s_ali.mrc") * np.float32(factor)
        write_series(scaled, views, np.linspace(-60, 62, 11))
        volumes.append(run(tiltrecz, scaled, "SIRT", geometry, 2, "--outside", "zero")[1] / factor)
    assert np.array_equal(volumes[0], volumes[1]) and np.array_equal(volumes[1], volumes[2])


def test_more_than_a_message_holds(tiltrecz, tmp_path):
    """Rows of 31 views of which 32 MiB hold some, in groups of as many views as threads."""
    n_u, n_v, views = 3000, 120, 31
    rng = np.random.default_rng(0)
    write_series(tmp_path, rng.normal(size=(views, n_v, n_u)).astype(np.float32),
                 np.linspace(-60, 60, views))
    np.savetxt(tmp_path / "s.xtilt", 70 * np.sin(2.1 * np.arange(views)))
    files = set()
    for ranks, threads in (1, 2), (2, 31), (3, 2):
        tiltrecz("-a", "CGLS", "-i", 1, "-w", 12, "-T", 200, "--outside", "zero", "--xtilts",
                 "s.xtilt", "-o", "rec.mrc", "s_ali.mrc", cwd=tmp_path, ranks=ranks,
                 threads=threads)
        files.add((tmp_path / "rec.mrc").read_bytes())
    assert len(files) == 1
