"""Processes on GPUs of one machine, emulated by tests/cudaemu, write rows into each other's
memory, or where they cannot, send them through the host: nobody sees that in the files."""
import numpy as np
import pytest

from conftest import read_mrc, write_series
from emulated import cudaz  # noqa: F401: a fixture

N_V = 22
GEOMETRIES = {"neighbours": ["--xtilts", "s.xtilt", "--pitch", 6, "-T", 8],
              "all": ["--xtilts", "steep.xtilt", "-T", 26]}  # rows from all others
HOST = "else through host memory"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("peers")
    rng = np.random.default_rng(0)
    write_series(folder, rng.normal(1, 1, (9, N_V, 24)), np.linspace(-60, 60, 9))
    np.savetxt(folder / "s.xtilt", 2 + 5 * np.sin(2.1 * np.arange(9)))
    np.savetxt(folder / "steep.xtilt", 40 * np.sin(2.1 * np.arange(9)))
    return folder


def run(program, folder, *options, devices=2, **how):
    environment = {"CUDAEMU_DEVICES": str(devices), **how.pop("environment", {})}
    done = program("-o", "rec.mrc", "--verbose", *options, "s_ali.mrc",
                   cwd=folder, env=environment, **how)
    return read_mrc(folder / "rec.mrc"), done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_either_way_the_same_bytes(cudaz, tiltrecz, folder, geometry, ranks):
    """Projected and projected back; of three processes, two share a device."""
    options = ["-a", "CGLS", "-i", 2, *GEOMETRIES[geometry]]
    expected, _ = run(tiltrecz, folder, *options)
    host, said = run(cudaz, folder, *options, "--kernel", "tile", ranks=ranks,
                     environment={"CUDAEMU_IPC": "handle"})
    assert "between 0 of" in said and HOST in said and "has no handle for others" in said
    assert np.abs(host - expected).max() < 1e-5 * np.abs(expected).max()
    for order in "forward", "reverse":
        peers, said = run(cudaz, folder, *options, "--kernel", "tile", ranks=ranks,
                          environment={"CUDAEMU_ORDER": order})
        assert "from GPU to GPU between all pairs of processes" in said
        assert np.array_equal(peers, host)


@pytest.mark.parametrize("ranks, devices, fails, reason", [
    (3, 2, "access", "GPU 0 cannot write into the memory of GPU 1"),
    pytest.param(2, 2, "open", "cannot be opened (mapping of buffer object failed)",
                 marks=pytest.mark.slow),
    (2, 1, "", ""), pytest.param(2, 1, "access", "", marks=pytest.mark.slow)])
def test_who_is_reached(cudaz, folder, ranks, devices, fails, reason):
    """Of three processes on two devices, the first and the third share one."""
    options = ["-a", "CGLS", "-i", 1, *GEOMETRIES["all"], "--kernel", "tile"]
    host, _ = run(cudaz, folder, *options, ranks=ranks, devices=devices,
                  environment={"CUDAEMU_IPC": "handle"})
    found, said = run(cudaz, folder, *options, ranks=ranks, devices=devices,
                      environment={"CUDAEMU_IPC": fails})
    assert np.array_equal(found, host)
    assert reason in said and (HOST in said) == bool(reason)
    if ranks == 3:
        assert "from GPU to GPU between 1 of 3 pairs of processes" in said


@pytest.mark.slow
@pytest.mark.parametrize("call", ["cudaIpcGetMemHandle", "cudaIpcOpenMemHandle",
                                  "cudaIpcCloseMemHandle", "cudaDeviceCanAccessPeer"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_device_lost_on_the_way(cudaz, folder, call, rank):
    """The other process does not wait for this one; nothing is left."""
    wrapper = ["sh", "-c", 'if [ "${PMI_RANK:-$OMPI_COMM_WORLD_RANK}" != %d ]; then '
               'unset CUDAEMU_FAIL; fi; exec "$@"' % rank, "sh"]
    (folder / "lost.mrc").unlink(missing_ok=True)
    done = cudaz("-o", "lost.mrc", "-a", "CGLS", "-i", 1, "--kernel",
                 "tile", *GEOMETRIES["neighbours"], "s_ali.mrc", cwd=folder, ranks=2,
                 check=False, wrapper=wrapper,
                 env={"CUDAEMU_DEVICES": "2", "CUDAEMU_FAIL": f"{call}:1"})
    errors = [line for line in done.stderr.splitlines() if "error: " in line]
    if call == "cudaIpcCloseMemHandle":  # the volume is there
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 1 and len(errors) == 1, done.stderr
        assert "GPU" in errors[0]
        assert not (folder / "lost.mrc").exists()


def test_both_halves_and_the_whole(cudaz, folder):
    """Three operators, one after the other: each has its own memory and gives it back."""
    options = ["-a", "WBP", "--half-sets", "views", *GEOMETRIES["neighbours"], "--kernel", "tile"]
    run(cudaz, folder, *options, ranks=2, environment={"CUDAEMU_IPC": "open"})
    names = ["rec.mrc", "rec_EVN.mrc", "rec_ODD.mrc"]
    through_host = [read_mrc(folder / name) for name in names]
    _, said = run(cudaz, folder, *options, ranks=2)
    assert said.count("from GPU to GPU between all pairs") == len(names)
    for name, expected in zip(names, through_host):
        assert np.array_equal(read_mrc(folder / name), expected), name
