"""Every bad input file and option is refused with one clear sentence and the right exit
status, on every rank, and nothing is left behind."""
import gzip
import os
import re
import shutil

import h5py
import mrcfile
import numpy as np
import pytest

from bad_input import COLUMNS, ROWS, VIEWS, as_common_user
from conftest import read_mrc

DATA, USAGE, UNAVAILABLE, MEMORY = 1, 2, 3, 4  # exit statuses
RANKS = pytest.mark.parametrize("ranks", [None, 3], ids=["alone", "ranks"])


# ---- the series ----

@RANKS
def test_missing_series(bench, ranks):
    bench.refused("none.mrc", DATA, "none.mrc", "No such file", ranks=ranks)


def test_unreadable_series(bench):
    (bench.folder / "s.mrc").chmod(0)
    bench.refused("s.mrc", DATA, "s.mrc", "Permission denied", wrapper=as_common_user())


def test_series_unreadable_for_one_rank(bench):
    drop = as_common_user()
    if not drop:
        pytest.skip("only root can take a right from one rank alone")
    (bench.folder / "s.mrc").chmod(0)
    last = 'case ${PMI_RANK:-$OMPI_COMM_WORLD_RANK} in 2) exec %s "$@";; esac; exec "$@"'
    bench.refused("s.mrc", DATA, "s.mrc", "Permission denied", ranks=3,
                  wrapper=["sh", "-c", last % " ".join(drop), "sh"])


def test_folder_as_series(bench):
    (bench.folder / "d.mrc").mkdir()
    bench.refused("d.mrc", DATA, "d.mrc is a folder", "an image file, or a folder")


def test_text_as_series(bench):
    bench.refused("s.tlt", DATA, "s.tlt is a text file", "MRC, HDF5 or TIFF")


def test_empty_series(bench):
    bench.text("s.mrc", "")
    bench.refused("s.mrc", DATA, "s.mrc is empty")


def test_unknown_format(bench):
    (bench.folder / "s.mrc").write_bytes(bytes(range(256)) * 20)
    bench.refused("s.mrc", DATA, "s.mrc is of no known format", "MRC, HDF5 or TIFF")


@RANKS
def test_truncated_series(bench, ranks):
    whole = (bench.folder / "s.mrc").read_bytes()
    (bench.folder / "s.mrc").write_bytes(whole[:-1])
    bench.refused("s.mrc", DATA, "s.mrc", f"{len(whole) - 1} bytes",
                  f"need {len(whole)}", "cut short", ranks=ranks)


def test_truncated_header(bench):
    (bench.folder / "s.mrc").write_bytes((bench.folder / "s.mrc").read_bytes()[:500])
    bench.refused("s.mrc", DATA, "s.mrc has 500 bytes", "1024", "cut short")


def test_truncated_gzip(bench):
    packed = gzip.compress((bench.folder / "s.mrc").read_bytes())
    (bench.folder / "s.mrc.gz").write_bytes(packed[:-500])
    bench.refused("s.mrc.gz -t s.tlt", DATA, "s.mrc.gz is damaged", "ends too early",
                  env={"TMPDIR": str(bench.folder)})


def test_truncated_hdf(bench):
    with h5py.File(bench.folder / "s.hdf", "w") as file:
        file["MDF/images/0/image"] = bench.data
    whole = (bench.folder / "s.hdf").read_bytes()
    (bench.folder / "s.hdf").write_bytes(whole[:len(whole) // 2])
    bench.refused("s.hdf -t s.tlt", DATA, "s.hdf")


def test_hdf_without_images(bench):
    with h5py.File(bench.folder / "s.hdf", "w") as file:
        file["something"] = [1.0]
    bench.refused("s.hdf -t s.tlt", DATA, "s.hdf", "/MDF/images", "/exchange/data")


@pytest.mark.parametrize("size, said", [
    ((-16, 12, 7), ["-16 x 12 x 7", "1 or more"]),
    ((16, 0, 7), ["16 x 0 x 7", "1 or more"]),
    ((16, 12, -1), ["16 x 12 x -1", "1 or more"]),
    ((16, 12, 8), ["16 x 12 x 8", "need 7168"]),
    ((2**31 - 1, 12, 7), ["2147483647 x 12 x 7", "need"]),
    ((2**31 - 1, 2**31 - 1, 2**31 - 1), ["2147483647 x 2147483647 x 2147483647",
                                         "impossible"]),
], ids=lambda value: "x".join(map(str, value)) if isinstance(value, tuple) else "")
def test_size_in_header(bench, size, said):
    bench.patch(0, "<3i", *size)
    bench.refused("s.mrc", DATA, "s.mrc", *said)


@pytest.mark.parametrize("extended", [-1, 10**9])
def test_extended_header_size(bench, extended):
    bench.patch(92, "<i", extended)
    bench.refused("s.mrc", DATA, "s.mrc", "header of", str(extended + (extended > 0) * 1024))


def test_hdf_of_impossible_size(bench):
    with h5py.File(bench.folder / "s.hdf", "w") as file:
        file.create_dataset("exchange/data", (2**31, 2**31, 2**31), "f4",
                            chunks=(1, 64, 64))
    bench.refused("s.hdf -t s.tlt", DATA, "s.hdf", "2147483648 x 2147483648 x 2147483648")


@pytest.mark.parametrize("mode, what", [(3, "complex"), (4, "complex"), (16, "RGB"),
                                        (7, "unknown"), (-2, "unknown")])
def test_unsupported_mode(bench, mode, what):
    bench.patch(12, "<i", mode)
    bench.refused("s.mrc", DATA, "s.mrc", f"mode {mode}", what, "0, 1, 2, 6, 12 and 101")


# ---- its values ----

BAD_PIXELS = [(2, 5, 7, np.nan), (2, 6, 0, np.inf), (5, 11, 15, -np.inf)]


@pytest.mark.parametrize("how, ranks", [
    ("-a SIRT -i 3", None), ("--log 2", None), ("--bin 2", None), ("--mode int16", None),
    ("", 3)])
def test_nan_replaced_by_mean(bench, how, ranks):
    bad = bench.data.copy()
    for view, row, column, value in BAD_PIXELS:
        bad[view, row, column] = value
    means, zeros = bad.copy(), np.nan_to_num(bad, nan=0.0, posinf=0.0, neginf=0.0)
    for view in (2, 5):
        finite = np.isfinite(bad[view])
        means[view][~finite] = bad[view][finite].mean(dtype=np.float64)
    for name, data in ("bad", bad), ("means", means), ("zeros", zeros):
        bench.stack(f"{name}.mrc", data)
    volume = {}
    for name in "bad", "means", "zeros":
        done = bench.run(f"{name}.mrc -t s.tlt -T 16 -o {name}_rec.mrc {how}", ranks=ranks)
        volume[name] = read_mrc(bench.folder / f"{name}_rec.mrc")
        warnings = [line for line in done.stderr.splitlines() if "NaN" in line]
        if name == "bad":
            assert warnings == [
                "tiltrec-mpi: warning: bad.mrc: 3 pixels are NaN or infinite, the first in "
                "view 3 at column 7, row 5 (from 0); each is replaced by the mean of its view"]
        else:
            assert not warnings
    spread = volume["means"].std()
    assert np.abs(volume["bad"] - volume["means"]).max() < 1e-4 * spread
    assert np.abs(volume["zeros"] - volume["means"]).max() > 0.1 * spread


def test_view_without_finite_pixel(bench):
    bench.data[3] = np.nan
    bench.stack("s.mrc", bench.data)
    bench.refused("s.mrc -T 16", DATA, "s.mrc: view 4 has no finite pixel", "--exclude 4")
    bench.data[4:] = np.nan  # of several it is the first, whichever thread is quicker
    bench.stack("s.mrc", bench.data)
    for _ in range(5):
        bench.refused("s.mrc -T 16", DATA, "s.mrc: view 4 has no finite pixel",
                      "--exclude 4")


@RANKS
def test_constant_series(bench, ranks):
    bench.stack("s.mrc", np.full((VIEWS, ROWS, COLUMNS), 3, np.float32))
    bench.refused("s.mrc -T 16", DATA, "s.mrc: every view is constant", "value 3",
                  ranks=ranks)


def test_constant_view(bench):
    bench.data[1] = 5
    bench.stack("s.mrc", bench.data)
    done = bench.run("s.mrc -T 16 -o o.mrc")
    assert ("tiltrec-mpi: warning: s.mrc: view 2 is constant (5 everywhere); consider "
            "--exclude 2\n") in done.stderr
    assert (bench.folder / "o.mrc").exists()


def test_scale_beyond_float(bench):
    bench.refused("s.mrc -T 16 -o o.mrc --scale 0,1e39", DATA, "o.mrc", "infinite",
                  "--scale")


@pytest.mark.parametrize("value", [np.inf, np.nan])
@pytest.mark.parametrize("more", ["", "--mode half", "--mode int16", "--mode int16 --scale 0,1",
                                  "--mode byte --scale 0,1"])
def test_nan_in_initial_volume(bench, value, more):
    """Also where the conversion would make a number of it."""
    volume = np.zeros((ROWS, 16, COLUMNS), np.float32)
    volume[3, 4, 5] = value
    bench.stack("i.mrc", volume)
    bench.refused(f"s.mrc -T 16 -a SIRT -i 2 -o o.mrc --initial i.mrc {more}", DATA, "o.mrc",
                  "NaN", "--initial")


@RANKS
@pytest.mark.parametrize("scale, said", [("0,1e-9", "every voxel is 0;"),
                                         ("-1e9,1", "every voxel is -32768;")])
def test_tomogram_of_one_value(bench, scale, said, ranks):
    bench.refused(f"s.mrc -T 16 -o o.mrc --mode int16 --scale {scale}", DATA, "o.mrc", said,
                  "--scale", "int16", ranks=ranks)


def test_nothing_from_a_file_commands_the_terminal(bench):
    """Names, labels and texts with control characters, of ASCII and of UTF-8's second row."""
    bad = "\x1b]0;gone\x07\x9b31m\x7f"
    shutil.copy(bench.folder / "s.tlt", bench.folder / f"{bad}.tlt")
    with mrcfile.open(bench.folder / "s.mrc", "r+") as file:
        file.header.label[0] = b"label \x1b[31m\x08\x9b"
        file.header.nlabl = 1
    shutil.copy(bench.folder / "s.mrc", bench.folder / f"{bad}.mrc")
    bench.text("bad.tlt", f"1\n{bad[:9]}\n")
    bench.text("bad.com", f"$tilt\n{bad} 3\nTHICKNESS 16\n")
    with h5py.File(bench.folder / "bad.hdf", "w") as file:
        file["/MDF/images"] = h5py.ExternalLink(bad, "/")
    said = ""
    for arguments in (f"{bad}.mrc -T 16 -o {bad}_rec.mrc --verbose --verify", "s.mrc -t bad.tlt",
                      "s.mrc --imod-com bad.com --dry-run", f"s.mrc -o {bad}/none.mrc",
                      "bad.hdf -t s.tlt", f"s.mrc --{bad}", f"s.mrc -a {bad}"):
        done = bench.run(arguments, check=False)
        said += done.stdout + done.stderr
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said), said.encode()
    assert said.count("\\x1b]0;gone\\x07\\xc2\\x9b31m\\x7f") > 6
    # The label reaches the tomogram without them.
    with mrcfile.open(bench.folder / f"{bad}_rec.mrc") as file:
        label = bytes(file.header.label[2]).rstrip()
    assert label.startswith(b"label  [31m") and b"\x1b" not in label, label


# ---- angles and transforms ----

@pytest.mark.parametrize("n", [VIEWS - 1, VIEWS + 1])
@RANKS
def test_count_of_angles(bench, n, ranks):
    bench.text("s.tlt", "1.5\n" * n)
    bench.refused("s.mrc", DATA, f"s.tlt has {n} angles", f"the series has {VIEWS} views",
                  ranks=ranks)


@pytest.mark.parametrize("line, said", [
    ("abc", '"abc" is not a number'), ("nan", '"nan"'), ("inf", '"inf"'),
    ("12x", '"12x"'), ("1e999", '"1e999"'), ("1000", "-360 to 360"),
])
def test_garbage_angle(bench, line, said):
    bench.text("s.tlt", f"1\n2\n{line}\n4\n5\n6\n7\n")
    bench.refused("s.mrc", DATA, "s.tlt, line 3", said)


def test_angle_file_that_is_none(bench):
    bench.refused("s.mrc -t none.tlt", DATA, "none.tlt", "No such file")
    bench.text("empty.tlt", "")
    bench.refused("s.mrc -t empty.tlt", DATA, "empty.tlt is empty")
    bench.refused("s.mrc -t s.mrc", DATA, "s.mrc is an MRC image")
    (bench.folder / "folder.tlt").mkdir()
    bench.refused("s.mrc -t folder.tlt", DATA, "folder.tlt", "Is a directory")
    bench.refused("s.mrc --xtilts none.xtilt", DATA, "none.xtilt", "No such file")


@pytest.mark.parametrize("option", ["", "-t", "--transforms", "--xtilts", "--z-factors", "--dose",
                                    "--local", "--ctf", "--imod-com", "--flats", "--initial"])
def test_pipes(bench, option):
    """Without waiting for one who writes into them, of whom there is none."""
    os.mkfifo(bench.folder / "p")
    what = "-a SIRT -i 1 --initial" if option == "--initial" else option
    image = option in ("", "--flats", "--initial")
    bench.refused(f"{what} p{' s.mrc' if option else ''}", DATA,
                  "p is not a regular file" if image else "p is a pipe; a regular file is needed")


def test_mdoc_that_does_not_fit(bench):
    sections = "".join(f"[ZValue = {k}]\nTiltAngle = {k}\n" for k in range(VIEWS - 1))
    bench.text("s.mdoc", sections)
    bench.refused("s.mrc -t s.mdoc", DATA, f"s.mdoc describes {VIEWS - 1} views",
                  f"the series has {VIEWS}")
    bench.text("s.mdoc", sections + f"[ZValue = {VIEWS - 1}]\nDefocus = 3\n")
    bench.refused("s.mrc -t s.mdoc", DATA, f"s.mdoc has no TiltAngle for view {VIEWS}")


def test_no_angles(bench):
    (bench.folder / "s.tlt").unlink()
    bench.refused("s.mrc", DATA, "s.mrc: no tilt angles", "name one with -t")


def test_transforms(bench):
    line = "1 0 0 1 0 0\n"
    bench.text("s.xf", line * (VIEWS + 2))
    bench.refused("s.mrc --transforms s.xf", DATA, f"s.xf has {VIEWS + 2} transforms",
                  f"the series has {VIEWS} views")
    bench.text("s.xf", line + "1 0 0 1 0\n" + line * (VIEWS - 2))
    bench.refused("s.mrc --transforms s.xf", DATA, "s.xf, line 2", "6 numbers, not 5")
    bench.text("s.xf", line + "0 0 0 0 1 1\n" + line * (VIEWS - 2))
    bench.refused("s.mrc --transforms s.xf", DATA, "s.xf, line 2", "cannot be inverted")
    bench.refused("s.mrc --transforms none.xf", DATA, "none.xf", "No such file")


def test_command_file(bench):
    bench.refused("--imod-com none.com", DATA, "none.com", "No such file")
    bench.text("tilt.com", "$tilt -StandardInput\nInputProjections none.ali\n$end\n")
    bench.refused("--imod-com tilt.com", DATA, "tilt.com is about none.ali, which is not there")


# ---- options ----

@pytest.mark.parametrize("arguments, said", [
    ("-T -5", ["--thickness -5", "from 1 to 65536 pixels"]),
    ("-T 1e9", ["--thickness 1e9", "whole number"]),
    ("-T 99999999999999999999", ["--thickness 99999999999999999999", "65536"]),
    ("-T 161", ["161 pixels is too large", "16 x 12"]),
    ("-T", ["--thickness needs a value"]),
    ("-w 0", ["--width 0", "from 1 to 65536 pixels"]),
    ("--pitch 61", ["--pitch 61", "from -60 to 60 degrees"]),
    ("--pitch nan", ["--pitch nan", "number"]),
    ("--tilt-offset 181", ["--tilt-offset 181", "from -180 to 180 degrees"]),
    ("--axis-shift -1e6", ["--axis-shift -1e6", "from -65536 to 65536 pixels"]),
    ("--bin 0", ["--bin 0", "from 1 to 32"]),
    ("--bin 13 -T 16", ["--bin 13", "16 x 12 pixels of s.mrc"]),
    ("-a SITR", ["no algorithm SITR", "did you mean SIRT"]),
    ("-a nonsense", ["no algorithm nonsense", "BPT, WBP, FBP, SIRT, SART"]),
    ("--thicknes 20", ["--thicknes", "did you mean --thickness?"]),
    ("-thickness 20", ["-thickness", "--thickness, with two dashes"]),
    ("--nonsense", ["--nonsense", "--help"]),
    ("-x", ["-x", "--help"]),
    ("--mode flaot", ["--mode flaot", "did you mean float?"]),
    ("-i something.mrc", ["-i something.mrc", "number of iterations",
                          "--input something.mrc"]),
    ("-a SIRT -i 0", ["--iterations 0", "from 1"]),
    ("-a WBP --relaxation 1", ["--relaxation is an option of SIRT, SART", "WBP"]),
    ("other.mrc", ["s.mrc", "other.mrc", "only one"]),
    ("--exclude 0", ["--exclude 0", "1-4,7,40-41"]),
    ("--exclude 3,8", ["--exclude 3,8", "from 1 to 7"]),
    ("--exclude 5-2", ["--exclude 5-2", "1-4,7,40-41"]),
    ("--include 8", ["--include 8", "from 1 to 7"]),
    ("--exclude 1-7", ["none of the 7 views"]),
    ("--include 2 --exclude 1-3", ["none of the 7 views"]),
    ("--slices 0:12", ["--slices 0:12", "slices 0 to 11"]),
    ("--slices 5:2", ["--slices 5:2", "A not above B"]),
    ("--slices=-1:3", ["--slices -1:3", "A:B"]),
    ("--slices 3", ["--slices 3", "A:B"]),
    ("--quiet --verbose", ["--quiet and --verbose"]),
    ("--scale 1,0", ["--scale 1,0", "must not be 0"]),
    ("--threads 0", ["--threads 0", "from 1 to 4096"]),
    ("--memory 10", ["--memory 10", "from 1M"]),
    ("--initial s.mrc", ["WBP", "--initial is for iterations"]),
    ("-o o.xyz", ["o.xyz", ".mrc", ".hdf"]),
    ("-o o", ["output o ", ".mrc", ".hdf"]),
])
def test_option(bench, arguments, said):
    bench.refused(f"s.mrc {arguments}", USAGE, *said,
                  **({"threads": None} if "--threads" in arguments else {}))


@RANKS
def test_thickness_zero(bench, ranks):
    bench.refused("s.mrc -T 0", USAGE, "--thickness 0", "from 1 to 65536 pixels",
                  ranks=ranks)


def test_pitch_with_xtilts_beyond_range(bench):
    bench.text("s.xtilt", "-30\n" * VIEWS)
    bench.refused("s.mrc -T 16 --pitch 50 --xtilts s.xtilt", USAGE, "pitch of 80 degrees",
                  "30 of it from the x-tilts", "+-75")


@pytest.mark.parametrize("algorithm", ["ADMM", "admm"])
def test_algorithm_of_whole_volumes(bench, algorithm):
    bench.refused(f"s.mrc -a {algorithm}", UNAVAILABLE, algorithm.upper(), "tiltrecz-mpi")


def test_upstream_admm(bench):
    bench.refused("--input s.mrc --method ADMM,30,5,0.2,0.1", UNAVAILABLE, "tiltrecz-mpi")


def test_more_ranks_than_slices(bench):
    bench.refused("s.mrc -T 16 --slices 4:5", USAGE, "3 processes", "2 slices", "at most 2",
                  ranks=3)


def test_initial_volume(bench):
    start = "s.mrc -T 16 -a SIRT -i 2 --initial"
    bench.stack("small.mrc", np.zeros((ROWS, 15, COLUMNS), np.float32))
    bench.refused(f"{start} small.mrc", DATA, "small.mrc has 16 x 15 x 12 voxels",
                  "16 x 16 x 12")
    bench.stack("turned.mrc", np.zeros((16, ROWS, COLUMNS), np.float32))
    bench.refused(f"{start} turned.mrc", DATA, "turned.mrc has 16 x 12 x 16 voxels",
                  "order xzy", "16 x 16 x 12")
    bench.refused(f"{start} none.mrc", DATA, "none.mrc", "No such file")


# ---- the folder ----

def test_several_candidates(bench):
    for name in "a_ali.mrc", "b_ali.mrc":
        bench.stack(name, bench.data)
        bench.text(name.replace("_ali.mrc", ".tlt"), "1\n" * VIEWS)
    bench.refused("", USAGE, "2 tilt series", "a_ali.mrc", "b_ali.mrc", "SERIES")


def test_no_candidate(bench):
    (bench.folder / "s.mrc").unlink()
    bench.refused("", USAGE, "no tilt series", ".tlt", "SERIES")


def test_candidate_without_angles(bench):
    (bench.folder / "s.tlt").unlink()
    bench.refused("", USAGE, "no angles", "s.mrc", "--tilts FILE")


# ---- memory ----

@RANKS
def test_too_little_memory(bench, ranks):
    bench.refused("s.mrc -T 16 --memory 1M", MEMORY, "1 MiB", "--memory", "-T", "--bin",
                  ranks=ranks)


def test_huge_volume(bench):
    bench.stack("wide.mrc", np.arange(2 * 4 * 6554, dtype=np.float32).reshape(2, 4, 6554))
    bench.text("wide.tlt", "0\n1\n")
    said = bench.refused("wide.mrc -T 65536 -w 65536 --memory 4G", MEMORY, "4096 MiB",
                         "--memory")
    needed = float(said.split(" rows needs ")[1].split()[0])
    assert needed > 65536**2 * 4 / 2**20  # at least one plane of the volume, in MiB
