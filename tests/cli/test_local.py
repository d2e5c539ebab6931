"""IMOD's local alignments and z-factors: dots that every view sees where the formulas of
IMOD's tilt have them, patch by patch, written out here as they are in that program (pixels
from 1). Their tomogram must be as sharp as where nothing has moved."""
import subprocess

import numpy as np
import pytest

from conftest import correlation, read_mrc, write_mrc
from emulated import cuda, cudaz  # noqa: F401: fixtures
from plane_programs import check as check_planes

DATA, USAGE, UNAVAILABLE = 1, 2, 3
NX, NY, DEPTH, VIEWS = 144, 120, 28, 31
TILTS = np.linspace(-60, 60, VIEWS)
DOTS = np.array([(x, y, (x * 7 + y * 3) % 13 - 6) for y in (-34, -15, 10, 32)
                 for x in (-47, -23, 4, 26, 46)], float)  # from the centre


class Local:
    """A local alignment of patches; `big` is how much they differ."""

    def __init__(self, n=(5, 5), views=VIEWS, big=1.0, alpha=True, z=True, nx=NX, ny=NY):
        i, j = np.meshgrid(np.arange(n[0]), np.arange(n[1]))
        across, along = (i - (n[0] - 1) / 2) / n[0], (j - (n[1] - 1) / 2) / n[1]
        at = np.arange(views)[:, None, None] * 0.37

        def wave(a, b, phase):
            return big * np.sin(a * across + b * along + phase * at + phase)
        self.n, self.nx, self.ny, self.views = n, nx, ny, views
        self.step = (nx // (n[0] + 1), ny // (n[1] + 1))
        self.start = (nx // 2 - self.step[0] * (n[0] - 1) // 2,
                      ny // 2 - self.step[1] * (n[1] - 1) // 2)
        self.beta, self.alpha = 0.6 * wave(2, 1, 1.1), 0.5 * wave(-1, 2, 2.3) * alpha
        self.xz, self.yz = 0.01 * wave(1, 1, 0.7) * z, 0.01 * wave(1, -2, 1.7) * z
        turn = np.radians(0.7) * wave(2, -1, 0.9)
        self.dx, self.dy = 3 * wave(1.5, 1, 1.3), 3 * wave(-1, 1.5, 0.6)
        self.a = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        self.has_alpha, self.has_z = alpha, z

    def text(self, pixel=0.0, scale=1, identity=False):
        """As tiltalign writes it: 10 angles a line, 3 pairs of z-factors."""
        k, off = scale, 0 if identity else 1
        head = [*self.n, *(k * s for s in self.start), *(k * s for s in self.step)]
        out = ["%6d" * 6 % tuple(head) + "%6d%12.5f%4d" % (self.has_alpha, pixel, self.has_z)]

        def rows(values, per, form):
            for at in range(0, len(values), per):
                out.append("".join(form % v for v in values[at:at + per]))
        for j in range(self.n[1]):
            for i in range(self.n[0]):
                rows(off * self.beta[:, j, i], 10, "%9.4f")
                if self.has_alpha:
                    rows(off * self.alpha[:, j, i], 10, "%9.4f")
                if self.has_z:
                    pairs = np.column_stack([self.xz[:, j, i], self.yz[:, j, i]])
                    rows(off * pairs.ravel(), 6, "%11.6f")
                for v in range(self.views):
                    m = np.eye(2) if identity else self.a[:, :, v, j, i]
                    out.append("%12.7f" * 4 % tuple(m.ravel()) + "%12.3f%12.3f" % (
                        off * k * self.dx[v, j, i], off * k * self.dy[v, j, i]))
        return "\n".join(out) + "\n"

    def see(self, view, tilt, pitch, x, y, s, z=True):
        """Column and row, from 1, of a voxel at (x, y, s) from the centres."""
        center = np.array([self.nx / 2 + 0.5, (1 + self.ny) / 2])
        fx = np.clip((x + center[0] - self.start[0]) / self.step[0], 0, self.n[0] - 1)
        fy = np.clip((y + center[1] - self.start[1]) / self.step[1], 0, self.n[1] - 1)
        p, q = min(int(fx), self.n[0] - 2), min(int(fy), self.n[1] - 2)
        fx, fy, to = fx - p, fy - q, np.zeros(2)
        for j, i, weight in ((q, p, (1 - fy) * (1 - fx)), (q, p + 1, (1 - fy) * fx),
                             (q + 1, p, fy * (1 - fx)), (q + 1, p + 1, fy * fx)):
            beta = -np.radians(tilt) - np.radians(self.beta[view, j, i])
            alpha = -np.radians(pitch) + np.radians(self.alpha[view, j, i])
            sine = -np.sin(alpha)  # of IMOD's sal, which is what the specimen is turned by
            xz, yz = -self.xz[view, j, i] * z, -self.yz[view, j, i] * z
            at = np.array([x * np.cos(beta) + y * sine * np.sin(beta)
                           + s * (np.cos(alpha) * np.sin(beta) + xz),
                           y * np.cos(alpha) - s * (sine - yz)])
            to += weight * (self.a[:, :, view, j, i] @ at
                            + (self.dx[view, j, i], self.dy[view, j, i]) + center)
        return to


def plain(view, tilt, pitch, x, y, s, factors=(0, 0), nx=NX, ny=NY):
    t, g = np.radians(tilt), np.radians(pitch)
    return np.array([x * np.cos(t) - y * np.sin(g) * np.sin(t)
                     - s * (np.cos(g) * np.sin(t) + factors[0]) + nx / 2 + 0.5,
                     y * np.cos(g) - s * (np.sin(g) + factors[1]) + (1 + ny) / 2])


def draw(see, pitch=0.0, nx=NX, ny=NY):
    """Dots of half width 2.6 pixels, which linear interpolation between rows does not change
    much; see(view, tilt, pitch, x, y, s)."""
    views = np.zeros((VIEWS, ny + 40, nx + 40))
    v, u = np.mgrid[:27, :27] - 13.0
    for k, tilt in enumerate(TILTS):
        for dot in DOTS:
            at = see(k, tilt, pitch, *dot) + 19
            i, j = np.clip(np.round(at).astype(int), 13, (nx + 26, ny + 26))
            near = (u + i - at[0]) ** 2 + (v + j - at[1]) ** 2
            views[k, j - 13:j + 14, i - 13:i + 14] += np.exp(-near / (2 * 2.6 ** 2))
    return views[:, 20:-20, 20:-20].copy()


def heights(volume):
    """At the dots; volumes are [slice][z][x]."""
    middle = np.array([volume.shape[2] // 2 - 0.5, volume.shape[1] // 2 - 0.5,
                       volume.shape[0] / 2 - 0.5])
    near = []
    for x, z, y in DOTS[:, [0, 2, 1]] + middle:
        k, j, i = (int(np.floor(c)) for c in (y, z, x))
        near.append(volume[k - 1:k + 3, j - 1:j + 3, i - 1:i + 3].max())
    return np.array(near)


class Work:
    def __init__(self, folder, programs):
        self.folder, self.programs = folder, programs
        (folder / "a.tlt").write_text("".join(f"{t:.6f}\n" for t in TILTS))

    def put(self, name, data):
        if isinstance(data, str):
            (self.folder / name).write_text(data)
        else:
            write_mrc(self.folder / name, data, pixel=5.0)

    def run(self, series, *options, program="tiltrec", thickness=DEPTH, **how):
        out = self.folder / "o.mrc"
        out.unlink(missing_ok=True)
        done = self.programs[program](series, "-T", thickness, "-t", "a.tlt", "-o", out,
                                      *options, cwd=self.folder, **how)
        self.said = done.stderr
        return read_mrc(out) if done.returncode == 0 else None


@pytest.fixture
def work(tmp_path, tiltrec, tiltrecz):
    return Work(tmp_path, {"tiltrec": tiltrec, "tiltrecz": tiltrecz})


@pytest.fixture
def works(work, cuda, cudaz):
    """With the programs for GPUs."""
    work.programs |= {"cuda": cuda, "cudaz": cudaz}
    return work


@pytest.fixture(scope="module")
def local():
    return Local()


ZEROS = "0 0\n" * VIEWS


@pytest.mark.parametrize("pitch", [0, 5.0])
def test_local_alignment(work, local, pitch):
    """Heights of the dots, of those where nothing has moved."""
    work.put("still.mrc", draw(plain, pitch))
    work.put("moved.mrc", draw(local.see, pitch))
    work.put("local.xf", local.text())
    work.put("z.fac", ZEROS)
    options = ["--local", "local.xf", "--z-factors", "z.fac", "--pitch", pitch]
    still = heights(work.run("still.mrc", "--pitch", pitch))
    ours = work.run("moved.mrc", *options)
    assert "5 x 5 patches, 24 and 20 pixels apart" in work.said
    ratio = heights(ours) / still
    faded = heights(work.run("moved.mrc", "--pitch", pitch)) / still
    print("WBP", pitch, ratio.min(), ratio.mean(), "without", faded.min(), faded.mean())
    assert ratio.min() > 0.97 and faded.mean() < 0.7
    # The same bytes, however the slices are shared out and whichever are made.
    assert np.array_equal(work.run("moved.mrc", *options, ranks=3), ours)
    assert np.array_equal(work.run("moved.mrc", *options, "--slices", "47:68"), ours[47:69])
    assert np.array_equal(work.run("moved.mrc", *options, threads=2), ours)


@pytest.mark.parametrize("algorithm, options", [
    ("WBP", []), pytest.param("SIRT", ["--iterations", 20], marks=pytest.mark.slow),
    ("CGLS", ["--iterations", 8]),
    pytest.param("ADMM", ["--iterations", 10], marks=pytest.mark.slow)])
def test_local_alignment_of_whole_volumes(work, local, algorithm, options):
    work.put("still.mrc", draw(plain, 3.0))
    work.put("moved.mrc", draw(local.see, 3.0))
    work.put("local.xf", local.text())
    work.put("z.fac", ZEROS)
    common = ["-a", algorithm, *options, "--pitch", 3, *(
        [] if algorithm == "WBP" else ["--outside", "zero"])]
    named = ["--local", "local.xf", "--z-factors", "z.fac"]
    still = heights(work.run("still.mrc", *common, program="tiltrecz"))
    ours = work.run("moved.mrc", *common, *named, program="tiltrecz")
    ratio = heights(ours) / still
    faded = heights(work.run("moved.mrc", *common, program="tiltrecz")) / still
    print(algorithm, ratio.min(), ratio.mean(), "without", faded.min(), faded.mean())
    assert ratio.min() > 0.97 and faded.mean() < 0.7
    two = work.run("moved.mrc", *common, *named, program="tiltrecz", ranks=2)
    assert np.array_equal(two, ours)


def distance(a, b):
    assert a.shape == b.shape
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def name_all(work, local):
    """A series, and the options that name all that an alignment can say of it."""
    work.put("moved.mrc", draw(local.see, 3.0)[:, :96].copy())
    work.put("local.xf", local.text())
    work.put("z.fac", "".join("%.5f %.5f\n" % (0.04 * np.sin(k), 0.03 * np.cos(k))
                              for k in range(VIEWS)))
    work.put("a.xtilt", "".join(f"{3 * np.sin(k):.3f}\n" for k in range(VIEWS)))
    return {"local": ["--local", "local.xf", "--z-factors", "z.fac", "--pitch", 3],
            "x-tilts": ["--local", "local.xf", "--z-factors", "z.fac", "--xtilts", "a.xtilt"],
            "z-factors": ["--z-factors", "z.fac", "--pitch", 3]}


@pytest.mark.parametrize("kind", [
    "local", *(pytest.param(k, marks=pytest.mark.slow) for k in ("x-tilts", "z-factors"))])
def test_slices_of_gpus(works, local, kind):
    """Those of the programs for CPUs; the same bytes wherever a slab begins."""
    options = name_all(works, local)[kind]
    small = ["-w", 60, *options]
    for algorithm in ("WBP", "FBP", "BPT"):
        wanted = works.run("moved.mrc", "-a", algorithm, *small, thickness=9)
        found = works.run("moved.mrc", "-a", algorithm, *small, program="cuda", thickness=9)
        assert distance(found, wanted) < 1e-5
        if algorithm == "WBP":
            ours = found
    assert np.array_equal(works.run("moved.mrc", *small, program="cuda", ranks=3, thickness=9), ours)
    some = works.run("moved.mrc", *small, "--slices", "21:55", program="cuda", thickness=9)
    assert np.array_equal(some, ours[21:56])


OF_GPUS = {"WBP": [], "SIRT": ["-i", 3], "SART": ["-i", 1], "CGLS": ["-i", 3], "ADMM": ["-i", 2]}


def of_gpus():
    """Each algorithm with one kind of rays, and each kind as far as the operators differ; the
    rest, which take the same operators as others, for tests/run long."""
    for kind in "local", "x-tilts", "z-factors":
        for algorithm in OF_GPUS:
            again = kind != "local" and algorithm in ("CGLS", "ADMM")
            quick = kind == "local" and algorithm in ("WBP", "SIRT")
            yield pytest.param(kind, algorithm, marks=[pytest.mark.long] if again else
                               [] if quick else [pytest.mark.slow])


@pytest.mark.parametrize("kind, algorithm", list(of_gpus()))
def test_volumes_of_gpus(works, local, kind, algorithm):
    named = ["-w", 60, "-a", algorithm, *OF_GPUS[algorithm], *name_all(works, local)[kind], "--include",
             "1,5,9,13,17,21,25,29", *([] if algorithm == "WBP" else ["--outside", "zero"])]
    wanted = works.run("moved.mrc", *named, program="tiltrecz", thickness=9)
    for ranks in (1, 2):
        found = works.run("moved.mrc", *named, program="cudaz", ranks=ranks, thickness=9)
        # As for transforms (cuda_programs.py).
        assert distance(found, wanted) < 3e-5


@pytest.mark.slow
def test_gpus_with_little_memory(works, local):
    """Some planes at a time, whose offsets count from the volume's first."""
    named = ["-a", "SIRT", "-i", 1, "-w", 32, *name_all(works, local)["local"], "-t", "a.tlt",
             "--include", "1,11,21,31", "--outside", "zero"]
    check_planes(works.programs["cudaz"], works.folder, works.folder / "moved.mrc", *named)


def test_z_factors_alone(work):
    """What is seen moves with the height."""
    factors = np.column_stack([0.06 * np.sin(np.arange(VIEWS)), 0.05 * np.cos(np.arange(VIEWS))])
    work.put("z.fac", "".join("%11.6f %11.6f\n" % tuple(f) for f in factors))
    work.put("moved.mrc", draw(lambda k, *rest: plain(k, *rest, factors=np.round(factors[k], 6))))
    work.put("still.mrc", draw(plain))
    still = heights(work.run("still.mrc"))
    ours = work.run("moved.mrc", "--z-factors", "z.fac")
    assert (heights(ours) / still).min() > 0.97
    # A wrong sign is worse than none.
    work.put("minus.fac", "".join("%11.6f %11.6f\n" % tuple(-f) for f in factors))
    wrong = heights(work.run("moved.mrc", "--z-factors", "minus.fac"))
    assert np.sum(wrong) < np.sum(heights(work.run("moved.mrc")))
    whole = work.run("moved.mrc", "--z-factors", "z.fac", program="tiltrecz")
    assert correlation(whole, ours, 4) > 0.9999


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_an_identity_leaves_the_bytes(work, local, program):
    work.put("moved.mrc", draw(plain))
    work.put("local.xf", local.text(identity=True))
    work.put("z.fac", ZEROS)
    without = work.run("moved.mrc", program=program)
    ours = work.run("moved.mrc", "--local", "local.xf", "--z-factors", "z.fac", program=program)
    assert "turns and moves nothing" in work.said
    assert np.array_equal(ours, without)


def test_tilt_com_names_both(work, local):
    """LOCALFILE and ZFACTORFILE; what the options name wins, and "none" leaves out."""
    work.put("moved_ali.mrc", draw(local.see))
    work.put("local.xf", local.text())
    work.put("z.fac", ZEROS)
    work.put("tilt.com", "$tilt -StandardInput\nInputProjections moved_ali.mrc\n"
             "LOCALFILE local.xf\nZFACTORFILE z.fac\nRADIAL 0.35 0.035\n"
             "FalloffIsTrueSigma 1\nPERPENDICULAR\n")
    ours = work.run("moved_ali.mrc", "--imod-com", "tilt.com")
    named = work.run("moved_ali.mrc", "--local", "local.xf", "--z-factors", "z.fac")
    assert np.array_equal(ours, named)
    none = work.run("moved_ali.mrc", "--imod-com", "tilt.com", "--local", "none", "--z-factors",
                    "none")
    assert np.array_equal(none, work.run("moved_ali.mrc"))


def test_own_z_factors_need_those_of_views(work, local):
    see = Local(z=False)
    work.put("moved.mrc", draw(lambda *at: local.see(*at, z=False)))
    work.put("local.xf", local.text())
    work.put("other.xf", see.text())
    ours = work.run("moved.mrc", "--local", "local.xf")
    assert "its z-factors do not count without --z-factors" in work.said
    assert np.array_equal(ours, work.run("moved.mrc", "--local", "other.xf"))


def test_scales(work, local):
    """A file about images twice as large: by its pixel size, or by the option; and a series
    of twice as large images that is binned on the way."""
    work.put("moved.mrc", draw(local.see))
    work.put("local.xf", local.text())
    work.put("large.xf", local.text(scale=2, pixel=2.5))
    work.put("unknown.xf", local.text(scale=2))
    work.put("z.fac", ZEROS)
    z = ["--z-factors", "z.fac"]
    ours = work.run("moved.mrc", "--local", "local.xf", *z)
    large = work.run("moved.mrc", "--local", "large.xf", *z)
    assert "scaled by 0.5 to pixels of this series" in work.said
    assert correlation(large, ours) > 0.99999
    same = work.run("moved.mrc", "--local", "unknown.xf", "--local-scale", 0.5, *z)
    assert np.array_equal(same, large)
    views = np.repeat(np.repeat(draw(local.see), 2, axis=1), 2, axis=2)
    write_mrc(work.folder / "big.mrc", views, pixel=2.5)
    binned = work.run("big.mrc", "--local", "large.xf", "--bin", 2, *z, thickness=2 * DEPTH)
    assert correlation(binned, ours, 4) > 0.99


def test_views_left_out(work, local):
    """The file has all views."""
    work.put("moved.mrc", draw(local.see))
    work.put("still.mrc", draw(plain))
    work.put("local.xf", local.text())
    work.put("z.fac", ZEROS)
    still = heights(work.run("still.mrc", "--exclude", "1,7-9,20"))
    ours = heights(work.run("moved.mrc", "--exclude", "1,7-9,20", "--local", "local.xf",
                            "--z-factors", "z.fac"))
    assert (ours / still).min() > 0.95


def test_a_part_of_the_image(work, local):
    """FULLIMAGE and SUBSETSTART: the series is cut from the images that the file is about."""
    x0, y0, nx, ny = 8, 6, 128, 112
    work.put("part_ali.mrc", draw(local.see)[:, y0:y0 + ny, x0:x0 + nx].copy())
    work.put("still_ali.mrc", draw(plain)[:, y0:y0 + ny, x0:x0 + nx].copy())
    work.put("local.xf", local.text())
    work.put("z.fac", ZEROS)
    com = ("$tilt -StandardInput\nInputProjections {}_ali.mrc\nFULLIMAGE %d %d\n"
           "SUBSETSTART %d %d\n" % (NX, NY, x0, y0))
    work.put("still.com", com.format("still"))
    work.put("part.com", com.format("part") + "LOCALFILE local.xf\nZFACTORFILE z.fac\n")
    still = work.run("still_ali.mrc", "--imod-com", "still.com")
    ours = work.run("part_ali.mrc", "--imod-com", "part.com")
    assert correlation(ours, still, 6) > 0.98
    work.put("none.com", com.format("part"))
    assert correlation(work.run("part_ali.mrc", "--imod-com", "none.com"), still, 6) < 0.9


@pytest.mark.parametrize("options, status, said", [
    (["-a", "SIRT"], UNAVAILABLE, "use tiltrecz-mpi, which holds the whole volume"),
    (["-a", "CGLS"], UNAVAILABLE, "CGLS uses the rays again and again, and a local alignment"),
    (["--local", "z.fac"], DATA, "z.fac, line 1: a local alignment begins with 6 to 9 numbers"),
    (["--z-factors", "local.xf"], DATA, "local.xf, line 1: 24 is not a z-factor"),
    (["--z-factors", "a.tlt"], DATA, "a.tlt, line 1: -60 is not a z-factor"),
    (["--z-factors", "few.fac"], DATA, "few.fac has 6 numbers, but 31 views have two"),
    (["--local", "few.xf"], DATA, "numbers behind its first line, but 5 x 5 patches of 31"),
    (["--local", "line.xf"], DATA, "line 1: 5 x 1 patches; at least 2 x 2 are needed"),
    (["--local", "short.xf"], DATA, "short.xf is too short for 9 x 9 patches of 31 views"),
    (["--local", "flat.xf"], DATA, "a transform without an inverse"),
    (["--local", "near.xf"], DATA, "line 1: patches 0 and 20 pixels apart"),
    (["--local-scale", "100"], DATA, "a local alignment moves what views see by"),
    (["--local", "a.tlt", "--z-factors", "none"], DATA, "begins with 6 to 9 numbers, not 1"),
])
def test_refusals(work, local, options, status, said):
    text = local.text()
    work.put("moved.mrc", draw(plain))
    work.put("local.xf", text)
    work.put("z.fac", ZEROS)
    work.put("few.fac", "0 0\n" * 3)
    work.put("few.xf", text[:-200])
    work.put("line.xf", text.replace("     5     5", "     5     1", 1))
    work.put("short.xf", text[:40000].replace("     5     5", "     9     9", 1))
    work.put("near.xf", text.replace("  24    20     1", "   0    20     1", 1))
    last = text.rstrip("\n").split("\n")
    last[-1] = "1 2 2 4 0 0"
    work.put("flat.xf", "\n".join(last))
    for usual in (["--local", "local.xf"], ["--z-factors", "z.fac"]):
        options = [*options, *(usual if usual[0] not in options else [])]
    done = work.programs["tiltrec"]("moved.mrc", "-T", DEPTH, "-t", "a.tlt", "-o", "o.mrc",
                                    *options, cwd=work.folder, check=False)
    assert done.returncode == status and said in done.stderr, done.stderr


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_with_half_sets_and_trials(work, local, program):
    """Each half has the local alignment of its own views; and a trial runs."""
    work.put("moved.mrc", draw(local.see))
    work.put("local.xf", local.text())
    work.put("z.fac", ZEROS)
    named = ["--local", "local.xf", "--z-factors", "z.fac"]
    work.run("moved.mrc", *named, "--half-sets", "views", program=program)
    for name, first in (("ODD", 1), ("EVN", 2)):
        half = read_mrc(work.folder / f"o_{name}.mrc")
        views = ",".join(str(v) for v in range(first, VIEWS + 1, 2))
        assert np.array_equal(half, work.run("moved.mrc", *named, "--include", views,
                                             program=program))
    work.programs[program]("moved.mrc", "-T", DEPTH, "-t", "a.tlt", "-o", "t.mrc", *named,
                           "--try", "pitch=-2:2:2", cwd=work.folder)


# ---- the map itself ----

@pytest.fixture
def tool(build_dir, tmp_path):
    def run(sizes, tilts, local, factors, voxels, **how):
        numbers = [how.get(k, d) for k, d in (
            ("scale", 1), ("full_x", sizes[0]), ("full_y", sizes[1]), ("axis", 0),
            ("subset_x", 0), ("subset_y", 0))]
        done = subprocess.run(
            [build_dir / "tests" / "localmap", *map(str, sizes), *map(str, numbers), tilts,
             local, factors, str(how["views"])],
            input="\n".join("%d %.17g %.17g %.17g" % tuple(v) for v in voxels) + "\n",
            text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return np.loadtxt(done.stdout.splitlines())
    return run


def some_voxels(views, width, n_v, thickness, n=1000):
    some = np.random.default_rng(8)
    return np.column_stack([some.integers(0, views, n), some.uniform(0, width - 1, n),
                            some.uniform(0, n_v - 1, n), some.uniform(0, thickness - 1, n)])


def compare(found, expected, closest=1e-3, grid=0.02):
    exact = np.abs(found[:, :2] + 1 - expected).max()
    by_grid = np.abs(found[:, 2:] + 1 - expected)
    print("map", exact, "grid", by_grid.max(), "99 %", np.quantile(by_grid, 0.99))
    assert exact < closest and by_grid.max() < grid


@pytest.mark.parametrize("n", [(2, 2), (4, 3), (5, 5)])
def test_map(tool, tmp_path, n):
    """Patches of an image of usual size, here 1024 x 900, neighbours of which differ by
    half a pixel; the grid is furthest off where they meet."""
    nx, ny, depth, pitch = 1024, 900, 200, 4.0
    local = Local(n, nx=nx, ny=ny, big=0.35)
    (tmp_path / "a.tlt").write_text("".join(f"{t:.6f}\n" for t in TILTS))
    (tmp_path / "local.xf").write_text(local.text())
    (tmp_path / "z.fac").write_text(ZEROS)
    voxels = some_voxels(VIEWS, nx, ny, depth)
    found = tool((nx, ny, nx, depth, pitch), tmp_path / "a.tlt", tmp_path / "local.xf",
                 tmp_path / "z.fac", voxels, views=VIEWS)
    expected = np.array([local.see(int(k), TILTS[int(k)], pitch, x - nx / 2 + 0.5,
                                   y - (ny - 1) / 2, z - depth / 2 + 0.5)
                         for k, x, y, z in voxels])
    compare(found, expected)


def read_bb(folder):
    """The real file, read here by itself: 2 x 2 patches, with z-factors."""
    lines = (folder / "BBblocal.xf").read_text().split("\n")
    head = lines[0].split()
    numbers = np.array(" ".join(lines[1:]).split(), float)
    views = 61
    local = Local((int(head[0]), int(head[1])), views=views)
    local.start, local.step = tuple(map(int, head[2:4])), tuple(map(int, head[4:6]))
    local.nx = local.ny = 512
    blocks = numbers.reshape(local.n[1], local.n[0], -1)
    for j in range(local.n[1]):
        for i in range(local.n[0]):
            b = blocks[j, i]
            local.beta[:, j, i], local.alpha[:, j, i] = b[:views], 0
            pairs = b[views:3 * views].reshape(views, 2)
            local.xz[:, j, i], local.yz[:, j, i] = pairs.T
            for v, row in enumerate(b[3 * views:].reshape(views, 6)):
                local.a[:, :, v, j, i] = row[:4].reshape(2, 2)
                local.dx[v, j, i], local.dy[v, j, i] = row[4:]
    return local


def test_map_of_a_real_file(tool, shared_data):
    """IMOD's tutorial, as its tilt.com has it: SUBSETSTART -19 -19 of 512 x 512."""
    folder = shared_data / "sidecars" / "imod_BB"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    local, pitch, depth, n = read_bb(folder), -0.08, 78, 550
    tilts = np.loadtxt(folder / "BBb.tlt")
    voxels = some_voxels(61, n, n, depth)
    found = tool((n, n, n, depth, pitch), folder / "BBb.tlt", folder / "BBblocal.xf",
                 folder / "BBb.zfac", voxels, views=61, full_x=512, full_y=512)
    # In pixels of the whole image; the series begins 19 before.
    expected = np.array([local.see(int(k), tilts[int(k)], pitch, x - n / 2 + 0.5,
                                   y - (n - 1) / 2, z - depth / 2 + 0.5)
                         for k, x, y, z in voxels]) + 19
    compare(found, expected)


def test_map_of_z_factors(tool, tmp_path):
    factors = np.column_stack([0.01 * np.sin(np.arange(VIEWS)), 0.01 * np.cos(np.arange(VIEWS))])
    (tmp_path / "a.tlt").write_text("".join(f"{t:.6f}\n" for t in TILTS))
    (tmp_path / "z.fac").write_text("".join("%.9f %.9f\n" % tuple(f) for f in factors))
    voxels = some_voxels(VIEWS, 400, 300, 90)
    found = tool((400, 300, 400, 90, 5.0), tmp_path / "a.tlt", "none", tmp_path / "z.fac",
                 voxels, views=VIEWS)
    expected = np.array([plain(int(k), TILTS[int(k)], 5.0, x - 199.5, y - 149.5, z - 44.5,
                               factors[int(k)], 400, 300) for k, x, y, z in voxels])
    compare(found, expected, 1e-5, 1e-5)


@pytest.mark.parametrize("program", ["tiltrec", "tiltrecz"])
def test_the_dots_explain_the_views(work, local, program):
    """--residual-of sees them through the same alignment."""
    work.put("a.mrc", draw(local.see))
    work.put("a.loc", local.text())
    work.put("zf", "".join("0 0\n" for _ in TILTS))
    x, y, s = np.arange(NX), np.arange(NY)[:, None, None], np.arange(DEPTH)[:, None]
    dots = np.zeros((NY, DEPTH, NX))
    for dx, dy, ds in DOTS:
        dots += np.exp(-((x - NX // 2 + 0.5 - dx) ** 2 + (y - NY / 2 + 0.5 - dy) ** 2
                         + (s - DEPTH // 2 + 0.5 - ds) ** 2) / (2 * 2.6 ** 2))
    work.put("dots.mrc", dots)

    def residuals(*options):
        work.programs[program]("--residual-of", "dots.mrc", "-t", "a.tlt", *options, "a.mrc",
                               cwd=work.folder)
        return np.genfromtxt(work.folder / "a_residual.csv", delimiter=",", names=True)["residual"]
    good, poor = residuals("--local", "a.loc", "--z-factors", "zf"), residuals()
    assert np.median(good) < 0.06 and good.max() < 0.12
    assert np.median(poor) > 0.3
