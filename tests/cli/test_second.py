"""One volume from two series about two axes (--second): against a dense matrix in double
precision, against the truth, and what is refused."""
import re

import numpy as np
import pytest

from conftest import correlation, read_mrc, runner, write_mrc, write_series, write_xtilts
from reference import inverse, inverse_lengths
from volume_reference import cgls, direct_matrix, hat, rotations

N_U, N_V, PLANES = 14, 11, 7
FIRST = np.array([12.5, -61, 3.2, 55.5, -40.1, -8, 31, 44.4, -25.75])
SECOND = np.array([-50.5, -21, 1.5, 24, 47.75])
USAGE, DATA, UNAVAILABLE = 2, 1, 3


# ---- the reference ----

def solve_lines(turn, shift):
    """IMOD's solve.xf of p -> turn p + shift with axes x, y, s: in the order of the file's
    x, s, y."""
    order = [0, 2, 1]
    return np.column_stack([np.asarray(turn)[np.ix_(order, order)], np.asarray(shift)[order]])


def second_matrix(tilts, turn, shift, xtilts, transforms):
    """As direct_matrix, of a series whose volume the match takes to the first one, middle
    to middle; views are aligned by `transforms`."""
    grid = np.stack(np.meshgrid(np.arange(N_V), np.arange(PLANES), np.arange(N_U),
                                indexing="ij"))[[2, 0, 1]].reshape(3, -1)
    middle = (np.array([N_U, N_V, PLANES])[:, None] - 1) / 2
    at = middle + np.linalg.solve(turn, grid - middle - np.asarray(shift, float)[:, None])
    x, y, s = at - (np.array([N_U // 2, N_V / 2, PLANES // 2])[:, None] - 0.5)
    views = []
    for t, g, line in zip(np.radians(tilts), np.radians(xtilts), transforms):
        u = x * np.cos(t) - (y * np.sin(g) + s * np.cos(g)) * np.sin(t)
        v = y * np.cos(g) - s * np.sin(g)
        back = np.linalg.inv(line[:4].reshape(2, 2))
        u, v = back @ np.stack([u - line[4], v - line[5]])
        columns = hat(N_U / 2 - 0.5 + u - np.arange(N_U)[:, None])
        rows = hat(N_V / 2 - 0.5 + v - np.arange(N_V)[:, None])
        views.append((rows[:, None] * columns[None]).reshape(N_V * N_U, -1))
    return np.concatenate(views)


def turned(degrees, about):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    k, m = [i for i in range(3) if i != about]
    made = np.eye(3)
    made[k, k], made[k, m], made[m, k], made[m, m] = c, -s, s, c
    return made


@pytest.fixture
def dense(tmp_path):
    """Noise; the second series has everything that may move its rays."""
    rng = np.random.default_rng(4)
    a, b = (rng.normal(1, 1, (len(tilts), N_V, N_U)).astype(np.float32)
            for tilts in (FIRST, SECOND))
    write_series(tmp_path, a, FIRST, "a_ali.mrc")
    write_series(tmp_path, b, SECOND, "b.mrc")
    xtilts = np.array([4, 5, -2, 1, 0.5])
    write_xtilts(tmp_path / "b.xtilt", xtilts)
    lines = rotations([3, 4, 2.5, 3, 5], rng.normal(size=(5, 2)), 1.02)
    np.savetxt(tmp_path / "b.xf", lines)
    (tmp_path / "tiltb.com").write_text(
        "$tilt -StandardInput\nInputProjections b.mrc\nOutputFile no.rec\nTILTFILE b.tlt\n"
        f"XTILTFILE b.xtilt\nXAXISTILT 3\nTHICKNESS {PLANES}\n")
    turn = turned(83, 2) @ turned(4, 0) @ turned(-7, 1) * 1.01
    shift = [0.7, -1.2, 0.4]
    np.savetxt(tmp_path / "solve.xf", solve_lines(turn, shift))
    back = np.linalg.inv(turn)
    np.savetxt(tmp_path / "inverse.xf", solve_lines(back, -back @ shift))
    matrix = np.concatenate([
        direct_matrix(FIRST, N_U, N_V, PLANES),
        second_matrix(SECOND, turn, shift, 3 + xtilts, lines)])
    return matrix, np.concatenate([a.ravel(), b.ravel()]).astype(float)


OPTIONS = ["-T", PLANES, "-o", "rec.mrc", "--outside", "zero", "a_ali.mrc", "--second",
           "b.mrc", "--second-imod-com", "tiltb.com", "--second-transforms", "b.xf"]


def largest(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def weights_of(a):
    """SIRT's, of rows and of columns."""
    return inverse_lengths(a.sum(axis=1), N_U, PLANES), inverse(a.sum(axis=0))


@pytest.mark.parametrize("ranks, match", [(1, "solve.xf"), (2, "inverse.xf"), (3, "solve.xf")])
def test_iterations_equal_the_dense_matrix(tiltrecz, dense, tmp_path, ranks, match):
    a, b = dense
    iterates, norms = cgls(a, b, 5, weights_of(a),
                           (np.zeros(len(b), int), np.zeros(a.shape[1], int)))
    said = tiltrecz("-a", "CGLS", "-i", 5, *OPTIONS, "--second-scale", 1, "--second-match",
                    match, cwd=tmp_path, ranks=ranks).stderr
    assert f"counter-clockwise, by {match}" in said and "14 views" not in said
    found = read_mrc(tmp_path / "rec.mrc")
    assert largest(found, iterates[-1].reshape(found.shape)) < 1e-4
    printed = [float(v) for v in re.findall(r"\d+: (\d\.\d{6})", said)]
    assert printed == pytest.approx(norms[:, 0] / np.linalg.norm(b), abs=2e-6)


def test_sirt_equals_the_dense_matrix(tiltrecz, dense, tmp_path):
    a, b = dense
    rows, columns = weights_of(a)
    x = np.zeros(a.shape[1])
    for _ in range(4):
        x += columns * (a.T @ (rows * (b * np.repeat([1, 2.5], [9 * 154, 5 * 154]) - a @ x)))
    tiltrecz("-a", "SIRT", "-i", 4, *OPTIONS, "--second-scale", 2.5, "--second-match",
             "solve.xf", cwd=tmp_path)
    found = read_mrc(tmp_path / "rec.mrc")
    assert largest(found, x.reshape(found.shape)) < 1e-4
