"""The programs for GPUs, their kernels run by the emulation of tests/cudaemu: a pass here
is none on a GPU. And what they say where there is no GPU. Those that take longer are in
test_cudaemu_slow.py."""
import re

import numpy as np
import pytest

from conftest import read_mrc, runner, write_series
from cuda_programs import (  # noqa: F401: collected here
    ITERATIONS, check_stages, distance, run, series, test_slices_are_those_of_the_cpu)
from emulated import cuda, cudaz  # noqa: F401: fixtures

MIB = 1 << 20
# What plans keep free on a device: with so much, little is left for slabs; a little more
# where a slab has cells outside the field as well.
SMALL = 576 * MIB + MIB // 8
SMALL_WITH_CELLS = SMALL + MIB // 16


def test_ranks_slabs_and_an_earlier_volume(cuda, series, tmp_path):
    """The same bytes with two ranks on two GPUs, and with slabs of fewer rows."""
    first, _ = run(cuda, tmp_path, series, "-a", "BPT", kernel="tile")
    (tmp_path / "rec.mrc").rename(tmp_path / "first.mrc")
    options = ["-a", "SIRT", "-i", 2, "--initial", tmp_path / "first.mrc"]
    wanted, said = run(cuda, tmp_path, series, *options, kernel="tile")
    assert "slabs of 48 rows" in said or "slab of 48 rows" in said
    two, said = run(cuda, tmp_path, series, *options, kernel="tile", ranks=2,
                    environment={"CUDAEMU_DEVICES": "2"})
    assert np.array_equal(two, wanted)
    small, said = run(cuda, tmp_path, series, *options, kernel="tile",
                      environment={"CUDAEMU_MEMORY": str(SMALL_WITH_CELLS)})
    assert "slabs of 16 rows" in said
    assert np.array_equal(small, wanted)


@pytest.mark.parametrize("order", ["forward", "reverse"])
@pytest.mark.parametrize("algorithm", ["WBP", "SART"])
def test_the_order_of_threads_does_not_show(cuda, series, tmp_path, algorithm, order):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, [])]
    wanted, _ = run(cuda, tmp_path, series, *options, kernel="tile")
    found, _ = run(cuda, tmp_path, series, *options, kernel="tile",
                   environment={"CUDAEMU_ORDER": order, "CUDAEMU_LAZY": "0"})
    assert np.array_equal(found, wanted)


def test_less_memory_than_the_device_said(cuda, series, tmp_path):
    """Smaller slabs, said once; the same result."""
    wanted, _ = run(cuda, tmp_path, series, "-a", "SIRT", "-i", 2, kernel="tile")
    found, said = run(cuda, tmp_path, series, "-a", "SIRT", "-i", 2, kernel="tile",
                      environment={"CUDAEMU_FAIL": "cudaMalloc:3,cudaMalloc:4"})
    assert said.count("the GPU has less memory free than it said: slabs of ") == 1
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("kernel", ["tile", "texture", "tensor"])
def test_verbose_says_how_kernels_are_launched(cuda, series, tmp_path, kernel):
    _, said = run(cuda, tmp_path, series, "--verbose", kernel=kernel)
    assert re.search(rf"kernel {kernel}, backprojection in \d+ blocks of \d+ threads", said)


def test_tensor_cores_that_are_not_there(cuda, series, tmp_path):
    done = cuda("-T", 11, "--kernel", "tensor", "-o", tmp_path / "rec.mrc", series.name,
                cwd=series.parent, check=False, env={"CUDAEMU_CAPABILITY": "7.5"})
    assert done.returncode == 3
    assert ("--kernel tensor needs tensor cores of compute capability 8.0 or later, and this "
            "GPU (Emulated device) has 7.5; use --kernel tile" in done.stderr)
    assert not list(tmp_path.iterdir())


def test_memory_that_is_never_enough_is_refused(cuda, series, tmp_path):
    done = cuda("-T", 11, "-o", tmp_path / "rec.mrc", series.name, cwd=series.parent,
                    check=False, env={"CUDAEMU_MEMORY": str(300 * MIB)})
    assert done.returncode == 4
    assert "GPU's memory" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def wide_series(tmp_path_factory):
    """Enough work for the choice between the kernels: 1.05e9 updates with -T 400."""
    views = np.random.default_rng(6).normal(size=(64, 16, 640))
    return write_series(tmp_path_factory.mktemp("wide"), views.astype(np.float32),
                        np.linspace(-60, 60, 64))


def without_textures(program, folder, series, *options, failures):
    """BPT of the wide series, where the kernel measured before is the texture kernel, but
    the first calls that make a texture's array fail."""
    cache = folder / "cache" / "tiltrec" / "kernel-Emulated-device"
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("tile 100 texture 200 GUPS\n")
    fail = ",".join(f"cudaMalloc3DArray:{k + 1}" for k in range(failures))
    return program("-a", "BPT", "-T", 400, *options, "-o", folder / "rec.mrc", series.name,
                   cwd=series.parent, check=False,
                   env={"XDG_CACHE_HOME": str(folder / "cache"), "CUDAEMU_FAIL": fail})


def test_a_texture_that_cannot_be_had(tiltrec, cuda, wide_series, tmp_path):
    """The tile kernel instead, unless the texture kernel was asked for."""
    # 64 layers, then half as many until it is one
    done = without_textures(cuda, tmp_path, wide_series, failures=7)
    assert done.returncode == 0, done.stderr
    assert "less memory" not in done.stderr
    found = read_mrc(tmp_path / "rec.mrc")
    tiltrec("-a", "BPT", "-T", 400, "-o", tmp_path / "rec.mrc", wide_series.name,
            cwd=wide_series.parent)
    assert distance(found, read_mrc(tmp_path / "rec.mrc")) < 1e-6
    (tmp_path / "rec.mrc").unlink()
    done = without_textures(cuda, tmp_path, wide_series, "--kernel", "texture", failures=64)
    assert done.returncode == 4
    assert "the texture of the projections" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "rec.mrc").exists()


@pytest.mark.parametrize("call", ["kernel:5", "cudaMemcpyAsync:3", "launch:2"])
@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_a_device_that_is_lost(cuda, cudaz, series, tmp_path, program, call):
    """One sentence, no output, no hang."""
    done = (cuda if program == "tiltrec" else cudaz)(
        "-a", "SIRT", "-i", 3, "-T", 11, "--kernel", "tile", "-o", tmp_path / "rec.mrc",
        series.name, cwd=series.parent, check=False, env={"CUDAEMU_FAIL": call})
    assert done.returncode == 1
    assert "GPU" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_volume_larger_than_the_device(cudaz, series, tmp_path):
    wanted, said = run(cudaz, tmp_path, series, "-a", "CGLS", "-i", 3, kernel="tile")
    assert "ordinary allocations" in said and "unified" not in said
    found, said = run(cudaz, tmp_path, series, "-a", "CGLS", "-i", 3, kernel="tile",
                      environment={"CUDAEMU_MEMORY": str(300 * MIB)})
    assert "unified memory, because the GPU has less free" in said
    assert np.array_equal(found, wanted)
    done = cudaz("-a", "CGLS", "-T", 11, "--memory", "100M", "-o", tmp_path / "no.mrc",
                     series.name, cwd=series.parent, check=False,
                     env={"CUDAEMU_MEMORY": str(300 * MIB)})
    assert done.returncode == 4 and not (tmp_path / "no.mrc").exists()


def test_the_timeline_shows_every_stage(cuda, series, tmp_path):
    environment = {"CUDAEMU_MEMORY": str(SMALL)}
    run(cuda, tmp_path, series, "-a", "WBP", "--timeline", tmp_path / "t.json",
        kernel="tile", environment=environment, ranks=2)
    check_stages(tmp_path / "t.json", 2)


def test_the_timeline_spares_the_input(cuda, series, tmp_path):
    before = series.read_bytes()
    done = cuda("-T", 11, "-o", tmp_path / "rec.mrc", "--timeline", series.name,
                    series.name, cwd=series.parent, check=False)
    assert done.returncode == 2 and "is also an input" in done.stderr
    assert series.read_bytes() == before


@pytest.mark.parametrize("devices, reason", [("3", "3"), ("x", "x"), ("0-9", "9"), ("", "--device")])
def test_devices_that_are_not_there(cuda, series, tmp_path, devices, reason):
    done = cuda("-T", 11, "--device", devices, "-o", tmp_path / "rec.mrc", series.name,
                    cwd=series.parent, check=False, env={"CUDAEMU_DEVICES": "2"})
    assert done.returncode == 2
    assert "--device" in done.stderr and reason in done.stderr


def test_the_device_chosen_is_named(cuda, series, tmp_path):
    _, said = run(cuda, tmp_path, series, "--device", 1, kernel="tile",
                  environment={"CUDAEMU_DEVICES": "2"})
    assert "Emulated device" in said


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_no_device(cuda, cudaz, series, tmp_path, program):
    done = (cuda if program == "tiltrec" else cudaz)(
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
    help = runner(build_dir, f"{program}-cuda")("--help", "all", threads=None, cwd=tmp_path)
    assert "--kernel" in help.stdout and "--device" in help.stdout


def test_algorithms_of_the_other_program(cuda, tmp_path):
    done = cuda("-a", "ADMM", cwd=tmp_path, check=False)
    assert done.returncode == 3 and "use tiltrecz-cuda" in done.stderr
