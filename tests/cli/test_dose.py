"""Dose weighting: what it leaves of white noise, where exposures and their order come from,
and what is said of those that cannot be right. Curves, steps and readers: tests/unit."""
import json
import re

import numpy as np
import pytest

from conftest import read_mrc, runner, write_mrc, write_series

USAGE, DATA = 2, 1
TILTS = np.array([-9, -6, -3, 0, 3, 6, 9], float)
SYMMETRIC = [4, 3, 5, 2, 6, 1, 7]  # views as they are taken: 0, -3, 3, -6 ...
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


def weight(k, dose):
    """Grant and Grigorieff's curve at 300 kV."""
    return np.exp(-dose / (2 * (0.24499 * k ** -1.6649 + 2.8141)))


# ---- white noise ----

def rings(image, pixel, frequencies, half_width=0.0006):
    """Power of an image about the middle of which there is something, by frequency."""
    ny, nx = image.shape
    window = np.outer(np.hanning(ny), np.hanning(nx))
    power = np.abs(np.fft.fft2(image * window)) ** 2
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(nx, pixel), np.fft.fftfreq(ny, pixel)))
    return np.array([power[np.abs(k - f) < half_width].mean() for f in frequencies])


def one_view(tiltrec, folder, *options):
    """A view at 0 degrees, smeared through the specimen and so visible as it is."""
    tiltrec("-a", "BPT", "-T", 4, "-o", "rec.mrc", *options, "s_ali.mrc", cwd=folder)
    return read_mrc(folder / "rec.mrc")[:, 1, :]


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    folder = tmp_path_factory.mktemp("noise")
    data = np.random.default_rng(5).normal(100, 10, (1, 600, 700))
    write_series(folder, data, [0.0], pixel=5)
    return folder


def test_white_noise(tiltrec, noise):
    k = np.array([.02, .05, .08, .1])
    plain, weighted = one_view(tiltrec, noise), one_view(tiltrec, noise, "--dose", 60)
    ratio = rings(weighted - weighted.mean(), 5, k) / rings(plain - plain.mean(), 5, k)
    assert np.abs(ratio / weight(k, 60) ** 2 - 1).max() < 0.02, ratio
    # as the design's own measurement has it
    assert np.abs(ratio / [.6996, .2124, .0442, .0144] - 1).max() < 0.02, ratio
    assert abs(weighted.mean() / plain.mean() - 1) < 1e-3
    before = one_view(tiltrec, noise, "--dose", 20, "--dose-initial", 40)
    assert np.array_equal(before, weighted)


def test_white_noise_at_200_kv_and_by_b_factor(tiltrec, noise):
    k = np.array([.02, .05, .08, .1])
    plain = rings(one_view(tiltrec, noise) - 100 * 4, 5, k)
    low = rings(one_view(tiltrec, noise, "--dose", 24, "--voltage", 200) - 100 * 4, 5, k)
    assert np.abs(low / plain / weight(k, 30) ** 2 - 1).max() < 0.02
    b = rings(one_view(tiltrec, noise, "--dose", 3, "--dose-initial", 40, "--dose-model",
                       "bfactor", "--dose-bfactor", 5) - 100 * 4, 5, k)
    assert np.abs(b / plain / np.exp(-2 * 5 / 4 * 40 * k ** 2) - 1).max() < 0.02


def test_with_binning(tiltrec, noise):
    k = np.array([.02, .035, .045])
    plain = one_view(tiltrec, noise, "--bin", 2)
    weighted = one_view(tiltrec, noise, "--bin", 2, "--dose", 60)
    assert plain.shape == weighted.shape == (300, 350)
    ratio = rings(weighted - weighted.mean(), 10, k) / rings(plain - plain.mean(), 10, k)
    assert np.abs(ratio / weight(k, 60) ** 2 - 1).max() < 0.02, ratio


def test_edges_do_not_meet(tiltrec, tmp_path):
    """What is bright at the left edge is not spread to the right one."""
    data = np.zeros((1, 96, 96))
    data[:, :, :8] = 1000
    write_series(tmp_path, data, [0.0], pixel=5)
    plain = one_view(tiltrec, tmp_path)
    weighted = one_view(tiltrec, tmp_path, "--dose", 100)
    scale = plain[48, 4]
    assert np.abs(weighted[10:86, 60:]).max() < 0.02 * scale
    assert weighted[48, 10] > 0.02 * scale


# ---- where it comes from ----

@pytest.fixture
def folder(tmp_path):
    data = np.random.default_rng(1).normal(100, 10, (7, 24, 20))
    write_series(tmp_path, data, TILTS, pixel=5)
    return tmp_path


def mdoc(tilts=TILTS, order=None, dose=3, head="PixelSpacing = 5\nVoltage = 300\n", **keys):
    """Sections in this order of the views; each key has a value for each section."""
    text = head
    for k, view in enumerate(range(len(tilts)) if order is None else order):
        text += f"\n[ZValue = {k}]\nTiltAngle = {tilts[view]:.2f}\n"
        if dose is not None:
            text += f"ExposureDose = {dose if np.isscalar(dose) else dose[view]}\n"
        for key, values in keys.items():
            text += f"{key} = {values[view]}\n"
    return text


def priors(order, dose=3):
    """Before each view, where they are taken in this order (from 1)."""
    result, total = np.zeros(len(order)), 0.0
    for view in order:
        result[view - 1] = total
        total += dose if np.isscalar(dose) else dose[view - 1]
    return result


def times(order, minutes=2):
    return [f"25-Nov-2026  {23 - 1 + (10 + minutes * i) // 60:02d}:{(10 + minutes * i) % 60:02d}:07"
            for i in np.argsort(np.argsort([order.index(v) for v in range(1, 8)]))]


VIEW = re.compile(r"view (\d+): tilt .*, taken as number (\d+), (\S+) e/A\^2 before it and "
                  r"(\S+) of its own")


def plan(run, folder, *options, check=True):
    """What a dry run says, and of each view: as which it was taken, exposures."""
    said = run("-T", 8, "--dry-run", "-v", *options, "s_ali.mrc", cwd=folder,
               check=check).stderr
    rows = [tuple(map(float, found)) for found in VIEW.findall(said)]
    return said, np.array(rows)


def assert_views(rows, order, dose=3, initial=0):
    assert list(rows[:, 0]) == list(range(1, len(order) + 1))
    assert [order[int(k) - 1] for k in rows[:, 1]] == list(rows[:, 0])
    assert np.allclose(rows[:, 2], priors(order, dose) + initial)
    assert np.allclose(rows[:, 3], dose)


def test_an_mdoc_with_prior_exposures(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors(SYMMETRIC)))
    said, rows = plan(tiltrec, folder, "--dose", "mdoc")
    assert_views(rows, SYMMETRIC)
    assert "Grant and Grigorieff, 300 kV; exposures from s_ali.mdoc, the order by " \
           "PriorRecordDose; 21 e/A^2 in all" in said
    assert "warning" not in said and "no file says the voltage" not in said
    said, rows = plan(tiltrec, folder, "--dose", "MDOC", "--dose-initial", 1.5)
    assert_views(rows, SYMMETRIC, initial=1.5)
    assert "22.5 e/A^2 in all" in said


def test_an_mdoc_with_times(tiltrec, folder):
    (folder / "other.mdoc").write_text(mdoc(DateTime=times(SYMMETRIC, 17)))
    said, rows = plan(tiltrec, folder, "--dose", "other.mdoc")
    assert_views(rows, SYMMETRIC)
    assert "the order by DateTime" in said and "warning" not in said
    dose = [3.5, 3, 2.5, 9, 2.5, 3, 3.5]  # hybrid
    (folder / "other.mdoc").write_text(mdoc(DateTime=times(SYMMETRIC, 17), dose=dose))
    assert_views(plan(tiltrec, folder, "--dose", "other.mdoc")[1], SYMMETRIC, dose)
    # all priors 0, as some programs write them
    (folder / "other.mdoc").write_text(mdoc(DateTime=times(SYMMETRIC), PriorRecordDose=[0] * 7))
    assert_views(plan(tiltrec, folder, "--dose", "other.mdoc")[1], SYMMETRIC)


def test_an_mdoc_in_order_of_acquisition(tiltrec, folder):
    """Beside a sorted series: views are found by their angles."""
    order = [v - 1 for v in SYMMETRIC]
    (folder / "s_ali.mdoc").write_text(mdoc(order=order, PriorRecordDose=priors(SYMMETRIC)))
    said, rows = plan(tiltrec, folder, "--dose", "mdoc")
    assert_views(rows, SYMMETRIC)
    # angles after alignment, a tilt of the specimen taken out of them
    np.savetxt(folder / "s_ali.tlt", TILTS + 11.3 + np.linspace(-.3, .3, 7), "%.3f")
    assert_views(plan(tiltrec, folder, "--dose", "mdoc")[1], SYMMETRIC)


def test_an_mdoc_of_more_views(tiltrec, folder):
    """One view was left out of the series; its exposure counts."""
    data = read_mrc(folder / "s_ali.mrc")
    write_series(folder, np.delete(data, 2, 0), np.delete(TILTS, 2), pixel=5)
    (folder / "s_ali.mdoc").write_text(mdoc(DateTime=times(SYMMETRIC)))
    rows = plan(tiltrec, folder, "--dose", "mdoc")[1]
    assert np.allclose(rows[:, 2], np.delete(priors(SYMMETRIC), 2))


@pytest.mark.parametrize("turn, sections, shift, said", [
    (.7, TILTS, 0, None),  # less than a quarter of a step
    (2.2, TILTS, 1, "lie -0.80 degrees beside them, but those that lie 2.20 beside"),
    (-2.2, TILTS, -1, "lie 0.80 degrees beside them, but those that lie -2.20 beside"),
    (2.2, [-9, -6, -3.5, 0, 2, 6, 7], 0, None),  # uneven steps
    (5, [-9, -6, -3.5, 0, 2, 6, 7], 0, None),
])
def test_an_mdoc_of_more_views_at_turned_angles(tiltrec, folder, turn, sections, shift, said):
    """Views 2 to 6, whose angles the alignment has turned: section k + shift is view k's."""
    data = read_mrc(folder / "s_ali.mrc")
    jitter = np.array([.1, -.05, 0, .05, -.1])
    write_series(folder, data[1:6], np.array(sections, float)[1:6] + turn + jitter, pixel=5)
    (folder / "s_ali.mdoc").write_text(mdoc(np.array(sections, float),
                                            PriorRecordDose=priors(SYMMETRIC)))
    lines, rows, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert np.allclose(rows[:, 2], priors(SYMMETRIC)[1 + shift:6 + shift])
    doubts = [line for line in lines if "degrees beside them" in line]
    assert len(doubts) == (said is not None) and (said is None or said in doubts[0]), lines


def test_turned_by_half_a_step(tiltrec, folder):
    data = read_mrc(folder / "s_ali.mrc")
    write_series(folder, data[1:6], TILTS[1:6] + 1.4, pixel=5)
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors(SYMMETRIC)))
    assert "may be sections of s_ali.mdoc that lie 1.40 degrees beside them, or -1.60;" in \
        refused(tiltrec, folder, "--dose", "mdoc")


def test_excluded_views_count(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors(SYMMETRIC)))
    said, rows = plan(tiltrec, folder, "--dose", "mdoc", "--exclude", "4,5")
    assert list(rows[:, 1]) == [6, 4, 2, 5, 7]
    said, rows = plan(tiltrec, folder, "--dose", 3, "--exclude", "4,5", "--dose-order",
                      "symmetric:0,-1")
    assert np.allclose(rows[:, 2], np.delete(priors(SYMMETRIC), [3, 4]))


@pytest.mark.parametrize("asked, order", [
    ("file", [1, 2, 3, 4, 5, 6, 7]), ("symmetric", [4, 5, 3, 6, 2, 7, 1]),
    ("symmetric:-3,2", [3, 4, 5, 2, 1, 6, 7]), ("symmetric:3", [5, 6, 4, 7, 3, 2, 1]),
    ("symmetric:0,-3", [4, 3, 2, 1, 5, 6, 7]), ("bidirectional:3", [3, 2, 1, 4, 5, 6, 7]),
    ("bidirectional:-3", [4, 5, 6, 7, 3, 2, 1])])
def test_an_order(tiltrec, folder, asked, order):
    said, rows = plan(tiltrec, folder, "--dose", 2.5, "--dose-order", asked)
    assert_views(rows, order, 2.5)
    assert "the order by --dose-order" in said and "warning" not in said


@pytest.mark.parametrize("asked", ["up", "symmetric:1,0", "symmetric:x", "symmetric1",
                                   "symmetric:1,2,3", "bidirectional:", "bidirectional:7",
                                   "bidirectional:0", "bidirectional:1.5"])
def test_no_order(tiltrec, folder, asked):
    done = tiltrec("-T", 8, "--dose", 3, "--dose-order", asked, "s_ali.mrc", cwd=folder,
                   check=False)
    assert done.returncode == USAGE and f"--dose-order {asked.split('0.')[0]}" in done.stderr


def test_an_order_against_a_known_one(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors(SYMMETRIC)))
    said, rows = plan(tiltrec, folder, "--dose", "mdoc", "--dose-order", "symmetric")
    assert_views(rows, [4, 5, 3, 6, 2, 7, 1])
    assert "--dose-order symmetric is taken, but by PriorRecordDose of s_ali.mdoc view 3 was " \
           "taken as number 2, not view 5" in said


def test_a_number_with_the_order_of_an_mdoc(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(dose=0, DateTime=times(SYMMETRIC)))
    said, rows = plan(tiltrec, folder, "--dose", 2)
    assert_views(rows, SYMMETRIC, 2)
    assert "exposures as given, the order by DateTime" in said and "warning" not in said


def test_texts(tiltrec, folder):
    before, dose = priors(SYMMETRIC), np.full(7, 3)
    np.savetxt(folder / "d.txt", np.column_stack([before, dose]))
    assert_views(plan(tiltrec, folder, "--dose", "d.txt")[1], SYMMETRIC)
    np.savetxt(folder / "d.txt", np.column_stack([before, before + dose]))
    assert_views(plan(tiltrec, folder, "--dose", "d.txt")[1], SYMMETRIC)
    np.savetxt(folder / "d.txt", dose)
    (folder / "s_ali.mdoc").write_text(mdoc(DateTime=times(SYMMETRIC)))
    assert_views(plan(tiltrec, folder, "--dose", "d.txt")[1], SYMMETRIC)
    before[:] = [0, 3, 6, 9, 14, 19, 24]  # does not go on
    np.savetxt(folder / "d.txt", np.column_stack([before, before + dose]))
    done = tiltrec("-T", 8, "--dose", "d.txt", "s_ali.mrc", cwd=folder, check=False)
    assert done.returncode == DATA and "give --dose-type 2 or 3" in done.stderr
    rows = plan(tiltrec, folder, "--dose", "d.txt", "--dose-type", 3)[1]
    assert np.allclose(rows[:, 2:], np.column_stack([before, dose]))


@pytest.mark.parametrize("what", ["3", "mdoc", "s_ali.mdoc"])
def test_a_type_of_what_is_no_text(tiltrec, folder, what):
    (folder / "s_ali.mdoc").write_text(mdoc(DateTime=times(SYMMETRIC)))
    said = refused(tiltrec, folder, "--dose", what, "--dose-type", 2, status=USAGE)
    assert f"--dose {what} is no such file" in said


STAR = """data_
loop_
_rlnMicrographName #1
_rlnTomoYTilt #2
_rlnMicrographPreExposure #3
{}
"""


def star(before, tilts=TILTS):
    return STAR.format("\n".join(f"{k + 1}@s.mrc {t} {b}"
                                 for k, (t, b) in enumerate(zip(tilts, before))))


def test_relion(tiltrec, folder):
    (folder / "x.star").write_text(star(priors(SYMMETRIC)))
    said, rows = plan(tiltrec, folder, "--dose", "x.star")
    assert_views(rows, SYMMETRIC)
    assert "the order by rlnMicrographPreExposure" in said
    assert "no file says the voltage: dose weights are those of 300 kV" in said
    (folder / "s_ali.tlt").unlink()
    said, rows = plan(tiltrec, folder, "-t", "x.star", "--dose", "mdoc")
    assert_views(rows, SYMMETRIC)
    said, rows = plan(tiltrec, folder, "-t", "x.star", "--dose", 2)
    assert_views(rows, SYMMETRIC, 2)


def tomostar(rows):
    return ("data_\n\nloop_\n_wrpMovieName #1\n_wrpAngleTilt #2\n_wrpDose #3\n"
            + "".join(f"m{k}.mrc {t} {d}\n" for k, (t, d) in enumerate(rows)))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("part, where", [(0, "beginning"), (.5, "middle"), (1, "end")])
def test_warp(tiltrec, folder, sign, part, where):
    before = priors(SYMMETRIC) + 3 * part
    (folder / "x.tomostar").write_text(tomostar(zip(sign * TILTS, before)))
    said, rows = plan(tiltrec, folder, "--dose", "x.tomostar")
    assert_views(rows, SYMMETRIC)
    assert f"(wrpDose) are taken to reach to the {where} of each view" in said


def test_warp_in_another_order(tiltrec, folder):
    """By angle; with a range that is the same with either sign nobody knows."""
    tilts = TILTS + 6
    np.savetxt(folder / "s_ali.tlt", tilts, "%g")
    before = priors(SYMMETRIC)
    order = [v - 1 for v in SYMMETRIC]
    for sign in 1, -1:
        (folder / "x.tomostar").write_text(tomostar(zip(sign * tilts[order], before[order])))
        assert_views(plan(tiltrec, folder, "--dose", "x.tomostar")[1], SYMMETRIC)
    np.savetxt(folder / "s_ali.tlt", TILTS, "%g")
    (folder / "x.tomostar").write_text(tomostar(zip(TILTS[order], before[order])))
    done = tiltrec("-T", 8, "--dose", "x.tomostar", "s_ali.mrc", cwd=folder, check=False)
    assert done.returncode == DATA
    assert "its angles fit with either sign" in done.stderr


def test_voltage(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors(SYMMETRIC),
                                            head="Voltage = 200\n"))
    assert "Grigorieff, 200 kV" in plan(tiltrec, folder, "--dose", "mdoc")[0]
    assert "Grigorieff, 120 kV" in plan(tiltrec, folder, "--dose", "mdoc", "--voltage", 120)[0]
    said = plan(tiltrec, folder, "--dose", "mdoc", "--dose-model", "bfactor")[0]
    assert "B-factor of 4 A^2 per e/A^2" in said and "kV" not in said


# ---- what cannot be right ----

def refused(run, folder, *options, status=DATA):
    done = run("-T", 8, "-o", "rec.mrc", *options, "s_ali.mrc", cwd=folder, check=False)
    assert done.returncode == status, done.stderr
    assert not (folder / "rec.mrc").exists()
    return done.stderr


def test_no_exposures(tiltrec, folder):
    said = refused(tiltrec, folder, "--dose", "mdoc", status=USAGE)
    assert "there is no mdoc beside s_ali.mrc" in said and "such as --dose 3" in said
    path = folder / "s_ali.mdoc"
    path.write_text(mdoc(dose=[3, 3, 0, 3, 3, 3, 3], PriorRecordDose=priors(SYMMETRIC)))
    assert "s_ali.mdoc has ExposureDose 0 for section 2" in refused(tiltrec, folder, "--dose",
                                                                  "mdoc")
    path.write_text(mdoc(dose=None, PriorRecordDose=priors(SYMMETRIC)))
    assert "s_ali.mdoc has no ExposureDose for section 0" in refused(tiltrec, folder, "--dose",
                                                                     "mdoc")
    (folder / "x.star").write_text(star(priors(SYMMETRIC)).replace("PreExposure", "Other"))
    assert "x.star says nothing of exposures" in refused(tiltrec, folder, "--dose", "x.star")


@pytest.mark.parametrize("value", [0, 3])
def test_the_same_before_all_views(tiltrec, folder, value):
    """Columns that nobody filled in, or with the exposure of each view."""
    (folder / "x.star").write_text(star([value] * 7))
    said = refused(tiltrec, folder, "--dose", "x.star")
    assert f"x.star has the same rlnMicrographPreExposure for all views, {value}, so" in said
    assert "such as --dose 3" in said
    (folder / "x.tomostar").write_text(tomostar(zip(TILTS, [value] * 7)))
    said = refused(tiltrec, folder, "--dose", "x.tomostar")
    assert f"x.tomostar has the same wrpDose for all views, {value}, so" in said
    lines, rows, _ = warned(tiltrec, folder, "-t", "x.star", "--dose", 3)
    assert len(lines) == 1 and "nothing says in which order the views were taken" in lines[0]
    assert_views(rows, range(1, 8))
    lines, rows, _ = warned(tiltrec, folder, "-t", "x.star", "--dose", 3, "--dose-order",
                            "symmetric:0,-1")
    assert not lines
    assert_views(rows, SYMMETRIC)


def test_of_another_series(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(TILTS * 3, PriorRecordDose=priors(SYMMETRIC)))
    assert "is about 7 views at other angles" in refused(tiltrec, folder, "--dose", "mdoc")
    assert_views(plan(tiltrec, folder, "--dose", 3, "--dose-order", "file")[1], range(1, 8))
    (folder / "d.txt").write_text("3\n3\n")
    assert "exposures of 2 views" in refused(tiltrec, folder, "--dose", "d.txt")
    (folder / "x.star").write_text(STAR.format("\n".join(
        f"{k + 1}@s.mrc {TILTS[k]} {3 * k}" for k in range(6))))
    assert "x.star says nothing of the exposure of view 7" in refused(tiltrec, folder, "--dose",
                                                                     "x.star")


def test_values(tiltrec, folder):
    assert "above 0" in refused(tiltrec, folder, "--dose", 0, status=USAGE)
    assert "above 0" in refused(tiltrec, folder, "--dose=-3", status=USAGE)
    assert "there is no such file" in refused(tiltrec, folder, "--dose", "nix", status=USAGE)
    assert "without --dose they are not" in refused(tiltrec, folder, "--dose-initial", 3,
                                                   status=USAGE)
    assert "the model is gg" in refused(tiltrec, folder, "--dose", 3, "--dose-bfactor", 3,
                                        status=USAGE)
    for pixel, words in (0, "does not say it"), (1, "says 1 angstrom"):
        write_mrc(folder / "s_ali.mrc", read_mrc(folder / "s_ali.mrc"), pixel=pixel)
        said = refused(tiltrec, folder, "--dose", 3)
        assert "--dose needs the size of the pixels" in said and words in said
    plan(tiltrec, folder, "--dose", 3, "--pixel", 1)


def warned(run, folder, *options):
    said, rows = plan(run, folder, *options)
    lines = [line for line in said.splitlines() if "warning:" in line]
    return lines, rows, said


def test_shared_priors(tiltrec, folder):
    before = priors(SYMMETRIC)
    before[4] = before[2]
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=before))
    lines, rows, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert len(lines) == 1
    assert "views 3 and 5 have the same exposure before them, 3 e/A^2, by PriorRecordDose" \
        in lines[0]


def test_no_usual_order(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors([6, 2, 3, 5, 4, 1, 7])))
    lines, rows, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert len(lines) == 1
    assert "of no usual scheme, beginning with view 6 at 6 degrees, while view 4 at 0 has 12 " \
        in lines[0]
    # one way: usual, and a word about it
    (folder / "s_ali.mdoc").unlink()
    lines, rows, said = warned(tiltrec, folder, "--dose", 3, "--dose-order", "file")
    assert not lines
    assert "least exposure is view 1 at -9 degrees, not the flattest, view 4" in said


def test_too_much(tiltrec, folder):
    lines, _, _ = warned(tiltrec, folder, "--dose", 50, "--dose-order", "symmetric")
    assert len(lines) == 1 and "add up to 350 e/A^2, more than a specimen takes" in lines[0]
    assert not warned(tiltrec, folder, "--dose", 42, "--dose-order", "symmetric")[0]


def test_contradictions_in_an_mdoc(tiltrec, folder):
    path = folder / "s_ali.mdoc"
    path.write_text(mdoc(PriorRecordDose=priors(SYMMETRIC), DateTime=times([1, 2, 3, 4, 5, 6, 7])))
    lines, rows, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert len(lines) == 1 and "are of different orders: as number 1 came section 3" in lines[0]
    assert_views(rows, SYMMETRIC)
    path.write_text(mdoc(dose=6, PriorRecordDose=priors(SYMMETRIC)))
    lines, _, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert "(ExposureDose) add up to 42 e/A^2, those before each view (PriorRecordDose) " \
        "reach 24" in lines[0]


def test_no_order_known(tiltrec, folder):
    path = folder / "s_ali.mdoc"
    path.write_text(mdoc())
    lines, rows, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert len(lines) == 1 and "nothing says in which order the views were taken" in lines[0]
    assert_views(rows, range(1, 8))
    when = times(SYMMETRIC)
    when[1] = "noon"
    path.write_text(mdoc(DateTime=when))
    lines, rows, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert len(lines) == 2
    assert "s_ali.mdoc, line 12: its DateTime cannot be read" in lines[0]
    assert "noon" in path.read_text().splitlines()[11]


def test_twins(tiltrec, folder):
    """The same angle twice in an mdoc in another order than the series."""
    tilts = np.array([-9, -6, -3, 0, 0, 6, 9], float)
    np.savetxt(folder / "s_ali.tlt", tilts, "%g")
    order = [v - 1 for v in SYMMETRIC]
    (folder / "s_ali.mdoc").write_text(mdoc(tilts, order=order,
                                            PriorRecordDose=priors(SYMMETRIC)))
    lines, rows, _ = warned(tiltrec, folder, "--dose", "mdoc")
    assert len(lines) == 1 and "s_ali.mdoc has 0 degrees twice" in lines[0]


# ---- in runs ----

def test_iterations_are_told(tiltrec, folder):
    options = ["--dose", 3, "--dose-order", "symmetric"]
    assert "takes what they damp for absent" in plan(tiltrec, folder, "-a", "SIRT", *options)[0]
    assert "takes what they damp" not in plan(tiltrec, folder, *options)[0]


def test_json_report_and_label(tiltrec, folder):
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors(SYMMETRIC)))
    tiltrec("-T", 8, "--dose", "mdoc", "--dose-initial", 1, "--exclude", 2, "--json", "r.json",
            "--report", "r.html", "-o", "rec.mrc", "s_ali.mrc", cwd=folder)
    result = json.loads((folder / "r.json").read_text())
    assert result["dose"] == {"model": "gg", "voltage": 300, "bfactor": None,
                              "file": "s_ali.mdoc", "ordered_by": "PriorRecordDose",
                              "total": 22}
    views = result["views"]["list"]
    assert [v["acquired"] for v in views] == [6, 2, 1, 3, 5, 7]
    assert [v["prior_exposure"] for v in views] == [16, 4, 1, 7, 13, 19]
    assert [v["exposure"] for v in views] == [3] * 6
    assert "<th>dose weighting</th><td>Grant and Grigorieff, 300 kV; 22 e/" in \
        (folder / "r.html").read_text()
    assert b"dose weighted: Grant and Grigorieff, 300 kV; 22 e/A^2 in all" in \
        (folder / "rec.mrc").read_bytes()[:1024]
    tiltrec("-T", 8, "--json", "r.json", "-o", "rec.mrc", "s_ali.mrc", cwd=folder)
    result = json.loads((folder / "r.json").read_text())
    assert result["dose"] is None and "acquired" not in result["views"]["list"][0]
    assert b"dose weighted" not in (folder / "rec.mrc").read_bytes()[:1024]


@pytest.mark.parametrize("program, options", [
    ("tiltrec-mpi", ["--bin", 2]), ("tiltrec-mpi", ["--slices", "5:9"]),
    ("tiltrecz-mpi", ["-a", "SIRT", "-i", 2])])
def test_ranks(build_dir, folder, program, options):
    run = runner(build_dir, program)
    options = ["-T", 8, "--dose", 3, "--dose-order", "symmetric", *options, "s_ali.mrc"]
    for ranks in 1, 2, 3:
        run("-o", f"r{ranks}.mrc", *options, cwd=folder, ranks=ranks, threads=2)
    first = (folder / "r1.mrc").read_bytes()
    assert all((folder / f"r{k}.mrc").read_bytes() == first for k in (2, 3))
    run("-o", "plain.mrc", "-T", 8, *options[6:], cwd=folder)
    assert (folder / "plain.mrc").read_bytes()[1024:] != first[1024:]


def test_slices_are_those_of_the_whole(tiltrec, folder):
    options = ["-T", 8, "--dose", 3, "--dose-order", "symmetric", "s_ali.mrc"]
    tiltrec("-o", "all.mrc", *options, cwd=folder)
    tiltrec("-o", "part.mrc", "--slices", "5:9", *options, cwd=folder)
    assert np.array_equal(read_mrc(folder / "all.mrc")[5:10], read_mrc(folder / "part.mrc"))


def test_half_sets(tiltrec, folder):
    """Each half has the weights that its views have in the whole series."""
    (folder / "s_ali.mdoc").write_text(mdoc(PriorRecordDose=priors(SYMMETRIC)))
    options = ["-T", 8, "--dose", "mdoc", "s_ali.mrc"]
    tiltrec("-o", "rec.mrc", "--half-sets", "views", *options, cwd=folder)
    tiltrec("-o", "odd.mrc", "--include", "1,3,5,7", *options, cwd=folder)
    assert np.array_equal(read_mrc(folder / "rec_ODD.mrc"), read_mrc(folder / "odd.mrc"))
