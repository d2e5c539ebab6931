"""One volume from two series about two axes (--second): against a dense matrix in double
precision, against the truth, and what is refused."""
import re

import numpy as np
import pytest

from conftest import correlation, read_mrc, runner, write_mrc, write_series, write_xtilts
from reference import inverse, inverse_lengths
from volume_reference import cgls, direct_matrix, hat, rotations

PLANES = 7
FIRST = np.array([12.5, -61, 3.2, 55.5, -40.1, -8, 31, 44.4, -25.75])
SECOND = np.array([-50.5, -21, 1.5, 24, 47.75])
USAGE, DATA, UNAVAILABLE = 2, 1, 3


# ---- the reference ----

def solve_lines(turn, shift):
    """IMOD's solve.xf of p -> turn p + shift with axes x, y, s: in the order of the file's
    x, s, y."""
    order = [0, 2, 1]
    return np.column_stack([np.asarray(turn)[np.ix_(order, order)], np.asarray(shift)[order]])


def second_matrix(tilts, n_u, n_v, raw, turn, shift, xtilts, transforms):
    """As direct_matrix, of a series whose volume the match takes to the first one, middle
    to middle; views, of raw = columns, rows, are aligned by `transforms`."""
    grid = np.stack(np.meshgrid(np.arange(n_v), np.arange(PLANES), np.arange(n_u),
                                indexing="ij"))[[2, 0, 1]].reshape(3, -1)
    middle = (np.array([n_u, n_v, PLANES])[:, None] - 1) / 2
    at = middle + np.linalg.solve(turn, grid - middle - np.asarray(shift, float)[:, None])
    x, y, s = at - (np.array([n_u // 2, n_v / 2, PLANES // 2])[:, None] - 0.5)
    views = []
    for t, g, line in zip(np.radians(tilts), np.radians(xtilts), transforms):
        u = x * np.cos(t) - (y * np.sin(g) + s * np.cos(g)) * np.sin(t)
        v = y * np.cos(g) - s * np.sin(g)
        back = np.linalg.inv(line[:4].reshape(2, 2))
        u, v = back @ np.stack([u - line[4], v - line[5]])
        columns, rows = (hat(n / 2 - 0.5 + w - np.arange(n)[:, None])
                         for n, w in zip(raw, (u, v)))
        views.append((rows[:, None] * columns[None]).reshape(n_v * n_u, -1))
    return np.concatenate(views)


def turned(degrees, about):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    k, m = [i for i in range(3) if i != about]
    made = np.eye(3)
    made[k, k], made[k, m], made[m, k], made[m, m] = c, -s, s, c
    return made


@pytest.fixture(params=[(14, 11, 83, 0), (11, 14, 83, 0), (11, 14, -96, 0), (11, 14, 30, 0),
                        (11, 14, 83, 90), (14, 11, -96, -90)],
                ids=["wide", "narrow", "clockwise", "slanting", "across", "wide-across"])
def dense(request, tmp_path):
    """Noise; the second series has everything that may move its rays. For a narrow field
    that is turned by more than 45 degrees, the program turns the volume over."""
    n_u, n_v, angle, axis = request.param
    raw = (n_v, n_u) if axis else (n_u, n_v)
    rng = np.random.default_rng(4)
    a = rng.normal(1, 1, (len(FIRST), n_v, n_u)).astype(np.float32)
    b = rng.normal(1, 1, (len(SECOND), *raw[::-1])).astype(np.float32)
    write_series(tmp_path, a, FIRST, "a_ali.mrc")
    write_series(tmp_path, b, SECOND, "b.mrc")
    xtilts = np.array([4, 5, -2, 1, 0.5])
    write_xtilts(tmp_path / "b.xtilt", xtilts)
    lines = rotations(axis + np.array([3, 4, 2.5, 3, 5]), rng.normal(size=(5, 2)), 1.02)
    np.savetxt(tmp_path / "b.xf", lines)
    (tmp_path / "tiltb.com").write_text(
        "$tilt -StandardInput\nInputProjections b.mrc\nOutputFile no.rec\nTILTFILE b.tlt\n"
        f"XTILTFILE b.xtilt\nXAXISTILT 3\nTHICKNESS {PLANES}\n")
    turn = turned(angle, 2) @ turned(4, 0) @ turned(-7, 1) * 1.01
    shift = [0.7, -1.2, 0.4]
    np.savetxt(tmp_path / "solve.xf", solve_lines(turn, shift))
    back = np.linalg.inv(turn)
    np.savetxt(tmp_path / "inverse.xf", solve_lines(back, -back @ shift))
    matrix = np.concatenate([
        direct_matrix(FIRST, n_u, n_v, PLANES),
        second_matrix(SECOND, n_u, n_v, raw, turn, shift, 3 + xtilts, lines)])
    return matrix, np.concatenate([a.ravel(), b.ravel()]).astype(float)


OPTIONS = ["-T", PLANES, "-o", "rec.mrc", "--outside", "zero", "a_ali.mrc", "--second",
           "b.mrc", "--second-imod-com", "tiltb.com", "--second-transforms", "b.xf"]


def largest(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


def weights_of(a):
    """SIRT's, of rows and of columns."""
    return inverse_lengths(a.sum(axis=1), 11, PLANES), inverse(a.sum(axis=0))


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


# ---- a specimen that goes on beyond the field ----

SIDE, THICK = 64, 28
TILTS = np.linspace(-60, 60, 31)
ACROSS = rotations([-90] * len(TILTS))  # takes the raw images to the aligned ones


class Specimen:
    """Gaussian blobs in a layer that is 1.8 times as wide as the field."""

    def __init__(self, count=1800, seed=0):
        rng = np.random.default_rng(seed)
        self.at = np.column_stack([*rng.uniform(-0.9 * SIDE, 0.9 * SIDE, (2, count)),
                                   rng.uniform(-7, 7, count)])
        self.sigma = rng.uniform(1.0, 2.2, count)
        self.height = rng.uniform(0.5, 1.5, count) * rng.choice([1, 1, -0.6], count)

    def waves(self, at, n):
        centres = np.arange(n) - (n / 2 - 0.5)
        return np.exp(-(centres - at[:, None]) ** 2 / 2 / self.sigma[:, None] ** 2)

    def volume(self):
        x, y, s = (self.waves(self.at[:, i], n) for i, n in enumerate((SIDE, SIDE, THICK)))
        return np.einsum("k,ky,ks,kx->ysx", self.height, y, s, x, optimize=True)

    def views(self, turn=0):
        """In the frame of the specimen's images at tilt 0, of which the axis is turned from
        y by 0 or 90 degrees, counter-clockwise."""
        x, y, s = self.at.T
        for t in np.radians(TILTS):
            if turn:  # the axis is along -x, and y is right of it
                u, v = x, y * np.cos(t) - s * np.sin(t)
            else:
                u, v = x * np.cos(t) - s * np.sin(t), y
            yield np.einsum("k,kv,ku->vu", self.height * self.sigma * np.sqrt(2 * np.pi),
                            self.waves(v, SIDE), self.waves(u, SIDE), optimize=True)


@pytest.fixture(scope="module")
def specimen(tmp_path_factory):
    """The first series, aligned; the second in the same frame, with its alignment, and the
    same aligned, with the match of the tomograms. The noise is as strong as the views."""
    folder = tmp_path_factory.mktemp("second")
    truth, rng = Specimen(), np.random.default_rng(1)
    a, b = np.stack(list(truth.views())), np.stack(list(truth.views(90)))
    noise = a.std()
    a, b = (v + noise * rng.normal(size=v.shape) for v in (a, b))
    write_series(folder, a, TILTS, "a_ali.mrc")
    write_series(folder, b, TILTS, "b.mrc")
    np.savetxt(folder / "b.xf", ACROSS)
    write_series(folder, np.stack([view.T[::-1] for view in b]), TILTS, "turned_ali.mrc")
    match = turned(90, 2)  # what is at p in the second tomogram, in the first
    np.savetxt(folder / "solve.xf", solve_lines(match, [0, 0, 0]), "%10.6f")
    np.savetxt(folder / "inverse_of_b.xf", solve_lines(match.T, [0, 0, 0]), "%10.6f")
    np.savetxt(folder / "wrong.xf", solve_lines(match.T, [0, 0, 0]), "%10.6f")
    return folder, truth.volume()


def reconstruct(program, folder, *options, ranks=None, name="rec.mrc"):
    said = program("-T", THICK, "-o", name, *options, "a_ali.mrc", cwd=folder, ranks=ranks,
                   threads=2).stderr
    return read_mrc(folder / name), said


BY_ALIGNMENT = ["--second", "b.mrc"]
BY_MATCH = ["--second", "turned_ali.mrc", "--second-match"]


def agreement(found, truth, low=0.06, high=0.14):
    """Correlation in Fourier space, between frequencies low and high, where both series
    look, where only the first, only the second, and neither does."""
    inner = slice(8, -8)
    window = np.einsum("i,j,k->ijk", *(np.hanning(n) for n in truth[inner, :, inner].shape))
    f, g = (np.fft.fftn((v[inner, :, inner] - v[inner, :, inner].mean()) * window)
            for v in (found, truth))
    ky, ks, kx = np.meshgrid(*map(np.fft.fftfreq, f.shape), indexing="ij")
    steep, gap = np.tan(np.radians(60)), 0.04
    shell = np.abs(np.sqrt(kx ** 2 + ky ** 2 + ks ** 2) - (low + high) / 2) < (high - low) / 2
    side = [(np.abs(ks) - steep * np.abs(k)) for k in (kx, ky)]
    parts = []
    for first, second in (True, True), (True, False), (False, True), (False, False):
        part = shell.copy()
        for seen, distance in zip((first, second), side):
            part &= distance < -gap if seen else distance > gap
        parts.append(np.real(f[part] @ g[part].conj())
                     / np.linalg.norm(f[part]) / np.linalg.norm(g[part]))
    return parts


@pytest.mark.parametrize("algorithm", [["SIRT", "-i", 30], ["CGLS"], ["ADMM"],
                                       ["SART", "-i", 2]], ids=lambda a: a[0])
def test_the_second_axis_fills_the_wedge(tiltrecz, specimen, algorithm):
    folder, truth = specimen
    one, _ = reconstruct(tiltrecz, folder, "-a", *algorithm)
    both, said = reconstruct(tiltrecz, folder, "-a", *algorithm, *BY_ALIGNMENT)
    assert "does not count, 4" in said or "does not count, 3" in said
    assert correlation(both, truth) > correlation(one, truth) + 0.01
    edges = np.r_[0:8, SIDE - 8:SIDE]  # where the second series sees what is beyond, and if
    # that counted, 0.2 would be lost
    assert correlation(both[edges], truth[edges]) > correlation(one[edges], truth[edges]) - 0.05
    single, dual = agreement(one, truth), agreement(both, truth)
    assert min(dual[:3]) > 0.9 and dual[2] > single[2] + 0.15
    if algorithm[0] != "ADMM":  # which knows more than the views
        assert single[2] < 0.5


def test_match_and_alignment_say_the_same(tiltrecz, specimen):
    folder, truth = specimen
    options = ["-a", "SIRT", "-i", 8]
    wanted, said = reconstruct(tiltrecz, folder, *options, *BY_ALIGNMENT)
    assert "second axis: 90.00 degrees from the first one" in said
    for match in "solve.xf", "inverse_of_b.xf":
        found, said = reconstruct(tiltrecz, folder, *options, *BY_MATCH, match)
        assert largest(found, wanted) < 1e-5
        assert f"second axis: 90.00 degrees from the first one, counter-clockwise, by {match}" \
            in said
    wrong, said = reconstruct(tiltrecz, folder, *options, *BY_MATCH, "wrong.xf")
    assert "second axis: " in said
    assert correlation(wrong, truth) < correlation(wanted, truth) - 0.15


def test_the_tilts_other_way_round(tiltrecz, specimen):
    """A wrong sign of the second angles is seen as well."""
    folder, truth = specimen
    options = ["-a", "SIRT", "-i", 8, *BY_ALIGNMENT]
    good, _ = reconstruct(tiltrecz, folder, *options)
    np.savetxt(folder / "mirrored.tlt", -TILTS)
    bad, _ = reconstruct(tiltrecz, folder, *options, "--second-tilts", "mirrored.tlt")
    assert correlation(bad, truth) < correlation(good, truth) - 0.03


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_make_the_same_bytes(tiltrecz, specimen, ranks):
    folder, _ = specimen
    for algorithm in ["SIRT", "-i", 3], ["ADMM", "-i", 2]:
        options = ["-a", *algorithm, *BY_ALIGNMENT]
        reconstruct(tiltrecz, folder, *options, name="one.mrc")
        reconstruct(tiltrecz, folder, *options, name="more.mrc", ranks=ranks)
        assert (folder / "one.mrc").read_bytes() == (folder / "more.mrc").read_bytes()


def test_another_gain_is_found(tiltrecz, specimen):
    folder, _ = specimen
    options = ["-a", "SIRT", "-i", 8, "--second"]
    wanted, said = reconstruct(tiltrecz, folder, *options, "b.mrc")
    assert "multiplied by 1\n" in said
    write_series(folder, 4 * read_mrc(folder / "b.mrc"), TILTS, "strong.mrc")
    np.savetxt(folder / "strong.xf", ACROSS)
    found, said = reconstruct(tiltrecz, folder, *options, "strong.mrc")
    factor = float(re.search(r"multiplied by ([\d.]+)", said).group(1))
    assert 0.9 < 4 * factor < 1.1 and correlation(found, wanted) > 0.999
    found, said = reconstruct(tiltrecz, folder, *options, "strong.mrc", "--second-scale", 0.25)
    assert largest(found, wanted) < 1e-5
    found, said = reconstruct(tiltrecz, folder, *options, "strong.mrc", "--normalize",
                              "mean-std")
    assert "multiplied by 1\n" in said


def test_bins_slices_and_reports(tiltrecz, specimen):
    folder, truth = specimen
    options = ["-a", "SIRT", "-i", 5, *BY_ALIGNMENT]
    all_of_it, _ = reconstruct(tiltrecz, folder, *options)
    some, _ = reconstruct(tiltrecz, folder, *options, "--slices", "20:29")
    assert np.array_equal(some, all_of_it[20:30])
    half, _ = reconstruct(tiltrecz, folder, *options, "--bin", 2, "--json", "rec.json",
                          "--report", "rec.html")
    small = truth.reshape(SIDE // 2, 2, THICK // 2, 2, SIDE // 2, 2).mean(axis=(1, 3, 5))
    assert half.shape == small.shape and correlation(half, small) > 0.7
    written = (folder / "rec.json").read_text()
    assert '"second series"' in written and "b.xf" in written


# ---- what is refused ----

@pytest.mark.parametrize("options, status, words", [
    (["--half-sets", "views"], USAGE, ["--half-sets"]),
    (["--try"], USAGE, ["--try"]),
    (["--for", "viewing"], USAGE, ["--for"]),
    (["-a", "WBP"], USAGE, ["WBP", "SIRT"]),
    (["--dose", "s.mdoc"], USAGE, ["--dose mdoc"]),
    (["--ctf", "c.defocus"], USAGE, ["--second-ctf"]),
    (["--second-ctf", "c.defocus"], USAGE, ["--ctf"]),
    (["-a", "ADMM", "--ctf-mode", "model", "--ctf", "c", "--second-ctf", "c"], USAGE,
     ["one tilt axis"]),
])
def test_not_together(tiltrecz, specimen, options, status, words):
    folder, _ = specimen
    algorithm = [] if "-a" in options else ["-a", "SIRT"]
    done = tiltrecz(*algorithm, "-T", THICK, *BY_ALIGNMENT, *options, "a_ali.mrc", cwd=folder,
                    check=False)
    (error,) = re.findall(r"error: (.*)", done.stderr)
    assert done.returncode == status and all(word in error for word in words), done.stderr


def test_slices_are_not_enough(build_dir, specimen):
    folder, _ = specimen
    done = runner(build_dir, "tiltrec-mpi")("-a", "SIRT", "-T", THICK, *BY_ALIGNMENT,
                                            "a_ali.mrc", cwd=folder, check=False)
    assert done.returncode == UNAVAILABLE and "tiltrecz-mpi" in done.stderr


@pytest.mark.parametrize("lines, words", [
    ("1 0 0 0\n0 1 0 0\n", "three lines of four"),
    ("1 0 0 0\n0 1 0 0\n0 0 1 0 7\n", "line 3: more than the four"),
    ("1 0 0 0\n0 1 0 0\n0 0 1 0\n1 0 0 0\n", "more than the three lines"),
    ("1 0 0 0\n0 1 0 0\n0 0 -1 0\n", "mirrors the specimen"),
    ("2 0 0 0\n0 2 0 0\n0 0 2 0\n", "8 times as large"),
    ("1 0 0 0\n0 0 0 0\n0 0 1 0\n", "times as large"),
    ("1 0 0 x\n0 1 0 0\n0 0 1 0\n", "line 1"),
])
def test_bad_matches(tiltrecz, specimen, tmp_path, lines, words):
    folder, _ = specimen
    (tmp_path / "match.xf").write_text(lines)
    done = tiltrecz("-a", "SIRT", "-T", THICK, *BY_MATCH, tmp_path / "match.xf", "a_ali.mrc",
                    cwd=folder, check=False)
    assert done.returncode == DATA and words in done.stderr, done.stderr


def test_series_that_do_not_fit(tiltrecz, specimen, tmp_path):
    folder, _ = specimen
    a = read_mrc(folder / "a_ali.mrc")
    write_series(tmp_path, a, TILTS, "a_ali.mrc")
    write_series(tmp_path, a[:, :60], TILTS, "short_ali.mrc")
    write_series(tmp_path, a, TILTS, "coarse_ali.mrc", pixel=8.0)
    write_series(tmp_path, a, TILTS, "same_ali.mrc")

    def refused(status, words, *options):
        done = tiltrecz("-a", "SIRT", "-T", THICK, *options, "a_ali.mrc", cwd=tmp_path,
                        check=False)
        (error,) = re.findall(r"error: (.*)", done.stderr)
        assert done.returncode == status and words in error, done.stderr
    refused(USAGE, "give --second-match", "--second", "same_ali.mrc")
    refused(USAGE, "is the first series itself", "--second", "a_ali.mrc")
    refused(DATA, "64 x 60", "--second", "short_ali.mrc")
    refused(DATA, "angstroms a pixel", "--second", "coarse_ali.mrc")
    refused(USAGE, "--second-match is about a second series", "--second-match", "x")
    write_mrc(tmp_path / "solve.mrc", a[:1])
    refused(USAGE, "is also an input", "--second", "same_ali.mrc", "-o", "same_ali.mrc",
            "--second-match", folder / "solve.xf")
