"""The same tomogram as IMOD's tilt makes of an analytic phantom: see README.md of the
folder imod_parity of the real data."""
import numpy as np
import pytest

from conftest import correlation, difference, read_mrc

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


@pytest.fixture(scope="module")
def parity(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    for name in ("phantom.mrc", "phantom.tlt"):
        (folder / name).symlink_to(shared_data / "imod_parity" / name)
    return folder


PITCHES = [(0, "imod_wbp.mrc", 0.9995), (6, "imod_wbp_pitch6.mrc", 0.999)]


@pytest.mark.parametrize("pitch, reference, least", PITCHES)
def test_tilt_com(tiltrec, parity, shared_data, pitch, reference, least):
    (parity / "tilt.com").write_text(TILT_COM + (f"XAXISTILT {pitch}\n" if pitch else ""))
    tiltrec("--imod-com", "tilt.com", cwd=parity)
    imod = read_mrc(shared_data / "imod_parity" / reference)
    ours = read_mrc(parity / "com_rec.mrc")
    assert correlation(ours, imod) >= least
    slope, constant = np.polyfit(imod.ravel(), ours.ravel(), 1)
    assert slope == pytest.approx(1, abs=0.02)
    assert abs(constant) < 0.02 * imod.std()
    assert ours.std() == pytest.approx(imod.std(), rel=0.02)


@pytest.mark.parametrize("pitch, reference, least", PITCHES)
def test_without_tilt_com_only_the_scale_differs(tiltrec, parity, shared_data, tmp_path,
                                                 pitch, reference, least):
    imod = read_mrc(shared_data / "imod_parity" / reference)
    tiltrec("-T", 48, "--pitch", pitch, "-o", tmp_path / "rec.mrc", "phantom.mrc",
            cwd=parity)
    ours = read_mrc(tmp_path / "rec.mrc")
    assert correlation(ours, imod) >= least
    (parity / "tilt.com").write_text(TILT_COM)
    tiltrec("--imod-com", "tilt.com", "--scale", "0,1", "--pitch", pitch,
            "-o", tmp_path / "com.mrc", cwd=parity)
    # .05 / sqrt 2 against .035, the program's default
    assert difference(read_mrc(tmp_path / "com.mrc"), ours) < 0.002


@pytest.mark.parametrize("pitch, xtilt, same", [(0, -6, True), (10, 4, True), (0, 6, False)])
def test_x_tilts_have_the_sign_of_imod(tiltrec, parity, shared_data, pitch, xtilt, same):
    """To IMOD, an x-tilt of +6 in every view is what an XAXISTILT of -6 is."""
    (parity / "x.com").write_text(TILT_COM + f"XTILTFILE x.xtilt\nXAXISTILT {pitch}\n")
    (parity / "x.xtilt").write_text(f"{xtilt}\n" * 41)
    tiltrec("--imod-com", "x.com", cwd=parity)
    imod = read_mrc(shared_data / "imod_parity" / "imod_wbp_pitch6.mrc")
    found = correlation(read_mrc(parity / "com_rec.mrc"), imod)
    assert found >= 0.999 if same else found < 0.9


def test_other_signs_do_not_agree(tiltrec, parity, shared_data, tmp_path):
    """What a wrong pitch or shift costs: the correlations above tell."""
    imod = read_mrc(shared_data / "imod_parity" / "imod_wbp_pitch6.mrc")
    for options in (["--pitch", -6], ["--pitch", 0], ["--pitch", 6, "--z-shift", 0.5],
                    ["--pitch", 6, "--tilt-offset", 0.5], ["--pitch", 6, "--x-shift", 0.5]):
        tiltrec("-T", 48, "-o", tmp_path / "rec.mrc", *options, "phantom.mrc", cwd=parity)
        assert correlation(read_mrc(tmp_path / "rec.mrc"), imod) < 0.998
