"""Half sets interrupted: all three tomograms get their names, or none, and what is finished
is not made again."""
import os
import re
import signal
import subprocess
import time

import mrcfile
import numpy as np
import pytest

from conftest import MPI_ENVIRONMENT, program_command, read_mrc, runner, write_mrc, write_series
from specimen import make_slab
from test_half_sets import DATA, TILTS, USAGE, list_of, noisy

WORK = {"tiltrec-mpi": ["-a", "SIRT", "-i", 30, "--memory", "66M"],  # 8 slabs
        "tiltrecz-mpi": ["-a", "SIRT", "-i", 20]}


@pytest.fixture(scope="module")
def long_series(tmp_path_factory):
    return write_series(tmp_path_factory.mktemp("long"), noisy((20, 230, 48), 7), TILTS)


def stop_in(build_dir, folder, program, half, number, options, ranks=None):
    """Stop a run by a signal once it has begun with this half and kept some of it."""
    command = program_command(build_dir, ["-o", "rec.mrc", "--checkpoint", 1e-9, *options],
                              ranks=ranks, program=program)
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True,
                               start_new_session=True,
                               env={**os.environ, **MPI_ENVIRONMENT})
    said = ""
    for line in process.stderr:
        said += line
        if f"the {half} half set:" in line or f"split {half}:" in line:
            break
    begun = time.monotonic()
    name = {"even": "EVN", "odd": "ODD"}.get(half, half.replace(" ", ""))
    pattern = f".rec_{name}.mrc." + (
        "checkpoint*" if program == "tiltrecz-mpi" else "journal")
    before = {p: p.read_bytes() for p in folder.glob(pattern)}
    while process.poll() is None and time.monotonic() < begun + 20:
        if any(p.read_bytes() != before.get(p) for p in folder.glob(pattern)
               if not p.name.endswith(".new")):
            break
        time.sleep(0.002)
    assert process.poll() is None, said
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    said += process.communicate(timeout=60)[1]
    return said


@pytest.mark.parametrize("program, half, number, ranks, more", [
    ("tiltrec-mpi", "even", signal.SIGTERM, None, []),
    ("tiltrec-mpi", "odd", signal.SIGKILL, None, ["--mode", "int16", "--order", "xyz"]),
    ("tiltrecz-mpi", "even", signal.SIGTERM, None, ["--mode", "byte"]),
    ("tiltrecz-mpi", "odd", signal.SIGKILL, None, []),
    ("tiltrecz-mpi", "even", signal.SIGTERM, 2, [])])
def test_nothing_is_published_and_finished_parts_are_kept(
        build_dir, long_series, tmp_path, program, half, number, ranks, more):
    options = ["-T", 40, "--half-sets", "views", *WORK[program], *more,
               long_series]
    said = stop_in(build_dir, tmp_path, program, half, number, options, ranks)
    print(said)
    assert not [name for name in list_of(tmp_path) if not name.startswith(".")]
    if number == signal.SIGTERM and program == "tiltrecz-mpi" and not ranks:
        assert "--resume goes on from there" in said
    unfinished = tmp_path / ".rec_ODD.mrc.checkpoint-0-of-1.1.new"
    if program == "tiltrecz-mpi" and number == signal.SIGKILL:
        unfinished.write_bytes(b"killed while it was written")
    run = runner(build_dir, program)
    said = run("-o", "rec.mrc", "--resume", *options, cwd=tmp_path, ranks=ranks).stderr
    print(said)
    done = re.findall(r"going on after all slices of (\S+), which", said)
    assert done == ["rec.mrc", "rec_EVN.mrc"][:1 if half == "even" else 2]
    assert re.search(r"going on after (\d+ slices|iteration \d+) ", said)
    assert list_of(tmp_path) == ["rec.mrc", "rec_EVN.mrc", "rec_ODD.mrc"]
    run("-o", "whole.mrc", *options, cwd=tmp_path, ranks=ranks)
    for ending in "", "_EVN", "_ODD":
        assert ((tmp_path / f"rec{ending}.mrc").read_bytes()
                == (tmp_path / f"whole{ending}.mrc").read_bytes())


@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_splits_go_on(build_dir, long_series, tmp_path, program):
    """Those that were complete are not made again; those of another number are not taken, and
    named."""
    options = ["-T", 40, "--half-sets", "views", *WORK[program], long_series]
    stop_in(build_dir, tmp_path, program, "2 of 3", signal.SIGTERM,
            ["--splits", 3, *options])
    run = runner(build_dir, program)
    said = run("-o", "rec.mrc", "--splits", 3, "--resume", *options, cwd=tmp_path).stderr
    assert re.findall(r"going on after all slices of (\S+), which", said) == [
        "rec.mrc", "rec_1of3.mrc"]
    names = [f"_{k}of3" for k in (1, 2, 3)]
    assert list_of(tmp_path) == ["rec.mrc", *[f"rec{n}.mrc" for n in names]]
    run("-o", "whole.mrc", "--splits", 3, *options, cwd=tmp_path)
    for ending in "", *names:
        assert ((tmp_path / f"rec{ending}.mrc").read_bytes()
                == (tmp_path / f"whole{ending}.mrc").read_bytes())
    (tmp_path / ".rec_2of4.mrc.journal").write_bytes(b"left")
    said = run("-o", "rec.mrc", "--splits", 3, *options, cwd=tmp_path).stderr
    assert re.search(r"\.rec_2of4\.mrc\.journal and 0 more files of rec_2of4\.mrc", said)


def test_what_one_run_kept_another_takes(build_dir, tiltrec, long_series, tmp_path):
    """The full tomogram does not depend on --half-sets; a half depends on its views."""
    options = ["-T", 40, *WORK["tiltrec-mpi"], long_series]
    stop_in(build_dir, tmp_path, "tiltrec-mpi", "even", signal.SIGTERM,
            ["--half-sets", "views", *options])
    other = ["--half-sets", "frames", "a.mrc", "b.mrc"]
    for name in "a.mrc", "b.mrc":
        write_mrc(tmp_path / name, noisy((20, 230, 48), 8))
    kept = list_of(tmp_path)
    done = tiltrec("-o", "rec.mrc", "--resume", *other, *options, cwd=tmp_path, check=False)
    assert done.returncode == USAGE and ".rec_EVN.mrc.journal is of a run with" in done.stderr
    assert list_of(tmp_path) == kept
    said = tiltrec("-o", "rec.mrc", "--resume", *options, cwd=tmp_path).stderr
    assert "going on after all slices of rec.mrc" in said


def test_a_half_that_is_worth_nothing_takes_all_along(tiltrec, tiltrecz, tmp_path):
    """A failure at the end of the second: no file is left, neither of the first."""
    series = write_series(tmp_path, noisy((20, 16, 24), 2), TILTS)
    data = read_mrc(series)
    for name in "e.mrc", "o.mrc":
        write_mrc(tmp_path / name, data * (1e38 if name == "o.mrc" else 1))
    before = list_of(tmp_path)
    for run, ranks in (tiltrec, None), (tiltrec, 2), (tiltrecz, 2):
        done = run("-T", 8, "-o", "rec.mrc", "--half-sets", "frames", "e.mrc", "o.mrc", series,
                   "--scale", "0,1e10", cwd=tmp_path, check=False, ranks=ranks)
        assert done.returncode == DATA
        assert "rec_ODD.mrc: voxels came out as NaN or infinite" in done.stderr
        assert "wrote" not in done.stderr
        assert list_of(tmp_path) == before


@pytest.mark.unsanitized
@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_iterations_that_end_at_the_noise_are_as_many_in_all_three(build_dir, tmp_path,
                                                                   program):
    """Also where the first of the three was complete when a run was stopped; and the label
    says how many there were."""
    views, tilts, _ = make_slab(96, 16, 40, 30, 3, 1)
    path = write_series(tmp_path, views, tilts)
    run = runner(build_dir, program)
    options = ["-a", "SIRT", "-T", 40, "--half-sets", "views", "-o", "rec.mrc", path]
    names = ["rec.mrc", "rec_EVN.mrc", "rec_ODD.mrc"]
    said = run(*options, cwd=tmp_path).stderr
    number = int(re.search(r"iterations: (\d+) of at most 30", said)[1])
    assert 1 < number < 20
    for name in names:
        with mrcfile.open(tmp_path / name) as file:
            assert f"SIRT, {number} iterations" in file.get_labels()[0]
    expected = [read_mrc(tmp_path / name) for name in names]
    run("-a", "SIRT", "-i", number, "-T", 40, "--half-sets", "views", "-o", "fixed.mrc", path,
        cwd=tmp_path)
    for name, volume in zip(names, expected):
        np.testing.assert_array_equal(read_mrc(tmp_path / name.replace("rec", "fixed")), volume)
    for name in names:
        (tmp_path / name).unlink()
    stop_in(build_dir, tmp_path, program, "odd", signal.SIGTERM, options)
    run(*options, "--resume", cwd=tmp_path)
    for name, volume in zip(names, expected):
        np.testing.assert_array_equal(read_mrc(tmp_path / name), volume)
