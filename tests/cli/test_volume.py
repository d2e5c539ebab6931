"""tiltrecz-mpi, the whole volume at once: against tiltrec-mpi, against dense matrices,
against objects whose views are known; its options, its memory, and the loss of a rank."""
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import (MPI_ENVIRONMENT, correlation, program_command, read_mrc, write_mrc,
                      write_series, write_xtilts)
import reference
from reference import Geometry, inverse, inverse_lengths
from volume_reference import Blobs, Frame, bpt, cgls, direct_matrix, rotations

ITERATIONS = {"SIRT": ["-i", 6], "SART": ["-i", 2], "CGLS": ["-i", 6]}
SHARED = ["BPT", "WBP", "FBP", "SIRT", "SART"]  # by both programs


def largest(a, b):
    """The largest difference, over the largest value."""
    assert a.shape == b.shape
    return np.abs(a - b).max() / np.abs(b).max()


def run(program, folder, series, *options, thickness, **how):
    """Nothing is taken to be outside the field, as in the references."""
    program("-T", thickness, "-o", "rec.mrc", "--outside", "zero", *options, series,
            cwd=folder, **how)
    return read_mrc(folder / "rec.mrc")


# ---- the two programs ----

@pytest.fixture(scope="session")
def rough(tmp_path_factory):
    """A series with detail of every size, uneven angles, and an odd number of rows."""
    folder = tmp_path_factory.mktemp("rough")
    rng = np.random.default_rng(0)
    tilts = np.array([12.5, -61, 3.2, 55.5, -40.1, -8, 31, 44.4, -25.75])
    x, y = np.arange(34), np.arange(37)[:, None]
    views = [2 + np.sin(0.2 * x + 0.15 * y + k) + 0.3 * rng.normal(size=(37, 34))
             for k in range(len(tilts))]
    return write_series(folder, np.stack(views), tilts)


@pytest.mark.parametrize("algorithm", SHARED)
@pytest.mark.parametrize("options", [
    [], ["--axis-shift", 2.5, "--z-shift", -1.5, "--tilt-offset", 4, "--width", 30]],
    ids=["plain", "shifted"])
def test_at_pitch_0_both_programs_agree(tiltrec, tiltrecz, rough, tmp_path, algorithm,
                                        options):
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), *options]
    slices = run(tiltrec, tmp_path, rough, *options, thickness=13)
    volume = run(tiltrecz, tmp_path, rough, *options, thickness=13, ranks=2)
    assert largest(volume, slices) < 1e-5


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("pitch", [5, -28])
@pytest.mark.parametrize("algorithm", ["BPT", "WBP", pytest.param("FBP", marks=pytest.mark.slow)])
def test_at_a_pitch_backprojections_agree(tiltrec, tiltrecz, rough, tmp_path, algorithm,
                                          pitch, ranks):
    """Voxels do not depend on each other, so the thicker box makes no difference."""
    options = ["-a", algorithm, "--pitch", pitch, "--axis-shift", 2.5, "--z-shift", -1.5]
    slices = run(tiltrec, tmp_path, rough, *options, thickness=80)
    volume = run(tiltrecz, tmp_path, rough, *options, thickness=80, ranks=ranks)
    assert largest(volume, slices) < 1e-6


@pytest.fixture(scope="session")
def pitched_blobs(tmp_path_factory):
    tilts = np.linspace(-60, 60, 31)
    blobs = Blobs(72, 72, 26, finest=2)
    folder = tmp_path_factory.mktemp("blobs")
    return blobs, write_series(folder, blobs.views(tilts, 72, 72, xtilts=6), tilts)


@pytest.mark.parametrize("algorithm", ["SIRT", "SART"])
def test_at_a_pitch_iterations_nearly_agree(tiltrec, tiltrecz, pitched_blobs, tmp_path,
                                            algorithm):
    """The slice program has fewer planes for each row, this one a box for all: within a
    thickness with some room, the object comes out the same."""
    blobs, series = pitched_blobs
    options = ["-a", algorithm, *ITERATIONS[algorithm], "--pitch"]
    slices, volume = (run(program, tmp_path, series, *options, 6, thickness=40)
                      for program in (tiltrec, tiltrecz))
    assert correlation(slices, volume) > 0.999
    assert np.abs(slices - volume).mean() < 0.1 * np.abs(slices).mean()
    other = run(tiltrecz, tmp_path, series, *options, 0, thickness=40)
    assert correlation(slices, other) < 0.99


def test_a_pitch_is_no_coupling(tiltrecz, rough, tmp_path):
    """Without x-tilts and transforms; fewer slices take fewer rows."""
    def said(*options):
        return tiltrecz("-a", "SIRT", "-T", 13, "--dry-run", *options, rough,
                        cwd=tmp_path).stderr
    np.savetxt(tmp_path / "s.xtilt", np.arange(9))
    assert "plan: 37 pitched rows of 34 x 18 voxels" in said("--pitch", 6)
    assert "plan: 8 pitched rows of 34 x 18 voxels" in said("--pitch", 6, "--slices", "5:10")
    assert "rays cross slices" in said("--pitch", 6, "--xtilts", "s.xtilt")


@pytest.mark.parametrize("algorithm", [pytest.param("BPT", marks=pytest.mark.slow), "WBP",
                                       pytest.param("FBP", marks=pytest.mark.slow)])
def test_backprojections_of_independent_slices_are_made_slab_by_slab(
        tiltrec, tiltrecz, large, tmp_path, algorithm):
    """They are used once only: no memory for the whole volume, and none to be filled."""
    options = ["-a", algorithm, "-T", 200, "-o", "rec.mrc", "--memory", "110M"]
    said = tiltrecz(*options, large, cwd=tmp_path).stderr
    assert "plan: 8 slabs of 64 rows" in said and "allocating" not in said
    found = read_mrc(tmp_path / "rec.mrc")
    tiltrec(*options, large, cwd=tmp_path)
    assert np.array_equal(read_mrc(tmp_path / "rec.mrc"), found)


@pytest.mark.parametrize("geometry", [["--pitch", 6], ["--xtilts", "s.xtilt"]])
def test_other_volumes_are_held_as_a_whole(tiltrecz, rough, tmp_path, geometry):
    """What that takes is a stage of its own."""
    np.savetxt(tmp_path / "s.xtilt", np.arange(9))
    for options in ["-a", "WBP", *geometry], ["-a", "SIRT", "-i", 1]:
        said = tiltrecz(*options, "-T", 13, "-o", "rec.mrc", rough, cwd=tmp_path).stderr
        assert "plan: 37 " in said
        assert re.search(r"^.*allocating +\d", said, re.MULTILINE)


# ---- the direct geometry ----

DIRECT = {
    "upright": ({}, []),
    "pitch": (dict(xtilts=6), ["--pitch", 6]),
    "x-tilts": (dict(xtilts=4 + 9 * np.sin(np.arange(9))), ["--xtilts", "s.xtilt"]),
    "turned": (dict(transforms=rotations([12] * 9)), ["--transforms", "s.xf"]),
    "all": (dict(xtilts=3 - 7 * np.cos(np.arange(9)),
                 transforms=rotations(np.linspace(70, 88, 9),
                                      np.random.default_rng(1).normal(size=(9, 2)), 1.03)),
            ["--xtilts", "s.xtilt", "--transforms", "s.xf", "--size", "14,11"]),
}
SMALL = dict(n_u=14, n_v=11, thickness=7)


class Dense:
    """The matrix of a geometry, and what its unknowns are: voxels of the slices, or at a
    pitch those of its frame."""

    def __init__(self, tilts, maps, views, wanted=None):
        self.frame = None
        self.coupled = bool(maps) and not (list(maps) == ["xtilts"]
                                           and np.ndim(maps["xtilts"]) == 0)
        if list(maps) == ["xtilts"] and np.ndim(maps["xtilts"]) == 0:
            self.frame = Frame(maps["xtilts"], wanted=wanted, **SMALL)
            self.a = self.frame.matrix(tilts)
            views = views[:, self.frame.rows]
        else:
            self.a = direct_matrix(tilts, **SMALL, **maps)
        self.b = views.ravel().astype(float)

    def slices(self, x):
        return self.frame.slices(x) if self.frame else x.reshape(
            SMALL["n_v"], SMALL["thickness"], SMALL["n_u"])

    def start(self, slices):
        """From an initial volume."""
        return (self.frame.values(slices) if self.frame else slices).ravel()

    def sirt_weights(self):
        planes = len(self.frame.z) if self.frame else SMALL["thickness"]
        return (inverse_lengths(self.a.sum(axis=1), SMALL["n_u"], planes),
                inverse(self.a.sum(axis=0)))

    def owners(self):
        """The row that each datum and each unknown belongs to; all one where they are
        coupled."""
        n = len(self.frame.rows) if self.frame else SMALL["n_v"]
        views = len(self.b) // (n * SMALL["n_u"])
        of_b = np.tile(np.repeat(np.arange(n), SMALL["n_u"]), views)
        of_x = np.repeat(np.arange(n), self.a.shape[1] // n)
        return (of_b * 0, of_x * 0) if self.coupled else (of_b, of_x)

    def cgls(self, iterations, x=None):
        return cgls(self.a, self.b, iterations, self.sirt_weights(), self.owners(), x)


@pytest.fixture(params=DIRECT)
def dense(request, tmp_path):
    """A series of noise, the options of a geometry, and what makes its matrix."""
    maps, options = DIRECT[request.param]
    tilts = [12.5, -61, 3.2, 55.5, -40.1, -8, 31, 44.4, -25.75]
    views = np.random.default_rng(2).normal(1, 1, (9, 11, 14)).astype(np.float32)
    series = write_series(tmp_path, views, tilts)
    write_xtilts(tmp_path / "s.xtilt", np.broadcast_to(maps.get("xtilts", 0), 9))
    np.savetxt(tmp_path / "s.xf", maps.get("transforms", rotations([0] * 9)))
    return series, options, lambda **more: Dense(tilts, maps, views, **more)


@pytest.mark.parametrize("ranks", [1, 3])
@pytest.mark.parametrize("xtilts", [0, 25, 3 + 14 * np.cos(np.arange(9))],
                         ids=["upright", "pitch", "x-tilts"])
def test_bpt_equals_interpolation(tiltrecz, rough, tmp_path, xtilts, ranks):
    """Also of voxels that views show beyond an edge of theirs."""
    views, tilts = read_mrc(rough), np.loadtxt(rough.with_suffix(".tlt"))
    write_xtilts(tmp_path / "s.xtilt", np.broadcast_to(xtilts, 9))
    found = run(tiltrecz, tmp_path, rough, "-a", "BPT", "--xtilts", "s.xtilt",
                thickness=13, ranks=ranks)
    if np.ndim(xtilts) == 0 and xtilts:
        wanted = reference.pitched(
            lambda rows, z: reference.bpt(Geometry(tilts, 34, len(z), z=z), rows), views,
            xtilts, 13)
    else:
        wanted = bpt(views, tilts, 13, xtilts=xtilts)
    assert largest(found, wanted) < 1e-5


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_sirt_equals_the_dense_matrix(tiltrecz, dense, tmp_path, ranks):
    series, options, problem = dense[0], dense[1], dense[2]()
    a, (rows, columns) = problem.a, problem.sirt_weights()
    x = np.zeros(a.shape[1])
    for _ in range(4):
        x += columns * (a.T @ (rows * (problem.b - a @ x)))
    found = run(tiltrecz, tmp_path, series, "-a", "SIRT", "-i", 4, *options, thickness=7,
                ranks=ranks)
    assert largest(found, problem.slices(x)) < 1e-4


@pytest.mark.parametrize("ranks", [1, 3])
def test_cgls_equals_the_dense_matrix(tiltrecz, dense, tmp_path, ranks):
    series, options, problem = dense[0], dense[1], dense[2]()
    iterates, norms = problem.cgls(8)
    for k in (1, 3, 8) if ranks == 1 else (8,):
        said = tiltrecz("-a", "CGLS", "-i", k, "-T", 7, "-o", "rec.mrc", "--outside", "zero",
                        *options, series, cwd=tmp_path, ranks=ranks).stderr
        found = read_mrc(tmp_path / "rec.mrc")
        assert largest(found, problem.slices(iterates[k - 1])) < 1e-4
    printed = [float(v) for v in re.findall(r"\d+: (\d\.\d{6})", said)]
    assert printed == pytest.approx(
        np.linalg.norm(norms, axis=1) / np.linalg.norm(problem.b), abs=2e-6)
    assert np.all(np.diff(printed) < 0)


@pytest.mark.parametrize("dense", ["upright", "pitch", "turned"], indirect=True)
def test_cgls_stops_at_the_tolerance(tiltrecz, dense, tmp_path):
    """At the first iteration whose residual has come down to it, row by row."""
    series, options, problem = dense[0], dense[1], dense[2]()
    iterates, norms = problem.cgls(8)
    shares = norms / norms[0]
    tolerance = 1.001 * shares[5].max()
    stops = np.argmax(shares <= tolerance, axis=0)
    assert problem.coupled or 0 < stops.min() < stops.max()
    wanted = np.stack(iterates)[stops[problem.owners()[1]], np.arange(problem.a.shape[1])]
    found = run(tiltrecz, tmp_path, series, "-a", "CGLS", "-i", 50, "--tolerance",
                tolerance, *options, thickness=7, ranks=2)
    assert largest(found, problem.slices(wanted)) < 1e-4


@pytest.fixture(scope="session")
def straight(tiltrecz, tmp_path_factory):
    """An object, its tilts, and the correlation that a volume from upright views has."""
    tilts, blobs = np.linspace(-60, 60, 31), Blobs(48, 48, 24, finest=1.7)
    folder = tmp_path_factory.mktemp("straight")
    series = write_series(folder, blobs.views(tilts, 48, 48), tilts)
    best = correlation(run(tiltrecz, folder, series, "-a", "SIRT", "-i", 15, thickness=24),
                       blobs.volume())
    return blobs, tilts, best


@pytest.mark.parametrize("maps, right, wrong", [
    (dict(xtilts=9), ["--pitch", 9], []),
    (dict(xtilts=2 + 16 * np.sin(0.7 * np.arange(31))), ["--xtilts", "s.xtilt"],
     ["--pitch", 2]),
    (dict(transforms=rotations([12] * 31)), ["--transforms", "s.xf"], []),
    (dict(transforms=rotations(86 + np.sin(np.arange(31)), [3, -2])),
     ["--transforms", "s.xf"], []),
    (dict(xtilts=17 * np.sin(0.7 * np.arange(31)),
          transforms=rotations(-9 + 3 * np.cos(np.arange(31)), [-2, 4], 0.97)),
     ["--xtilts", "s.xtilt", "--transforms", "s.xf"], ["--transforms", "s.xf"]),
], ids=["pitch", "x-tilts", "12 degrees", "86 degrees", "both"])
def test_the_geometry_of_each_view_restores_the_object(tiltrecz, straight, tmp_path, maps,
                                                       right, wrong):
    blobs, tilts, best = straight
    # Quadratic images, so that a turned one shows all of the object.
    series = write_series(tmp_path, blobs.views(tilts, 48, 48, **maps), tilts)
    write_xtilts(tmp_path / "s.xtilt", np.broadcast_to(maps.get("xtilts", 0), 31))
    np.savetxt(tmp_path / "s.xf", maps.get("transforms", rotations([0] * 31)))
    known, ignored = (correlation(run(tiltrecz, tmp_path, series, "-a", "SIRT", "-i", 15,
                                      *options, thickness=24), blobs.volume())
                      for options in (right, wrong))
    assert best > 0.9
    assert known > best - 0.015
    assert ignored < known - 0.04


# ---- options ----

@pytest.mark.slow
@pytest.mark.parametrize("order", ["xzy", "xyz"])
def test_order_and_initial(tiltrecz, rough, tmp_path, order):
    """What is written in an order is read in that order: 2 iterations and 3 more are 5."""
    options = ["-a", "SIRT", "--order", order, "-i"]
    native = run(tiltrecz, tmp_path, rough, "-a", "SIRT", "-i", 5, thickness=13)
    first = run(tiltrecz, tmp_path, rough, *options, 2, thickness=13, ranks=2)
    write_mrc(tmp_path / "start.mrc", first)
    second = run(tiltrecz, tmp_path, rough, *options, 3, "--initial", "start.mrc",
                 thickness=13, ranks=3)
    if order == "xyz":
        second = second.swapaxes(0, 1)[:, ::-1]
    assert largest(second, native) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("thickness", [13, 150])
def test_initial_at_a_pitch(tiltrecz, pitched_blobs, tmp_path, thickness):
    """Of an object without detail near the voxel size, resampling it costs little; and
    neither the order nor the processes matter."""
    _, series = pitched_blobs
    options = ["-a", "SIRT", "--pitch", 6, "-i"]
    first = run(tiltrecz, tmp_path, series, *options, 3, thickness=thickness)
    native = run(tiltrecz, tmp_path, series, *options, 6, thickness=thickness)
    found = []
    for order, volume in ("xzy", first), ("xyz", first[:, ::-1].swapaxes(0, 1)):
        write_mrc(tmp_path / "start.mrc", volume)
        found.append(run(tiltrecz, tmp_path, series, *options, 3, "--initial", "start.mrc",
                         "--order", order, thickness=thickness, ranks=1 + len(found)))
    assert np.array_equal(found[1].swapaxes(0, 1)[:, ::-1], found[0])
    assert correlation(found[0], native) > 0.999 > correlation(first, native)


def test_cgls_from_a_start(tiltrecz, dense, tmp_path):
    series, options, problem = dense[0], dense[1], dense[2]()
    start = np.random.default_rng(3).normal(size=(11, 7, 14)).astype(np.float32)
    write_mrc(tmp_path / "start.mrc", start)
    iterates, norms = problem.cgls(3, problem.start(start))
    found = run(tiltrecz, tmp_path, series, "-a", "CGLS", "-i", 3, "--initial", "start.mrc",
                *options, thickness=7, ranks=2)
    assert largest(found, problem.slices(iterates[2])) < 1e-4


@pytest.mark.parametrize("algorithm", ["WBP", "SIRT",
                                       pytest.param("SART", marks=pytest.mark.slow)])
def test_slices_of_a_pitched_volume_are_those_of_the_whole(tiltrecz, rough, tmp_path,
                                                           algorithm):
    """Also where there are more processes than slices."""
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), "--pitch", 6]
    whole = run(tiltrecz, tmp_path, rough, *options, thickness=13)
    for first, last, ranks in (5, 22, 3), (5, 5, 2):
        part = run(tiltrecz, tmp_path, rough, *options, "--slices", f"{first}:{last}",
                   thickness=13, ranks=ranks)
        assert np.array_equal(part, whole[first:last + 1])


@pytest.mark.parametrize("algorithm", ["WBP", "SIRT", "CGLS"])
def test_slices_of_a_coupled_volume_are_those_of_the_whole(tiltrecz, rough, tmp_path,
                                                           algorithm):
    np.savetxt(tmp_path / "s.xtilt", 6 + np.arange(9) / 9)
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), "--xtilts", "s.xtilt"]
    whole = run(tiltrecz, tmp_path, rough, *options, thickness=13)
    part = run(tiltrecz, tmp_path, rough, *options, "--slices", "5:22", thickness=13,
               ranks=3)
    assert largest(part, whole[5:23]) < 1e-5


def test_initial_of_some_slices(tiltrecz, dense, tmp_path):
    """The other slices start from 0; at a pitch, where they are not computed, what lies
    beyond is as the first and the last one given."""
    series, options, problem = dense[0], dense[1], dense[2](wanted=(4, 7))
    given = np.random.default_rng(3).normal(size=(4, 7, 14)).astype(np.float32)
    write_mrc(tmp_path / "start.mrc", given)
    found = run(tiltrecz, tmp_path, series, "-a", "SIRT", "-i", 1, *options, "--initial",
                "start.mrc", "--slices", "4:7", thickness=7, ranks=2)
    if not problem.frame:
        start = np.zeros((11, 7, 14))
        start[4:8] = given
        given = start
    x, (rows, columns) = problem.start(given), problem.sirt_weights()
    x = x + columns * (problem.a.T @ (rows * (problem.b - problem.a @ x)))
    wanted = problem.slices(x)
    assert largest(found, wanted if problem.frame else wanted[4:8]) < 1e-4


@pytest.mark.parametrize("more", [[], ["--xtilts", "s.xtilt"]], ids=["pitch", "x-tilts"])
@pytest.mark.parametrize("algorithm", ["BPT", "SIRT", *(
    pytest.param(algorithm, marks=pytest.mark.slow) for algorithm in ("WBP", "FBP", "SART"))])
def test_rows_far_outside_the_images(tiltrecz, rough, tmp_path, algorithm, more):
    """Of the upper slices of a volume that is moved far up all rays miss the images; what
    they read there does not depend on which process has them."""
    np.savetxt(tmp_path / "s.xtilt", np.arange(9) / 2 - 2)
    options = ["-a", algorithm, *ITERATIONS.get(algorithm, []), "--pitch", -25,
               "--z-shift", 60, *more]
    alone = run(tiltrecz, tmp_path, rough, *options, thickness=8)
    shared = run(tiltrecz, tmp_path, rough, *options, thickness=8, ranks=3)
    assert largest(shared, alone) < 1e-5


# ---- memory and processes ----

def plan(tiltrecz, series, folder, *options, **how):
    """What the dry run says: MiB per process, in all and of volumes and projections."""
    said = tiltrecz("--dry-run", *options, series, cwd=folder, **how).stderr
    assert "nothing is written" in said
    found = re.search(r"memory (\d+) MiB of \d+ MiB allowed per process: \d+ volumes "
                      r"(\d+), \d+ sets of projections (\d+)", said)
    return [int(v) for v in found.groups()]


@pytest.fixture(scope="session")
def large(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    views = np.random.default_rng(4).normal(size=(5, 512, 256)).astype(np.float32)
    return write_series(folder, views, [-40, -20, 0, 20, 40])


def test_dry_run(tiltrecz, large, tmp_path):
    options = ["-a", "SIRT", "-T", 100, "-o", "rec.mrc", "--outside", "zero"]
    total, volumes, projections = plan(tiltrecz, large, tmp_path, *options, ranks=1)
    # x and the gradient; b and the residual.
    assert volumes == 2 * 256 * 100 * 512 * 4 >> 20
    assert projections == pytest.approx(2 * 5 * 259 * 512 * 4 / 2 ** 20, abs=0.5)
    half = plan(tiltrecz, large, tmp_path, *options, ranks=2)
    assert half[1] == volumes // 2 and half[0] < 0.8 * total
    assert os.listdir(tmp_path) == []


def refused(program, folder, status, *arguments, **how):
    before = sorted(os.listdir(folder))
    done = program(*arguments, cwd=folder, check=False, **how)
    errors = [line for line in done.stderr.splitlines() if "error:" in line]
    assert done.returncode == status and len(errors) == 1, done.stderr
    assert sorted(os.listdir(folder)) == before
    return errors[0]


@pytest.mark.parametrize("dry, ranks", [([], 2), (["--dry-run"], 1), *(
    pytest.param(*c, marks=pytest.mark.slow) for c in (([], 1), (["--dry-run"], 2)))])
def test_too_little_memory_names_what_would_do(tiltrecz, large, tmp_path, ranks, dry):
    options = ["-a", "SIRT", "-T", 200, "-o", "rec.mrc", "--memory", "150M", large]
    error = refused(tiltrecz, tmp_path, 4, *options, *dry, ranks=ranks)
    more, bin_ = re.search(r"at least (\d+) processes.*use --bin (\d+)", error).groups()
    assert int(more) > ranks
    tiltrecz(*options, "--dry-run", cwd=tmp_path, ranks=int(more))
    tiltrecz(*options, "--dry-run", "--bin", bin_, cwd=tmp_path, ranks=ranks)


def test_hopelessly_little_memory(tiltrecz, large, tmp_path):
    error = refused(tiltrecz, tmp_path, 4, "-a", "SIRT", "-T", 200, "-o", "rec.mrc",
                    "--memory", "40M", large, ranks=2)
    assert "--memory" in error and "processes" not in error.split("allow more")[1]


@pytest.mark.parametrize("dense", ["upright"], indirect=True)
def test_more_processes_than_pairs_of_slices(tiltrecz, dense, tmp_path):
    series = dense[0]
    error = refused(tiltrecz, tmp_path, 2, "-a", "SIRT", "-T", 7, "-o", "rec.mrc", series,
                    ranks=7)
    assert "7 processes for 11 slices" in error and "at most 6" in error
    run(tiltrecz, tmp_path, series, "-a", "SIRT", "-i", 1, thickness=7, ranks=6)


# ---- a rank is lost ----

def processes_of(parent, name):
    """The ids of processes called `name` below a process."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue  # has just ended
        called, rest = text.split("(", 1)[1].rsplit(")", 1)
        children.setdefault(int(rest.split()[1]), []).append((int(stat.parent.name), called))
    found, below = [], [parent]
    while below:
        for pid, called in children.get(below.pop(), []):
            below.append(pid)
            if called == name:
                found.append(pid)
    return sorted(found)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc to find ranks in")
@pytest.mark.parametrize("which, geometry", [(0, ["--pitch", 6]), (0, ["--xtilts", "s.xtilt"]),
                                             (2, ["--xtilts", "s.xtilt"])])
def test_the_loss_of_a_rank_ends_the_others(build_dir, rough, tmp_path, which, geometry):
    np.savetxt(tmp_path / "s.xtilt", np.arange(9))
    arguments = ["-a", "SIRT", "-i", 100000, *geometry, "-T", 13, "-o", "rec.mrc", rough]
    before = set(os.listdir(tmp_path))
    launcher = subprocess.Popen(
        program_command(build_dir, arguments, ranks=3, program="tiltrecz-mpi"),
        cwd=tmp_path, env={**os.environ, **MPI_ENVIRONMENT}, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while set(os.listdir(tmp_path)) == before:  # until the output is open
            assert launcher.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.3)
        ranks = processes_of(launcher.pid, "tiltrecz-mpi")
        assert len(ranks) == 3
        os.kill(ranks[which], signal.SIGKILL)
        assert launcher.wait(30) != 0
        end = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in ranks):
            assert time.monotonic() < end, "a rank goes on"
            time.sleep(0.05)
    finally:
        launcher.kill()
    assert not (tmp_path / "rec.mrc").exists()


# ---- what the slice program leaves to this one ----

@pytest.mark.parametrize("dense", ["upright", "pitch"], indirect=True)
def test_cgls_slice_by_slice(tiltrec, tiltrecz, dense, tmp_path):
    """The same rows solved by themselves; where x-tilts couple them, they cannot be."""
    series, options, problem = dense[0], dense[1], dense[2]()
    found = run(tiltrec, tmp_path, series, "-a", "CGLS", "-i", 3, *options, thickness=7)
    wanted = run(tiltrecz, tmp_path, series, "-a", "CGLS", "-i", 3, *options, thickness=7)
    if not problem.frame:  # the frame's planes are others
        assert largest(found, problem.slices(problem.cgls(3)[0][2])) < 1e-4
        assert largest(found, wanted) < 1e-5
    assert correlation(found, wanted) > 0.95
    np.savetxt(tmp_path / "s.xtilt", np.arange(9))
    error = refused(tiltrec, tmp_path, 3, "-a", "CGLS", "-T", 7, "-o", "no.mrc", "--xtilts",
                    "s.xtilt", series)
    assert "CGLS solves every row by itself" in error and "tiltrecz-mpi" in error