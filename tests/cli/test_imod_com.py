"""IMOD's tilt.com as IMOD's own parser reads it. Beads of which every view is known exactly
must be where they are; where only an option is asked for, the same option on the command
line must give the same bytes."""
import re

import numpy as np
import pytest

from conftest import read_mrc, write_mrc

TILTS = np.delete(np.arange(-60, 61, 4.0), [4, 20, 21])
N_U, N_V, DEPTH = 64, 48, 40
BEADS = np.array([(-14, -12, 6), (9, -6, -8), (19, 10, 3), (-5, 4, 10), (2, 15, -4)])
RADIUS = 1.5


def views_of(n_u=N_U, n_v=N_V, pitch=0.0, beads=BEADS, scale=1):
    """x, y, z from the centre of images and volume."""
    x, y, z = beads.T * scale
    g = np.radians(pitch)
    height, v = y * np.sin(g) + z * np.cos(g), y * np.cos(g) - z * np.sin(g)
    rows = np.exp(-(np.arange(n_v)[:, None] - n_v / 2 + .5 - v) ** 2 / (2 * (RADIUS * scale) ** 2))
    return np.sqrt(2 * np.pi) * RADIUS * np.array([
        rows @ np.exp(-(np.arange(n_u)[:, None] - n_u / 2 + .5 - x * np.cos(t)
                        + height * np.sin(t)) ** 2 / (2 * (RADIUS * scale) ** 2)).T
        for t in np.radians(TILTS)])


def assert_in_place(volume, beads=BEADS, n_v=None, first=0):
    """That a bead is the highest of what is 3 voxels around it, to within a voxel. n_v is
    the count of slices about whose middle y is counted, `first` the volume's first."""
    n_y, n_z, n_x = volume.shape
    assert len(beads)
    for x, y, z in beads:
        place = np.array([y + (n_v or n_y) / 2 - .5 - first, z + n_z // 2 - .5, x + n_x // 2 - .5])
        low = np.floor(place).astype(int) - 3
        around = volume[tuple(slice(i, i + 8) for i in low)]
        assert around.shape == (8, 8, 8)
        found = low + np.unravel_index(around.argmax(), around.shape)
        assert np.abs(found - place).max() <= 1 and around.max() > 0.3, (x, y, z)


@pytest.fixture
def folder(tmp_path):
    write_mrc(tmp_path / "ts_ali.mrc", views_of())
    np.savetxt(tmp_path / "ts.tlt", TILTS, "%.2f")
    return tmp_path


COM = f"""$setenv IMOD_OUTPUT_FORMAT MRC
$tilt -StandardInput
InputProjections ts_ali.mrc
OutputFile out_rec.mrc
IMAGEBINNED 1
TILTFILE ts.tlt
THICKNESS {DEPTH}
RADIAL 0.35 0.035
FalloffIsTrueSigma 1
PERPENDICULAR
MODE 2
AdjustOrigin
ActionIfGPUFails 1,2
$if (-e ./savework) ./savework
"""
SPELLINGS = {
    "comments": COM.replace("ts.tlt", "ts.tlt   # fine angles").replace(
        f"{DEPTH}", f"{DEPTH} # pixels").replace("ts_ali.mrc", "ts_ali.mrc#aligned"),
    "another comment": COM.replace(f"{DEPTH}", f"{DEPTH} ! pixels"),
    "short names": COM.replace("THICKNESS", "thick").replace("TILTFILE", "TiltF")
    .replace("InputProjections", "INP").replace("OutputFile", "out"),
    "equal signs": COM.replace("THICKNESS ", "THICKNESS = ").replace("TILTFILE ", "TILTFILE="),
    "on the line": "$tilt -InputProjections ts_ali.mrc -OutputFile out_rec.mrc -TILTFILE ts.tlt "
                   f"-THICKNESS {DEPTH}\n",
    "names on the line": f"$tilt -TILTF 'ts.tlt' -THICK {DEPTH} ts_ali.mrc \\\n out_rec.mrc\n",
    "here document": f"tilt -StandardInput << EOF\ninput ts_ali.mrc\noutput out_rec.mrc\n"
                     f"THICKNESS {DEPTH}\nTILTFILE ts.tlt\nUseGPU 0\nEOF\nTHICKNESS 9\n",
    "script": f"#!/bin/bash\nmodule load imod\n/opt/IMOD/bin/tilt -inp ts_ali.mrc -out out_rec.mrc "
              f"-THICK {DEPTH} -TILTFILE ts.tlt > tilt.log 2>&1\ntrimvol -rx out_rec.mrc x.mrc\n",
    "among others": "$newstack -StandardInput\nInputFile ts.st\nTHICKNESS 3\n" + COM
                    + "$tilt -StandardInput\nInputProjections ts_ali.mrc\nOutputFile p.mrc\n"
                      "RecFileToReproject out_rec.mrc\nViewsToReproject 0\n",
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_every_spelling_is_the_same(tiltrec, folder, how):
    (folder / "my.com").write_text(SPELLINGS[how])
    said = tiltrec("--imod-com", "my.com", cwd=folder).stderr
    assert "warning" not in said
    volume = read_mrc(folder / "out_rec.mrc")
    assert volume.shape == (N_V, DEPTH, N_U)
    assert_in_place(volume)


@pytest.mark.parametrize("line, options", [
    ("SIRTIterations 4", ["-a", "SIRT", "-i", 4]),
    ("SIRTI 4\nConstrainSign 1\nFlatFilterFraction .2\nStartingIteration 1",
     ["-a", "SIRT", "-i", 4, "--positive"]),
    ("SIRTIterations 4\nSCALE 3 0.5", ["-a", "SIRT", "-i", 4, "--scale",
                                       f"{3 * 2.2 / N_U:.17g},{0.5 * N_U / 2.2:.17g}"]),
    ("SIRTIterations 0\nFakeSIRTiterations 9", ["--sirt-like", 9]),
    ("DENSWEIGHT 0", ["--uniform-weights"]),
    ("RotateBy90", ["--order", "xyz"]),
])
def test_an_option_for_each_line(tiltrec, folder, line, options):
    com = COM.replace("$if", line + "\n$if")
    if "RotateBy90" in line:
        com = com.replace("PERPENDICULAR\n", "")
    if "SIRTI" in line and "Fake" not in line:
        com = re.sub("RADIAL.*\n", "", com)
    (folder / "my.com").write_text(com)
    said = tiltrec("--imod-com", "my.com", cwd=folder).stderr
    assert "warning" not in said
    tiltrec("-T", DEPTH, "-t", "ts.tlt", "-o", "b.mrc", *options, "ts_ali.mrc", cwd=folder)
    ours, same = read_mrc(folder / "out_rec.mrc"), read_mrc(folder / "b.mrc")
    assert ours.shape == same.shape and np.abs(ours - same).max() <= 1e-6 * np.ptp(same)
    tiltrec("-T", DEPTH, "-t", "ts.tlt", "-o", "plain.mrc", "ts_ali.mrc", cwd=folder)
    plain = read_mrc(folder / "plain.mrc")
    assert plain.shape != ours.shape or not np.array_equal(plain, ours)


def test_the_users_algorithm_wins(tiltrec, folder):
    (folder / "my.com").write_text(COM.replace("$if", "SIRTIterations 4\n$if"))
    for options in ["-a", "BPT"], ["-a", "SIRT", "-i", 2], ["-a", "CGLS", "-i", 2]:
        tiltrec("--imod-com", "my.com", "-o", "a.mrc", *options, cwd=folder)
        tiltrec("-T", DEPTH, "-t", "ts.tlt", "-o", "b.mrc", *options, "ts_ali.mrc", cwd=folder)
        assert np.array_equal(read_mrc(folder / "a.mrc"), read_mrc(folder / "b.mrc"))


def test_a_filter_that_sirt_has_not_is_named(tiltrec, folder):
    (folder / "my.com").write_text(COM.replace("$if", "SIRTIterations 2\nMASK 4\n$if"))
    said = tiltrec("--imod-com", "my.com", cwd=folder).stderr
    assert "not honoured here: RADIAL with SIRTIterations, MASK 4" in said
    assert said.count("warning") == 1


@pytest.mark.parametrize("line, makes", [
    ("REPROJECT -30,0,30", "a reprojection"),
    ("RecFileToReproj out_rec.mrc", "a reprojection"),
    ("ViewsToReproj 0", "a reprojection"),
    ("ProjectModel a.mod", "the projection of a model"),
    ("BaseRecFile a.rec\nBaseNumViews 30", "a change to an earlier tomogram"),
    ("SLICE -1 -1\nTOTALSLICES 0 47", "an empty file for other commands"),
])
def test_what_is_no_tomogram_is_refused(tiltrec, folder, line, makes):
    (folder / "tilt.com").write_text(COM.replace("$if", line + "\n$if"))
    done = tiltrec("--imod-com", "tilt.com", cwd=folder, check=False)
    assert done.returncode == 1 and not (folder / "out_rec.mrc").exists()
    assert f"with {line.split()[0]}" in done.stderr and f"tilt makes {makes}" in done.stderr


@pytest.mark.parametrize("both", [True, False])
def test_angles_in_the_com_file(tiltrec, folder, both):
    com = COM.replace("TILTFILE ts.tlt", "ANGLES " + " ".join(f"{t:g}" for t in TILTS)
                      + ("\nTILTFILE ts.tlt" if both else ""))
    (folder / "my.com").write_text(com)
    done = tiltrec("--imod-com", "my.com", cwd=folder, check=False)
    assert done.returncode == 1 and "(ANGLES)" in done.stderr
    tiltrec("--imod-com", "my.com", "-t", "ts.tlt", cwd=folder)
    assert_in_place(read_mrc(folder / "out_rec.mrc"))


@pytest.mark.parametrize("line", ["THICKNESS -48", "WIDTH 0", "XAXISTILT 95"])
@pytest.mark.parametrize("named", [True, False])
def test_a_wrong_value_names_the_com_file(tiltrec, folder, line, named):
    (folder / "tilt.com").write_text(COM.replace("$if", line + "\n$if"))
    done = tiltrec(*(["--imod-com", "tilt.com"] if named else []), cwd=folder, check=False)
    assert done.returncode == 2 and "(with what tilt.com says)" in done.stderr


def test_a_subset_is_one_of_the_aligned_image(tiltrec, folder):
    """The raw series is 64 x 48 pixels, its axis along x; newstack makes 48 x 64 of it."""
    beads = BEADS[np.abs(BEADS[:, 0]) < 15]
    aligned = views_of(N_V, N_U, beads=beads)
    write_mrc(folder / "ts.st", np.rot90(aligned, axes=(1, 2)))
    (folder / "ts.xf").write_text("0 -1 1 0 0 0\n" * len(TILTS))
    (folder / "my.com").write_text(COM.replace("$if", f"FULLIMAGE {N_V} {N_U}\nSUBSETSTART 0 0\n$if"))
    said = tiltrec("--imod-com", "my.com", "--transforms", "ts.xf", "ts.st", cwd=folder).stderr
    assert "part of a larger image" not in said
    inside = beads[(np.abs(beads[:, 0]) < 16) & (np.abs(beads[:, 1]) < 16)]
    assert_in_place(read_mrc(folder / "out_rec.mrc"), inside)


@pytest.mark.parametrize("options", [[], ["--transforms", "ts.xf"]])
def test_a_raw_series_is_not_binned_yet(tiltrec, folder, options):
    write_mrc(folder / "ts.st", views_of(2 * N_U, 2 * N_V, scale=2))
    (folder / "ts.xf").write_text("1 0 0 1 0 0\n" * len(TILTS))
    (folder / "my.com").write_text(
        COM.replace("IMAGEBINNED 1", "IMAGEBINNED 2").replace(f"{DEPTH}", f"{2 * DEPTH}")
        .replace("$if", f"FULLIMAGE {2 * N_U} {2 * N_V}\nSUBSETSTART 0 0\nSLICE 16 79\n$if"))
    said = tiltrec("--imod-com", "my.com", *options, "ts.st", cwd=folder).stderr
    assert "it is binned while it is read" in said
    volume = read_mrc(folder / "out_rec.mrc")
    assert volume.shape == (32, DEPTH, N_U)
    inside = BEADS[np.abs(BEADS[:, 1]) < 12]
    assert_in_place(volume, inside, n_v=N_V, first=8)


@pytest.mark.parametrize("x0, y0", [(0, 0), (6, 16), (-5, -8)])
def test_a_subset_is_about_the_centre_of_the_whole(tiltrec, folder, x0, y0):
    """Columns x0 and rows y0 on of images of which 12 rows are there, or columns beyond."""
    pitch = 12.0
    whole = np.pad(views_of(pitch=pitch), [(0, 0), (8, 8), (8, 8)])
    write_mrc(folder / "ts_ali.mrc", whole[:, 8 + y0:8 + y0 + 32, 8 + x0:8 + x0 + 52])
    (folder / "my.com").write_text(COM.replace(
        "$if", f"FULLIMAGE {N_U} {N_V}\nSUBSETSTART {x0} {y0}\nXAXISTILT {pitch}\n$if"))
    tiltrec("--imod-com", "my.com", cwd=folder)
    volume = read_mrc(folder / "out_rec.mrc")
    places = BEADS - [x0 + 26 - N_U / 2, 0, 0]
    y = BEADS[:, 1] + N_V / 2 - .5 - y0
    seen = (y > 6) & (y < 26) & (np.abs(places[:, 0]) < 20)
    assert_in_place(volume, places[seen], n_v=N_V, first=y0)


def test_slices_of_a_series_that_is_binned_again(tiltrec, folder):
    """SLICE counts unbinned pixels: 16 to 79 are 8 to 39 of the series, 4 to 19 of its half."""
    (folder / "my.com").write_text(
        COM.replace("IMAGEBINNED 1", "IMAGEBINNED 2").replace(f"{DEPTH}", f"{2 * DEPTH}")
        .replace("$if", "SLICE 16 79\n$if"))
    tiltrec("--imod-com", "my.com", "--bin", 2, cwd=folder)
    tiltrec("-t", "ts.tlt", "-T", DEPTH, "--bin", 2, "--slices", "4:19", "-o", "b.mrc",
            "ts_ali.mrc", cwd=folder)
    assert np.array_equal(read_mrc(folder / "out_rec.mrc"), read_mrc(folder / "b.mrc"))


def test_scale_has_the_length_of_imod_s_ramp(tiltrec, tmp_path):
    """IMOD's densities are in proportion to it, the smallest even length without prime factors
    above 13 that leaves room beside the row: measured of IMOD 4.8.2, 572 for 512 columns (576
    without the factor 13), 528 for 480, 770 for 720, and 144 for 128."""
    lengths = {128: 144, 480: 528, 512: 572, 720: 770}
    ratios = {}
    for columns in lengths:
        folder = tmp_path / str(columns)
        folder.mkdir()
        data = np.random.default_rng(7).normal(size=(9, 2, columns))
        write_mrc(folder / "ts_ali.mrc", data)
        np.savetxt(folder / "ts.tlt", np.linspace(-40, 40, 9), "%.2f")
        com = re.sub("SCALE.*\n", "", COM).replace("$if", "SCALE 0 1\n$if")
        (folder / "my.com").write_text(re.sub("THICKNESS.*", "THICKNESS 8", com))
        tiltrec("--imod-com", "my.com", "-o", "a.mrc", cwd=folder)
        tiltrec("--imod-com", "my.com", "-o", "b.mrc", "--scale", "0,1", cwd=folder)
        ours, plain = read_mrc(folder / "a.mrc"), read_mrc(folder / "b.mrc")
        ratios[columns] = (ours * plain).sum() / (plain**2).sum()
    for columns, length in lengths.items():
        assert ratios[columns] / ratios[128] == pytest.approx(length / 144, rel=1e-4)
