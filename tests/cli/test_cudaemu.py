"""The programs for GPUs, their kernels run by the emulation of tests/cudaemu: a pass here
is none on a GPU. And what they say where there is no GPU. Those that take longer are in
test_cudaemu_slow.py."""
import re

import numpy as np
import pytest

from conftest import read_mrc, runner, write_series
from cuda_programs import (  # noqa: F401: collected here
    ITERATIONS, check_stages, run, series, test_slices_are_those_of_the_cpu)
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


@pytest.mark.parametrize("lacks, said", [
    ({"CUDAEMU_CAPABILITY": "7.5"}, "--kernel tensor needs tensor cores of compute capability 8.0 "
     "or later, and this GPU (Emulated device) has 7.5; use --kernel tile"),
    ({"CUDAEMU_CODE": "7.5"}, "needs code for compute capability 8.0 or later, and this program "
     "was built for 7.5: build it with -DCMAKE_CUDA_ARCHITECTURES=90, or")],
    ids=["cores", "code"])
def test_tensor_cores_that_are_not_there(cuda, series, tmp_path, lacks, said):
    done = cuda("-T", 11, "--kernel", "tensor", "-o", tmp_path / "rec.mrc", series.name,
                cwd=series.parent, check=False, env=lacks)
    assert done.returncode == 3
    assert said in done.stderr
    assert not list(tmp_path.iterdir())


def test_memory_that_is_never_enough_is_refused(cuda, series, tmp_path):
    done = cuda("-T", 11, "-o", tmp_path / "rec.mrc", series.name, cwd=series.parent,
                    check=False, env={"CUDAEMU_MEMORY": str(300 * MIB)})
    assert done.returncode == 4
    assert "GPU's memory" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_auto_is_the_tile_kernel(cuda, series, tmp_path):
    """Whatever an earlier version measured and kept, and without asking for a texture."""
    kept = tmp_path / "cache" / "tiltrec" / "kernel-Emulated-device"
    kept.parent.mkdir(parents=True)
    kept.write_text("tile 100 texture 200 GUPS\n")
    wanted, _ = run(cuda, tmp_path, series, "-a", "BPT", kernel="tile")
    found, said = run(cuda, tmp_path, series, "-a", "BPT", "--verbose", environment={
        "XDG_CACHE_HOME": str(tmp_path / "cache"), "CUDAEMU_FAIL": "cudaMalloc3DArray:1+"})
    assert np.array_equal(found, wanted) and "kernel tile" in said
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


def test_a_texture_that_cannot_be_had(cuda, series, tmp_path):
    """As many views at a time as can be had; refused where that is none."""
    options = ["-a", "SIRT", "-i", 3]
    wanted, _ = run(cuda, tmp_path, series, *options, kernel="texture")
    # 9 layers fail, 5 are had, and are kept: the next array would fail.
    found, _ = run(cuda, tmp_path, series, *options, kernel="texture", environment={
        "CUDAEMU_FAIL": "cudaMalloc3DArray:1,cudaMalloc3DArray:3+"})
    assert np.array_equal(found, wanted)
    (tmp_path / "rec.mrc").unlink()
    done = cuda(*options, "-T", 11, "--kernel", "texture", "-o", tmp_path / "rec.mrc",
                series.name, cwd=series.parent, check=False,
                env={"CUDAEMU_FAIL": "cudaMalloc3DArray:1+"})
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


def planned(cudaz, series, folder, memory, *options):
    return cudaz("--dry-run", *options, "-o", folder / "rec.mrc", series.name,
                 cwd=series.parent, env={"CUDAEMU_MEMORY": str(memory)}).stderr


def test_a_volume_that_just_fits_the_device(cudaz, series, tmp_path):
    """In ordinary memory, as planned: what the rows of others take is counted once."""
    options = ["-a", "SIRT", "-i", 1, "-T", 11, "--xtilts", "s.xtilt", "--kernel", "tile"]
    low, high = 560 * MIB, 600 * MIB
    while high - low > 1 << 13:  # far less than these rows
        middle = (low + high) // 2
        fits = "ordinary" in planned(cudaz, series, tmp_path, middle, *options)
        low, high = (low, middle) if fits else (middle, high)
    assert 560 * MIB < low < high < 600 * MIB
    cudaz(*options, "-o", tmp_path / "rec.mrc", series.name, cwd=series.parent,
          env={"CUDAEMU_MEMORY": str(high), "CUDAEMU_FAIL": "cudaMallocManaged:1+"})


def test_plans_count_what_checkpoints_pass_through(cudaz, tmp_path):
    """Two pieces of 64 MiB of vectors of 150 MiB; nothing where there are none."""
    views = np.random.default_rng(4).normal(size=(5, 512, 256)).astype(np.float32)
    series = write_series(tmp_path, views, [-40, -20, 0, 20, 40])
    options = ["-a", "SIRT", "-i", 3, "-T", 300, "--outside", "zero", "--checkpoint"]
    kept, none = (int(re.search(r"plan: memory (\d+) MiB", planned(
        cudaz, series, tmp_path, 8 << 30, *options, minutes)).group(1)) for minutes in (5, 0))
    assert 127 <= kept - none <= 129


@pytest.mark.parametrize("algorithm", ["WBP", "CGLS"])
def test_a_device_that_shares_no_memory_with_the_host(cuda, cudaz, series, tmp_path,
                                                      algorithm):
    """Nothing changes where all fits. A volume that does not fit: either the same bytes all
    the same, or a sentence and no output."""
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, [])]
    alone = {"CUDAEMU_CONCURRENT_MANAGED": "0"}
    for program in (cuda, cudaz):
        wanted, _ = run(program, tmp_path, series, *options, kernel="tile")
        found, _ = run(program, tmp_path, series, *options, kernel="tile",
                       environment=alone)
        assert np.array_equal(found, wanted)
    output = tmp_path / "short.mrc"
    done = cudaz(*options, "-T", 11, "--kernel", "tile", "-o", output, series.name,
                 cwd=series.parent, check=False,
                 env={**alone, "CUDAEMU_MEMORY": str(300 * MIB)})
    if done.returncode == 0:
        assert "unified" not in done.stderr
        assert np.array_equal(read_mrc(output), wanted)
    else:
        assert done.returncode == 4 and not output.exists()
        assert "GPU" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("outside", ["zero", "continue"])
def test_two_series_as_on_the_cpu(tiltrecz, cudaz, tmp_path, outside):
    """Which turns the volume over for the second one; here its rays go as they are."""
    rng, tilts = np.random.default_rng(5), np.linspace(-60, 60, 9)
    for name in "a_ali.mrc", "b.mrc":
        write_series(tmp_path, rng.normal(size=(9, 32, 32)), tilts, name)
    np.savetxt(tmp_path / "b.xf", np.tile([0, 1, -1, 0, 0.3, -0.2], (9, 1)))
    made = []
    for program in tiltrecz, cudaz:
        program("-a", "SIRT", "-i", 3, "-T", 12, "--outside", outside, "-o", "rec.mrc",
                "a_ali.mrc", "--second", "b.mrc", cwd=tmp_path)
        made.append(read_mrc(tmp_path / "rec.mrc"))
    assert np.abs(made[1] - made[0]).max() < 1e-5 * np.abs(made[0]).max()


def test_the_timeline_shows_every_stage(cuda, series, tmp_path):
    environment = {"CUDAEMU_MEMORY": str(SMALL), "CUDAEMU_DEVICES": "2"}
    run(cuda, tmp_path, series, "-a", "WBP", "--timeline", tmp_path / "t.json",
        kernel="tile", environment=environment, ranks=2)
    check_stages(tmp_path / "t.json", 2)


def test_the_timeline_spares_the_input(cuda, series, tmp_path):
    before = series.read_bytes()
    done = cuda("-T", 11, "-o", tmp_path / "rec.mrc", "--timeline", series.name,
                    series.name, cwd=series.parent, check=False)
    assert done.returncode == 2 and "is also an input" in done.stderr
    assert series.read_bytes() == before


@pytest.mark.parametrize("environment, words", [
    ({"CUDAEMU_DRIVER": "11040"}, ["CUDA 11.4, ", "newer driver"]),
    ({"CUDAEMU_DRIVER": "0"}, ["no CUDA device is present", "no driver"]),
    ({"CUDAEMU_CAPABILITY": "7.0"}, ["compute capability 7.0", "CMAKE_CUDA_ARCHITECTURES=70"]),
    ({"CUDAEMU_FAIL": "cudaSetDevice:1=46"}, ["CUDA device 0 cannot be used", "busy", "--device"])])
def test_a_device_that_is_not_for_this_program(cuda, series, tmp_path, environment, words):
    done = cuda("-T", 11, "-o", tmp_path / "rec.mrc", series.name, cwd=series.parent,
                check=False, env=environment)
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert all(word in last for word in [*words, "tiltrec-mpi"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_waits_leave_the_processor_to_others(cuda, cudaz, series, tmp_path, program):
    run(cuda if program == "tiltrec" else cudaz, tmp_path, series, "-a", "SIRT", "-i", 2,
        kernel="tile", environment={"CUDAEMU_SPIN": "0"})


# As batch systems do it that give each process a device of its own.
OWN_DEVICE = ["sh", "-c", 'CUDAEMU_FIRST="${PMI_RANK:-$OMPI_COMM_WORLD_RANK}" exec "$@"', "sh"]


def test_ranks_on_one_device_share_its_memory(cuda, series, tmp_path):
    """Each plans with half of it, and knows the device whatever number it has."""
    options, memory = ["-a", "SIRT", "-i", 2, "--verbose"], 2 * SMALL_WITH_CELLS

    def planned(devices, **how):
        found, said = run(cuda, tmp_path, series, *options, ranks=2, environment={
            "CUDAEMU_DEVICES": str(devices), "CUDAEMU_MEMORY": str(memory)}, **how)
        rows = int(re.search(r"slabs? of (\d+) rows", said)[1])
        return found, "shared by 2 processes" in said, rows

    apart, shared, rows = planned(2)
    assert not shared and rows > 16
    same, shared, own_rows = planned(1, wrapper=OWN_DEVICE)
    assert np.array_equal(same, apart) and not shared and own_rows == rows
    same, shared, rows = planned(1)
    assert np.array_equal(same, apart) and shared and rows == 16


def test_what_the_driver_takes_of_the_host_is_planned(tiltrec, cuda, series, tmp_path):
    """A process that uses CUDA has half a GiB more."""
    options = ["-T", 11, "--memory", "500M", "-o", tmp_path / "rec.mrc", series.name]
    tiltrec(*options, cwd=series.parent)
    done = cuda(*options, cwd=series.parent, check=False)
    assert done.returncode == 4 and "500 MiB are allowed" in done.stderr


def test_the_mpiexec_of_another_mpi(cuda, series, tmp_path):
    """As for the programs for CPUs, in test_ranks.py."""
    done = cuda("-T", 11, "-o", tmp_path / "rec.mrc", series.name, cwd=series.parent,
                check=False, env={"PMI_SIZE": "2"})
    assert done.returncode == 3 and "PMI_SIZE=2 tells of several" in done.stderr
    assert not list(tmp_path.iterdir())


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
