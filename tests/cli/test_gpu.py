"""The programs for GPUs on a GPU; skipped where there is none."""
import numpy as np
import pytest

from conftest import read_mrc, runner, write_series
from cuda_programs import (  # noqa: F401: collected here, with the fixtures below
    GEOMETRIES, ITERATIONS, SLICES, check_stages, distance, run, series,
    test_admm_is_that_of_the_cpu, test_coupled_rays_by_textures,
    test_slices_are_those_of_the_cpu, test_the_tensor_kernel_is_as_exact_as_tiles,
    test_the_texture_kernel_has_8_bits, test_views_fit_as_on_the_cpu,
    test_volumes_are_those_of_the_cpu)
from timeline import seconds, share_beside


@pytest.fixture(scope="session")
def device(build_dir, series, tmp_path_factory):
    """What the program says about the device; without one the test is skipped."""
    done = runner(build_dir, "tiltrec-cuda")(
        "-T", 11, "-o", tmp_path_factory.mktemp("device") / "rec.mrc", series.name,
        cwd=series.parent, check=False)
    last = (done.stderr.splitlines() or ["no word"])[-1]
    if done.returncode == 3:
        pytest.skip(last)
    assert done.returncode == 0, last
    return done.stderr


@pytest.fixture(scope="session")
def cuda(build_dir, device):
    return runner(build_dir, "tiltrec-cuda")


@pytest.fixture(scope="session")
def cudaz(build_dir, device):
    return runner(build_dir, "tiltrecz-cuda")


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    """Rows for 4 slabs, and enough work in each."""
    rng = np.random.default_rng(5)
    return write_series(tmp_path_factory.mktemp("large"),
                        rng.normal(size=(41, 512, 512)).astype(np.float32),
                        np.linspace(-60, 60, 41))


def test_a_device_is_named(device):
    assert "compute capability" in device and "Emulated" not in device


@pytest.mark.parametrize("algorithm", SLICES)
def test_the_kernel_chosen_is_one_of_the_two(tiltrec, cuda, series, tmp_path, algorithm):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, [])]
    wanted, _ = run(tiltrec, tmp_path, series, *options)
    found, _ = run(cuda, tmp_path, series, *options)
    assert distance(found, wanted) < 4e-3


@pytest.mark.parametrize("algorithm", SLICES)
def test_several_ranks(cuda, series, tmp_path, algorithm):
    """Three processes share the GPUs. Without a filter, whose transforms may be others for
    fewer rows, the bytes are the same."""
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, [])]
    wanted, _ = run(cuda, tmp_path, series, *options, kernel="tile")
    found, _ = run(cuda, tmp_path, series, *options, kernel="tile", ranks=3)
    if algorithm in ("WBP", "FBP"):
        assert distance(found, wanted) < 1e-6
    else:
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("kernel", ["tile", "texture", "tensor"])
@pytest.mark.parametrize("geometry", ["plain", "pitch", "turned"])
def test_a_run_can_be_repeated(cuda, series, tmp_path, geometry, kernel):
    """To the byte: no sum depends on which thread was first."""
    options = ["-a", "SIRT", "-i", 3, *GEOMETRIES[geometry]]
    wanted, _ = run(cuda, tmp_path, series, *options, kernel=kernel)
    for _ in range(2):
        found, _ = run(cuda, tmp_path, series, *options, kernel=kernel)
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("algorithm", ["WBP", "SIRT"])
def test_many_slabs_are_those_of_the_cpu(tiltrec, cuda, large, tmp_path, algorithm):
    """Views of noise, where a column off by one would show."""
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), "-T", 48, large.name]
    for program, name, more in ((tiltrec, "cpu", []), (cuda, "gpu", ["--kernel", "tile"])):
        program("-o", tmp_path / f"{name}.mrc", *options, *more, cwd=large.parent,
                threads=4)
    found, wanted = (read_mrc(tmp_path / f"{name}.mrc") for name in ("gpu", "cpu"))
    assert distance(found, wanted) < 1e-5


def test_copies_run_beside_computing(cuda, large, tmp_path):
    """While iterations keep the GPU busy, the copies of all slabs are hidden but for the
    first one up and the last one down."""
    cuda("-a", "SIRT", "-i", 60, "-T", 256, "--kernel", "tile", "-o", tmp_path / "rec.mrc",
         "--timeline", tmp_path / "t.json", large.name, cwd=large.parent, threads=4)
    stages = check_stages(tmp_path / "t.json", 1, but="filtering")[0]
    (tmp_path / "rec.mrc").unlink()
    copies = stages["uploading"] + stages["downloading"]
    assert seconds(stages["projecting"]) > seconds(copies)
    assert share_beside(stages["downloading"], stages["projecting"]) > 0.3
    assert share_beside(copies, stages["projecting"]) > 0.3
