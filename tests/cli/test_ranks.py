"""Processes of one run that were given different things, and processes that another MPI
started: a sentence and a failure on all of them, never a tomogram of both."""
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from conftest import MPI_ENVIRONMENT, write_series

N_V = 20
BASE = ["-q", "-a", "SIRT", "-i", "2", "-T", "8", "--threads", "1", "-o", "rec.mrc"]


@pytest.fixture
def folders(tmp_path):
    """One for each rank, with the same files."""
    views = np.random.default_rng(3).normal(10, 1, (9, N_V, 24))
    made = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_series(tmp_path / name, views, np.arange(-40, 41, 10))
        made.append(tmp_path / name)
    return made


def launch(build_dir, folders, arguments, environments=({}, {}), programs=("tiltrec-mpi",) * 2):
    """Two ranks, each in its folder, with its arguments and environment."""
    command = [os.environ.get("TR_MPIEXEC", "mpiexec")]
    for k in range(2):
        command += [":"] * k + ["-n", "1", "env", "-C", str(folders[k])]
        command += [f"{name}={value}" for name, value in environments[k].items()]
        command += [str(build_dir / programs[k]), *map(str, arguments[k])]
    return subprocess.run(command, text=True, capture_output=True, timeout=120,
                          env={**os.environ, **MPI_ENVIRONMENT})


def refused(done, folders, *words):
    assert done.returncode != 0
    errors = re.findall(r"error: (.*)", done.stderr)
    assert len(errors) == 1 and all(word in errors[0] for word in words), done.stderr
    assert "rank 1" in errors[0]
    assert not list(folders[0].glob("rec*")) and not list(folders[1].glob("rec*"))


@pytest.mark.parametrize("second, words", [
    ([*BASE, "-T", "10", "s_ali.mrc"], ["options", '"-T"']),
    ([*BASE, "s_ali.mrc", "--bin", "2"], ["options", '"--bin"', '""']),
    ([*BASE], ["options", '"s_ali.mrc"']),
    (["--help"], ["options", '"--help"']),
])
def test_other_options(build_dir, folders, second, words):
    refused(launch(build_dir, folders, [[*BASE, "s_ali.mrc"], second]), folders, *words)


def test_another_program(build_dir, folders):
    done = launch(build_dir, folders, [[*BASE, "s_ali.mrc"]] * 2,
                  programs=("tiltrec-mpi", "tiltrecz-mpi"))
    refused(done, folders, "program", "tiltrecz-mpi")


def replace_views(folder):
    """Same name, same size, same header."""
    path = folder / "s_ali.mrc"
    data = bytearray(path.read_bytes())
    data[1024:] = bytes(np.frombuffer(bytes(data[1024:]), "<f4")[::-1].tobytes())
    path.write_bytes(data)


def lengthen(folder):
    with open(folder / "s_ali.mrc", "ab") as file:
        file.write(b"\0" * 4)


def turn_angles(folder):
    np.savetxt(folder / "s_ali.tlt", -np.arange(-40.0, 41, 10))


def lose_a_view(folder):
    rng = np.random.default_rng(3)
    write_series(folder, rng.normal(10, 1, (8, N_V, 24)), np.arange(-40, 31, 10))


@pytest.mark.parametrize("change, words", [
    (replace_views, ["s_ali.mrc", "samples"]), (lengthen, ["s_ali.mrc", "bytes"]),
    (turn_angles, ["tilt angles"]), (lose_a_view, ["s_ali.mrc"])])
@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_other_files_of_the_same_name(build_dir, folders, change, words, program):
    change(folders[1])
    done = launch(build_dir, folders, [[*BASE, "s_ali.mrc"]] * 2, programs=(program,) * 2)
    refused(done, folders, *words)


def test_another_initial_volume(build_dir, folders, tiltrec):
    for k, folder in enumerate(folders):
        tiltrec(*BASE[:-1], "start.mrc", "--scale", "0,%d" % (k + 1), "s_ali.mrc", cwd=folder,
                threads=None)
    done = launch(build_dir, folders, [[*BASE, "--initial", "start.mrc", "s_ali.mrc"]] * 2)
    refused(done, folders, "start.mrc")


@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_the_instruction_set_that_all_have(build_dir, folders, program):
    """As if one machine were older: the bytes are those of the older one alone."""
    with open("/proc/cpuinfo") as file:
        if "avx2" not in file.read():
            pytest.skip("this processor has one instruction set")
    arguments = ["-a", "SIRT", "-i", "3", "-T", "8", "--threads", "1", "s_ali.mrc", "-o"]
    shared = folders[0]
    made = {}
    for name, isas in {"old": ("baseline",) * 2, "new": ("avx2",) * 2,
                       "mixed": ("avx2", "baseline"), "other": ("baseline", "avx2")}.items():
        done = launch(build_dir, [shared, shared], [[*arguments, f"{name}.mrc"]] * 2,
                      [{"TR_ISA": isa} for isa in isas], (program,) * 2)
        assert done.returncode == 0, done.stderr
        assert ("different instruction sets" in done.stderr) == (isas[0] != isas[1])
        assert isas[0] == "avx2" == isas[1] or "baseline" in done.stderr
        made[name] = (shared / f"{name}.mrc").read_bytes()
    assert made["mixed"] == made["other"] == made["old"] != made["new"]


@pytest.mark.parametrize("variables", [
    {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0"},
    {"PMI_SIZE": "2"}, {"MV2_COMM_WORLD_SIZE": "16"}, {"PMIX_RANK": "1"},
    {"SLURM_STEP_NUM_TASKS": "8", "SLURM_NTASKS": "8", "SLURM_PROCID": "3"}])
def test_the_mpiexec_of_another_mpi(build_dir, tiltrec, folders, variables, mpi_name):
    if mpi_name == "Open MPI" and "OMPI_COMM_WORLD_SIZE" in variables:
        pytest.skip("its own variables")
    done = tiltrec(*BASE, "s_ali.mrc", cwd=folders[0], threads=None, env=variables, check=False)
    assert done.returncode == 3, done.stderr
    (error,) = re.findall(r"error: (.*)", done.stderr)
    assert next(iter(variables)) in error and mpi_name in error
    assert not list(folders[0].glob("rec*"))


@pytest.fixture(scope="session")
def mpi_name(build_dir):
    done = subprocess.run([os.environ.get("TR_MPIEXEC", "mpiexec"), "--version"], text=True,
                          capture_output=True)
    return "Open MPI" if "Open MPI" in done.stdout or "OpenRTE" in done.stdout else "MPICH"


@pytest.mark.parametrize("variables", [
    {},
    # A script of a job, and a step of one task.
    {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_NPROCS": "8", "SLURM_PROCID": "0"},
    {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1",
     "SLURM_PROCID": "0"},
    {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0", "PMIX_RANK": "0"},
    {"PMIX_RANK": ""}, {"SLURM_STEP_NUM_TASKS": "none"}])
def test_a_run_of_one_process_is_none_of_that(tiltrec, folders, variables, mpi_name):
    if mpi_name == "Open MPI" and "PMIX_RANK" in variables:
        pytest.skip("Open MPI takes these for its launcher's")
    tiltrec(*BASE, "s_ali.mrc", cwd=folders[0], threads=None, env=variables)
    assert (folders[0] / "rec.mrc").exists()


def test_a_launcher_of_another_mpi(build_dir, folders, mpi_name):
    """Two processes that do not know of each other, as such a launcher starts them."""
    other = {"MPICH": "mpiexec.openmpi", "Open MPI": "mpiexec.mpich"}[mpi_name]
    if not shutil.which(other):
        pytest.skip("no other MPI is installed")
    done = subprocess.run([other, "-n", "2", build_dir / "tiltrec-mpi", *BASE, "s_ali.mrc"],
                          cwd=folders[0], text=True, capture_output=True,
                          env={**os.environ, **MPI_ENVIRONMENT})
    assert done.returncode != 0 and "was built with" in done.stderr
    assert not list(folders[0].glob("rec*"))


def run_unit(build_dir, name, ranks):
    """What tests/unit/NAME.c prints on so many ranks, where it passes."""
    done = subprocess.run([os.environ.get("TR_MPIEXEC", "mpiexec"), "-n", str(ranks),
                           build_dir / "tests" / name], text=True, capture_output=True,
                          env={**os.environ, **MPI_ENVIRONMENT})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_what_the_ranks_tell_each_other(build_dir, ranks):
    assert run_unit(build_dir, "test_comm", ranks).count(f"{ranks} ranks") == ranks


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_responses_of_views_that_ranks_share(build_dir, ranks):
    run_unit(build_dir, "test_responses", ranks)


@pytest.mark.parametrize("ranks", [2, 3])
def test_the_operator_of_two_series(build_dir, ranks):
    run_unit(build_dir, "test_second", ranks)
