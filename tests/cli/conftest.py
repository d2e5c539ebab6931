"""What the tests of the programs share.

TR_BUILD_DIR  the build tree whose programs are tested (set by ctest; default the newest
              of build/release, build/debug, build/asan)
TR_MPIEXEC    the MPI launcher (set by ctest; default mpiexec from the path)
TR_SHARED_DATA  real data that the project does not contain (default ../shared/data)
TR_TEST_EVERY of what is tried one by one, a call that fails after the other, so many times
              fewer, and with the sanitizers a third of each test's cases (default 1: all)
TR_TEST_QUICK leave out tests marked slow
"""
import collections
import os
import subprocess
import sys
import warnings
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from bad_input import Bench

ROOT = Path(__file__).resolve().parents[2]
EVERY = int(os.environ.get("TR_TEST_EVERY", "1"))
TIMEOUT = 120  # seconds: a program that hangs must fail its test, not the whole run


def find_build_dir():
    given = os.environ.get("TR_BUILD_DIR")
    trees = [Path(given)] if given else [ROOT / "build" / name
                                         for name in ("release", "debug", "asan")]
    for tree in trees:
        if (tree / "CMakeCache.txt").exists():
            return tree
    pytest.exit(f"no build tree at {', '.join(map(str, trees))}: build the project first, "
                "or set TR_BUILD_DIR", returncode=1)


def is_sanitized(tree):
    return "TR_SANITIZE:BOOL=ON" in (tree / "CMakeCache.txt").read_text()


@pytest.fixture(scope="session")
def build_dir():
    return find_build_dir()


@pytest.fixture(scope="session")
def sanitized(build_dir):
    """Whether the programs carry the sanitizers, which makes them several times slower."""
    return is_sanitized(build_dir)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: left out of tests/run quick")
    config.addinivalue_line("markers", "long: for tests/run long only")
    config.addinivalue_line("markers", "unsanitized: of numbers, or of many runs of the same "
                            "code; left out of the sanitizers' tree, but for tests/run long")


def pytest_collection_modifyitems(config, items):
    quick = "TR_TEST_QUICK" in os.environ
    short = EVERY > 1
    bare = short and is_sanitized(find_build_dir())
    cases = collections.Counter()
    left_out = []
    for item in items:
        # Of a test's many cases with the sanitizers each third: the same code, slowly.
        turn = cases[item.location[0], item.originalname]
        cases[item.location[0], item.originalname] += 1
        if (quick and item.get_closest_marker("slow")
                or short and item.get_closest_marker("long")
                or bare and (item.get_closest_marker("unsanitized") or turn % 3)):
            left_out.append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_sessionfinish(session, exitstatus):
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and session.testsfailed == 0:
        session.exitstatus = 0  # all of a file is left out


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("TR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set TR_SHARED_DATA to the folder that holds it")
    return folder


# Open MPI refuses to run as root, or more ranks than cores, unless told to.
MPI_ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                   "OMPI_MCA_rmaps_base_oversubscribe": "1",
                   # Starts take a third less time without a look at networks and buses, without
                   # a thread to show what UCX does, and with less memory to fill with zeros.
                   "UCX_TLS": "posix,self", "UCX_MODULE_DIR": "/nonexistent",
                   "UCX_VFS_ENABLE": "n", "HWLOC_COMPONENTS": "-pci,-linuxio,-x86",
                   "MPIR_CVAR_CH4_SHM_POSIX_IQUEUE_NUM_CELLS": "8"}
# Ranks that wait leave the core to the others; the sanitizer wants to be the first library.
MPI_ENVIRONMENT["LD_PRELOAD"] = str(find_build_dir() / "tests" / "libtr_yield.so")
MPI_ENVIRONMENT["ASAN_OPTIONS"] = ":".join(
    filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))


# Each rank as if on a machine of its own: ranks that MPICH knows to share one wait for each
# other at the start without leaving the core. What depends on it is which GPU a rank takes,
# and how many threads and how much memory where no option says so.
APART = {"MPIR_CVAR_NOLOCAL": "1"}


def program_command(build_dir, arguments, ranks=None, threads=1, wrapper=(),
                    program="tiltrec-mpi"):
    """The command line of a program; `wrapper` is a command that runs it."""
    command = [*map(str, wrapper), str(build_dir / program), *map(str, arguments)]
    if threads is not None:
        command += ["--threads", str(threads)]
    if ranks is not None:
        command[:0] = [os.environ.get("TR_MPIEXEC", "mpiexec"), "-n", str(ranks)]
    return command


def runner(build_dir, program):
    """Run a program and return the finished process, whatever its exit status.

    tiltrec("-a", "SIRT", path, cwd=folder, ranks=3, threads=2, check=True)
    Output is text in .stdout and .stderr. check=True fails the test, showing what the
    program said, unless it exited with 0; check=False leaves the judgement to the test.
    Without `ranks` the program runs alone, without mpiexec. wrapper=("nice",) runs it
    (under mpiexec: each rank) by that command.
    """
    def run(*arguments, cwd, ranks=None, threads=1, check=True, env=None,
            wrapper=()):
        command = program_command(build_dir, arguments, ranks, threads, wrapper, program)
        apart = APART if threads is not None and "cuda" not in program else {}
        environment = {**os.environ, **MPI_ENVIRONMENT, **apart, **(env or {})}
        done = subprocess.run(command, cwd=cwd, env=environment, text=True,
                              errors="replace", stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=TIMEOUT)
        said = f"{' '.join(command)}\nexit status {done.returncode}\n{done.stdout}{done.stderr}"
        # A sanitizer's report is a failure even where a failure is expected.
        assert "Sanitizer" not in done.stderr and "runtime error:" not in done.stderr, said
        if check and done.returncode != 0:
            pytest.fail(said, pytrace=False)
        return done
    return run


@pytest.fixture(scope="session")
def tiltrec(build_dir):
    return runner(build_dir, "tiltrec-mpi")


@pytest.fixture(scope="session")
def tiltrecz(build_dir):
    return runner(build_dir, "tiltrecz-mpi")


class Phantom:
    """A synthetic series in its own folder, made by examples/make_phantom.py."""

    def __init__(self, folder, *options):
        self.folder = folder
        subprocess.run([sys.executable, ROOT / "examples" / "make_phantom.py",
                        "--out-prefix", folder / "cell", *map(str, options)],
                       check=True, capture_output=True)
        self.series = folder / "cell_ali.mrc"
        self.tilts = folder / "cell.tlt"
        self.truth = folder / "cell_truth.mrc"


@pytest.fixture(scope="session")
def make_phantom(tmp_path_factory):
    """make_phantom("--size", 64, 48, 24, ...) -> Phantom, in a fresh folder."""
    return lambda *options: Phantom(tmp_path_factory.mktemp("phantom"), *options)


@pytest.fixture(scope="session")
def phantom(make_phantom):
    """Small enough to reconstruct in a moment: 64 x 40 images, 24 thick, 31 views."""
    return make_phantom("--size", 64, 40, 24, "--views", 31, "--noise-free")


@pytest.fixture
def bench(tmp_path, tiltrec):
    """A small series in a fresh folder, and runs on it that must be refused cleanly."""
    return Bench(tmp_path, tiltrec)


def read_mrc(path):
    """An MRC file's data as float64[section][row][column], read by mrcfile."""
    with mrcfile.open(path, mode="r") as file:
        data = np.array(file.data, dtype=np.float64)
    return data.reshape((1,) * (3 - data.ndim) + data.shape)  # one section comes as 2-D


def write_mrc(path, data, pixel=4.0, dtype=np.float32):
    """data[section][row][column] as an MRC file of cubic pixels."""
    with mrcfile.new(path, overwrite=True) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NaN may be meant
        file.set_data(np.asarray(data).astype(dtype))
        file.voxel_size = pixel
    return path


def write_series(folder, data, tilts, name="s_ali.mrc", **options):
    """A series data[view][row][column] and its angles; returns the series' path."""
    path = write_mrc(folder / name, data, **options)
    np.savetxt(path.with_suffix(".tlt"), tilts, "%.9g")
    return path


def write_xtilts(path, rotations):
    """An .xtilt for views rotated about x by these angles, as --pitch rotates: IMOD subtracts
    its angles from the pitch."""
    np.savetxt(path, 0 - np.asarray(rotations, float))


def difference(a, b):
    """Of a from b: the largest, as a fraction of b's range."""
    assert a.shape == b.shape
    return np.abs(a - b).max() / np.ptp(b)


def correlation(a, b, margin=0):
    """In the interior: all but `margin` voxels at each face."""
    assert a.shape == b.shape
    inner = tuple(slice(margin, n - margin) for n in a.shape)
    return np.corrcoef(a[inner].ravel(), b[inner].ravel())[0, 1]
