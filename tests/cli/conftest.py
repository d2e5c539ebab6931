"""What the tests of the programs share.

TR_BUILD_DIR  the build tree whose programs are tested (set by ctest; default the newest
              of build/release, build/debug, build/asan)
TR_MPIEXEC    the MPI launcher (set by ctest; default mpiexec from the path)
TR_SHARED_DATA  real data that the project does not contain (default ../shared/data)
"""
import os
import subprocess
import sys
from pathlib import Path

import mrcfile
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
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


@pytest.fixture(scope="session")
def build_dir():
    return find_build_dir()


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("TR_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set TR_SHARED_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def tiltrec(build_dir):
    """Run tiltrec-mpi and return the finished process, whatever its exit status.

    tiltrec("-a", "SIRT", path, cwd=folder, ranks=3, threads=2, check=True)
    Output is text in .stdout and .stderr. check=True fails the test, showing what the
    program said, unless it exited with 0; check=False leaves the judgement to the test.
    Without `ranks` the program runs alone, without mpiexec.
    """
    def run(*arguments, cwd, ranks=None, threads=1, check=True, env=None):
        command = [str(build_dir / "tiltrec-mpi"), *map(str, arguments)]
        if threads is not None:
            command[1:1] = ["--threads", str(threads)]
        if ranks is not None:
            command[:0] = [os.environ.get("TR_MPIEXEC", "mpiexec"), "-n", str(ranks)]
        # Open MPI refuses to run as root, or more ranks than cores, unless told to.
        environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1",
                       "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                       "OMPI_MCA_rmaps_base_oversubscribe": "1", **(env or {})}
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


def read_mrc(path):
    """An MRC file's data as float64[section][row][column], read by mrcfile."""
    with mrcfile.open(path, mode="r") as file:
        data = np.array(file.data, dtype=np.float64)
    return data.reshape((1,) * (3 - data.ndim) + data.shape)  # one section comes as 2-D
