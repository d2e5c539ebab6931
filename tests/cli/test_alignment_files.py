"""AreTomo's .aln and RELION's STAR in the place of the angles: angles, views left out, and
the alignment, whose signs are taken from what those programs compute. Blobs of which every
view is known exactly are seen through the misalignment that a file describes; their
tomogram is then that of the aligned views, and no other sign gives it."""
import json

import numpy as np
import pytest

from conftest import correlation, difference, read_mrc, write_mrc, write_series
from volume_reference import Blobs

DATA, PIXEL = 1, 5.0
N_U, N_V, DEPTH = 48, 40, 24
ROWS, VIEWS = 12, 7  # of the bench
TILTS = np.arange(-60.0, 61, 6)
TURN = 8 + 0.1 * TILTS / 6  # degrees: another one for each view
SHIFT = np.column_stack([4 * np.cos(TILTS), 4 * np.sin(2 * TILTS) - 2])


def rotation(degrees, axis="z"):
    """Right-handed, about one axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array({"x": [[1, 0, 0], [0, c, -s], [0, s, c]],
                     "y": [[c, 0, s], [0, 1, 0], [-s, 0, c]],
                     "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}[axis])


def misaligned(blobs):
    """Raw views. AreTomo fetches the aligned image's point from
    raw = R(ROT) aligned + (TX, TY), about the images' centres."""
    back = np.array([np.linalg.inv(rotation(turn)[:2, :2]) for turn in TURN])
    lines = [[*b.ravel(), *(-b @ shift)] for b, shift in zip(back, SHIFT)]
    return blobs.views(TILTS, N_U, N_V, transforms=np.array(lines))


def aln(sections, raw, turn=TURN, shift=SHIFT, darks=(), local=0, tilts=TILTS, beta=0):
    """As AreTomo 3 writes it."""
    lines = ["# AreTomo Alignment / Priims bprmMn",
             "# RawSize = {} {} {}".format(*raw), f"# NumPatches = {local}"]
    lines += ["# DarkFrame =  %4d %4d %8.2f" % dark for dark in darks]
    lines += ["# AlphaOffset =     0.00", f"# BetaOffset = {beta:8.2f}", "# Thickness = 300",
              "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE"
              "     BASE     TILT"]
    for section, angle, (x, y), tilt in zip(sections, turn, shift, tilts):
        lines.append("%5d  %9.4f  %9.5f  %9.3f  %9.3f  %7.2f  %7.2f  %7.2f  %7.2f  %8.2f" % (
            section, angle, 1, x, y, 1, 1, 1, 0, tilt))
    if local:
        lines.append("# Local Alignment")
        lines += ["%4d %3d %8.2f  %8.2f  %8.2f  %8.2f  %4.1f" % (t, p, 9, 9, 1, 1, 1)
                  for t in range(len(tilts)) for p in range(local)]
    return "\n".join(lines) + "\n"


LABELS = ("rlnMicrographName rlnTomoNominalStageTiltAngle rlnTomoXTilt rlnTomoYTilt "
          "rlnTomoZRot rlnTomoXShiftAngst rlnTomoYShiftAngst").split()


def star(rows, labels=LABELS, block="TS_01"):
    """As RELION 5 writes a table."""
    head = "".join(f"_{label} #{k} \n" for k, label in enumerate(labels, 1))
    body = "".join(" ".join(f"{v:12.6f}" if isinstance(v, float) else v for v in row) + " \n"
                   for row in rows)
    return f"\n# version 50001\n\ndata_{block}\n\nloop_ \n{head}{body} \n\n"


def star_rows(names, xtilt=0.0, turn=TURN, shift=SHIFT * PIXEL, tilts=TILTS):
    xtilts = np.broadcast_to(xtilt, len(tilts))
    return [(name, float(round(t)), float(g), float(t), float(r), float(x), float(y))
            for name, g, t, r, (x, y) in zip(names, xtilts, tilts, turn, shift)]


NAMES = [f"MotionCorr/job002/frames/TS_01_{k:03d}.mrc" for k in range(len(TILTS))]


@pytest.fixture(scope="module")
def blobs():
    return Blobs(N_U - 16, N_V - 16, DEPTH, finest=2, seed=3)


@pytest.fixture(scope="module")
def raw(blobs):
    return misaligned(blobs)


@pytest.fixture
def run(tiltrec, tmp_path):
    def run(data, files, *options, name="ts.mrc", **how):
        write_mrc(tmp_path / name, data, pixel=how.pop("pixel", PIXEL))
        for file, text in files.items():
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file).write_text(text)
        done = tiltrec(tmp_path / name, "-T", how.pop("thickness", DEPTH), "-o",
                       tmp_path / "o.mrc",
                       *options, **{"cwd": tmp_path, **how})
        return read_mrc(tmp_path / "o.mrc"), done.stderr
    return run


@pytest.fixture
def aligned(blobs, run):
    tilts = "".join(f"{t}\n" for t in TILTS)
    return run(blobs.views(TILTS, N_U, N_V), {"a.tlt": tilts}, "-t", "a.tlt")[0]


# ---- AreTomo ----

def test_alignment_of_aretomo(run, raw, aligned):
    sections = range(1, len(TILTS) + 1)
    size = (N_U, N_V, len(TILTS))
    ours, said = run(raw, {"ts.aln": aln(sections, size)})  # found beside the series
    assert correlation(ours, aligned, 6) > 0.999
    assert "ts.aln: -60.00 to 60.00 degrees" in said
    assert "aligned while they are read" in said and "tilt axis at 8.00 degrees" in said
    assert "warning" not in said
    two, _ = run(raw, {}, ranks=2)
    assert np.array_equal(two, ours)
    for wrong in (dict(turn=-TURN), dict(shift=SHIFT * [-1, 1]), dict(shift=SHIFT * [1, -1]),
                  dict(shift=SHIFT[:, ::-1])):
        other, _ = run(raw, {"ts.aln": aln(sections, size, **wrong)})
        assert correlation(other, aligned, 6) < 0.98


@pytest.mark.parametrize("first", [0, 1])
def test_dark_views(run, raw, aligned, first):
    """AreTomo 2 counts sections from 0, AreTomo 3 from 1. Here they are not in order."""
    order = np.random.default_rng(2).permutation(len(raw))
    places = np.delete(np.arange(len(raw) + 2), [5, 20])
    views = np.full((len(raw) + 2, N_V, N_U), 7.0)
    views[places] = raw[order]
    darks = [(0, 5 + first, -66), (22, 20 + first, 66)]
    rank = np.argsort(order)
    text = aln(places[rank] + first, (N_U, N_V, len(views)), darks=darks)
    ours, said = run(views, {"ts.aln": text}, "-t", "ts.aln")
    assert correlation(ours, aligned, 6) > 0.999
    assert "has 21 of the 23 views; left out: 6,21\n" in said
    also, said = run(views, {}, "-t", "ts.aln", "--exclude", "1")
    assert "20 of 23 views" in said


# ---- its local alignment ----

WIDE, HIGH, PATCHES = 96, 80, 5
DOTS = np.array([(x, y, z) for y in (-24, -8, 10, 23) for x in (-32, -16, 3, 17, 31)
                 for z in ((x * 7 + y * 3) % 9 - 4,)], float)  # from the centre


class Local:
    """Dots in views whose parts have moved, and what AreTomo would say of it: where each
    patch is in the raw view, from its centre and without the view's own shift, and by how
    much more it has moved. Every second patch of view 3 is no good and says nonsense."""

    def __init__(self, seed=5, most=3.0):
        some = np.random.default_rng(seed)
        grid = (np.arange(PATCHES) - 2) / PATCHES
        self.at = np.array([[(WIDE * x + some.uniform(-2, 2), HIGH * y + some.uniform(-2, 2))
                             for y in grid for x in grid] for _ in TILTS])
        phase = some.uniform(0, 2 * np.pi, (len(TILTS), 1, 2))
        wave = np.array([[4 / WIDE, 3 / HIGH], [-3 / WIDE, 4 / HIGH]])
        self.by = most * np.sin(phase + self.at @ wave)
        self.good = np.ones(self.at.shape[:2])
        self.good[3, ::2] = 0.8
        self.listed = np.where(self.good[..., None] < 0.9, 40.0, self.by)

    def shift(self, k, x, y):
        """As mGCalcLocalShift of AreTomo 3 has it."""
        away = ((x - self.at[k, :, 0]) / WIDE) ** 2 + ((y - self.at[k, :, 1]) / HIGH) ** 2
        weight = np.exp(-100 * away) * (self.good[k] >= 0.9)
        return weight @ self.by[k] / weight.sum()

    def views(self, moved=True):
        """Dots of half width 1.3 pixels, misaligned by TURN and SHIFT."""
        views = np.zeros((len(TILTS), HIGH + 40, WIDE + 40))
        v, u = np.mgrid[:17, :17] - 8.0
        for k, tilt in enumerate(np.radians(TILTS)):
            for x, y, z in DOTS:
                aligned = np.array([x * np.cos(tilt) - z * np.sin(tilt), y])
                raw = rotation(TURN[k])[:2, :2] @ aligned
                raw = raw + SHIFT[k] + (self.shift(k, *raw) if moved else 0)
                raw = raw + (WIDE / 2 + 19.5, HIGH / 2 + 19.5)
                i, j = np.round(raw).astype(int)
                near = (u + i - raw[0]) ** 2 + (v + j - raw[1]) ** 2
                views[k, j - 8:j + 9, i - 8:i + 9] += np.exp(-near / (2 * 1.3 ** 2))
        return views[:, 20:-20, 20:-20].copy()

    def aln(self, scale=1, local=True):
        text = aln(range(1, len(TILTS) + 1), (scale * WIDE, scale * HIGH, len(TILTS)),
                   shift=scale * SHIFT).replace("NumPatches = 0", f"NumPatches = {PATCHES ** 2}")
        rows = [f"{k:4d} {p:3d} " + "%8.2f  %8.2f  %8.2f  %8.2f  %4.1f\n" % (
            *(scale * self.at[k, p]), *(scale * self.listed[k, p]), self.good[k, p])
            for k in range(len(TILTS)) for p in range(PATCHES ** 2)]
        return text + ("# Local Alignment\n" + "".join(rows) if local else "")


def heights(volume):
    """At the dots; volumes are [slice][z][x]."""
    middle = np.array(volume.shape)[::-1] // 2 - 0.5
    heights = []
    for x, z, y in DOTS[:, [0, 2, 1]] + middle * [1, 1, 1]:
        k, j, i = (int(np.floor(c)) for c in (y, z, x))
        heights.append(volume[k - 1:k + 3, j - 1:j + 3, i - 1:i + 3].max())
    return np.array(heights)


@pytest.fixture(scope="module")
def local():
    return Local()


@pytest.fixture(scope="module")
def moved(local):
    return local.views()


@pytest.fixture
def still(local, run):
    """The heights of the dots where nothing has moved within the views."""
    return heights(run(local.views(moved=False), {"still.aln": local.aln(local=False)},
                       "-t", "still.aln")[0])


def test_local_alignment(run, local, moved, still):
    """Dots come out as high as where nothing has moved; without it they fade. Whatever
    the number of ranks: a row reads the rows that it is displaced to."""
    ours, said = run(moved, {"x.aln": local.aln()}, "-t", "x.aln")
    ratio = heights(ours) / still
    assert ratio.min() > 0.97 and ratio.mean() > 0.99
    assert "warning" not in said
    assert "512 local shifts of up to 4.2 pixels in 21 of the 21 views (13 more are not" in said
    without, _ = run(moved, {"y.aln": local.aln(local=False)}, "-t", "y.aln")
    faded = heights(without) / still
    assert faded.mean() < 0.75 and faded.min() < 0.6
    print("with", ratio.min(), ratio.mean(), "without", faded.min(), faded.mean())
    two, _ = run(moved, {}, "-t", "x.aln", ranks=3)
    assert np.array_equal(two, ours)
    few, _ = run(moved, {}, "-t", "x.aln", "--slices", "30:41")
    assert np.array_equal(few, ours[30:42])


def test_local_alignment_of_larger_images(run, local, moved, still):
    """AreTomo saw the images before they were binned by 4."""
    ours, _ = run(moved, {"x.aln": local.aln(scale=4)}, "-t", "x.aln")
    assert (heights(ours) / still).min() > 0.97


def test_local_alignment_of_binned_views(run, local, moved, still):
    """Here they are binned on the way; every pixel of the file is 2 x 2 of before."""
    large = np.repeat(np.repeat(moved, 2, axis=1), 2, axis=2)
    ours, _ = run(large, {"x.aln": local.aln(scale=2)}, "-t", "x.aln", "--bin", "2",
                  thickness=2 * DEPTH, pixel=PIXEL / 2)
    plain, _ = run(moved, {"y.aln": local.aln()}, "-t", "y.aln")
    assert ours.shape == plain.shape and correlation(ours, plain, 4) > 0.99


def test_poor_local_alignment(run, local, moved, still):
    """A file whose shifts are all poor; and one of a version that has no such rows."""
    good, local.good = local.good, 0 * local.good
    ours, said = run(moved, {"x.aln": local.aln()}, "-t", "x.aln")
    local.good = good
    without, _ = run(moved, {"y.aln": local.aln(local=False)}, "-t", "y.aln")
    assert np.array_equal(ours, without)
    assert "warning: x.aln has 525 local shifts, none of them good enough" in said


def test_local_alignment_of_rays(tiltrecz, tmp_path, local, moved, run, still):
    """Where a volume is solved as a whole, turns and shifts are in the rays; what moves
    within the views is taken out of them all the same."""
    write_mrc(tmp_path / "m.mrc", moved, pixel=PIXEL)
    write_mrc(tmp_path / "s.mrc", local.views(moved=False), pixel=PIXEL)
    made = []
    for series, text in (("s", local.aln(local=False)), ("m", local.aln()),
                         ("m", local.aln(local=False))):
        (tmp_path / "x.aln").write_text(text)
        tiltrecz(f"{series}.mrc", "-T", DEPTH, "-t", "x.aln", "-a", "CGLS", "--iterations", 8,
                 "--outside", "zero", "-o", "o.mrc", cwd=tmp_path)
        made.append(heights(read_mrc(tmp_path / "o.mrc")))
    assert (made[1] / made[0]).min() > 0.97
    print("CGLS with", (made[1] / made[0]).min(), "without", (made[2] / made[0]).min(),
          (made[2] / made[0]).mean())
    assert (made[2] / made[0]).mean() < 0.8


def test_beta_offset_is_named(run, raw):
    _, said = run(raw, {"ts.aln": aln(range(len(TILTS)), (N_U, N_V, len(TILTS)), beta=-1.5)})
    assert "BetaOffset, a tilt about x of -1.5 degrees, is not applied" in said


def test_alignment_of_larger_images(run, raw, aligned):
    """AreTomo saw the images before they were binned by 4."""
    text = aln(range(len(TILTS)), (4 * N_U, 4 * N_V, len(TILTS)), shift=4 * SHIFT)
    ours, said = run(raw, {"ts.aln": text})
    assert correlation(ours, aligned, 6) > 0.999
    assert "shifts scaled to the size of these images" in said


def test_aligned_series_is_not_aligned_again(run, raw, aligned, blobs):
    """Unless --transforms says so."""
    text = aln(range(len(TILTS)), (N_U, N_V, len(TILTS)))
    ours, said = run(blobs.views(TILTS, N_U, N_V), {"x.aln": text}, "-t", "x.aln",
                     name="ts_ali.mrc")
    assert np.array_equal(ours, aligned)
    assert "warning: " in said and "give --transforms x.aln" in said
    ours, said = run(raw, {}, "-t", "x.aln", "--transforms", "x.aln", name="ts_ali.mrc")
    assert correlation(ours, aligned, 6) > 0.999 and "warning" not in said




SIZE = (16, 12, VIEWS)
ANGLES = np.arange(7.0)


@pytest.mark.parametrize("text, said", [
    (aln(range(1, 7), SIZE, tilts=ANGLES), "it is not clear whether its sections (SEC)"),
    (aln([0, *range(2, 8)], SIZE, tilts=ANGLES), "it is not clear whether its sections"),
    (aln([1, 1, 2, 3, 4, 5, 7], SIZE, tilts=ANGLES), "line 9: view 1 is there twice"),
    (aln([*range(6), 9], SIZE, tilts=ANGLES), "line 14: there is no section 9 in a series"),
    (aln([*range(6), 1.5], SIZE, tilts=ANGLES).replace("    1  9.4", "1.5 "), "twice"),
    (aln(range(7), (16, 12, 9), tilts=ANGLES), "about a series of 9 views, but s.mrc has 7"),
    (aln(range(7), (32, 30, 7), tilts=ANGLES), "about images of 32 x 30 pixels"),
    (aln(range(7), SIZE, tilts=ANGLES + 355), "line 14: 361 is not an angle"),
    (aln(range(7), SIZE, tilts=ANGLES).replace("7.0000", "nan"), '"nan" is not a finite'),
    (aln([], SIZE), "lists no aligned view"),
    ("# AreTomo Alignment\n1 2 3\n", "line 2: 10 numbers are needed, not 3"),
    ("# AreTomo Alignment\n# RawSize = 1 2\n", "line 2: 3 numbers are needed, not 2"),
    ("# AreTomo Alignment\n# NumPatches = 1.5\n", "1.5 is not a section's number"),
    (aln(range(7), SIZE, tilts=ANGLES, local=1).replace("   6   0", "   7   0"),
     "line 22: a local shift of view 7, but the table has 7 views, counted from 0"),
    (aln(range(7), SIZE, tilts=ANGLES, local=1).replace("   6   0", "   6 0 1"),
     "line 22: 7 numbers are needed, not 8"),
    (aln(range(7), SIZE, tilts=ANGLES, local=1).replace("   6   0     9.00", "   6   0  2000000"),
     "line 22: 2e+06 pixels are not a place in an image"),
])
def test_bad_aln(bench, text, said):
    bench.text("x.aln", text)
    bench.refused("s.mrc -t x.aln", DATA, "x.aln", said)


def test_views_without_alignment(bench):
    bench.text("x.aln", aln([0, 1, 2, 3, 4, 5], SIZE, tilts=ANGLES, darks=[(6, 6, 6.0)]))
    bench.refused("s.mrc --transforms x.aln", DATA, "x.aln has no alignment of view 7",
                  ranks=3)
    bench.run("s.mrc --transforms x.aln --exclude 7 -T 16 -o o.mrc")
    bench.refused("s.mrc -t x.aln --include 7", 2, "none of the 7 views")


# ---- RELION ----

def relion_views(blobs, xtilt):
    """RELION: image = Rz(ZRot) Ry(YTilt) Rx(XTilt) specimen + shift, the specimen being
    the tomogram with its sections along z."""
    w = np.stack(np.broadcast_arrays(np.arange(N_U) - (N_U / 2 - 0.5),
                                     (np.arange(N_V) - (N_V / 2 - 0.5))[:, None]))
    views = []
    for t, g, turn, shift in zip(TILTS, np.broadcast_to(xtilt, len(TILTS)), TURN, SHIFT):
        turned = rotation(turn) @ rotation(t, "y") @ rotation(g, "x")
        views.append(sum(blobs.chord(part, turned, w - shift[:, None, None])
                         for part in blobs.parts))
    return np.stack(views)


@pytest.mark.parametrize("xtilt", [0.0, 7.0], ids=["", "with x-tilt"])
def test_alignment_of_relion(run, xtilt):
    deep = 32
    blobs = Blobs(N_U - 16, N_V - 16, deep, finest=1.5, seed=4)
    views = relion_views(blobs, xtilt)
    truth = np.zeros((deep, N_V, N_U))
    truth[:, 8:-8, 8:-8] = blobs.volume().transpose(1, 0, 2)

    def agreement(**other):
        rows = star_rows(NAMES, **{"xtilt": xtilt, **other})
        ours, said = run(views, {"ts.star": star(rows)}, "--order", "xyz", "-a", "SIRT", "-i",
                         15, thickness=deep)
        assert "aligned while they are read" in said
        return correlation(ours, truth, 2)

    right = agreement()
    assert right > 0.9  # the most that a wedge of missing views leaves
    for wrong in (dict(turn=-TURN), dict(shift=PIXEL * SHIFT * [-1, 1]),
                  dict(shift=PIXEL * SHIFT * [1, -1]), dict(tilts=-TILTS),
                  *([dict(xtilt=-xtilt)] if xtilt else [])):
        assert agreement(**wrong) < right - 0.03, wrong


def test_x_tilts_of_relion_are_those_of_imod(run, raw, tmp_path):
    """rlnTomoXTilt of +6 is an .xtilt of +6, and a pitch of -6."""
    found, _ = run(raw, {"a/x.star": star(star_rows(NAMES, xtilt=6.0))}, "-t", "a/x.star")
    np.savetxt(tmp_path / "six.xtilt", np.full(len(TILTS), 6.0))
    for options in (["--pitch", -6], ["--xtilts", tmp_path / "six.xtilt"]):
        same, _ = run(raw, {"a/x.star": star(star_rows(NAMES))}, "-t", "a/x.star", *options)
        assert np.array_equal(same, found)


def test_relion_agrees_with_aretomo(run, raw):
    """RELION copies ROT and TILT, and TX and TY times the pixel."""
    ours, _ = run(raw, {"a/x.star": star(star_rows(NAMES))}, "-t", "a/x.star")
    theirs, _ = run(raw, {"x.aln": aln(range(len(TILTS)), (N_U, N_V, len(TILTS)))}, "-t",
                    "x.aln")
    inner = np.s_[6:-6, :, 6:-6]
    assert difference(ours[inner], theirs[inner]) < 0.01  # the .aln is rounded


def test_sections_named(run, raw, aligned):
    """Rows in another order, of a series with two more views."""
    order = np.random.default_rng(1).permutation(len(raw))
    views = np.concatenate([raw[:1] * 0 + 5, raw, raw[:1] * 0 + 5])
    rows = star_rows([f"{k + 2:06d}@stacks/TS_01.mrcs" for k in range(len(raw))])
    ours, said = run(views, {"x.star": star([rows[k] for k in order])}, "-t", "x.star")
    assert correlation(ours, aligned, 6) > 0.999
    assert "has 21 of the 23 views; left out: 1,23\n" in said


def test_nominal_angles(run, raw):
    """Before it is aligned, a series has its nominal angles only."""
    labels = ["rlnMicrographMovieName", "rlnTomoTiltMovieFrameCount",
              "rlnTomoNominalStageTiltAngle", "rlnTomoNominalDefocus"]
    rows = [("'frames/a b.eer'", "8", float(t), -4.0) for t in TILTS]
    ours, said = run(raw, {"x.star": star(rows, labels).replace("\n", "\r\n")}, "-t",
                     "x.star")
    plain, _ = run(raw, {"x.tlt": "".join(f"{t}\n" for t in TILTS)}, "-t", "x.tlt")
    assert np.array_equal(ours, plain)
    assert "x.star has no alignment: its angles are used" in said


def test_star_of_several_series(run, raw, tmp_path):
    """A row for each series names the file of its views, from the project's folder."""
    labels = ["rlnTomoName", "rlnVoltage", "rlnTomoTiltSeriesStarFile"]
    rows = [("TS_1", 300.0, "Align/job7/tilt_series/TS_1.star"),
            ("TS_11", 300.0, "Align/job7/tilt_series/TS_11.star")]
    job = "Align/job7/"
    files = {job + "aligned_tilt_series.star": star(rows, labels, "global"),
             job + "tilt_series/TS_1.star": star(star_rows(NAMES)[1:]),
             job + "tilt_series/TS_11.star": star(star_rows(NAMES))}
    ours, _ = run(raw, files, "-t", job + "aligned_tilt_series.star", "--json", "o.json",
                  name="TS_11.mrc")
    inputs = json.loads((tmp_path / "o.json").read_text())["inputs"]
    assert [(i["role"], i["path"]) for i in inputs[1:]] == [
        ("tilt angles", job + "aligned_tilt_series.star"),
        ("tilt angles", job + "tilt_series/TS_11.star")]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again, _ = run(raw, {}, "-t", tmp_path / job / "aligned_tilt_series.star",
                   name="TS_11.mrc", cwd=elsewhere)
    both = star(star_rows(NAMES), block="TS_11") + star(star_rows(NAMES)[1:], block="TS_1")
    inside, _ = run(raw, {"both.star": both}, "-t", "both.star", name="TS_11.mrc")
    assert np.array_equal(ours, again) and np.array_equal(ours, inside)


ROW = [("a.mrc", float(t)) for t in ANGLES]
TWO = ["rlnMicrographName", "rlnTomoNominalStageTiltAngle"]
GLOBAL = ["rlnTomoName", "rlnTomoTiltSeriesStarFile"]


@pytest.mark.parametrize("text, said", [
    (star(ROW[1:], TWO), "x.star has 6 views, but s.mrc has 7, and no section numbers"),
    (star([], TWO), 'x.star: its table "data_TS_01" has no rows'),
    (star(ROW, TWO).replace("2.0", "2.0 3"), "line 11: 3 values in a table of 2 columns"),
    (star([("a", "x")] * 7, TWO), 'line 9: "x" is not a number'),
    (star([("a", 400.0)] * 7, TWO), "line 9: 400 is not an angle"),
    (star([("8@a", 4.0)], TWO), "line 9: section 8 is named, but s.mrc has 7 views"),
    (star([("1@a", 4.0)] * 2, TWO), "line 10: view 1 is there twice"),
    (star(ROW, TWO, "t") + star(ROW, TWO, "u"), "has 2 series, and none has the name of s"),
    (star([("a", "b.star")] * 2, GLOBAL), "x.star names no series that s.mrc could be"),
    (star([("a", "b.star")], GLOBAL), "x.star names the file b.star, which is neither"),
    (star([("a", "x.star")], GLOBAL), "x.star has no table of views"),
    (star(ROW, TWO + ["rlnOne"] * 255), "line 263: a table of more than 256 columns"),
])
def test_bad_star(bench, text, said):
    bench.text("x.star", text)
    bench.refused("s.mrc -t x.star", DATA, "x.star", said)


def test_star_without_pixel_size(bench):
    bench.text("x.star", star(star_rows(NAMES, tilts=ANGLES)))
    bench.patch(40, "<3f", 0, 0, 0)
    bench.refused("s.mrc -t x.star", DATA, "x.star has shifts in angstroms, but neither it nor "
                  "s.mrc gives a pixel size; give the one of the series with --pixel")
    bench.text("y.star", star(ROW, TWO))
    bench.refused("s.mrc -t s.tlt --transforms y.star", DATA, "y.star has no alignment")


def test_other_star_files_are_not_found(bench):
    """Particles of the same name are no angles."""
    (bench.folder / "s.tlt").unlink()
    bench.text("s.star", star([(1.0, 2.0)], ["rlnCoordinateX", "rlnCoordinateY"]))
    bench.refused("s.mrc", DATA, "s.mrc: no tilt angles")
    bench.text("s.star", star([("s", "s/s.star")], GLOBAL))  # nor do they lead elsewhere
    bench.refused("s.mrc", DATA, "s.mrc: no tilt angles")


def test_an_alignment_of_larger_pixels(tiltrec, tmp_path):
    """Shifts found at three times the pixel size, in its pixels; the same in those of the
    series."""
    rng = np.random.default_rng(12)
    tilts = np.arange(-40, 41, 20)
    write_series(tmp_path, rng.normal(50, 5, (5, 40, 48)), tilts, name="s.mrc", pixel=4.0)
    turn = np.radians(3)
    matrix = [np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)]
    shifts = rng.uniform(-2, 2, (5, 2)).round(3)
    np.savetxt(tmp_path / "fine.xf", [[*matrix, *(3 * s)] for s in shifts], "%.7f")
    np.savetxt(tmp_path / "coarse.xf", [[*matrix, *s] for s in shifts], "%.7f")

    def run(name, *options, **how):
        done = tiltrec("-T", 12, "--transforms", name, "-o", "o.mrc", *options, "s.mrc",
                       cwd=tmp_path, **how)
        return done.stderr if how else read_mrc(tmp_path / "o.mrc")
    fine = run("fine.xf")
    assert np.array_equal(run("coarse.xf", "--alignment-pixel", 12), fine)
    assert np.array_equal(run("fine.xf", "--alignment-pixel", 4), fine)
    assert not np.array_equal(run("coarse.xf"), fine)
    # The shifts are in pixels of the file, whatever the views are made smaller by.
    assert np.array_equal(run("coarse.xf", "--alignment-pixel", 12, "--bin", 2),
                          run("fine.xf", "--bin", 2))
    done = tiltrec("-T", 12, "--aligned", "--alignment-pixel", 12, "s.mrc", cwd=tmp_path,
                   check=False)
    assert done.returncode == 2 and "none is applied to the views" in done.stderr
