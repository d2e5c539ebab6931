"""tiltrecz-cuda with volumes larger than the device, on the emulation of tests/cudaemu: they
lie in host memory and go through the device by slabs of planes. The rest of the combinations
is in test_planes_slow.py."""
import re

import numpy as np
import pytest

from conftest import read_mrc
from cuda_programs import ITERATIONS, VOLUME, distance, series  # noqa: F401: collected here
from emulated import cudaz  # noqa: F401: fixtures

MIB = 1 << 20
# Three slabs of 32 planes and a rest; with rays that leave their row, their sums take more.
THICK = ["-T", 107]
GEOMETRIES = {"plain": [], "shifted": ["--axis-shift", 2.5, "--z-shift", -1.5, "--width", 30],
              "pitch": ["--pitch", 7], "x-tilts": ["--xtilts", "s.xtilt"],
              "turned": ["--transforms", "s.xf"]}
IN_CORE = "ordinary allocations"
BY_PLANES = "volumes in host memory, some planes at a time on the GPU"
UNIFIED = "unified memory, because the GPU has less free"


def volume(program, folder, series, *options, memory=None, fail="", **how):
    environment = {"CUDAEMU_FAIL": fail}
    if memory:
        environment["CUDAEMU_MEMORY"] = str(memory)
    done = program(*THICK, "-o", folder / "rec.mrc", *options, series.name,
                   cwd=series.parent, env=environment, **how)
    return done.stderr


def least_memory(program, folder, series, options, wanted, low, high):
    """The least memory of the device, to 1 KiB, with which the plan says what is wanted."""
    while high - low > 1024:
        middle = (low + high) // 2
        said = volume(program, folder, series, *options, "--dry-run", memory=middle,
                      check=False)
        low, high = (low, middle) if wanted in said else (middle, high)
    return high


def little_memory(program, folder, series, options):
    """As little as volumes by planes take: with less, unified memory would be taken."""
    most = least_memory(program, folder, series, options, IN_CORE, 0, 1 << 32)
    return least_memory(program, folder, series, options, BY_PLANES, 0, most - 1024)


def check(program, folder, series, *options, **how):
    """The same bytes as in core, and nothing of the volume in managed memory."""
    options = ["--kernel", "tile", *options]
    said = volume(program, folder, series, *options, **how)
    assert IN_CORE in said
    wanted = (folder / "rec.mrc").read_bytes()[1024:]
    memory = little_memory(program, folder, series, options)
    said = volume(program, folder, series, *options, memory=memory,
                  fail="cudaMallocManaged:1+", **how)
    assert BY_PLANES in said
    assert (folder / "rec.mrc").read_bytes()[1024:] == wanted
    return read_mrc(folder / "rec.mrc")


@pytest.mark.parametrize("algorithm", VOLUME)
def test_the_same_bytes_as_in_core(tiltrecz, cudaz, series, tmp_path, algorithm):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, [])]
    found = check(cudaz, tmp_path, series, *options)
    volume(tiltrecz, tmp_path, series, *options)
    assert distance(found, read_mrc(tmp_path / "rec.mrc")) < 1e-5
