"""Sums of views: directly and in Fourier space, against the truth and each other."""
import re

import numpy as np
import pytest

from conftest import difference, read_mrc, write_series, write_xtilts

SIZE, ROWS, VIEWS = 120, 3, 241


class Discs:
    """Gaussians in the slices, whose projections are known: x, z and sigma in pixels from
    the middle, the same for all rows but for their heights."""

    def __init__(self, seed, least, most, reach=30, size=SIZE):
        rng = np.random.default_rng(seed)
        self.size = size
        self.x, self.z = rng.uniform(-reach, reach, (2, 8))
        self.sigma = rng.uniform(least, most, 8)
        self.height = rng.uniform(0.5, 2, (ROWS, 8))

    def views(self, tilts):
        u = np.arange(self.size) - (self.size - 1) / 2
        t = np.radians(tilts)[:, None]
        at = self.x * np.cos(t) - self.z * np.sin(t)
        bumps = np.exp(-(u - at[..., None]) ** 2 / (2 * self.sigma[:, None] ** 2))
        return np.einsum("rb,vbu->vru", self.height * self.sigma * np.sqrt(2 * np.pi), bumps)

    def slices(self):
        axis = np.arange(SIZE) - (SIZE - 1) / 2
        r2 = ((axis[None, None, :] - self.x[:, None, None]) ** 2
              + (axis[None, :, None] - self.z[:, None, None]) ** 2)
        return np.einsum("rb,bzx->rzx", self.height,
                         np.exp(-r2 / (2 * self.sigma[:, None, None] ** 2)))


def angles(n):
    return np.linspace(-90, 90, n, endpoint=False)


@pytest.fixture(scope="module")
def sharp(tmp_path_factory):
    discs = Discs(1, 1.3, 3)
    folder = tmp_path_factory.mktemp("sharp")
    return discs, write_series(folder, discs.views(angles(VIEWS)), angles(VIEWS))


def fbp(program, folder, series, *options, sum=None, name="rec.mrc", thickness=SIZE, **run):
    way = ["--sum", sum] if sum else []
    program("-a", "FBP", "-T", thickness, "-o", name, *way, *options, series, cwd=folder, **run)
    return read_mrc(folder / name)


def inner_error(a, truth):
    """Root mean square, within the circle that all views see."""
    axis = np.arange(SIZE) - (SIZE - 1) / 2
    seen = np.hypot(*np.meshgrid(axis, axis)) < SIZE / 2 - 2
    return np.sqrt(np.mean((a - truth)[:, seen] ** 2))


def test_it_is_nearer_to_the_truth(tiltrec, sharp, tmp_path):
    discs, series = sharp
    truth = discs.slices()
    direct, fourier = (inner_error(fbp(tiltrec, tmp_path, series, sum=way), truth)
                       for way in ("direct", "fourier"))
    assert fourier < 0.25 * direct
    assert fourier < 0.003 * truth.max()


def test_it_is_the_direct_sum_where_that_interpolates_well(tiltrec, tmp_path):
    """Wide discs; unequal angles of less than half a turn, a field wider than the views,
    some of it beside them, and an offset. Linear interpolation takes 1 / (6 sigma^2) off."""
    tilts = np.sort(np.random.default_rng(2).uniform(-70, 80, 90))
    discs = Discs(2, 38, 44, reach=15, size=400)
    series = write_series(tmp_path, discs.views(tilts), tilts)
    options = ["-w", 440, "--tilt-offset", 4, "--axis-shift", 2.5]
    rec = [fbp(tiltrec, tmp_path, series, *options, sum=way) for way in ("direct", "fourier")]
    assert difference(rec[1], rec[0]) < 2e-4


@pytest.mark.parametrize("views, size, way", [
    (121, 400, "direct"), (181, 400, "direct"), (241, 400, "fourier"), (241, SIZE, "direct")])
def test_auto_goes_by_the_sizes(tiltrec, tmp_path, views, size, way):
    """As manual/performance.md says; never in Fourier space up to 180 views."""
    discs = Discs(3, 2, 4, size=size)
    series = write_series(tmp_path, discs.views(angles(views)), angles(views))
    made = {}
    for ask in None, "auto", "direct", "fourier":
        made[ask] = fbp(tiltrec, tmp_path, series, sum=ask, thickness=size)
    assert np.array_equal(made[None], made[way])
    assert np.array_equal(made["auto"], made[way])
    assert not np.array_equal(made["direct"], made["fourier"])


def test_a_thin_field_is_summed_directly(tiltrec, sharp, tmp_path):
    rec = [tiltrec("-a", "FBP", "-T", 4, "-o", f"{way}.mrc", "--sum", way, sharp[1],
                   cwd=tmp_path) and read_mrc(tmp_path / f"{way}.mrc")
           for way in ("auto", "direct", "fourier")]
    assert np.array_equal(rec[0], rec[1]) and not np.array_equal(rec[0], rec[2])


@pytest.mark.parametrize("run", [{"threads": 3}, {"ranks": 2, "threads": 2}])
def test_the_same_bytes_whatever_shares_the_work(tiltrec, tiltrecz, sharp, tmp_path, run):
    one = fbp(tiltrec, tmp_path, sharp[1], sum="fourier")
    assert np.array_equal(fbp(tiltrec, tmp_path, sharp[1], sum="fourier", **run), one)
    assert np.array_equal(fbp(tiltrecz, tmp_path, sharp[1], sum="fourier", **run), one)
    some = fbp(tiltrec, tmp_path, sharp[1], "--slices", "1:2", sum="fourier", **run)
    assert np.array_equal(some, one[1:])


@pytest.mark.parametrize("options", [["--pitch", 3], ["--xtilts", "s.xtilt"]])
@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_where_it_cannot_be_had(program, sharp, tmp_path, options, request):
    """Asked for, an error; otherwise the direct sum."""
    program = request.getfixturevalue(program)
    write_xtilts(tmp_path / "s.xtilt", np.arange(VIEWS) / 100)
    given = ["-a", "FBP", "-T", 40, "-o", "rec.mrc", *options, sharp[1]]
    failed = program("--sum", "fourier", *given, cwd=tmp_path, check=False)
    assert failed.returncode == 3
    assert "--sum fourier: views are summed in Fourier space only by" in failed.stderr
    assert not (tmp_path / "rec.mrc").exists()
    made = []
    for way in "auto", "direct":
        program("--sum", way, *given, cwd=tmp_path)
        made.append(read_mrc(tmp_path / "rec.mrc"))
    assert np.array_equal(*made)


def iterate(program, folder, series, algorithm, n, sum, *options, thickness=SIZE, **run):
    program("-a", algorithm, "-i", n, "-T", thickness, "-o", "rec.mrc", "--sum", sum, *options,
            series, cwd=folder, **run)
    return read_mrc(folder / "rec.mrc")


@pytest.mark.parametrize("algorithm, n, more", [
    ("CGLS", 5, []), ("SIRT", 10, []), ("SIRT", 20, ["--accelerate", "chebyshev"])])
def test_iterations_differ_as_the_interpolations_do(tiltrec, tmp_path, algorithm, n, more):
    discs = Discs(4, 6, 9, reach=18)
    series = write_series(tmp_path, discs.views(angles(VIEWS)), angles(VIEWS))
    direct, fourier = (iterate(tiltrec, tmp_path, series, algorithm, n, way, *more)
                       for way in ("direct", "fourier"))
    assert not np.array_equal(direct, fourier)
    assert inner_error(fourier, direct) < 1e-3 * discs.slices().max()


def test_iterations_come_nearer_to_the_truth(tiltrec, tmp_path):
    """Many iterations undo what linear interpolation does to views, if they project so."""
    discs = Discs(4, 6, 9, reach=18)
    series = write_series(tmp_path, discs.views(angles(VIEWS)), angles(VIEWS))
    truth = discs.slices()
    direct, fourier = (inner_error(iterate(tiltrec, tmp_path, series, "CGLS", 20, way), truth)
                       for way in ("direct", "fourier"))
    assert fourier < 3e-4 * truth.max()
    assert fourier < 0.1 * direct


@pytest.mark.parametrize("algorithm", ["CGLS", "SIRT"])
def test_iterations_sum_directly_unless_asked(tiltrec, tmp_path, algorithm):
    discs = Discs(3, 2, 4, size=400)
    series = write_series(tmp_path, discs.views(angles(VIEWS)), angles(VIEWS))
    made = {way: iterate(tiltrec, tmp_path, series, algorithm, 1, way, thickness=400)
            for way in ("auto", "direct", "fourier")}
    tiltrec("-a", algorithm, "-i", 1, "-T", 400, "-o", "rec.mrc", series, cwd=tmp_path)
    assert np.array_equal(made["direct"], read_mrc(tmp_path / "rec.mrc"))
    assert np.array_equal(made["auto"], made["fourier"])
    assert not np.array_equal(made["direct"], made["fourier"])


@pytest.mark.parametrize("run", [{"threads": 3}, {"ranks": 2, "threads": 2}])
def test_iterations_give_the_same_bytes(tiltrec, sharp, tmp_path, run):
    given = [tiltrec, tmp_path, sharp[1], "CGLS", 3, "fourier"]
    one = iterate(*given)
    assert np.array_equal(iterate(*given, **run), one)
    assert np.array_equal(iterate(*given, "--slices", "1:2", **run), one[1:])


@pytest.mark.parametrize("algorithm", ["CGLS", "SIRT"])
def test_iterations_where_it_cannot_be_had(tiltrec, tiltrecz, tmp_path, algorithm):
    tilts = np.linspace(-60, 60, 13)
    series = write_series(tmp_path, Discs(3, 2, 4).views(tilts), tilts)
    given = ["-a", algorithm, "-i", 1, "-T", 20, "-o", "rec.mrc", series]
    for program, more, said in (
            (tiltrec, ["--pitch", 3], "views are summed in Fourier space only by"),
            (tiltrecz, [], f"holds the whole volume for {algorithm}"),
            (tiltrec, ["--outside", "continue"], "takes nothing to be outside the field")):
        failed = program("--sum", "fourier", *more, *given, cwd=tmp_path, check=False)
        assert failed.returncode == 3 and "--sum fourier" in failed.stderr
        assert said in failed.stderr and not (tmp_path / "rec.mrc").exists()
        program("--sum", "auto", *more, *given, cwd=tmp_path)
        (tmp_path / "rec.mrc").unlink()


@pytest.mark.parametrize("algorithm", ["WBP", "SART"])
def test_it_is_an_option_of_few(tiltrec, sharp, tmp_path, algorithm):
    failed = tiltrec("-a", algorithm, "--sum", "fourier", "-T", 20, sharp[1], cwd=tmp_path,
                     check=False)
    assert failed.returncode == 2 and "--sum is an option of FBP, SIRT, CGLS" in failed.stderr


def test_the_plan_counts_its_memory(tiltrec, sharp, tmp_path):
    plan = {}
    for way in "direct", "fourier":
        said = tiltrec("-a", "FBP", "-T", SIZE, "--dry-run", "--sum", way, sharp[1],
                       cwd=tmp_path).stderr
        plan[way] = int(re.search(r"plan: memory (\d+) MiB", said)[1])
    assert plan["fourier"] > plan["direct"] + 64  # the spectra of 241 views, and a grid
