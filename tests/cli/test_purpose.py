"""--for sets what a use of the tomogram wants, and nothing that was given."""
import json

import mrcfile
import numpy as np
import pytest

from conftest import read_mrc, write_mrc, write_series
from test_ctf import OPTICS, corrected

TILTS = np.arange(-45.0, 46.0, 9.0)
RADIAL = ["--radial", "0.5,0"]


def mdoc(dose):
    return "PixelSpacing = 4\n" + "".join(
        f"\n[ZValue = {k}]\nTiltAngle = {tilt}\nExposureDose = {dose}\n"
        f"DateTime = 26-Nov-28  10:{k:02}:00\n" for k, tilt in enumerate(TILTS))


@pytest.fixture
def folder(tmp_path):
    """An aligned series with all that may lie beside one."""
    rng = np.random.default_rng(8)
    halves = rng.normal(100, 10, (2, len(TILTS), 24, 48)).astype(np.float32)
    write_series(tmp_path, halves.sum(axis=0), TILTS, "ts_ali.mrc", pixel=4.0)
    for name, half in zip(("EVN", "ODD"), halves):
        write_mrc(tmp_path / f"ts_{name}_ali.mrc", half)
    (tmp_path / "ts.defocus").write_text(f"1 {len(TILTS)} -45 45 2500 2\n")
    (tmp_path / "ts.mdoc").write_text(mdoc(2.5))
    return tmp_path


@pytest.fixture
def make(tiltrec, folder):
    def run(name, *options):
        done = tiltrec("-T", 12, "-o", f"{name}.mrc", "--json", f"{name}.json", *options,
                       "ts_ali.mrc", cwd=folder)
        assert done.returncode == 0
        return read_mrc(folder / f"{name}.mrc")
    return run


CTF = ["--ctf", "ts.defocus", *OPTICS]
DOSE = ["--dose", "mdoc"]
FRAMES = ["--half-sets", "frames", "ts_EVN_ali.mrc", "ts_ODD_ali.mrc"]


@pytest.mark.parametrize("use, options", [
    ("viewing", [*CTF, "--ctf-mode", "wiener", *DOSE]),
    ("denoising", [*CTF, "--ctf-mode", "flip", *DOSE, *FRAMES, *RADIAL]),
    ("averaging", [*CTF, "--ctf-mode", "flip", *RADIAL])])
def test_is_what_it_sets(make, folder, use, options):
    """The same voxels as with these options, and it is said everywhere."""
    by_hand = make("a", *options)
    by_use = make("b", "--for", use, *OPTICS)
    assert np.array_equal(by_hand, by_use)
    found = json.loads((folder / "b.json").read_text())["purpose"]
    for option, value in zip(options, options[1:]):
        if str(option).startswith("--") and option not in OPTICS:
            assert f"{option} {value}" in found["set"]
    assert found["for"] == use and found["not_set"] is None
    if use == "denoising":
        for half in "EVN", "ODD":
            assert np.array_equal(read_mrc(folder / f"a_{half}.mrc"),
                                  read_mrc(folder / f"b_{half}.mrc"))


def test_it_is_said(tiltrec, folder):
    done = tiltrec("-T", 12, "-o", "rec.mrc", "--report", "r.html", "--for", "averaging", *OPTICS,
                   "ts_ali.mrc", cwd=folder)
    assert "for averaging: --ctf ts.defocus, --ctf-mode flip, --dose mdoc" in done.stderr
    with mrcfile.open(folder / "rec.mrc") as file:
        labels = [label.decode() for label in file.header.label]
    assert any(label.startswith("for averaging: --ctf ts.defocus") for label in labels)
    assert not any("dose weighted" in label for label in labels)
    assert "made for" in (folder / "r.html").read_text()


def test_list_of_views(make, folder):
    """A row for each view that is used, with what it had before it and in it."""
    make("a", "--for", "averaging", *OPTICS, "--exclude", 3, "--tilt-offset", 1.5,
         "--defocus-hand", -1)
    text = (folder / "a_views.star").read_text()
    general, views = text.split("data_views")
    assert "_rlnTomoHand 1\n" in general and "_rlnVoltage 300\n" in general
    assert "phases flipped, not weighted" in general
    lines = [line.split() for line in views.splitlines() if line]
    names = [line[0][1:] for line in lines if line[0].startswith("_")]
    rows = np.array([line for line in lines if line[0][0].isdigit()], float)
    kept = [k for k in range(len(TILTS)) if k != 2]
    column = dict(zip(names, rows.T))
    assert np.array_equal(column["tiltrecSection"], [k + 1 for k in kept])
    assert np.allclose(column["rlnTomoYTilt"], TILTS[kept] + 1.5)
    for name in "rlnDefocusU", "rlnDefocusV":
        assert np.allclose(column[name], 25000)
    assert np.allclose(column["rlnMicrographPreExposure"], 2.5 * np.array(kept))
    assert np.allclose(column["tiltrecExposure"], 2.5)


def test_what_is_given_wins(make, folder):
    given = make("a", *CTF, *DOSE)
    assert np.array_equal(make("b", "--for", "viewing", "--ctf-mode", "flip", *OPTICS), given)
    found = json.loads((folder / "b.json").read_text())["purpose"]
    assert found["kept"] == "--ctf-mode" and "--ctf-mode" not in found["set"]
    plain = make("c")
    assert np.array_equal(make("d", "--for", "viewing", "--ctf", "none", "--dose", "none"), plain)
    assert np.array_equal(make("e", "--ctf", "none", "--dose", "none"), plain)
    views = make("f", "--for", "denoising", "--half-sets", "views", "--radial", "0.3,0.03", *OPTICS)
    assert np.array_equal(views, make("g", *CTF, *DOSE, "--radial", "0.3,0.03"))


def test_what_is_missing(make, folder, tiltrec):
    plain = make("a")
    for name in "ts.defocus", "ts.mdoc", "ts_ODD_ali.mrc":
        (folder / name).unlink()
    assert np.array_equal(make("b", "--for", "viewing", *OPTICS, "--dose-model", "gg"), plain)
    found = json.loads((folder / "b.json").read_text())
    assert found["purpose"]["set"] is None
    assert "--ctf, as no file with the CTF" in found["purpose"]["not_set"]
    assert "--dose, as no mdoc" in found["purpose"]["not_set"]
    assert any("not set for viewing" in line for line in found["warnings"])
    make("c", "--for", "denoising")
    assert (folder / "c_EVN.mrc").exists()
    assert "--half-sets views" in json.loads((folder / "c.json").read_text())["purpose"]["set"]
    (folder / "ts.defocus").write_text(f"1 {len(TILTS)} -45 45 2500 2\n")
    corrected(folder / "ts_ali.mrc")
    make("d", "--for", "averaging")
    not_set = json.loads((folder / "d.json").read_text())["purpose"]["not_set"]
    assert "--ctf, as the series is corrected already" in not_set
    text = (folder / "d_views.star").read_text()
    assert "CTF not corrected" in text and "Defocus" not in text and "Exposure" not in text


def test_admm_gets_no_wiener(tiltrecz, folder):
    done = tiltrecz("-a", "ADMM", "-i", 1, "-T", 12, "-o", "a.mrc", "--for", "viewing", *OPTICS,
                    "ts_ali.mrc", cwd=folder, check=False)
    assert "--ctf-mode flip, --dose mdoc, --lambda-times 2" in done.stderr


def test_list_of_views_is_no_input(tiltrec, folder):
    """Nothing is written over what is read."""
    (folder / "ts_rec_views.star").write_text("1 25000 25000 0 0 0 9\n" * 1)
    done = tiltrec("-T", 12, "--for", "averaging", "--ctf", "ts_rec_views.star", *OPTICS,
                   "--include", 1, "ts_ali.mrc", cwd=folder, check=False)
    assert done.returncode == 2 and "is also an input" in done.stderr
