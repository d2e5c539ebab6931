"""More of test_planes.py: all algorithms and geometries, processes, checkpoints, and each
call of the runtime that can fail."""
import numpy as np
import pytest

from cuda_programs import (GEOMETRIES, ITERATIONS, VOLUME, distance,  # noqa: F401
                           series)
from conftest import EVERY, read_mrc, write_series
from emulated import cudaz  # noqa: F401: fixtures
from plane_programs import BY_PLANES, NO_UNIFIED, check, content, little_memory, volume

pytestmark = pytest.mark.unsanitized

# Only in one process; the other one would wait for it for ever.
ON_RANK = ('if [ "${PMI_RANK:-$OMPI_COMM_WORLD_RANK}" != %d ]; then unset CUDAEMU_FAIL; fi; '
           'exec "$@"')


@pytest.mark.parametrize("algorithm, geometry", [
    *((algorithm, "x-tilts") for algorithm in VOLUME),
    ("SIRT", "plain"), ("SART", "plain"), ("CGLS", "plain"), ("ADMM", "plain"),
    ("SIRT", "shifted"), ("BPT", "pitch"), ("WBP", "pitch"), ("CGLS", "pitch"),
    ("SIRT", "turned"), ("ADMM", "turned")][::1 if EVERY == 1 else 3])
def test_the_same_bytes_as_in_core(tiltrecz, cudaz, series, tmp_path, algorithm, geometry):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), *GEOMETRIES[geometry]]
    found = check(cudaz, tmp_path, series, *options)
    volume(tiltrecz, tmp_path, series, *options)
    # Where rays leave their row, those that only touch the edge of so thick a volume have
    # small sums, whose inverse magnifies rounding: in core as well.
    if algorithm in ("BPT", "WBP", "FBP") or geometry not in ("x-tilts", "turned"):
        assert distance(found, read_mrc(tmp_path / "rec.mrc")) < 1e-5


@pytest.mark.parametrize("options", [
    ["-a", "ADMM", "-i", 2, "--positive"],
    ["-a", "ADMM", "-i", 2, "--regularizer", "l1", "--positive"],
    ["-a", "ADMM", "-i", 2, "--regularizer", "haar", "--positive"],
    ["-a", "SIRT", "-i", 20, "--accelerate", "chebyshev"],
    ["-a", "SIRT", "-i", 3, "--positive", "--tolerance", 0.05]],
    ids=lambda options: "-".join(str(o).strip("-") for o in options[1:]))
def test_options(cudaz, series, tmp_path, options):
    check(cudaz, tmp_path, series, *options)


@pytest.mark.long
@pytest.mark.parametrize("thickness", [20, 33])
@pytest.mark.parametrize("options", [["-a", "ADMM", "-i", 1],
                                     ["-a", "SIRT", "-i", 9, "--accelerate", "chebyshev"]],
                         ids=lambda options: options[1])
def test_few_planes(cudaz, tmp_path, thickness, options):
    """As many as one or two slabs, of several volumes that are wide instead."""
    x, y, k = np.arange(500), np.arange(20)[:, None], np.arange(5)[:, None, None]
    views = 2 + np.sin(0.2 * x + 0.15 * y + k) + np.random.default_rng(2).normal(0, 0.3, 500)
    series = write_series(tmp_path, views.astype(np.float32), np.linspace(-40, 40, 5),
                          name="w_ali.mrc")
    (tmp_path / "out").mkdir()
    check(cudaz, tmp_path / "out", series, *options, "-T", thickness)


@pytest.mark.parametrize("geometry", ["plain", "x-tilts"])
def test_textures(cudaz, series, tmp_path, geometry):
    check(cudaz, tmp_path, series, "-a", "CGLS", "-i", 2, *GEOMETRIES[geometry],
          kernel="texture")


@pytest.mark.parametrize("algorithm, geometry", [
    ("SIRT", "turned"), ("ADMM", "plain"),
    *([("SIRT", "plain"), ("ADMM", "turned")] if EVERY == 1 else [])])
def test_two_processes(cudaz, series, tmp_path, algorithm, geometry):
    """Each with a device; rows of neighbours go into the differences along y."""
    check(cudaz, tmp_path, series, "-a", algorithm, "-i", 2, *GEOMETRIES[geometry], ranks=2,
          environment={"CUDAEMU_DEVICES": "2"})


@pytest.mark.long
@pytest.mark.parametrize("environment", [{"CUDAEMU_ORDER": "reverse"}, {"CUDAEMU_LAZY": "0"}],
                         ids=["reverse", "eager"])
@pytest.mark.parametrize("algorithm", ["SIRT", "ADMM"])
def test_the_order_does_not_show(cudaz, series, tmp_path, algorithm, environment):
    check(cudaz, tmp_path, series, "-a", algorithm, "-i", 2, environment=environment)


def test_an_initial_volume(cudaz, series, tmp_path):
    volume(cudaz, tmp_path, series, "-a", "BPT")
    (tmp_path / "rec.mrc").rename(tmp_path / "first.mrc")
    check(cudaz, tmp_path, series, "-a", "SIRT", "-i", 2, "--initial", tmp_path / "first.mrc")


def failures(program, folder, series, options, memory, calls, step, **how):
    """Let each call fail, and a later one, until a run makes no more of them: how many runs
    failed. Each said so in one sentence, and left no file."""
    found = 0
    for call in calls:
        for k in range(1, 2000, step):
            said = volume(program, folder, series, *options, memory=memory, check=False,
                          environment={"CUDAEMU_FAIL": f"{NO_UNIFIED},{call}:{k}",
                                       "CUDAEMU_DEVICES": "2"}, **how)
            if (folder / "rec.mrc").exists():
                (folder / "rec.mrc").unlink()
                break
            errors = [line for line in said.splitlines() if "error: " in line]
            assert len(errors) == 1 and "GPU" in errors[0], (call, k, said)
            assert not list(folder.iterdir()), (call, k)
            found += 1
    return found


@pytest.mark.parametrize("options", [["-a", "SIRT", "-i", 2],
                                     ["-a", "ADMM", "-i", 1, "--cg", 1]],
                         ids=lambda options: options[1])
def test_lost(cudaz, series, tmp_path, options, sanitized):
    options = [*options, "--kernel", "tile"]
    memory = little_memory(cudaz, tmp_path, series, *options)
    calls = ["kernel", "launch", "cudaMemcpyAsync", "cudaEventRecord", "cudaStreamWaitEvent",
             "cudaEventCreateWithFlags", "cudaMalloc"]
    step = 131 if sanitized else (61 if "ADMM" in options else 23) * (1 if EVERY == 1 else 2)
    assert failures(cudaz, tmp_path, series, options, memory, calls, step) > 8


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_lost_by_one_process(cudaz, series, tmp_path, rank):
    options = ["-a", "SIRT", "-i", 2, "--kernel", "tile", "--xtilts", "s.xtilt"]
    memory = little_memory(cudaz, tmp_path, series, *options, ranks=2)
    assert failures(cudaz, tmp_path, series, options, memory, ["kernel", "cudaMallocHost"], 101,
                    ranks=2, wrapper=["sh", "-c", ON_RANK % rank, "sh"]) > 2


@pytest.mark.long
@pytest.mark.parametrize("algorithm", ["SIRT", "CGLS", "ADMM"])
def test_going_on(cudaz, series, tmp_path, algorithm):
    """What was kept before the device was lost counts, in core as well."""
    options = ["-a", algorithm, "-i", 3, "--kernel", "tile"]
    volume(cudaz, tmp_path, series, *options)
    wanted, kept = content(tmp_path), 0
    memory = little_memory(cudaz, tmp_path, series, *options)
    for k in range(40, 1000, 60):
        (tmp_path / "rec.mrc").unlink(missing_ok=True)
        said = volume(cudaz, tmp_path, series, *options, "--checkpoint", 1e-9, check=False,
                      memory=memory, environment={"CUDAEMU_FAIL": f"kernel:{k}"})
        if (tmp_path / "rec.mrc").exists():
            break
        kept += any(tmp_path.iterdir())
        said = volume(cudaz, tmp_path, series, *options, "--checkpoint", 1e-9, "--resume",
                      memory=memory if kept % 2 else None)
        assert (BY_PLANES in said) == bool(kept % 2)
        assert content(tmp_path) == wanted
    assert kept > 0
