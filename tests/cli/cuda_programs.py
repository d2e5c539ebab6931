"""Tests of the programs for GPUs that hold on the emulation and on a GPU: the results are
those of the programs for CPUs. A test file that imports them has fixtures `cuda` and
`cudaz`, which run the two programs."""
import json

import numpy as np
import pytest

from conftest import read_mrc, write_series
from timeline import read_timeline
from volume_reference import rotations

TILTS = np.array([12.5, -61, 3.2, 55.5, -40.1, -8, 31, 44.4, -25.75])
ITERATIONS = {"SIRT": ["-i", 4], "SART": ["-i", 2], "CGLS": ["-i", 4], "ADMM": ["-i", 3]}
SLICES = ["BPT", "WBP", "FBP", "SIRT", "SART"]
VOLUME = [*SLICES, "CGLS", "ADMM"]
GEOMETRIES = {"plain": [], "shifted": ["--axis-shift", 2.5, "--z-shift", -1.5, "--width", 30],
              "pitch": ["--pitch", 7], "x-tilts": ["--xtilts", "s.xtilt"],
              "turned": ["--transforms", "s.xf"]}
# The texture hardware interpolates with weights of 8 bits, along rows: half a unit of the
# last bit times the step from a column to the next one.
TEXTURE = 0.5 / 256
STAGES = ("reading", "uploading", "filtering", "projecting", "downloading", "writing")


@pytest.fixture(scope="session")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    rng = np.random.default_rng(4)
    x, y = np.arange(26), np.arange(37)[:, None]
    views = [2 + np.sin(0.2 * x + 0.15 * y + k) + 0.3 * rng.normal(size=(37, 26))
             for k in range(len(TILTS))]
    np.savetxt(folder / "s.xtilt", 3 - 5 * np.cos(np.arange(9)))
    np.savetxt(folder / "s.xf", rotations(np.linspace(4, 9, 9), 1.5))
    return write_series(folder, np.stack(views), TILTS)


def distance(a, b):
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def run(program, folder, series, *options, kernel=None, environment=None, **how):
    if kernel:
        options += ("--kernel", kernel)
    done = program("-T", 11, "-o", folder / "rec.mrc", *options, series.name,
                   cwd=series.parent, env=environment, check=kernel != "tensor", **how)
    if kernel == "tensor" and "needs tensor cores" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    return read_mrc(folder / "rec.mrc"), done.stderr


def check_stages(path, ranks, but=None):
    """Every stage `but` one ran more than once on each rank, and did one thing at a time."""
    timeline = read_timeline(path)
    assert sorted(timeline) == list(range(ranks))
    for rank, stages in timeline.items():
        for stage in set(STAGES) - {but}:
            assert len(stages.get(stage, [])) >= 2, (rank, stage)
        for times in stages.values():
            assert all(end <= start + 1e-8 for (_, end), (start, _) in zip(times, times[1:]))
    return timeline


@pytest.mark.parametrize("geometry, algorithm",
                         [(g, a) for g in GEOMETRIES for a in SLICES
                          if (g, a) != ("x-tilts", "SART")])
def test_slices_are_those_of_the_cpu(tiltrec, cuda, series, tmp_path, algorithm, geometry):
    iterations = ITERATIONS.get(algorithm, [])
    if geometry == "x-tilts" and iterations:
        iterations = ["-i", 1]  # more would couple all rows
    options = ["-a", algorithm, *iterations, *GEOMETRIES[geometry]]
    wanted, _ = run(tiltrec, tmp_path, series, *options)
    found, _ = run(cuda, tmp_path, series, *options, kernel="tile")
    assert distance(found, wanted) < 1e-5


@pytest.mark.parametrize("geometry", ["plain", "shifted", "pitch"])
@pytest.mark.parametrize("algorithm", SLICES)
def test_the_texture_kernel_has_8_bits(tiltrec, cuda, series, tmp_path, algorithm, geometry):
    """Each view's sample is wrong by at most the step to the next column times half a unit
    of 8 bits; iterations go on from there."""
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), *GEOMETRIES[geometry]]
    wanted, _ = run(tiltrec, tmp_path, series, *options)
    found, _ = run(cuda, tmp_path, series, *options, kernel="texture")
    assert 1e-6 < distance(found, wanted) < 2 * TEXTURE


@pytest.mark.parametrize("algorithm", ["WBP", "SIRT"])
def test_the_tensor_kernel_is_as_exact_as_tiles(tiltrec, cuda, series, tmp_path, algorithm):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), *GEOMETRIES["shifted"]]
    wanted, _ = run(tiltrec, tmp_path, series, *options)
    found, _ = run(cuda, tmp_path, series, *options, kernel="tensor")
    tiles, _ = run(cuda, tmp_path, series, *options, kernel="tile")
    assert distance(found, wanted) < 1e-5
    assert not np.array_equal(found, tiles)


@pytest.mark.parametrize("algorithm", VOLUME)
@pytest.mark.parametrize("geometry", ["plain", "pitch", "x-tilts", "turned"])
def test_volumes_are_those_of_the_cpu(tiltrecz, cudaz, series, tmp_path, algorithm,
                                      geometry):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), *GEOMETRIES[geometry]]
    wanted, _ = run(tiltrecz, tmp_path, series, *options)
    found, _ = run(cudaz, tmp_path, series, *options, kernel="tile", ranks=2)
    # Rays that only touch the volume's edge have small row sums, whose inverse magnifies
    # rounding; conjugate gradients add to it.
    assert distance(found, wanted) < (3e-5 if geometry == "turned" else 1e-5)


@pytest.mark.parametrize("algorithm", ["WBP", "CGLS"])
@pytest.mark.parametrize("geometry", ["plain", "pitch", "x-tilts", "turned"])
def test_coupled_rays_by_textures(tiltrecz, cudaz, series, tmp_path, algorithm, geometry):
    """Weights of 8 bits along columns as well. Not where voxels are divided by their sums,
    as in SIRT: those that rays only touch are then wrong by much more."""
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), *GEOMETRIES[geometry]]
    wanted, _ = run(tiltrecz, tmp_path, series, *options)
    found, _ = run(cudaz, tmp_path, series, *options, kernel="texture")
    assert 1e-6 < distance(found, wanted) < 4 * TEXTURE


@pytest.mark.parametrize("regularizer", ["l1", "haar"])
def test_admm_is_that_of_the_cpu(tiltrecz, cudaz, series, tmp_path, regularizer):
    options = ["-a", "ADMM", "-i", 3, "--regularizer", regularizer, "--positive"]
    wanted, _ = run(tiltrecz, tmp_path, series, *options)
    found, _ = run(cudaz, tmp_path, series, *options, kernel="tile")
    assert distance(found, wanted) < 1e-5


@pytest.mark.parametrize("geometry", ["plain", "pitch"])
def test_views_fit_as_on_the_cpu(cuda, cudaz, tiltrec, tiltrecz, series, tmp_path, geometry):
    """What --json says of each view: residuals, and correlations with the tomogram."""
    for gpu, cpu, algorithm in ((cuda, tiltrec, "WBP"), (cuda, tiltrec, "SIRT"),
                                (cudaz, tiltrecz, "CGLS")):
        found = []
        for program, more in ((gpu, ["--kernel", "tile"]), (cpu, [])):
            run(program, tmp_path, series, "-a", algorithm, *ITERATIONS.get(algorithm, []),
                *GEOMETRIES[geometry], "--json", tmp_path / "r.json", *more)
            views = json.loads((tmp_path / "r.json").read_text())["views"]["list"]
            found.append(np.array([[v["correlation"], v["residual"]] for v in views], float))
        assert np.isfinite(found[1][:, 0]).all()
        assert np.allclose(*found, atol=1e-4, equal_nan=True)
