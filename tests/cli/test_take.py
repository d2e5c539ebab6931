"""The programs for GPUs make slices on the device, and the host only writes them: numbers,
statistics, checksums and the journal, on the emulation of tests/cudaemu. Rows of fewer than
61 voxels, and slices at a pitch, are still the host's."""
import re

import mrcfile
import numpy as np
import pytest

from conftest import read_mrc, write_series
from emulated import cuda, cudaz  # noqa: F401: fixtures

TILTS = np.linspace(-50, 55, 7)
BY_DEVICE, BY_HOST = ["-w", 61], ["-w", 60]
RANGES = {"byte": (-128, 127), "int16": (-32768, 32767), "uint16": (0, 65535)}
MEMORY = (576 << 20) + (1 << 19)  # of the device: for slabs of 16 rows


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    rng = np.random.default_rng(3)
    x, y = np.arange(77), np.arange(71)[:, None]
    return write_series(tmp_path_factory.mktemp("take"), np.stack(
        [2 + np.sin(0.2 * x + 0.15 * y + k) + 0.3 * rng.normal(size=(71, 77))
         for k in range(7)]), TILTS)


@pytest.fixture(params=["tiltrec", "tiltrecz"])
def program(request, cuda, cudaz):  # noqa: F811
    """Slab by slab, and a whole volume."""
    algorithm = ["-a", "WBP"] if request.param == "tiltrec" else ["-a", "CGLS", "-i", 2]
    one = cuda if request.param == "tiltrec" else cudaz

    def run(series, *options, **how):
        return one(*algorithm, "-T", 19, "--kernel", "tile", *options, series.name,
                   cwd=series.parent, **how)
    return run


def check_header(path):
    with mrcfile.open(path) as file:
        data, header = file.data.astype(float), file.header
        assert header.dmin == data.min() and header.dmax == data.max()
        assert np.isclose(header.dmean, data.mean(), rtol=1e-6, atol=1e-6 * data.std())
        assert np.isclose(header.rms, data.std(), rtol=1e-6)


@pytest.mark.parametrize("order", ["xzy", "xyz"])
def test_numbers_of_every_mode(program, series, tmp_path, order):
    """What numpy makes of the floats; --verify reads back and hashes on the host."""
    def made(mode, *more):
        path = tmp_path / f"{mode}.mrc"
        program(series, *BY_DEVICE, "--order", order, "--verify", "--mode", mode, *more,
                "-o", path)
        check_header(path)
        return read_mrc(path)
    # Some voxels beyond what each type holds.
    scale = {"half": (0.25, 1e5), "byte": (0.5, 70), "int16": (-1, 2e4), "uint16": (0, 3e4)}
    plain = made("float")
    mean, sigma = float(plain.mean(dtype=float)), float(plain.std(dtype=float))
    for mode, (offset, factor) in scale.items():
        add, multiply = offset * sigma - mean, factor / sigma
        wanted = ((plain.astype(float) + add) * multiply).astype(np.float32)
        low, high = RANGES.get(mode, (-65504, 65504))
        assert (wanted > high).any() or (wanted < low).any()
        wanted = np.clip(wanted, low, high)
        wanted = wanted.astype(np.float16) if mode == "half" else np.rint(wanted)
        assert np.array_equal(made(mode, "--scale", f"{add!r},{multiply!r}"), wanted)
    made("int16")  # by way of floats in a file


@pytest.mark.parametrize("columns, device", [(BY_DEVICE, True), (BY_HOST, False)])
def test_a_device_that_is_lost_then(program, series, tmp_path, columns, device):
    """Only the device's slices are copied in two dimensions: one sentence, and no hang."""
    done = program(series, *columns, "-o", tmp_path / "rec.mrc", check=False,
                   env={"CUDAEMU_FAIL": "cudaMemcpy2DAsync:1"})
    assert (done.returncode, (tmp_path / "rec.mrc").exists()) == ((1, False) if device
                                                                 else (0, True))
    if device:
        assert "the GPU could not return data" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("mode", [pytest.param("half", marks=pytest.mark.slow), "float",
                                  pytest.param("byte", marks=pytest.mark.slow)])
def test_slabs_and_an_interruption(cuda, series, tmp_path, mode):  # noqa: F811
    """The same bytes by slabs, by two processes, and going on from a journal, whose
    checksums the host compares with what it reads back."""
    options = [*BY_DEVICE, "-T", 19, "--kernel", "tile", "--mode", mode]

    def run(name, *more, env={}, **how):
        return cuda(*options, *more, "-o", tmp_path / name, series.name, cwd=series.parent,
                    env={"CUDAEMU_MEMORY": str(MEMORY), **env}, **how)
    run("whole.mrc", env={"CUDAEMU_MEMORY": str(8 << 30)})
    run("two.mrc", ranks=2, env={"CUDAEMU_DEVICES": "2"})
    assert "slabs of 16 rows" in run("slabs.mrc").stderr
    done = run("rec.mrc", "--checkpoint", 1e-9, check=False,
               env={"CUDAEMU_FAIL": "cudaMemcpy2DAsync:4"})
    assert done.returncode == 1 and not (tmp_path / "rec.mrc").exists()
    said = run("rec.mrc", "--resume").stderr
    assert "going on after 48 slices" in said or "going on after 32 slices" in said
    whole = (tmp_path / "whole.mrc").read_bytes()
    assert (tmp_path / "slabs.mrc").read_bytes() == whole
    assert (tmp_path / "two.mrc").read_bytes() == whole
    assert (tmp_path / "rec.mrc").read_bytes() == whole


@pytest.mark.parametrize("mode, size", [("float", 4), ("half", 2), ("byte", 4)])
def test_host_memory_is_what_crosses_the_bus(cuda, series, tmp_path, mode, size):  # noqa: F811
    """Of 71 rows in slabs of 80, two of them; integers are made when the limits are known."""
    said = cuda("-T", 500, "-w", 2000, "--mode", mode, "--dry-run", "-o", tmp_path / "a.mrc",
                series.name, cwd=series.parent).stderr
    planned = int(re.search(r", volume (\d+),", said)[1])
    assert abs(planned - 2 * 80 * 500 * 2000 * size / 2 ** 20) <= 1
