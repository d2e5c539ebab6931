"""Angles are looked at before they are believed: tables whose first column is something
else, radians, angles that are none, another order than that of the views. Where they are
taken, beads are where they were put; what is legitimate is taken without a word."""
import h5py
import numpy as np
import pytest

from conftest import read_mrc, write_mrc

DATA = 1
NX, NY, DEPTH = 64, 24, 32
TILTS = np.arange(-60.0, 61, 6)
BEADS = np.array([(-14, -6, 6), (9, -3, -8), (19, 7, 3), (-5, 3, 10)], float)  # x, y, z
STRAY = np.random.default_rng(3).normal(size=(200, 3))


def views_at(tilts):
    """[view][row][column], as the manual's geometry has it; brighter where thinner, as real
    views are."""
    columns, rows = np.arange(NX) - (NX - 1) / 2, np.arange(NY) - (NY - 1) / 2
    views = np.zeros((len(tilts), NY, NX))
    for view, tilt in zip(views, np.radians(tilts)):
        for x, y, z in BEADS:
            u = x * np.cos(tilt) - z * np.sin(tilt)
            view += np.outer(np.exp(-(rows - y) ** 2 / 2), np.exp(-(columns - u) ** 2 / 2))
        view += 3 * np.cos(tilt) + 0.1 * np.sin(tilt)
    return views


def assert_right(folder):
    """Every bead is the brightest of its surroundings, and at its place."""
    volume = read_mrc(folder / "o.mrc")  # [y][z][x]
    for x, y, z in BEADS:
        centre = np.array([y + (NY - 1) / 2, z + (DEPTH - 1) / 2, x + (NX - 1) / 2])
        low = np.maximum(np.round(centre).astype(int) - 4, 0)
        box = volume[tuple(slice(a, round(c) + 5) for a, c in zip(low, centre))]
        found = low + np.unravel_index(np.argmax(box), box.shape)
        assert np.abs(found - centre).max() <= 1, (found, centre)


@pytest.fixture
def run(tiltrec, tmp_path):
    def run(*options, tilts=TILTS, beside=(), name="ts.mrc", views=None, **how):
        """The series, files beside it by name, and the run on it."""
        if name:
            write_mrc(tmp_path / name, views_at(tilts) if views is None else views)
        for file, text in dict(beside).items():
            (tmp_path / file).write_text(text)
        done = tiltrec(*([name] if name else []), "-T", DEPTH, "-o", "o.mrc", *options,
                       cwd=tmp_path, check=False, **how)
        return done.returncode, done.stderr
    return run


def listed(tilts):
    return "".join(f"{t:.6g}\n" for t in tilts)


def assert_silent(outcome, folder, right=True):
    status, said = outcome
    assert status == 0 and "warning" not in said, said
    if right:
        assert_right(folder)


def assert_refused(outcome, *sentence):
    status, said = outcome
    *others, error = said.splitlines()
    assert status == 1 and "error: " in error, said
    assert all("is not used" in line for line in others), said
    for part in sentence:
        assert part in error


def assert_warned(outcome, *sentence):
    status, said = outcome
    warnings = [line for line in said.splitlines() if "warning" in line]
    assert status == 0 and len(warnings) == 1, said
    for part in sentence:
        assert part in warnings[0]


# ---- tables ----

N = len(TILTS)
SYMMETRIC = np.argsort(abs(TILTS), kind="stable")  # the order of acquisition
DOSE = np.empty(N)
DOSE[SYMMETRIC] = 3.0 * np.arange(N)


def table(*columns, between=" "):
    return "".join(between.join(f"{v:.10g}" for v in row) + "\n" for row in zip(*columns))


def emclarity():
    """Number, shifts, angle, then a matrix, lengths and so on."""
    shift = STRAY[:N, :2] * 5
    rest = [np.full(N, v) for v in (85.3, 90, 1, 0, 0, 0, 1, 0, 0, 0, 1, -3e-6, 0, 0, 1e-10,
                                    3e5, 2.7e-3, 0.07, 5e-9)]
    return table(np.arange(1, N + 1), shift[:, 0], shift[:, 1], TILTS, *rest, between="\t")


TABLES = {  # what it is, and the column with the angles
    "order list": (table(range(1, N + 1), TILTS, between=","), 2),
    "order list from 0": (table(range(N), TILTS, between=","), 2),
    "order list with blanks": (table(range(1, N + 1), TILTS, between=", "), 2),
    "sorted order list": (table(np.argsort(SYMMETRIC) + 1, TILTS), 2),
    "defocus": (table(range(1, N + 1), range(1, N + 1), TILTS, TILTS, 9000 + 7 * TILTS), 3),
    "emClarity": (emclarity(), 4),
    "dose first": (table(DOSE, TILTS), 2),
    "dose in turn": (table(3 * np.arange(N), TILTS), 2),
    "prior dose from 1.5": (table(1.5 + 2.9 * np.arange(N), TILTS), 2),
    "one in front": (table(np.ones(N), TILTS), 2),
    "defocus first": (table(3 + STRAY[:N, 0], TILTS), 2),
    "defocus in angstroms first": (table(30000 + STRAY[:N, 0], TILTS), 2),
    "refined, a view lacking": (table(range(1, N + 1), TILTS + 0.3 * STRAY[:N, 0]), 2),
    "x, y, angle": (table(5 * STRAY[:N, 0], 5 * STRAY[:N, 1], TILTS), 3),
    "angle, order": (table(TILTS, range(1, N + 1)), 1),
    "angle, order, dose": (table(TILTS, range(N), DOSE), 1),
    "angle, other angle": (table(TILTS, TILTS[::-1]), 1),
    "angle, shift": (table(TILTS, 8 * STRAY[:N, 0]), 1),
}


@pytest.mark.parametrize("what", TABLES)
def test_column_with_the_angles(run, tmp_path, what):
    text, column = TABLES[what]
    outcome = run("-t", "t.txt", beside={"t.txt": text})
    assert_silent(outcome, tmp_path)
    said = f"t.txt: the tilt angles are its column {column}; its first column is something else"
    assert (said in outcome[1]) == (column > 1)


@pytest.mark.parametrize("text, said", [
    (table(range(1, N + 1), TILTS, TILTS[::-1]),
     "its first column is not the angles, and both column 2 and column 3 may be"),
    (table(range(1, N + 1), STRAY[:N, 0], 40 + STRAY[:N, 1]),
     "its first column numbers the views, and no other is clearly their angles"),
    (table(range(1, N + 1), np.arange(N)), "its first column numbers the views"),
    (table(range(N), 3 * np.arange(N)), "its first column numbers the views"),
], ids=["two", "none", "order only", "to one side"])
def test_unclear_tables_are_refused(run, text, said):
    assert_refused(run("-t", "t.txt", beside={"t.txt": text}), "t.txt: " + said)


def test_scan_over_180_degrees(run, tmp_path):
    """Angles from 0 on may count, too; shifts beside them are no angles."""
    tilts = np.arange(0.0, 180, 3)
    views = views_at(tilts)
    for text in (listed(tilts), table(tilts, 12 * STRAY[:len(tilts), 0]),
                 table(tilts, range(len(tilts)))):
        assert_silent(run("-t", "t.txt", views=views, beside={"t.txt": text}), tmp_path)
    ones = np.arange(180.0)
    assert_silent(run("-t", "t.txt", tilts=ones, beside={"t.txt": listed(ones)}), tmp_path)


# ---- angles by themselves ----

def test_radians(run, tmp_path):
    for tilts in (TILTS, TILTS + 0.2 * STRAY[:N, 0], np.arange(0.0, 180, 9)):
        for decimals in (2, 3, 6, 9):
            text = "".join(f"{t:.{decimals}f}\n" for t in np.radians(tilts))
            assert_refused(run("-t", "t.txt", tilts=tilts, beside={"t.txt": text}),
                           "t.txt: the tilt angles are from ", "seem to be radians")
    text = table(range(1, N + 1), np.radians(TILTS))
    assert_refused(run("-t", "t.txt", beside={"t.txt": text}), "no other is clearly")


def test_radians_in_the_series(run, tmp_path):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["exchange/data"] = views_at(TILTS).astype("f4")
        file["exchange/theta"] = np.radians(TILTS)
    assert_refused(run("scan.h5", name=None), "scan.h5: the tilt angles are from -1.0472 to")


def test_small_spans(run, tmp_path):
    """Chosen ones are taken; stray ones are no tilt series."""
    for tilts in (np.arange(-4.0, 5), np.arange(-1, 1.01, 0.1), np.array([0, 0.5, 1.5, 2])):
        assert_silent(run("-t", "t.txt", tilts=tilts, beside={"t.txt": listed(tilts)}),
                      tmp_path, right=False)
    tilts = 0.05 * STRAY[:9, 0]
    assert_warned(run("-t", "t.txt", tilts=tilts, beside={"t.txt": listed(tilts)}),
                  "t.txt: the tilt angles are from -", "which is very little")
    # Views that are left out are somebody's choice.
    assert_silent(run("--include", "10-12", beside={"ts.tlt": listed(TILTS + 0.123)}),
                  tmp_path, right=False)


@pytest.mark.parametrize("tilts", [range(1, N + 1), range(8), range(1, 4)])
def test_numbers_of_views(run, tilts):
    assert_warned(run("-t", "t.txt", tilts=np.array(tilts), beside={"t.txt": listed(tilts)}),
                  "t.txt: the tilt angles are ", "as if they numbered the views")


def mdoc(tilts, statistics=None, frames=False, order=None):
    """As SerialEM writes it, of the sections in this order."""
    lines = ["PixelSpacing = 4", "ImageFile = ts.mrc", ""]
    for k, one in enumerate(range(len(tilts)) if order is None else order):
        lines += [f"[ZValue = {k}]", f"TiltAngle = {tilts[one]:.4f}"]
        if statistics is not None:
            lines.append("MinMaxMean = %g %g %g" % tuple(statistics[one]))
        if frames:
            lines.append(f"SubFramePath = D:\\frames\\ts_{k:03d}_{tilts[one]:.1f}.tif")
        lines.append("")
    return "\n".join(lines)


@pytest.mark.parametrize("file", ["ts.tlt", "ts.mdoc"])
def test_all_equal(run, tmp_path, file):
    text = listed(0 * TILTS) if file == "ts.tlt" else mdoc(0 * TILTS)
    assert_refused(run(beside={file: text}), f"{file}: all 21 tilt angles are 0")
    np.savetxt(tmp_path / "x.txt", TILTS / 5)
    assert_silent(run("--xtilts", "x.txt"), tmp_path, right=False)  # it is about x instead


@pytest.mark.parametrize("make", [
    lambda t: t[SYMMETRIC], lambda t: t[::-1], lambda t: np.repeat(t, 2),
    lambda t: np.linspace(-68, 49, 40), lambda t: t[::5], lambda t: t[:2],
    lambda t: np.r_[t, t], lambda t: t + 0.2 * STRAY[:N, 0], lambda t: t + 200,
    lambda t: np.arange(0.0, 61, 3), lambda t: np.r_[0, 60],
], ids=["dose-symmetric", "descending", "twice each", "lamella", "few", "two", "twice",
        "refined", "beyond 90", "to one side", "only two"])
def test_legitimate_series(run, tmp_path, make):
    tilts = make(TILTS)
    outcome = run("-t", "t.txt", tilts=tilts, beside={"t.txt": listed(tilts)})
    assert_silent(outcome, tmp_path, right=len(tilts) > 20)
    (tmp_path / "t.txt").rename(tmp_path / "ts.tlt")
    assert_silent(run(tilts=tilts), tmp_path, right=False)


# ---- x-tilts, and files with another option's content ----

def test_xtilts(run, tmp_path):
    beside = {"ts.tlt": listed(TILTS), "same.txt": listed(TILTS),
              "large.txt": listed(21 + 0 * TILTS), "small.txt": listed(-20 + 0 * TILTS),
              "table.txt": table(range(1, N + 1), TILTS), "ts.mdoc": mdoc(TILTS)}
    assert_refused(run("--xtilts", "same.txt", beside=beside),
                   "same.txt: the x-tilts are the tilt angles")
    assert_refused(run("--xtilts", "table.txt"),
                   "table.txt seems to have tilt angles in its column 2, and x-tilts in none")
    assert_refused(run("--xtilts", "ts.mdoc"),
                   "ts.mdoc is an mdoc, not x-tilts; such a file is given with --tilts")
    assert_warned(run("--xtilts", "large.txt"), "large.txt: x-tilts reach 21 degrees")
    assert_silent(run("--xtilts", "small.txt"), tmp_path, right=False)


def turned(degrees, scale=1.0):
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return table(*(np.full(N, v) for v in (c, -s, s, c)), STRAY[:N, 0], STRAY[:N, 1])


ALN = ("# AreTomo Alignment / Priims bprmMn\n# RawSize = 64 24 21\n# NumPatches = 0\n"
       "# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE"
       "     TILT\n" + "".join(
           f"{k + 1:5d} 0.0 1.0 0.0 0.0 1.0 1.0 1.0 0.0 {t:8.2f}\n" for k, t in enumerate(TILTS)))
COM = "# a command file\n$tilt -StandardInput\nInputProjections ts.mrc\n"


def test_files_of_another_option(run, tmp_path):
    beside = {"ts.tlt": listed(TILTS), "tilt.com": COM, "ts.aln": ALN, "ts.mdoc": mdoc(TILTS)}
    for text in (turned(0), turned(3), turned(-86), turned(176, 1.02), turned(84, 0.9),
                 "".join(turned(3).splitlines(True)[:5])):
        assert_refused(run("-t", "ts.xf", beside={**beside, "ts.xf": text}),
                       "ts.xf has transforms of the views (as an .xf), not angles; give it "
                       "with --transforms")
    for option in "--tilts", "--xtilts", "--transforms":
        assert_refused(run(option, "tilt.com"), "tilt.com ", "with --imod-com")
    assert_refused(run("--xtilts", "ts.xf"), "with --transforms")
    assert_refused(run("--xtilts", "ts.aln"),
                   "ts.aln is an alignment with tilt angles, not x-tilts")
    assert_refused(run("--transforms", "ts.mdoc"), "ts.mdoc is an mdoc, not transforms")
    assert_refused(run("--transforms", "ts.tlt"), "ts.tlt, line 1: a transform needs 6 numbers, "
                   "not 1; angles are given with --tilts")
    (tmp_path / "tilt.com").unlink()  # whose not being used is a warning
    assert_silent(run("-t", "ts.aln"), tmp_path)


# ---- the order of the views ----

def statistics_of(views):
    return np.stack([views.min((1, 2)), views.max((1, 2)), views.mean((1, 2))], 1)


VIEWS = views_at(TILTS).astype(np.float32).astype(float)
STATISTICS = statistics_of(VIEWS)


def test_mdoc_in_order_of_acquisition(run, tmp_path):
    """A sorted series: found out by minimum, maximum and mean."""
    text = mdoc(TILTS, STATISTICS, frames=True, order=SYMMETRIC)
    said = ("ts.mdoc is not in the order of the views of ts.mrc: view 1 has the minimum, maximum "
            "and mean that ts.mdoc gives at -60 degrees, not at 0;")
    assert_refused(run(beside={"ts.mdoc": text}), said)
    assert_refused(run("-t", "ts.mdoc", ranks=2), "error: ts.mdoc is not in the order of the views")
    assert_silent(run("-t", "t.txt", beside={"t.txt": listed(TILTS)}), tmp_path)


def test_list_in_the_order_of_such_an_mdoc(run, tmp_path):
    """What belies the mdoc belies the list that has its order."""
    beside = {"ts.mdoc": mdoc(TILTS, STATISTICS, frames=True, order=SYMMETRIC),
              "ts.rawtlt": listed(TILTS[SYMMETRIC])}
    said = "ts.rawtlt is not in the order of the views of ts.mrc: view 1 has the minimum"
    assert_refused(run(beside=beside), said, "that ts.mdoc gives at -60 degrees, not at 0;")
    assert_warned(run("-t", "ts.rawtlt"), said)
    (tmp_path / "ts.rawtlt").write_text(listed(TILTS))
    assert_silent(run(), tmp_path)


def test_sorted_mdoc_of_a_series_in_order_of_acquisition(run):
    """The other way round, and the series falling."""
    for tilts in (TILTS[SYMMETRIC], TILTS[::-1]):
        assert_refused(run(tilts=tilts, beside={"ts.mdoc": mdoc(TILTS, STATISTICS)}),
                       "ts.mdoc is not in the order of the views of ts.mrc: view 1 has ")


def test_dose_symmetric_series(run, tmp_path):
    """Series and mdoc in the same order: right, and nothing to be said."""
    tilts, views = TILTS[SYMMETRIC], VIEWS[SYMMETRIC]
    text = mdoc(TILTS, STATISTICS, frames=True, order=SYMMETRIC)
    assert_silent(run(tilts=tilts, beside={"ts.mdoc": text}), tmp_path)
    # where the views have been scaled since, their means still go along
    assert_silent(run(views=3 + 2 * views), tmp_path)
    # where there is nothing to compare, another list of that order serves
    (tmp_path / "ts.mdoc").write_text(mdoc(TILTS, frames=True, order=SYMMETRIC))
    assert_silent(run("-t", "ts.mdoc", tilts=tilts, beside={"ts.rawtlt": listed(tilts)}), tmp_path)


def test_mdoc_that_can_be_either(run, tmp_path):
    """Of frames, with statistics that are not those of the series, or none."""
    said = "ts.mdoc is in the order of acquisition (0, -6, 6 degrees and so on), but series"
    scaled = mdoc(TILTS, 0.5 * STATISTICS, frames=True, order=SYMMETRIC)
    assert_warned(run(beside={"ts.mdoc": scaled}), said)
    plain = mdoc(TILTS, frames=True, order=SYMMETRIC)
    assert_warned(run(beside={"ts.mdoc": plain}), said)
    assert_warned(run(beside={"ts.mdoc": mdoc(TILTS, 0 * STATISTICS, frames=True,
                                              order=SYMMETRIC)}), said)
    one = np.roll(SYMMETRIC, 1)
    assert_warned(run("-t", "o.txt", beside={"o.txt": listed(TILTS[one])}),
                  "o.txt is used, and ts.mdoc has the same tilt angles in another order")
    # given angles decide, and neither a sorted mdoc nor one of a stack is suspect
    assert_silent(run("-t", "t.txt", beside={"t.txt": listed(TILTS)}), tmp_path)
    assert_silent(run(beside={"ts.mdoc": mdoc(TILTS, frames=True)}), tmp_path)
    assert_silent(run(tilts=TILTS[SYMMETRIC], beside={"ts.mdoc": mdoc(TILTS, order=SYMMETRIC)}),
                  tmp_path)


def test_same_angles_in_another_order(run, tmp_path):
    """Of a list beside, an mdoc that the views prove right, and the series itself."""
    said = " is used, and ts.rawtlt has the same tilt angles in another order; if "
    refined = listed(TILTS + 0.3 * STRAY[:N, 0].clip(-1, 1))
    assert_warned(run(beside={"ts.tlt": refined, "ts.rawtlt": listed(TILTS[SYMMETRIC])}),
                  "ts.tlt" + said)
    assert_warned(run("-t", "ts.tlt", beside={"ts.rawtlt": listed(TILTS[::-1])}), "ts.tlt" + said)
    assert_silent(run(beside={"ts.rawtlt": listed(TILTS)}), tmp_path)
    assert_silent(run(beside={"ts.rawtlt": listed(TILTS[:-1])}), tmp_path)  # of another series
    tilts = TILTS[SYMMETRIC]
    (tmp_path / "ts.rawtlt").unlink()
    assert_warned(run(beside={"ts.tlt": listed(TILTS[::-1]), "ts.aln": ALN}),
                  "ts.aln is used, and ts.tlt has the same")  # and aligns
    (tmp_path / "ts.tlt").write_text(listed(TILTS))
    assert_silent(run(), tmp_path)
    (tmp_path / "ts.aln").unlink()
    proved = mdoc(TILTS, STATISTICS, order=SYMMETRIC)
    assert_warned(run(tilts=tilts, beside={"ts.mdoc": proved}),
                  "ts.tlt is used, and ts.mdoc has the same")


@pytest.mark.parametrize("order, warned", [(slice(None), False), (SYMMETRIC, True),
                                           (slice(None, None, -1), True)])
def test_order_in_the_header(run, tmp_path, order, warned):
    with h5py.File(tmp_path / "ts.h5", "w") as file:
        file["exchange/data"] = views_at(TILTS).astype("f4")
        file["exchange/theta"] = TILTS[order]
    outcome = run("ts.h5", "-t", "t.txt", name=None, beside={"t.txt": listed(TILTS)})
    lines = [line for line in outcome[1].splitlines() if "another order" in line]
    assert outcome[0] == 0 and bool(lines) == warned
    assert_right(tmp_path)
    if warned:
        assert "t.txt is used, and ts.h5 has the same tilt angles in another order" in lines[0]


# ---- whole turns ----

BEYOND = {
    "t.tlt": listed,
    "t.rawtlt": listed,
    "t.mdoc": lambda tilts: "PixelSpacing = 5\n" + "".join(
        f"[ZValue = {k}]\nTiltAngle = {t:g}\n" for k, t in enumerate(tilts)),
    "t.aln": lambda tilts: f"# AreTomo Alignment / Priims bprmMn\n# RawSize = {NX} {NY} {N}\n"
        "# NumPatches = 0\n" + "".join(f"{k} 0 1 0 0 1 1 1 0 {t:g}\n"
                                       for k, t in enumerate(tilts)),
    "t.star": lambda tilts: "data_\nloop_\n_rlnMicrographName\n_rlnTomoXTilt\n_rlnTomoYTilt\n"
        "_rlnTomoZRot\n_rlnTomoXShiftAngst\n_rlnTomoYShiftAngst\n" + "".join(
            f"{k + 1}@ts.mrc 0 {t:g} 0 0 0\n" for k, t in enumerate(tilts)),
}


@pytest.mark.parametrize("turned", [360, -720])
@pytest.mark.parametrize("name", BEYOND)
def test_whole_turns(run, tmp_path, name, turned):
    """Lists go around, as of a stage that does; of an alignment they are no angles."""
    text = BEYOND[name](TILTS + turned)
    status, said = run("-t", name, beside={name: text})
    if BEYOND[name] is listed:
        assert status == 0
        assert f"{name} goes on beyond 360 degrees: whole turns are left out" in said
        assert_right(tmp_path)
        return
    # the first that is beyond
    place = 0 if turned < 0 else np.argmax(TILTS > 0)
    at = next(k for k, line in enumerate(text.splitlines(), 1)
              if f"{TILTS[place] + turned:g}" in line.split())
    assert status == DATA and not (tmp_path / "o.mrc").exists()
    assert f"{name}, line {at}: {TILTS[place] + turned:g} is not a" in said
    assert "angle (degrees, -360 to 360)" in said
    status, said = run("-t", name, beside={name: BEYOND[name](TILTS)})  # nothing else is wrong
    assert status == 0, said


def test_turned_x_tilts(run):
    status, said = run("--xtilts", "t.xtilt", tilts=TILTS,
                       beside={"ts.tlt": listed(TILTS), "t.xtilt": listed(0 * TILTS + 360.5)})
    assert status == DATA and "t.xtilt, line 1: 360.5 is not a tilt angle" in said
