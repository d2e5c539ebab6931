"""Two runs with one output at the same time, again and again."""
import os
import subprocess

import numpy as np
import pytest

from conftest import MPI_ENVIRONMENT, TIMEOUT, program_command, read_mrc, write_mrc

PAIRS = int(os.environ.get("TR_PAIRS", "20"))


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
