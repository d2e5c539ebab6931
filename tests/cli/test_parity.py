"""The same tomogram as IMOD's tilt makes of an analytic phantom: see tests/data/imod_parity.
The real data have a folder of the same name with all of its slices."""
from collections import namedtuple

import numpy as np
import pytest

from conftest import ROOT, correlation, difference, read_mrc

# As IMOD writes it; the .05 of RADIAL is the old definition of sigma.
TILT_COM = """# Command file to run Tilt
$tilt -StandardInput
InputProjections phantom.mrc
OutputFile com_rec.mrc
TILTFILE phantom.tlt
THICKNESS 48
RADIAL .35 .05
SCALE 0.0 0.015625
MODE 2
PERPENDICULAR
"""


# `opposite` is above what a pitch of the wrong sign leaves of the correlation: in the middle
# rows, much.
Parity = namedtuple("Parity", "folder data opposite")


@pytest.fixture(scope="module", params=["middle rows", "all rows"])
def parity(request, tmp_path_factory):
    if request.param == "middle rows":
        data, opposite = ROOT / "tests" / "data" / "imod_parity", 0.99
    else:
        data, opposite = request.getfixturevalue("shared_data") / "imod_parity", 0.9
    folder = tmp_path_factory.mktemp("parity")
    for name in ("phantom.mrc", "phantom.tlt"):
        (folder / name).symlink_to(data / name)
    return Parity(folder, data, opposite)


def compared(parity, path, reference):
    """Our slices that IMOD's are of, from the middle, and IMOD's."""
    ours, imod = read_mrc(path), read_mrc(parity.data / reference)
    first = (len(ours) - len(imod)) // 2
    return ours[first:first + len(imod)], imod


PITCHES = [(0, "imod_wbp.mrc", 0.9995), (6, "imod_wbp_pitch6.mrc", 0.999)]


@pytest.mark.parametrize("pitch, reference, least", PITCHES)
def test_tilt_com(tiltrec, parity, pitch, reference, least):
    (parity.folder / "tilt.com").write_text(
        TILT_COM + (f"XAXISTILT {pitch}\n" if pitch else ""))
    tiltrec("--imod-com", "tilt.com", cwd=parity.folder)
    ours, imod = compared(parity, parity.folder / "com_rec.mrc", reference)
    assert correlation(ours, imod) >= least
    slope, constant = np.polyfit(imod.ravel(), ours.ravel(), 1)
    assert slope == pytest.approx(1, abs=0.02)
    assert abs(constant) < 0.02 * imod.std()
    assert ours.std() == pytest.approx(imod.std(), rel=0.02)


@pytest.mark.parametrize("pitch, reference, least", PITCHES)
def test_without_tilt_com_only_the_scale_differs(tiltrec, parity, tmp_path, pitch, reference,
                                                 least):
    tiltrec("-T", 48, "--pitch", pitch, "-o", tmp_path / "rec.mrc", "phantom.mrc",
            cwd=parity.folder)
    ours, imod = compared(parity, tmp_path / "rec.mrc", reference)
    assert correlation(ours, imod) >= least
    (parity.folder / "tilt.com").write_text(TILT_COM)
    tiltrec("--imod-com", "tilt.com", "--scale", "0,1", "--pitch", pitch,
            "-o", tmp_path / "com.mrc", cwd=parity.folder)
    # .05 / sqrt 2 against .035, the program's default
    assert difference(read_mrc(tmp_path / "com.mrc"), read_mrc(tmp_path / "rec.mrc")) < 0.002


@pytest.mark.parametrize("pitch, xtilt, same", [(0, -6, True), (10, 4, True), (0, 6, False)])
def test_x_tilts_have_the_sign_of_imod(tiltrec, parity, pitch, xtilt, same):
    """To IMOD, an x-tilt of +6 in every view is what an XAXISTILT of -6 is."""
    (parity.folder / "x.com").write_text(TILT_COM + f"XTILTFILE x.xtilt\nXAXISTILT {pitch}\n")
    (parity.folder / "x.xtilt").write_text(f"{xtilt}\n" * 41)
    tiltrec("--imod-com", "x.com", cwd=parity.folder)
    found = correlation(*compared(parity, parity.folder / "com_rec.mrc",
                                  "imod_wbp_pitch6.mrc"))
    assert found >= 0.999 if same else found < parity.opposite


def test_other_signs_do_not_agree(tiltrec, parity, tmp_path):
    """What a wrong pitch or shift costs: the correlations above tell."""
    for options in (["--pitch", -6], ["--pitch", 0], ["--pitch", 6, "--z-shift", 0.5],
                    ["--pitch", 6, "--tilt-offset", 0.5], ["--pitch", 6, "--x-shift", 0.5]):
        tiltrec("-T", 48, "-o", tmp_path / "rec.mrc", *options, "phantom.mrc",
                cwd=parity.folder)
        assert correlation(*compared(parity, tmp_path / "rec.mrc",
                                     "imod_wbp_pitch6.mrc")) < 0.998
