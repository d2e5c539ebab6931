"""--hand -1: the tilt angles with the other sign, and so the mirror image along the beam;
what is about the angles follows."""
import json

import numpy as np
import pytest

from conftest import correlation, difference, read_mrc, write_series
from volume_reference import Blobs

N_U, N_V, DEPTH = 48, 16, 24
TILTS = np.arange(-60.0, 55, 6)  # not symmetric


@pytest.fixture(scope="module")
def blobs():
    return Blobs(N_U - 16, N_V, DEPTH - 4, finest=2, seed=5)


@pytest.fixture
def run(tiltrec, tmp_path, blobs):
    write_series(tmp_path, blobs.views(TILTS, N_U, N_V), TILTS)

    def run(*options):
        done = tiltrec("s_ali.mrc", "-T", DEPTH, "-o", "o.mrc", *options, cwd=tmp_path)
        return read_mrc(tmp_path / "o.mrc"), done.stderr
    return run


@pytest.mark.parametrize("method", [["-a", "WBP"], ["-a", "SIRT", "-i", 5]], ids=["WBP", "SIRT"])
def test_it_is_a_list_of_negated_angles(run, tmp_path, blobs, method):
    """Bytes are; and where the angles have the wrong sign, it is the specimen."""
    plain, _ = run(*method)
    mirrored, said = run(*method, "--hand", -1)
    assert "-54.00 to 60.00 degrees, negated (--hand -1)" in said
    np.savetxt(tmp_path / "n.tlt", -TILTS)
    negated, _ = run(*method, "-t", "n.tlt")
    assert np.array_equal(mirrored, negated)
    assert difference(mirrored, plain[:, ::-1]) < 1e-5  # sections y, rows s
    assert difference(mirrored, plain) > 0.1
    right, _ = run(*method, "--hand", -1, "-t", "n.tlt")
    assert np.array_equal(right, plain)
    truth = np.zeros((N_V, DEPTH, N_U))
    truth[:, 2:-2, 8:-8] = blobs.volume()
    assert correlation(plain, truth, 1) > correlation(mirrored, truth, 1) + 0.05


def test_options_are_about_the_tomogram_made(run, tmp_path):
    np.savetxt(tmp_path / "n.tlt", -TILTS)
    options = ["--tilt-offset", 4, "--z-shift", 2, "--pitch", 3]
    ours, _ = run("--hand", -1, *options)
    same, _ = run("-t", "n.tlt", *options)
    assert np.array_equal(ours, same)


def test_x_tilts_are_negated(run, tmp_path):
    np.savetxt(tmp_path / "a.xtilt", np.full(len(TILTS), 5.0))
    plain, _ = run("--xtilts", "a.xtilt")
    mirrored, _ = run("--xtilts", "a.xtilt", "--hand", -1)
    assert difference(mirrored, plain[:, ::-1]) < 1e-5


def test_halves_and_what_is_said(run, tmp_path):
    """The halves have the same views."""
    import mrcfile
    plain, _ = run("--half-sets", "views")
    halves = [read_mrc(tmp_path / f"o_{half}.mrc") for half in ("EVN", "ODD")]
    _, said = run("--half-sets", "views", "--hand", "-1", "--json", "o.json", "--report", "o.html")
    for half, before in zip(("EVN", "ODD"), halves):
        assert difference(read_mrc(tmp_path / f"o_{half}.mrc"), before[:, ::-1]) < 1e-5
    assert json.loads((tmp_path / "o.json").read_text())["output"]["hand"] == -1
    assert "-1: the angles are taken with the other sign" in (tmp_path / "o.html").read_text()
    with mrcfile.open(tmp_path / "o.mrc") as file:
        assert any(b"hand -1: tilt angles negated" in label for label in file.header.label)
    run("--json", "o.json")
    assert json.loads((tmp_path / "o.json").read_text())["output"]["hand"] == 1


def defocus_file(flags):
    """IMOD's .defocus, version 3, with its flags; 16: tilt angles are inverted."""
    return f"{flags} 0 0. 0. 0 3\n" + "".join(
        f"{k} {k} {t:.2f} {t:.2f} {2000 + 10 * k}\n" for k, t in enumerate(TILTS, 1))


def test_the_hand_of_the_defocus(run, tmp_path):
    """That is about the angles used: of a file whose angles are said to be inverted it is -1,
    and +1 once they are negated."""
    ctf = ["--voltage", 300, "--cs", 2.7, "--amplitude-contrast", 0.1, "--pixel", 5, "--json",
           "o.json", "--ctf", "d.defocus"]
    for flags, options, hand in [(0, (), 1), (16, (), -1), (16, ("--hand", -1), 1),
                                 (0, ("--hand", -1), 1),
                                 (0, ("--hand", -1, "--defocus-hand", -1), -1)]:
        (tmp_path / "d.defocus").write_text(defocus_file(flags))
        run(*ctf, *options)
        assert json.loads((tmp_path / "o.json").read_text())["ctf"]["hand"] == hand


def test_a_correction_by_depth_is_mirrored(run, tmp_path):
    """Negated angles and the other hand are the same defocus at each place of a view."""
    (tmp_path / "d.defocus").write_text(defocus_file(0))
    ctf = ["--voltage", 300, "--cs", 2.7, "--amplitude-contrast", 0.1, "--pixel", 1.2, "--ctf",
           "d.defocus", "--ctf-band", 0.05]
    plain, _ = run(*ctf)
    mirrored, _ = run(*ctf, "--hand", -1, "--defocus-hand", -1)
    assert difference(mirrored, plain[:, ::-1]) < 0.02
    other, _ = run(*ctf, "--hand", -1)
    assert difference(other, mirrored) > 1.8 * difference(mirrored, plain[:, ::-1])


def test_a_run_is_not_gone_on_with_by_another_hand(run, tmp_path):
    done = run()[0]
    again, said = run("--resume", "--hand", -1)
    assert difference(again, done[:, ::-1]) < 1e-5


def test_what_does_not_go_with_it(run, tiltrec, tmp_path):
    (tmp_path / "z.zfac").write_text("0 0\n" * len(TILTS))
    done = tiltrec("s_ali.mrc", "-T", DEPTH, "--z-factors", "z.zfac", "--hand", -1, cwd=tmp_path,
                   check=False)
    assert done.returncode == 2 and "z.zfac is about them as they are" in done.stderr
