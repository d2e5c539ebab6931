"""The programs for GPUs, their kernels run by the emulation of tests/cudaemu: a pass here
is none on a GPU. And what they say where there is no GPU."""
import json

import numpy as np
import pytest

from conftest import read_mrc, runner, write_series
from volume_reference import rotations

TILTS = np.array([12.5, -61, 3.2, 55.5, -40.1, -8, 31, 44.4, -25.75])
ITERATIONS = {"SIRT": ["-i", 4], "SART": ["-i", 2], "CGLS": ["-i", 4], "ADMM": ["-i", 3]}
SLICES = ["BPT", "WBP", "FBP", "SIRT", "SART"]
VOLUME = [*SLICES, "CGLS", "ADMM"]
MIB = 1 << 20
# What plans keep free on a device: with so much, little is left for slabs.
SMALL = 576 * MIB + MIB // 8
# The texture hardware interpolates with weights of 8 bits, along rows: half a unit of the
# last bit times the step from a column to the next one.
TEXTURE = 0.5 / 256


@pytest.fixture(scope="session")
def emulated(build_dir):
    return runner(build_dir, "tests/cudaemu/tiltrec-cudaemu")


@pytest.fixture(scope="session")
def emulatedz(build_dir):
    return runner(build_dir, "tests/cudaemu/tiltrecz-cudaemu")


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
                   cwd=series.parent, env=environment, **how)
    return read_mrc(folder / "rec.mrc"), done.stderr


GEOMETRIES = {"plain": [], "shifted": ["--axis-shift", 2.5, "--z-shift", -1.5, "--width", 30],
              "pitch": ["--pitch", 7], "x-tilts": ["--xtilts", "s.xtilt"],
              "turned": ["--transforms", "s.xf"]}


@pytest.mark.parametrize("geometry, algorithm",
                         [(g, a) for g in GEOMETRIES for a in SLICES
                          if (g, a) != ("x-tilts", "SART")])
def test_slices_are_those_of_the_cpu(tiltrec, emulated, series, tmp_path, algorithm,
                                     geometry):
    iterations = ITERATIONS.get(algorithm, [])
    if geometry == "x-tilts" and iterations:
        iterations = ["-i", 1]  # more would couple all rows
    options = ["-a", algorithm, *iterations, *GEOMETRIES[geometry]]
    wanted, _ = run(tiltrec, tmp_path, series, *options)
    found, _ = run(emulated, tmp_path, series, *options, kernel="tile")
    assert distance(found, wanted) < 1e-5


@pytest.mark.parametrize("algorithm", SLICES)
def test_the_texture_kernel_has_8_bits(tiltrec, emulated, series, tmp_path, algorithm):
    """Each view's sample is wrong by at most the step to the next column times half a unit
    of 8 bits; iterations go on from there."""
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, [])]
    wanted, _ = run(tiltrec, tmp_path, series, *options)
    found, _ = run(emulated, tmp_path, series, *options, kernel="texture")
    error = distance(found, wanted)
    assert 1e-6 < error < 2 * TEXTURE


@pytest.mark.parametrize("algorithm", VOLUME)
@pytest.mark.parametrize("geometry", ["plain", "pitch", "x-tilts", "turned"])
def test_volumes_are_those_of_the_cpu(tiltrecz, emulatedz, series, tmp_path, algorithm,
                                      geometry):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), *GEOMETRIES[geometry]]
    wanted, _ = run(tiltrecz, tmp_path, series, *options)
    found, _ = run(emulatedz, tmp_path, series, *options, kernel="tile", ranks=2)
    # Rays that only touch the volume's edge have small row sums, whose inverse magnifies
    # rounding; conjugate gradients add to it.
    assert distance(found, wanted) < (3e-5 if geometry == "turned" else 1e-5)


@pytest.mark.parametrize("regularizer", ["l1", "haar"])
def test_admm_is_that_of_the_cpu(tiltrecz, emulatedz, series, tmp_path, regularizer):
    options = ["-a", "ADMM", "-i", 3, "--regularizer", regularizer, "--positive"]
    wanted, _ = run(tiltrecz, tmp_path, series, *options)
    found, _ = run(emulatedz, tmp_path, series, *options, kernel="tile")
    assert distance(found, wanted) < 1e-5


def test_ranks_slabs_and_an_earlier_volume(emulated, series, tmp_path):
    """The same bytes with two ranks on two GPUs, and with slabs of fewer rows."""
    first, _ = run(emulated, tmp_path, series, "-a", "BPT", kernel="tile")
    (tmp_path / "rec.mrc").rename(tmp_path / "first.mrc")
    options = ["-a", "SIRT", "-i", 2, "--initial", tmp_path / "first.mrc"]
    wanted, said = run(emulated, tmp_path, series, *options, kernel="tile")
    assert "slabs of 48 rows" in said or "slab of 48 rows" in said
    two, said = run(emulated, tmp_path, series, *options, kernel="tile", ranks=2,
                    environment={"CUDAEMU_DEVICES": "2"})
    assert np.array_equal(two, wanted)
    small, said = run(emulated, tmp_path, series, *options, kernel="tile",
                      environment={"CUDAEMU_MEMORY": str(SMALL)})
    assert "slabs of 16 rows" in said
    assert np.array_equal(small, wanted)


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("algorithm", ["WBP", "SART"])
def test_the_order_of_threads_does_not_show(emulated, series, tmp_path, algorithm, order):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, [])]
    wanted, _ = run(emulated, tmp_path, series, *options, kernel="tile")
    found, _ = run(emulated, tmp_path, series, *options, kernel="tile",
                   environment={"CUDAEMU_ORDER": order, "CUDAEMU_LAZY": "0"})
    assert np.array_equal(found, wanted)


def test_less_memory_than_the_device_said(emulated, series, tmp_path):
    """Smaller slabs, said once; the same result."""
    wanted, _ = run(emulated, tmp_path, series, "-a", "SIRT", "-i", 2, kernel="tile")
    found, said = run(emulated, tmp_path, series, "-a", "SIRT", "-i", 2, kernel="tile",
                      environment={"CUDAEMU_FAIL": "cudaMalloc:3,cudaMalloc:4"})
    assert said.count("the GPU has less memory free than it said: slabs of ") == 1
    assert np.array_equal(found, wanted)


def test_memory_that_is_never_enough_is_refused(emulated, series, tmp_path):
    done = emulated("-T", 11, "-o", tmp_path / "rec.mrc", series.name, cwd=series.parent,
                    check=False, env={"CUDAEMU_MEMORY": str(300 * MIB)})
    assert done.returncode == 4
    assert "GPU's memory" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["kernel:5", "cudaMemcpyAsync:3", "launch:2"])
@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_a_device_that_is_lost(emulated, emulatedz, series, tmp_path, program, call):
    """One sentence, no output, no hang."""
    done = (emulated if program == "tiltrec" else emulatedz)(
        "-a", "SIRT", "-i", 3, "-T", 11, "--kernel", "tile", "-o", tmp_path / "rec.mrc",
        series.name, cwd=series.parent, check=False, env={"CUDAEMU_FAIL": call})
    assert done.returncode == 1
    assert "GPU" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_volume_larger_than_the_device(emulatedz, series, tmp_path):
    wanted, said = run(emulatedz, tmp_path, series, "-a", "CGLS", "-i", 3, kernel="tile")
    assert "ordinary allocations" in said and "unified" not in said
    found, said = run(emulatedz, tmp_path, series, "-a", "CGLS", "-i", 3, kernel="tile",
                      environment={"CUDAEMU_MEMORY": str(300 * MIB)})
    assert "unified memory, because the GPU has less free" in said
    assert np.array_equal(found, wanted)
    done = emulatedz("-a", "CGLS", "-T", 11, "--memory", "100M", "-o", tmp_path / "no.mrc",
                     series.name, cwd=series.parent, check=False,
                     env={"CUDAEMU_MEMORY": str(300 * MIB)})
    assert done.returncode == 4 and not (tmp_path / "no.mrc").exists()


def test_the_timeline_shows_every_stage(emulated, series, tmp_path):
    environment = {"CUDAEMU_MEMORY": str(SMALL)}
    run(emulated, tmp_path, series, "-a", "WBP", "--timeline", tmp_path / "t.json",
        kernel="tile", environment=environment, ranks=2)
    events = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    for rank in (0, 1):
        mine = [e for e in events if e["pid"] == rank]
        names = [e["name"] for e in mine]
        for stage in ("reading", "uploading", "filtering", "projecting", "downloading",
                      "writing"):
            assert names.count(stage) >= 2, (rank, stage)
        for stage in set(names):  # one thing at a time within a stage
            times = sorted((e["ts"], e["dur"]) for e in mine if e["name"] == stage)
            assert all(a + d <= b + 0.01 for (a, d), (b, _) in zip(times, times[1:]))


def test_the_timeline_spares_the_input(emulated, series, tmp_path):
    before = series.read_bytes()
    done = emulated("-T", 11, "-o", tmp_path / "rec.mrc", "--timeline", series.name,
                    series.name, cwd=series.parent, check=False)
    assert done.returncode == 2 and "is also an input" in done.stderr
    assert series.read_bytes() == before


@pytest.mark.parametrize("devices, reason", [("3", "3"), ("x", "x"), ("0-9", "9"), ("", "--device")])
def test_devices_that_are_not_there(emulated, series, tmp_path, devices, reason):
    done = emulated("-T", 11, "--device", devices, "-o", tmp_path / "rec.mrc", series.name,
                    cwd=series.parent, check=False, env={"CUDAEMU_DEVICES": "2"})
    assert done.returncode == 2
    assert "--device" in done.stderr and reason in done.stderr


def test_the_device_chosen_is_named(emulated, series, tmp_path):
    _, said = run(emulated, tmp_path, series, "--device", 1, kernel="tile",
                  environment={"CUDAEMU_DEVICES": "2"})
    assert "Emulated device" in said


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_no_device(emulated, emulatedz, series, tmp_path, program):
    done = (emulated if program == "tiltrec" else emulatedz)(
        "-o", tmp_path / "rec.mrc", series.name, cwd=series.parent, check=False,
        env={"CUDAEMU_DEVICES": "0"})
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert "no CUDA device" in last and f"{program}-mpi" in last


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_the_program_as_built_here(build_dir, series, tmp_path, program):
    """Without CUDA in the build, or without a GPU: one sentence, and what to use."""
    done = runner(build_dir, f"{program}-cuda")("-T", 11, "-o", tmp_path / "rec.mrc",
                                                series.name, cwd=series.parent, check=False)
    if done.returncode == 0:
        pytest.skip("a GPU is here: tests/gpu is for it")
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1 and f"{program}-mpi" in done.stderr
    assert not list(tmp_path.iterdir())
    help = runner(build_dir, f"{program}-cuda")("--help", cwd=tmp_path)
    assert "--kernel" in help.stdout and "--device" in help.stdout


def test_algorithms_of_the_other_program(emulated, tmp_path):
    done = emulated("-a", "ADMM", cwd=tmp_path, check=False)
    assert done.returncode == 3 and "use tiltrecz-cuda" in done.stderr
