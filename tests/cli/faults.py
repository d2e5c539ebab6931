"""Runs in which a call fails: of test_faults_slow.py and test_faults_more_slow.py.

A library that is preloaded (tests/faults/shim.c) makes one call after the other fail, the
K-th of a kind in the K-th run. Each run must end by itself with one sentence and a status
that is not 0, leave no file behind and touch neither its inputs nor an earlier output; where
a failure does no harm, the result must be right to the byte.
"""
import gzip
import itertools
import os
import shutil
import signal
import subprocess
from collections import Counter

import h5py
import numpy as np
import pytest

from conftest import APART, EVERY, MPI_ENVIRONMENT, program_command, write_series

VIEWS, ROWS, COLUMNS = 7, 12, 16
EARLIER = b"of an earlier run"
SOONEST = ["--checkpoint", "1e-9"]  # minutes: everything is kept
COPIES = 30  # of lines of the log
SECONDS = 30  # within which every rank has ended


sweeps = itertools.count()


def sampled(most, step=1, every=0):
    """Numbers of calls to fail in a sweep: each `every`-th, or, if that is 0, the first 3 and
    then each of TR_TEST_EVERY. Those of the next sweep are others, so that in all every one
    has its turn."""
    turn = next(sweeps)
    if every:
        return range(1 + turn % (every * step), most, every * step)
    if EVERY == 1 or step > 1:
        return range(1, most, step)
    return (k for k in range(1, most) if k <= 3 or (k + turn) % EVERY == 0)


class Place:
    """A folder with a small series in several formats, in which programs run."""

    def __init__(self, folder, build_dir):
        self.folder, self.build_dir = folder / "series", build_dir
        self.log = folder / "log"
        self.library = build_dir / "tests" / "faults" / "libtr_faults.so"
        self.references = {}
        self.folder.mkdir()
        tilts = 20.0 * np.arange(VIEWS) - 60
        data = np.random.default_rng(1).normal(10, 1, (VIEWS, ROWS, COLUMNS))
        series = write_series(self.folder, data, tilts, name="s.mrc")
        # Other angles, to be taken by nobody.
        np.savetxt(self.folder / "s.rawtlt", tilts + 5, "%g")
        np.savetxt(self.folder / "x.xtilt", np.arange(VIEWS) - 3)
        for name in "z.mrc.gz", "h.hdf":
            shutil.copy(self.folder / "s.tlt", self.folder / name[:1]).rename(
                self.folder / f"{name[:1]}.tlt")
        with gzip.open(self.folder / "z.mrc.gz", "wb") as file:
            file.write(series.read_bytes())
        with h5py.File(self.folder / "h.hdf", "w") as file:
            file["MDF/images/0/image"] = data.astype(np.float32)
        self.inputs = self.contents()

    def contents(self):
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir())}

    def left(self):
        """What is there beside the inputs."""
        return {name: data for name, data in self.contents().items()
                if name not in self.inputs}

    def clear(self):
        for name in self.left():
            (self.folder / name).unlink()
        for name, data in self.inputs.items():
            (self.folder / name).write_bytes(data)
        self.log.unlink(missing_ok=True)

    def run(self, program, arguments, fault="", path="", ranks=None, rank=None, env=()):
        """Returns (exit status, or minus the signal; standard error; whether the fault
        happened)."""
        setting = {"TR_FAULT": fault, "TR_FAULT_PATH": path, "TR_FAULT_LOG": str(self.log),
                   "LD_PRELOAD": f"{self.library}:{MPI_ENVIRONMENT['LD_PRELOAD']}",
                   "OMP_WAIT_POLICY": "passive",  # else it loads itself anew, to set it
                   **dict(env)}
        if rank is not None:
            setting["TR_FAULT_RANK"] = str(rank)
        wrapper = ["env", *(f"{k}={v}" for k, v in setting.items())] if fault else []
        command = program_command(self.build_dir, arguments, ranks, 1, wrapper, program)
        process = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   text=True, errors="replace", start_new_session=True,
                                   env={**os.environ, **MPI_ENVIRONMENT, **APART})
        try:
            said = process.communicate(timeout=SECONDS)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            pytest.fail(f"{fault}: {' '.join(command)} does not end")
        happened = self.log.exists() and "fault" in self.log.read_text()
        return process.returncode, said, happened

    def reference(self, program, arguments, ranks=None):
        """The files that the run makes when nothing fails."""
        key = (program, ranks, *arguments)
        if key not in self.references:
            self.clear()
            status, said, _ = self.run(program, arguments, ranks=ranks)
            assert status == 0, said
            self.references[key] = self.left()
        return self.references[key]

    def judge(self, program, arguments, said, status, ranks=None, named=(), result=()):
        """Of a run in which something failed; returns "failed" or "harmless"."""
        left = self.left()
        for name, data in self.inputs.items():
            assert (self.folder / name).read_bytes() == data, name
        if status == 0:
            expected = self.reference_without_timeline(program, arguments, ranks)
            assert {n: d for n, d in left.items() if n != "t.json"} == expected, said
            return "harmless"
        errors = [line for line in said.splitlines() if "error: " in line]
        assert 0 < status < 6 and len(errors) == 1, (status, said)
        assert errors[0].startswith(f"{program}: error: "), said
        assert len(errors[0]) > len(f"{program}: error: ") + 10, said
        assert " = " not in errors[0], said  # values of HDF5's own variables
        assert not named or any(name in errors[0] for name in named), said
        assert left in ({"o.mrc": EARLIER}, {"o.hdf": EARLIER}, *result), (left.keys(), said)
        return "failed"

    def reference_without_timeline(self, program, arguments, ranks):
        saved, log = self.left(), self.log.read_bytes() if self.log.exists() else None
        files = dict(self.reference(program, arguments, ranks))
        self.clear()
        for name, data in saved.items():
            (self.folder / name).write_bytes(data)
        if log is not None:
            self.log.write_bytes(log)
        files.pop("t.json", None)
        return files

    def sweep(self, program, arguments, op, what, path="", onwards=False, step=1, named=(),
              most=1000, ranks=None, rank=None, env=(), result=(), every=0):
        """Let the calls fail one by one until a run has not that many. Returns how many runs
        failed, and in how many the failure did no harm. every=1: no call is left out."""
        outcomes = Counter()
        output = arguments[arguments.index("-o") + 1] if "-o" in arguments else "s_rec.mrc"
        for k in sampled(most, step, every or (EVERY if op == "alloc" else 0)):
            self.clear()
            (self.folder / output).write_bytes(EARLIER)
            fault = f"{op}:{k}{'+' if onwards else ''}:{what}"
            status, said, happened = self.run(program, arguments, fault, path, ranks, rank,
                                              env)
            if not happened:
                assert status == 0, (fault, said)
                break
            print(fault, status, said.strip())
            if what == "shrink":  # by the library
                for name, data in self.inputs.items():
                    (self.folder / name).write_bytes(data)
            outcomes[self.judge(program, arguments, said, status, ranks, named, result)] += 1
        print(program, *arguments, op, what, path, dict(outcomes))
        return outcomes


@pytest.fixture(scope="module")
def place(tmp_path_factory, build_dir, sanitized):
    if sanitized:
        pytest.skip("the sanitizers replace the same calls")
    made = Place(tmp_path_factory.mktemp("faults"), build_dir)
    if not made.library.exists():
        pytest.skip(f"no {made.library} was built")
    return made


SLICES, VOLUME = "tiltrec-mpi", "tiltrecz-mpi"
COUPLED = ["--pitch", "4", "--xtilts", "x.xtilt"]
PLAIN = ["s.mrc", "-T", "16", "--quiet", "-o", "o.mrc"]
HDF = ["s.mrc", "-T", "16", "--quiet", "-o", "o.hdf"]
OUTPUTS = {
    "mrc": PLAIN, "hdf": HDF, "byte": [*PLAIN, "--mode", "byte", "-a", "SIRT", "-i", "2"],
    "packed": [*HDF, "--deflate", "3"], "binned": [*PLAIN, "--bin", "2"],
    "xyz": [*PLAIN, "--order", "xyz"],
    "kept": [*PLAIN, *SOONEST]}  # see test_going_on
