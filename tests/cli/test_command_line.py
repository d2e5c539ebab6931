"""What users type: alone in a folder, with a tilt.com, in upstream TiltRec's words."""
import os
import re
import subprocess

import numpy as np
import pytest

import reference
from conftest import ROOT, difference, read_mrc, write_mrc, write_series
from reference import Geometry

TILTS = np.array([-60, -42, -20, -5, 3, 21, 36, 47, 60])
THICKNESS = 12


@pytest.fixture
def views():
    rng = np.random.default_rng(11)
    return np.float32(rng.uniform(300, 900, (len(TILTS), 14, 28))).astype(float)


@pytest.fixture
def folder(tmp_path, views):
    write_series(tmp_path, views, TILTS, name="series_ali.mrc")
    (tmp_path / "series_ali.tlt").rename(tmp_path / "series.tlt")
    return tmp_path


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_few_words_in_a_folder(tiltrec, folder, views):
    before = names(folder)
    said = tiltrec("-a", "SIRT", "-i", 30, "--outside", "zero", cwd=folder).stderr
    assert names(folder) - before == {"series_rec.mrc"}
    assert "series_ali.mrc" in said and "series.tlt" in said
    assert "no thickness given: taking 16 pixels" in said
    geometry = Geometry(TILTS, 28, 16)
    expected = np.stack([reference.sirt(geometry, rows, 30)[0]
                         for rows in views.swapaxes(0, 1)])
    assert difference(read_mrc(folder / "series_rec.mrc"), expected) < 1e-5


def test_tilt_com_of_the_folder_tells_the_rest(tiltrec, folder):
    (folder / "tilt.com").write_text("$tilt -StandardInput\nInputProjections "
                                     "series_ali.mrc\nTILTFILE series.tlt\nTHICKNESS 10\n"
                                     "OFFSET 2.5 1.5\n")
    said = tiltrec("-a", "SIRT", "-i", 3, cwd=folder).stderr
    assert "tilt.com" in said
    found = read_mrc(folder / "series_rec.mrc")
    tiltrec("-a", "SIRT", "-i", 3, "-T", 10, "--tilt-offset", 2.5, "--axis-shift", 1.5,
            "-o", "b.mrc", "series_ali.mrc", cwd=folder)
    assert np.array_equal(found, read_mrc(folder / "b.mrc"))


@pytest.mark.parametrize("line", ["OutputFile ../victim.mrc", "OutputFile /tmp/victim.mrc",
                                  "TILTFILE sub/../../x.tlt"])
def test_a_tilt_com_that_was_found_stays_in_its_folder(tiltrec, folder, line):
    (folder / "tilt.com").write_text("$tilt -StandardInput\nInputProjections "
                                     "series_ali.mrc\nTILTFILE series.tlt\nTHICKNESS 10\n"
                                     if "OutputFile" in line else
                                     "$tilt -StandardInput\nInputProjections "
                                     "series_ali.mrc\nTHICKNESS 10\n")
    with open(folder / "tilt.com", "a") as com:
        com.write(line + "\n")
    before = names(folder)
    done = tiltrec("-a", "BPT", cwd=folder, check=False)
    assert done.returncode == 2 and "outside its folder" in done.stderr
    assert names(folder) == before


@pytest.mark.parametrize("name, axis, options, said", [
    ("raw.st", 85.3, [], "refused"),  # nearer to x than to y
    ("raw.st", -94.7, [], "refused"),
    ("raw.st", 136.0, [], "is 136 degrees from it"),
    ("raw.st", -11.0, [], "is -11 degrees from it"),
    ("raw.st", 3.0, [], ""),
    ("raw.st", 178.0, [], "mirror image"),  # the other hand
    ("raw.st", -176.2, [], "mirror image"),  # Tomography 5: the axis is at -94
    ("raw.st", 85.3, ["--transforms", "raw.xf"], ""),
    ("raw.st", 85.3, ["--aligned"], ""),
    ("raw_ali.mrc", 85.3, [], ""),
    ("raw_tiltaligned.mrc", 85.3, [], ""),
    ("raw.st", None, [], ""),
])
def test_where_the_tilt_axis_is(tiltrec, tmp_path, views, name, axis, options, said):
    write_mrc(tmp_path / name, views)
    title = f"[T = Tilt axis angle = {axis}, binning = 1  spot = 8]\n" if axis else ""
    (tmp_path / "raw.mdoc").write_text(title + "".join(
        f"[ZValue = {k}]\nTiltAngle = {tilt}\n" for k, tilt in enumerate(TILTS)))
    if "raw.xf" in options:
        (tmp_path / "raw.xf").write_text("1 0 0 1 0 0\n" * len(TILTS))
    np.savetxt(tmp_path / "raw.tlt", TILTS)  # the mdoc is heard whoever gives the angles
    for ranks, tilts in (None, "raw.mdoc"), (2, "raw.tlt"):
        done = tiltrec("--dry-run", "-T", 8, "-t", tilts, *options, name, cwd=tmp_path,
                       ranks=ranks, check=False)
        assert done.returncode == (2 if said == "refused" else 0), done.stderr
        assert axis is None or f"{axis:g} degrees from vertical" in done.stderr
        assert done.stderr.count("warning") == (said not in ("", "refused"))
        assert said in done.stderr or said == "refused"
        assert ("--aligned" in done.stderr) == (said == "refused" or "from it" in said)


def test_several_series_are_listed(tiltrec, folder):
    (folder / "other_ali.mrc").write_bytes((folder / "series_ali.mrc").read_bytes())
    (folder / "other.tlt").write_bytes((folder / "series.tlt").read_bytes())
    done = tiltrec("-a", "SIRT", cwd=folder, check=False)
    assert done.returncode == 2
    assert "other_ali.mrc, series_ali.mrc" in done.stderr
    assert not any("rec" in name for name in names(folder))


def test_the_words_of_upstream(tiltrec, folder):
    tiltrec("--input", "series_ali.mrc", "--output", "y.mrc", "--tiltfile", "series.tlt",
            "--geometry", "1.5,0,-2,12", "--method", "SIRT,4,0.2", "--f2b", cwd=folder)
    tiltrec("-a", "SIRT", "-i", 4, "-r", 0.2, "-t", "series.tlt", "-T", 12,
            "--tilt-offset", 1.5, "--z-shift", -2, "--mode", "byte", "-o", "z.mrc",
            "series_ali.mrc", cwd=folder)
    ours = read_mrc(folder / "y.mrc")
    assert np.array_equal(ours, read_mrc(folder / "z.mrc"))
    assert ours.min() == -128 and ours.max() == 127


@pytest.mark.parametrize("options", ["--mode float", "--mode int16", "--bin 2"])
def test_a_dry_run_writes_nothing(tiltrec, folder, options):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for ranks in (None, 2):
        said = tiltrec("--dry-run", "-T", THICKNESS, *options.split(), cwd=folder,
                       ranks=ranks).stderr
        assert {path: path.read_bytes() for path in folder.iterdir()} == before
        assert re.search(r"plan: \d+ slab", said) and re.search(r"memory \d+ MiB", said)
        assert "series_rec.mrc" in said and "dry run" in said and "wrote" not in said


COM = """$tilt -StandardInput
InputProjections series_ali.mrc
OutputFile com_rec.mrc
TILTFILE series.tlt
IMAGEBINNED 2
THICKNESS 24
MODE 2
PERPENDICULAR
{}
$if (-e ./savework) ./savework
"""


@pytest.mark.parametrize("line, options", [
    ("RADIAL 0.2 0.05", ["--radial", f"0.2,{0.05 / 2 ** 0.5:.9g}"]),
    ("RADIAL .35 .05\nWIDTH 40", ["--radial", f".35,{0.05 / 2 ** 0.5:.9g}", "-w", 20]),
    ("OFFSET 3.5 4", ["--tilt-offset", 3.5, "--axis-shift", 2]),
    ("SHIFT 5.0 -3.0", ["--x-shift", 2.5, "--z-shift", -1.5]),
    ("XAXISTILT 7.5", ["--pitch", 7.5]),
    ("XTILTFILE series.xtilt", ["--xtilts", "series.xtilt"]),
    ("XTILTFILE series.xtilt", ["--pitch", -4]),
    ("XAXISTILT 7.5\nXTILTFILE series.xtilt", ["--pitch", 3.5]),
    ("EXCLUDELIST 1,3-4", ["--exclude", "1,3-4"]),
    ("EXCLUDELIST2 9", ["--exclude", "9"]),
    ("SLICE 4 21", ["--slices", "2:10"]),
    ("FakeSIRTiterations 8", ["--sirt-like", 8]),
    ("HammingLikeFilter 0.1", ["--hamming-like", 0.1]),
    ("LOG 50", ["--log", 50, "--invert"]),
    ("MODE 12", ["--mode", "half"]),
], ids=lambda v: v.split()[0] if isinstance(v, str) else "")
def test_imod_com(tiltrec, folder, line, options):
    np.savetxt(folder / "series.xtilt", np.full(len(TILTS), 4.0))
    com = COM.format(line)
    if line.startswith("MODE"):
        com = com.replace("MODE 2\n", "")
    (folder / "my.com").write_text(com)
    tiltrec("--imod-com", "my.com", cwd=folder)
    tiltrec("-T", THICKNESS, "-o", "b.mrc", *options, "series_ali.mrc", cwd=folder)
    ours, same = read_mrc(folder / "com_rec.mrc"), read_mrc(folder / "b.mrc")
    assert difference(ours, same) < 1e-6
    tiltrec("-T", THICKNESS, "-o", "plain.mrc", "series_ali.mrc", cwd=folder)
    plain = read_mrc(folder / "plain.mrc")
    assert plain.shape != ours.shape or not np.array_equal(plain, ours)


def test_options_win_over_the_com_file(tiltrec, folder):
    (folder / "my.com").write_text(COM.format("XAXISTILT 7.5\nEXCLUDELIST 2"))
    tiltrec("--imod-com", "my.com", "--pitch", -3, "-T", 8, "-o", "a.mrc", cwd=folder)
    tiltrec("-T", 8, "--pitch", -3, "--exclude", 2, "-o", "b.mrc", "series_ali.mrc",
            cwd=folder)
    assert "com_rec.mrc" not in names(folder)
    assert np.array_equal(read_mrc(folder / "a.mrc"), read_mrc(folder / "b.mrc"))


def test_what_the_com_file_asks_in_vain_is_named(tiltrec, folder):
    (folder / "my.com").write_text(COM.format("COMPRESS 1.1\nREPLICATE 2 2"))
    said = tiltrec("--imod-com", "my.com", cwd=folder).stderr
    assert re.search(r"not honoured here: .*COMPRESS", said)
    assert re.search(r"not honoured here: .*REPLICATE", said)


@pytest.mark.parametrize("log", [None, 25])
def test_scale_of_the_com_file_is_imods(tiltrec, folder, views, log):
    """IMOD's density: the mean over the views of images filtered with the ramp k = f N
    (N the padded length), views weighted by their density over the mean one, of the
    images' decadic logarithm where LOG is given; then (density + add) * multiply."""
    line = "SCALE 1.25 0.5\nRADIAL 0.4 0.1" + (f"\nLOG {log}" if log else "")
    (folder / "my.com").write_text(COM.format(line))
    tiltrec("--imod-com", "my.com", cwd=folder)
    images = np.log10(views + log) if log else views
    geometry = Geometry(TILTS, 28, THICKNESS)
    response = reference.wbp_response(28, radial=(0.4, 0.1 / 2 ** 0.5))
    response = response * 44  # of 28 columns; IMOD's lengths may have the primes 11 and 13
    mean_weight = geometry.view_weights(uniform=True)[0]
    expected = np.stack([reference.filtered(geometry, rows, response)
                         for rows in images.swapaxes(0, 1)])
    expected = (expected / mean_weight / len(TILTS) + 1.25) * 0.5
    ours = read_mrc(folder / "com_rec.mrc")
    assert difference(ours, expected) < 1e-5


TYPES = {"FLAG": ("bool m", ""), "STRING": ("const char *m", '"X", '), "LIST": ("const char *m", '"X", '),
         "WISH": ("const char *m", '"X", "a", '), "WORDS": ("tr_words m", '"X", "a", '),
         "CHOICE": ("int m", '"X", "a", "a b", '), "INT": ("long m", '"X", "0", 0, 1, '),
         "REAL": ("double m", '"X", "0", 0, 1, '), "PAIR": ("double m[2]", '"X", "0", 0, 1, '),
         "RANGE": ("long m[2]", '"X", 0, 1, '), "BYTES": ("size_t m", '"X", 0, 1, ')}


@pytest.mark.parametrize("kind", TYPES)
def test_a_row_sets_a_member_of_its_type_only(tmp_path, kind):
    """The macros of opt.h: any other member is refused by the compiler."""
    for member in sorted({member for member, _ in TYPES.values()} | {"float m", "unsigned m"}):
        source = tmp_path / "row.c"
        source.write_text(f"""#include "common/options/opt.h"
typedef struct s {{ char before; {member}; }} s;
const tr_option row = TR_{kind}_ROW(s, m, "name", {TYPES[kind][1]}.help = "Help");""")
        done = subprocess.run(["cc", "-std=c11", "-fsyntax-only", "-I", ROOT, source],
                              capture_output=True, text=True)
        assert (done.returncode == 0) == (member == TYPES[kind][0]), (member, done.stderr)


def test_openmp_waits_without_spinning(build_dir, folder):
    """The program is loaded again with the setting, under its name and with its arguments."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    process = subprocess.Popen([build_dir / "tiltrec-mpi", "--help", "no such topic"],
                               cwd=folder, env={**environment, "LD_DEBUG": "libs"},
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = process.communicate(timeout=60)[1]
    assert said.count("initialize program: ") == 2
    assert "tiltrec-mpi: error: there is no option" in said and "no such topic" in said
