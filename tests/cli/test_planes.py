"""tiltrecz-cuda with volumes larger than the device, on the emulation of tests/cudaemu: they
lie in host memory and go through the device by slabs of planes. More algorithms and
geometries are in test_planes_slow.py."""
import pytest

from cuda_programs import distance, series  # noqa: F401: collected here
from conftest import read_mrc
from emulated import cudaz  # noqa: F401: fixtures
from plane_programs import (BY_PLANES, MIB, NO_UNIFIED, UNIFIED, check, content,
                            little_memory, volume)


@pytest.mark.parametrize("options", [["-a", "SIRT", "-i", 3], pytest.param(["-a", "ADMM", "-i", 2],
                                                  marks=pytest.mark.slow),
                                     ["-a", "WBP", "--xtilts", "s.xtilt"]],
                         ids=lambda options: options[1])
def test_the_same_bytes_as_in_core(tiltrecz, cudaz, series, tmp_path, options):
    found = check(cudaz, tmp_path, series, *options)
    volume(tiltrecz, tmp_path, series, *options)
    assert distance(found, read_mrc(tmp_path / "rec.mrc")) < 1e-5


def test_unified_memory(cudaz, series, tmp_path):
    """Where it is asked for, and where not even some planes fit."""
    options = ["-a", "SIRT", "-i", 2, "--kernel", "tile"]
    volume(cudaz, tmp_path, series, *options)
    wanted = content(tmp_path)
    memory = little_memory(cudaz, tmp_path, series, *options)
    for more, where in (([], BY_PLANES), (["--device-memory", "planes"], BY_PLANES),
                        (["--device-memory", "managed"], UNIFIED)):
        assert where in volume(cudaz, tmp_path, series, *options, *more, memory=memory)
        assert content(tmp_path) == wanted
    assert UNIFIED in volume(cudaz, tmp_path, series, *options, memory=memory - MIB)
    assert content(tmp_path) == wanted


def test_host_memory_that_is_not_allowed(cudaz, series, tmp_path):
    """The volumes count: the same device does with more."""
    options = ["-a", "SIRT", "-i", 2, "--kernel", "tile"]
    memory = little_memory(cudaz, tmp_path, series, *options)
    said = volume(cudaz, tmp_path, series, *options, "--memory", "514M", memory=memory,
                  check=False)
    assert "and 514 MiB are allowed" in said.splitlines()[-1]
    assert not list(tmp_path.iterdir())
    volume(cudaz, tmp_path, series, *options, "--memory", "530M", memory=memory)


def test_a_device_that_is_lost(cudaz, series, tmp_path):
    """One sentence, no output, no hang."""
    options = ["-a", "SIRT", "-i", 2, "--kernel", "tile"]
    memory = little_memory(cudaz, tmp_path, series, *options)
    for call in ("cudaMemcpyAsync:9", "cudaEventRecord:7", "kernel:20",
                 "cudaStreamWaitEvent:30", "cudaEventCreateWithFlags:3",
                 "cudaMallocHost:2,cudaMallocHost:3"):
        said = volume(cudaz, tmp_path, series, *options, memory=memory, check=False,
                      environment={"CUDAEMU_FAIL": f"{NO_UNIFIED},{call}"})
        assert "error: " in said.splitlines()[-1] and "GPU" in said.splitlines()[-1], call
        assert said.count("error: ") == 1, call
        assert not list(tmp_path.iterdir())
