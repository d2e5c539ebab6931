"""Two runs with one output at the same time, again and again; what is promised to be kept."""
import os
import subprocess

import numpy as np
import pytest

from conftest import EVERY, MPI_ENVIRONMENT, TIMEOUT, program_command, read_mrc, write_mrc

PAIRS = int(os.environ.get("TR_PAIRS", "20" if EVERY == 1 else "6"))


@pytest.mark.unsanitized
@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_one_of_two_runs_succeeds(build_dir, tmp_path, program):
    """The one that succeeds has written all of it; the other says which it is."""
    rng = np.random.default_rng(7)
    (tmp_path / "ts.tlt").write_text("".join(f"{20 * k - 60}\n" for k in range(7)))
    for name in "a", "b":
        write_mrc(tmp_path / f"{name}.mrc", 100 + rng.normal(0, 20, (7, 200, 128)))

    def start(series, output):
        arguments = f"-q -a SIRT -i 60 -T 64 -t ts.tlt {series}.mrc -o {output}".split()
        return subprocess.Popen(program_command(build_dir, arguments, program=program),
                                cwd=tmp_path, text=True, stderr=subprocess.PIPE,
                                env={**os.environ, **MPI_ENVIRONMENT})

    alone = {}
    for name in "a", "b":
        assert start(name, f"{name}_alone.mrc").wait(TIMEOUT) == 0
        alone[name] = read_mrc(tmp_path / f"{name}_alone.mrc").copy()
    kept = sorted(os.listdir(tmp_path))
    for k in range(PAIRS):
        runs = [(name, start(name, "o.mrc")) for name in ("ab", "ba")[k % 2]]
        said = {name: run.communicate(timeout=TIMEOUT)[1] for name, run in runs}
        statuses = {name: run.returncode for name, run in runs}
        assert sorted(statuses.values()) == [0, 1], (k, said)
        good, = (name for name in statuses if statuses[name] == 0)
        bad, = (name for name in statuses if statuses[name] == 1)
        process = dict(runs)[good].pid
        assert f"another run writes o.mrc: process {process} on " in said[bad], (k, said)
        assert said[bad].count("error:") == 1
        assert np.array_equal(read_mrc(tmp_path / "o.mrc"), alone[good]), (k, said)
        (tmp_path / "o.mrc").unlink()
        assert sorted(os.listdir(tmp_path)) == kept


def test_checkpoints_outlive_a_bad_disk(build_dir, tmp_path):
    """--verify finds a wrong bit, so the tomogram goes; the checkpoints do not, and a run goes
    on from them to the bytes of one that met no bad disk."""
    library = build_dir / "tests" / "faults" / "libtr_faults.so"
    if "TR_SANITIZE:BOOL=ON" in (build_dir / "CMakeCache.txt").read_text():
        pytest.skip("the sanitizers replace the same calls")
    (tmp_path / "ts.tlt").write_text("".join(f"{20 * k - 60}\n" for k in range(7)))
    write_mrc(tmp_path / "ts.mrc", np.random.default_rng(7).normal(100, 20, (7, 40, 32)))

    def run(output, *more, **env):
        arguments = ["-q", "-a", "SIRT", "-i", 20, "-T", 16, "ts.mrc", "-o", output, "--verify",
                     "--checkpoint", 1e-9, *more]
        done = subprocess.run(program_command(build_dir, arguments, program="tiltrecz-mpi"),
                              cwd=tmp_path, text=True, capture_output=True, timeout=TIMEOUT,
                              env={**os.environ, **MPI_ENVIRONMENT, **env})
        return done.returncode, done.stderr

    assert run("alone.mrc") == (0, "")
    status, said = run("o.mrc", LD_PRELOAD=str(library), TR_FAULT="write:5:flip",
                       TR_FAULT_PATH="o.mrc.partial")
    assert status == 1 and "not on the disk as they were written" in said
    assert sorted(n for n in os.listdir(tmp_path) if "o.mrc" in n) == [
        ".o.mrc.checkpoint-0-of-1.0", ".o.mrc.checkpoint-0-of-1.1"]
    assert run("o.mrc", "--resume") == (0, "")
    assert np.array_equal(read_mrc(tmp_path / "o.mrc"), read_mrc(tmp_path / "alone.mrc"))
    assert [n for n in os.listdir(tmp_path) if "o.mrc" in n] == ["o.mrc"]
