"""What a tilt.com asks for is what the options ask for, however IMOD lets it be written;
what it asks for and is not made here is refused."""
import numpy as np
import pytest

from conftest import read_mrc, write_mrc
from volume_reference import Blobs

N_U, N_V, DEPTH = 40, 24, 20
TILTS = np.arange(-60.0, 61, 6)
HEAD = "$setenv X Y\n$tilt -StandardInput\nInputProjections ts_ali.mrc\n"


@pytest.fixture
def folder(tmp_path):
    views = Blobs(N_U - 12, N_V - 8, DEPTH, finest=2, seed=7).views(TILTS, N_U, N_V)
    write_mrc(tmp_path / "ts_ali.mrc", views)
    np.savetxt(tmp_path / "fine.tlt", TILTS)
    return tmp_path


@pytest.fixture
def made(tiltrec, folder):
    def made(*options, code=0):
        done = tiltrec(*options, "-o", "o.mrc", cwd=folder, check=False)
        assert done.returncode == code, done.stderr
        assert (folder / "o.mrc").exists() == (code == 0)
        return (read_mrc(folder / "o.mrc") if code == 0 else None), done.stderr
    return made


@pytest.mark.parametrize("name, text", [
    ("tilt.com", HEAD + "TILTFILE fine.tlt   # fine angles\nTHICKNESS 20 # thin\n$echo\n"),
    ("tilt.com", HEAD.replace("InputProjections", "INPUTPROJ") + "tiltf fine.tlt\nThick 20\n"),
    ("tilt.com", "$tilt -Inp ts_ali.mrc -TILTFILE fine.tlt -THICKNESS 20\n"),
    ("tilt.com", "$/usr/local/IMOD/bin/tilt ts_ali.mrc x.rec -TILTFILE fine.tlt -THICK 20\n"),
    ("run.sh", "#!/bin/sh\ntilt -StandardInput << EOF\ninput ts_ali.mrc\nTILTFILE fine.tlt\n"
               "THICKNESS 20\nEOF\necho THICKNESS 7\n")])
def test_ways_to_write_it(made, folder, name, text):
    (folder / name).write_text(text)
    ours, said = made("--imod-com", name)
    assert ours.shape == (N_V, DEPTH, N_U) and "warning" not in said
    other, _ = made("ts_ali.mrc", "-t", "fine.tlt", "-T", DEPTH, "-a", "WBP", "--aligned")
    assert np.array_equal(ours, other)


def test_iterations_select_sirt(made, folder):
    (folder / "s.com").write_text(HEAD + "TILTFILE fine.tlt\nTHICKNESS 20\nSIRTIterations 7\n")
    ours, said = made("--imod-com", "s.com")
    assert "s.com asks for SIRT" in said
    wanted = ["ts_ali.mrc", "-t", "fine.tlt", "-T", DEPTH]
    assert np.array_equal(ours, made(*wanted, "-a", "SIRT", "-i", 7)[0])
    ours, _ = made("--imod-com", "s.com", "-a", "CGLS", "-i", 3)
    assert np.array_equal(ours, made(*wanted, "-a", "CGLS", "-i", 3)[0])
    ours, _ = made("--imod-com", "s.com", "-a", "WBP")
    assert np.array_equal(ours, made(*wanted)[0])


@pytest.mark.parametrize("line, sentence", [
    ("REPROJECT -30,0,30", "REPROJECT is not done here: it asks for a reprojection"),
    ("RecFileToReproject a.rec", "it asks for a reprojection"),
    ("project points.mod", "ProjectModel is not done here: it asks for a projected model"),
    ("BaseRecFile b.rec", "it asks for a difference to another tomogram"),
    ("ANGLES -60,0,60", "put them into a file for TILTFILE"),
    ("FULL", "FULLIMAGE needs 2 numbers, not 0"),
    ("S 1 2", "S could be SHIFT or SIRTIterations")])
def test_refused(made, folder, line, sentence):
    (folder / "t.com").write_text(HEAD + "TILTFILE fine.tlt\n" + line + "\n")
    _, said = made("--imod-com", "t.com", code=1)
    assert "t.com, line 5" in said and sentence in said


@pytest.mark.parametrize("line", ["THICKNESS -48", "WIDTH 0", "XAXISTILT 95"])
@pytest.mark.parametrize("found", [True, False])
def test_bad_values_name_the_file(made, folder, line, found):
    (folder / "tilt.com").write_text(HEAD + "TILTFILE fine.tlt\nTHICKNESS 20\n" + line + "\n")
    _, said = made(*([] if found else ["--imod-com", "tilt.com"]), code=2)
    assert "(with what tilt.com says)" in said
