"""ADMM as users run it, against the minimum that a dense solver in double precision finds
by another method: the primal-dual iteration of Chambolle and Pock (2011)."""
import re

import numpy as np
import pytest

from conftest import read_mrc, write_series
from volume_reference import Frame, direct_matrix, rotations

TILTS = [-60, -41, -18, 1, 22, 39, 60]
SHAPE = (9, 5, 7)  # y, z, x
PITCH = 6
GEOMETRIES = {
    "upright": ({}, []),
    "pitch": (dict(xtilts=PITCH), ["--pitch", PITCH]),
    "turned": (dict(transforms=rotations(12 * np.ones(7))), ["--transforms", "s.xf"]),
}
LAMBDA = {"tv": 0.25, "l1": 1.0, "haar": 0.5}
ITERATIONS = {"tv": 6000, "l1": 15000, "haar": 6000}  # of l1, the minimum is a flat one


def gradient(v):
    """Differences along x, y, z; 0 at the end of an axis."""
    return np.stack([np.diff(v, axis=axis, append=np.take(v, [-1], axis))
                     for axis in (2, 0, 1)])


def haar(v):
    """Orthonormal: pairs along x and z on three levels, each of the sums of the one
    before, then pairs of rows. A last one without a partner stays as it is."""
    def pair(v, axis):
        a, b = (v[tuple(slice(k, v.shape[i] // 2 * 2, 2) if i == axis else slice(None)
                        for i in range(3))] for k in (0, 1))
        a[...], b[...] = (a + b) / np.sqrt(2), (a - b) / np.sqrt(2)
    v = v.copy()
    for level in range(3):
        step = 2 ** level
        _, nz, nx = v.shape
        coarse = v[:, :(nz >> level) * step:step, :(nx >> level) * step:step]
        pair(coarse, 2)
        pair(coarse, 1)
    pair(v, 0)
    return v


OPERATORS = {"tv": gradient, "l1": lambda v: v, "haar": haar}


def matrix_of(operator, shape):
    """[part][coefficient][voxel]"""
    units = np.eye(np.prod(shape)).reshape(-1, *shape)
    return np.stack([operator(e).reshape(-1, np.prod(shape)) for e in units], axis=-1)


class Problem:
    """1/2 |b - A x|^2 weighted by one over the row sums, + weight Reg(x)."""

    def __init__(self, a, b, regularizer, weight, positive, shape=SHAPE):
        self.a, self.b, self.weight, self.positive = a, b, weight, positive
        sums = a.sum(axis=1)
        self.rows = np.where(sums > 1e-3, 1 / np.where(sums > 1e-3, sums, 1), 0)
        self.parts = matrix_of(OPERATORS[regularizer], shape)

    def value(self, x):
        lengths = np.linalg.norm(self.parts @ x, axis=0)
        return (self.rows * (self.b - self.a @ x) ** 2).sum() / 2 + self.weight * lengths.sum()

    def solve(self, iterations=15000):
        n = self.a.shape[1]
        both = np.concatenate([self.parts.reshape(-1, n), np.eye(n)])
        tau, sigma = 0.08, 0.95  # tau sigma |both|^2 < 1, since |both|^2 <= 13
        inverse = np.linalg.inv(np.eye(n) + tau * self.a.T @ (self.rows[:, None] * self.a))
        data = inverse @ (tau * self.a.T @ (self.rows * self.b))
        from_dual, from_x = tau * inverse @ both.T, inverse
        x, dual = np.zeros(n), np.zeros(len(both))
        for _ in range(iterations):
            new = from_x @ x - from_dual @ dual + data
            dual += sigma * (both @ (2 * new - x))
            g = dual[:-n].reshape(len(self.parts), -1)
            g *= self.weight / np.maximum(np.linalg.norm(g, axis=0), self.weight)
            dual[-n:] = np.minimum(dual[-n:], 0) if self.positive else 0
            x = new
        return x


@pytest.fixture
def series(tmp_path):
    """A few blocks, one of negative density, and noise, seen in a geometry."""
    rng = np.random.default_rng(3)
    truth = np.zeros(SHAPE)
    truth[2:6, 1:5, 1:4] = 1
    truth[6:, 2:, 5:6] = -0.7

    def make(maps):
        a = direct_matrix(TILTS, SHAPE[2], SHAPE[0], SHAPE[1], **maps)
        b = (a @ truth.ravel() + 0.3 * rng.normal(size=len(a))).astype(np.float32)
        np.savetxt(tmp_path / "s.xf", maps.get("transforms", rotations(np.zeros(7))))
        return a, b.astype(float), write_series(tmp_path, b.reshape(7, SHAPE[0], SHAPE[2]),
                                                TILTS)
    return make


@pytest.mark.parametrize("regularizer, geometry, positive", [
    *((r, "upright", p) for r in LAMBDA for p in (False, True)),
    ("tv", "pitch", False), ("haar", "pitch", True), ("tv", "turned", True)])
def test_the_minimum_is_found(tiltrecz, sanitized, series, tmp_path, regularizer, geometry,
                              positive):
    if sanitized:
        pytest.skip("takes minutes with the sanitizers; unit/test_admm runs there")
    maps, options = GEOMETRIES[geometry]
    a, b, path = series(maps)
    frame = None
    if geometry == "pitch":
        frame = Frame(PITCH, SHAPE[2], SHAPE[0], SHAPE[1])
        a = frame.matrix(TILTS)
    problem = Problem(a, b, regularizer, LAMBDA[regularizer], positive,
                      frame.shape if frame else SHAPE)
    wanted = problem.solve()
    tiltrecz("-a", "ADMM", "--regularizer", regularizer, "--lambda", problem.weight, "-i",
             ITERATIONS[regularizer], "--cg", 20, "--rho", 2, *(["--positive"] if positive else []), *options,
             "-T", SHAPE[1], "-o", "rec.mrc", path, cwd=tmp_path)
    found = read_mrc(tmp_path / "rec.mrc").ravel().astype(float)
    if frame:
        wanted = frame.slices(wanted).ravel()
    else:
        assert problem.value(found) < problem.value(wanted) * (1 + 1e-6)
    assert np.linalg.norm(found - wanted) < 1e-4 * np.linalg.norm(wanted)
    assert not positive or found.min() >= 0


@pytest.mark.parametrize("regularizer", LAMBDA)
def test_the_objective_logged_is_that_of_the_result(tiltrecz, series, tmp_path, regularizer):
    """With the weights the program chooses; and it does not rise."""
    a, b, path = series({})
    said = tiltrecz("-a", "ADMM", "--regularizer", regularizer, "-i", 30, "--verbose", "-T",
                    SHAPE[1], "-o", "rec.mrc", path, cwd=tmp_path).stderr
    weight = float(re.search(r"lambda (\S+) \(chosen\)", said)[1])
    values = np.array([float(v) for v in re.findall(r"objective (\S+),", said)])
    assert len(values) == 30
    assert np.all(np.diff(values) <= 3e-7 * values[1:])
    found = read_mrc(tmp_path / "rec.mrc").ravel().astype(float)
    problem = Problem(a, b, regularizer, weight, False)
    assert problem.value(found) == pytest.approx(values[-1], rel=1e-5)
    # Zero is the minimum of l1 where no voxel's gradient there exceeds the weight.
    flat = regularizer == "l1" and np.abs(a.T @ (problem.rows * b)).max() <= weight
    assert ("nothing better than a homogeneous volume was found" in said) == flat
    assert flat or problem.value(found) < 0.9 * problem.value(0 * found)


def test_a_weight_that_leaves_nothing_is_said(tiltrecz, series, tmp_path):
    a, b, path = series({})
    problem = Problem(a, b, "l1", 1, False)
    limit = np.abs(a.T @ (problem.rows * b)).max()
    for factor in 0.9, 1.1:
        said = tiltrecz("-a", "ADMM", "--regularizer", "l1", "--lambda", factor * limit, "-i",
                        100, "-T", SHAPE[1], "-o", "rec.mrc", path, cwd=tmp_path).stderr
        assert ("nothing better than a homogeneous volume" in said) == (factor > 1)
