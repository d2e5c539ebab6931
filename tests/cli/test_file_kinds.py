"""Files of other kinds than those asked for are named as what they are, with what to do;
and what files of the right kind say in less usual ways is understood."""
import gzip
import struct

import h5py
import numpy as np
import pytest

from bad_input import COLUMNS, ROWS, VIEWS
from conftest import read_mrc, write_mrc
from format_files import header, read, run_tool, save  # noqa: F401: fixtures

DATA = 1
ANGLES = [20.0 * k - 60 for k in range(VIEWS)]


def lines(values):
    return "".join(f"{v:g}\n" for v in values)


# ---- other kinds ----

def em(machine, order):
    return bytes([machine, 0, 0, 5]) + struct.pack(order + "3i", 16, 12, 7)


# First bytes, what the sentence calls them, and a word of what to do; zeros follow, as in
# black images, and make most of them look like headers of MRC files.
BINARY = {
    "dm3": (struct.pack(">3i2?i", 3, 5000, 1, True, False, 3), "DigitalMicrograph",
            "dm2mrc"),
    "dm4": (struct.pack(">iqi2?q", 4, 5000, 1, True, False, 3), "DigitalMicrograph",
            "dm2mrc"),
    "ser": (b"II\x97\x01\x10\x02", "SER file", "TIFF"),
    "em": (em(6, "<"), "EM image", "mrcfile"),
    "sun.em": (em(4, ">"), "EM image", "mrcfile"),
    "png": (b"\x89PNG\r\n\x1a\n", "a PNG image", "TIFF"),
    "jpg": (b"\xff\xd8\xff\xe0", "a JPEG image", "TIFF"),
    "npy": (b"\x93NUMPY\1\0v\0{'descr'", "NumPy", "mrcfile"),
    "npz": (b"PK\3\4\x14\0", "ZIP archive (.zip, .npz)", "unzip"),
    "pkl": (b"\x80\4\x95\x10\0", "pickle", "mrcfile"),
    "mat": (b"MATLAB 5.0 MAT-file, Platform", "MAT-file", "mrcfile"),
    "bz2": (b"BZh91AY", "a bzip2 file", "bunzip2"),
    "xz": (b"\xfd7zXZ\0", "an xz file", "unxz"),
    "zst": (b"\x28\xb5\x2f\xfd", "Zstandard", "unzstd"),
    "lz4": (b"\x04\x22\x4d\x18", "LZ4", "unlz4"),
    "7z": (b"7z\xbc\xaf\x27\x1c", "7z archive", "7z x"),
    "tar": (bytes(257) + b"ustar", "tar archive", "tar -xf"),
    "nii": (b"\x5c\1\0\0" + bytes(340) + b"n+1\0", "NIfTI", "TIFF"),
    "dcm": (bytes(128) + b"DICM", "DICOM", "TIFF"),
    "nc": (b"CDF\1\0\0", "netCDF", "mrcfile"),
    "hdf4": (b"\x0e\x03\x13\x01", "HDF4", "mrcfile"),
    "txrm": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ".txrm", "TIFF"),
    "mod": (b"IMODV1.2", "IMOD model", "series"),
}
TEXT = {
    "tomostar": ("data_\n\nloop_\n_wrpMovieName #1\n_wrpAngleTilt #2\n a.eer 60\n",
                 "a STAR file of Warp (.tomostar) with the columns _wrpMovieName, "
                 "_wrpAngleTilt;", "other sign"),  # without doses, of no series
    "wedge.star": ("\ndata_stopgap_wedgelist\n\nloop_\n_tomo_num\n_tilt_angle\n1 -60\n",
                   "a wedge list of STOPGAP", "one view a line"),
    "relion4.star": ("# version 30001\ndata_TS_1\nloop_\n_rlnTomoProjX #1\n[1,0,0,0]\n",
                     "a STAR file with the columns _rlnTomoProjX;", "_rlnTomoYTilt"),
    "particles.star": ("data_p\nloop_\n" + "".join(f"_c{k}\n" for k in range(9)) + "1\n",
                       "a STAR file with the columns _c0, _c1, _c2, _c3, _c4, _c5, ...;",
                       "_rlnTomoYTilt"),
    "xml": ('<?xml version="1.0"?>\n<Set><TiltSeries>\n<Angles>60\n54</Angles>\n',
            "an XML file of Warp", "other sign"),
    "other.xml": ("\ufeff<a>1</a>\n", "an XML file;", "one view a line"),
    "json": ('{\n "tilts": [1, 2]}\n', "a JSON file", "one view a line"),
    "list.json": ("[\n -60.0, -40]\n", "a JSON file", "one view a line"),
    "html": ("<!DOCTYPE html>\n<html>404</html>\n", "a web page", "get the file again"),
    "lfs": ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS",
            "git lfs pull"),
    "com": ("$setenv IMOD_OUTPUT_FORMAT MRC\n$tilt -StandardInput\n",
            "a command file of IMOD", "--imod-com"),
}


@pytest.mark.parametrize("kind", BINARY)
def test_other_binary_files(bench, kind):
    first, name, to_do = BINARY[kind]
    content = first + bytes(1024 + 4 * COLUMNS * ROWS * VIEWS - len(first))
    (bench.folder / f"a.{kind}").write_bytes(content)
    (bench.folder / "a.gz").write_bytes(gzip.compress(content))
    needed = "; an MRC, HDF5 or TIFF image is needed: "
    said = bench.refused(f"a.{kind} -t s.tlt", DATA, f"a.{kind} is ", name, needed)
    assert to_do in said.split(needed)[1]
    bench.refused("a.gz -t s.tlt", DATA, "a.gz is a gzip file of ", name, to_do)
    bench.refused(f"s.mrc -t a.{kind}", DATA, f"a.{kind} is ", name,
                  "; a list of angles is needed")
    bench.refused(f"s.mrc --transforms a.{kind}", DATA, f"a.{kind} is ", name,
                  "; an alignment is needed")


@pytest.mark.parametrize("kind", TEXT)
def test_other_texts(bench, kind):
    text, name, to_do = TEXT[kind]
    bench.text(f"a.{kind}", text)
    needed = "; a list of angles is needed: "
    said = bench.refused(f"s.mrc -t a.{kind}", DATA, f"a.{kind} is ", name, needed)
    assert to_do in said.split(needed)[1]
    bench.refused(f"a.{kind} -t s.tlt", DATA, f"a.{kind} is ", name.rstrip(";"),
                  "; an MRC, HDF5 or TIFF image is needed: ")


@pytest.mark.parametrize("content, name", [
    ("-60\r\n-40\r\n".encode("utf-16"), "UTF-16"), ("\ufeff-60\n".encode("utf-16-be"), "UTF-16"),
    (b"{\\rtf1\\ansi -60\\par}", "RTF")])
def test_texts_of_word_processors(bench, content, name):
    (bench.folder / "a.txt").write_bytes(content)
    bench.refused("s.mrc -t a.txt", DATA, "a.txt is ", name, "save it as plain text")


@pytest.mark.parametrize("kind", ["tif", "xz", "npy"])
def test_other_kinds_as_a_command_file(bench, kind):
    first, name, _ = BINARY.get(kind, (b"II*\0\x08\0\0\0", "a TIFF image", ""))
    (bench.folder / f"a.{kind}").write_bytes(first + bytes(2000))
    bench.refused(f"s.mrc --imod-com a.{kind}", DATA, f"a.{kind} is ", name,
                  "; a text file is needed")


def test_packed_angles(bench):
    (bench.folder / "s.tlt.gz").write_bytes(gzip.compress(b"1\n2\n"))
    bench.refused("s.mrc -t s.tlt.gz", DATA, "s.tlt.gz is a gzip file", "gunzip")


def test_images_as_angles(bench):
    with h5py.File(bench.folder / "s.h5", "w") as file:
        file["/exchange/theta"] = ANGLES
    bench.refused("s.mrc -t s.h5", DATA, "s.h5 is an HDF5 file; a list of angles is needed")
    bench.refused("s.mrc -t s.mrc", DATA, "s.mrc is an MRC image; a list of angles is needed")


@pytest.mark.parametrize("order", "<>")
def test_old_headers_of_mrc_are_no_other_kind(read, tmp_path, order):
    """Without "MAP" and stamp only the numbers tell. 257 columns, big-endian, look a little
    like an EM file, and 42 x 2^16 + ... columns would be a TIFF."""
    data = np.arange(257 * 3 * 2, dtype=order + "i2").reshape(2, 3, 257)
    head = header((257, 3, 2), 1, order, mark=bytes(4), stamp=bytes(4))
    np.testing.assert_array_equal(read(save(tmp_path / "a.mrc", head, data)).data, data)


def test_map_comes_before_the_first_bytes(bench, read, tmp_path):
    """Columns whose number is that of another kind are refused as too many, not as TIFF."""
    bench.patch(0, "4s", b"II*\0")
    bench.refused("s.mrc", DATA, "cut short or its header is wrong")


def test_hdf5_without_images_says_what_it_has(bench):
    with h5py.File(bench.folder / "a.h5", "w", userblock_size=512) as file:
        file["/Data/Image/a"] = 1
        file["/Presentation"] = 2
        file["/odd\x1b[2J"] = 3
    said = bench.refused("a.h5", DATA, "neither /MDF/images nor /exchange/data",
                         "/Data, /Presentation", "h5py")
    assert "\x1b" not in said


# ---- HDF5 ----

def exchange(path, data, theta=None, units=None, **how):
    with h5py.File(path, "w") as file:
        file.create_dataset("/exchange/data", data=data, **how)
        if theta is not None:
            file["/exchange/theta"] = theta
        if units is not None:
            file["/exchange/theta"].attrs["units"] = units
    return path


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<i4", ">i4", "<u4", "<i8", "<u8"])
def test_wide_numbers(read, tmp_path, dtype):
    rng = np.random.default_rng(5)
    data = rng.integers(0, 2**30, (3, 5, 7)).astype(dtype)
    if dtype[1] != "u":
        data -= 2**29
    if dtype[1] == "f":
        data *= np.pi
    data[0, 0, :4] = 2**25 + 1, 2**25 + 3, 2**24, 0  # to nearest
    found = read(exchange(tmp_path / "a.h5", data))
    np.testing.assert_array_equal(found.data, data.astype("f4"))
    assert found.type == np.dtype(dtype).newbyteorder("=").name
    with h5py.File(tmp_path / "b.hdf", "w") as file:
        for k, view in enumerate(data):
            file.create_dataset(f"/MDF/images/{k}/image", data=view, chunks=(2, 7),
                                compression="gzip", shuffle=True)
    np.testing.assert_array_equal(read(tmp_path / "b.hdf").data, data.astype("f4"))


def test_double_precision_gives_the_same_bytes_everywhere(bench):
    """As the same numbers in single precision do, for any number of ranks and threads."""
    exchange(bench.folder / "single.h5", bench.data, ANGLES)
    exchange(bench.folder / "double.h5", bench.data.astype("f8"), ANGLES)
    exchange(bench.folder / "chunks.h5", bench.data.astype("f8"), ANGLES,
             chunks=(2, 5, 16), compression="gzip")
    bench.run("-T 12 -o single.mrc single.h5")
    wanted = read_mrc(bench.folder / "single.mrc")
    for name in ("double", "chunks"):
        for how in ({}, {"ranks": 3}):
            done = bench.run(f"-T 12 -o o.mrc {name}.h5", **how)
            assert "HDF5 float64" in done.stderr
            np.testing.assert_array_equal(read_mrc(bench.folder / "o.mrc"), wanted)


def test_beyond_single_precision(bench):
    wide = bench.data.astype("f8")
    wide[2, 3, 4] = 1e300
    exchange(bench.folder / "wide.h5", wide, ANGLES)
    done = bench.run("-T 12 -o o.mrc wide.h5")
    assert "1 pixel is NaN or infinite" in done.stderr or \
        "1 pixels are NaN or infinite" in done.stderr, done.stderr


@pytest.mark.parametrize("theta, units, tilts, note", [
    (np.radians([-60, 0, 45.5]), "radians", [-60, 0, 45.5], "radians"),
    (np.radians([-60, 0, 45.5]), "Rad", [-60, 0, 45.5], "Rad"),
    (np.radians([-60, 0, 45.5]) * 1000, "mrad", [-60, 0, 45.5], "mrad"),
    ([-60, 0, 45.5], "deg", [-60, 0, 45.5], ""), ([-60, 0, 45.5], "Degrees", [-60, 0, 45.5], ""),
    ([720, 726, 894], None, [0, 6, 174], "beyond 360"),
    ([-725, -730, -735.5], None, [-5, -10, -15.5], "beyond 360"),
    ([340, 430, 520], None, [-20, 70, 160], "beyond 360"),
    (np.radians([720, 725, 730.25]), "radian", [0, 5, 10.25], "beyond 360"),
    ([10, 1090, 1450], None, [10, 10, 10], "beyond 360"),
    ([-360, 0, 360], None, [-360, 0, 360], ""),
])
def test_units_and_turns(read, tmp_path, theta, units, tilts, note):
    found = read(exchange(tmp_path / "a.h5", np.ones((3, 4, 5), "f4"), theta, units))
    np.testing.assert_allclose(found.tilts, tilts, atol=1e-6)
    assert note in found.note and bool(note) == bool(found.note)


@pytest.mark.parametrize("theta, units, said", [
    (ANGLES + [80], None, "8 angles for 7 views; it may go on to the end of the rotation"),
    (ANGLES[:5], None, "5 angles for 7 views;"), (ANGLES, "steps", 'are "steps"'),
    ([0, 1, np.nan, 3, 4, 5, 6], None, "angle 3 of /exchange/theta is nan"),
    ([0, 1e9, 2, 3, 4, 5, 6], None, "angle 2 of /exchange/theta is 1e+09"),
    ([b"a"] * 7, None, "/exchange/theta holds no numbers"),
])
def test_angles_that_are_none_stop_nobody_who_names_others(bench, theta, units, said):
    exchange(bench.folder / "a.h5", bench.data, theta, units)
    bench.refused("-T 12 -o o.mrc a.h5", DATA, "a.h5: ", said, "with -t")
    bench.run("-T 12 -o s_rec.mrc s.mrc")
    bench.run("-T 12 -o a_rec.mrc a.h5 -t s.tlt")
    np.testing.assert_array_equal(read_mrc(bench.folder / "a_rec.mrc"),
                                  read_mrc(bench.folder / "s_rec.mrc"))


def test_filter_without_plugin_is_named(bench):
    """h5py has LZF in itself; the library alone does not."""
    exchange(bench.folder / "a.h5", bench.data, ANGLES, compression="lzf")
    bench.refused("-T 12 a.h5", DATA, "a.h5: /exchange/data is packed with LZF (HDF5 filter "
                  "32000)", "hdf5-filter-plugin", "hdf5plugin", "HDF5_PLUGIN_PATH", "h5repack",
                  env={"HDF5_PLUGIN_PATH": str(bench.folder)})


# ---- FEI's old extended header ----

def old_fei(tilts, order="<", room=None):
    """The layout of Xplore3D and Tomography (room for 1024) and of AreTomo3 (for all)."""
    floats = np.zeros((room or len(tilts), 32), order + "f4")
    floats[:len(tilts), 0] = tilts
    floats[:len(tilts), 1:] = 7
    return floats.tobytes()


def old_fei_file(folder, tilts, data, order="<", room=None, **how):
    extended = old_fei(tilts, order, room)
    head = header(data.shape[::-1], 1, order, extended=len(extended),
                  **{"items": (0, 32), **how})
    return save(folder / "fei.st", head, data.astype(order + "i2"), extended)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("room", [None, 1024])
def test_old_extended_header_of_fei(read, tmp_path, order, room):
    data = np.arange(5 * 4 * 3).reshape(5, 4, 3)
    tilts = [-60, -31.25, 0, 30.5, 60]
    found = read(old_fei_file(tmp_path, tilts, data, order, room))
    np.testing.assert_array_equal(found.tilts, tilts)
    np.testing.assert_array_equal(found.data, data)


@pytest.mark.parametrize("tilts, how", [
    ([0, 0, 0], {}), ([5, 5, 5], {}), ([-60, np.nan, 60], {}), ([-60, 0, 1e9], {}),
    ([-60, 0, 181], {}), ([-60, 0, 60], {"items": (0, 31)}),
    ([-60, 0, 60], {"items": (2, 32)}), ([-60, 0, 60], {"exttype": b"CCP4"})])
def test_no_angles_of_fei_unless_certain(read, tmp_path, tilts, how):
    data = np.zeros((3, 4, 5), "i2")
    assert read(old_fei_file(tmp_path, tilts, data, **how)).tilts.size == 0


def test_no_angles_of_fei_for_fewer_sections(read, tmp_path):
    data = np.zeros((4, 4, 5), "i2")
    assert read(old_fei_file(tmp_path, [-60, 0, 60], data)).tilts.size == 0


# ---- what is found ----

def test_angles_in_the_file_are_found_with_it(bench):
    data = np.rint(bench.data).astype("i2")
    write_mrc(bench.folder / "named.mrc", data.astype("f4"), pixel=10)
    bench.run("-T 12 -o wanted.mrc named.mrc -t s.tlt")
    wanted = read_mrc(bench.folder / "wanted.mrc")
    for name in ("s.mrc", "named.mrc", "wanted.mrc"):
        (bench.folder / name).unlink()
    (bench.folder / "s.tlt").rename(bench.folder / "other.txt")
    old_fei_file(bench.folder, ANGLES, data)
    done = bench.run("-T 12 -o o.mrc")
    assert "found the series fei.st" in done.stderr
    assert "angles from the series itself: -60.00 to 60.00" in done.stderr
    np.testing.assert_array_equal(read_mrc(bench.folder / "o.mrc"), wanted)
    (bench.folder / "o.mrc").unlink()
    write_mrc(bench.folder / "flat.mrc", bench.data, pixel=10)  # no angles: not meant
    assert "found the series fei.st" in bench.run("-T 12 -o o_rec.mrc").stderr
    (bench.folder / "flat.tlt").write_text(lines(ANGLES))  # named by a file of its own
    assert "found the series flat.mrc" in bench.run("-T 12 -o o_rec.mrc").stderr


@pytest.mark.parametrize("name", ["s.TLT", "s.Tlt", "s.RAWTLT", "s_TLT.txt", "s_tlt.txt",
                                  "s.mrc.TLT"])
def test_endings_in_other_letters(bench, name):
    bench.run("-T 12 -o wanted.mrc s.mrc")
    (bench.folder / "s.tlt").rename(bench.folder / name)
    done = bench.run("-T 12 -o o.mrc s.mrc")
    np.testing.assert_array_equal(read_mrc(bench.folder / "o.mrc"),
                                  read_mrc(bench.folder / "wanted.mrc"))
    assert done.returncode == 0


def test_aretomos_list_is_no_alignment(bench):
    """Angle, order, dose; and an .aln goes before what it was made from."""
    table = "".join(f"{a:8.2f} {k:4d} {3:8.2f}\n" for k, a in enumerate(ANGLES, 1))
    bench.run("-T 12 -o wanted.mrc s.mrc")
    (bench.folder / "s.tlt").unlink()
    bench.text("s_TLT.txt", table)
    bench.run("-T 12 -o o.mrc s.mrc")
    np.testing.assert_array_equal(read_mrc(bench.folder / "o.mrc"),
                                  read_mrc(bench.folder / "wanted.mrc"))
    bench.text("s.aln", aln())
    assert "aligned while they are read, by s.aln" in bench.run("-T 12 -o o.mrc s.mrc").stderr


# ---- angles in text ----

def test_a_stage_that_counts_on(bench):
    bench.run("-T 12 -o wanted.mrc s.mrc")
    wanted = read_mrc(bench.folder / "wanted.mrc")
    for turns in (2, -5):
        bench.text("s.tlt", lines(a + 360 * turns for a in ANGLES))
        done = bench.run("-T 12 -o o.mrc s.mrc")
        assert "s.tlt goes on beyond 360 degrees" in done.stderr
        np.testing.assert_array_equal(read_mrc(bench.folder / "o.mrc"), wanted)
    for no_angles in ([1000 + k for k in range(VIEWS)],  # numbers of files
                      [500, 400, 600, 300, 200, 700, 100], [0, 0, 0, 0, 0, 0, 361]):
        bench.text("s.tlt", lines(no_angles))
        bench.refused("s.mrc", DATA, "is not a tilt angle")


MDOCS = {
    "FrameSet of the movie": "T = x\n[FrameSet = 0]\nTiltAngle = 33\nNumSubFrames = 9\n\n"
    + "".join(f"[ZValue = {k}]\nTiltAngle = {a}\n\n" for k, a in enumerate(ANGLES)),
    "FrameSet at the end":
    "".join(f"[ZValue = {k}]\nTiltAngle = {a}\n\n" for k, a in enumerate(ANGLES))
    + "[FrameSet = 0]\nTiltAngle = 33\n",
    "FrameSets": "".join(f"[FrameSet = {k}]\nTiltAngle = {a}\n"
                         for k, a in enumerate(ANGLES)),
    "Images": "PixelSpacing = 10\n\n"
    + "".join(f"[Image = b{9 - k}.tif]\nTiltAngle = {a}\n\n" for k, a in enumerate(ANGLES)),
}


@pytest.mark.parametrize("text", MDOCS.values(), ids=MDOCS)
def test_sections_of_an_mdoc(bench, text):
    bench.run("-T 12 -o wanted.mrc s.mrc")
    bench.text("s.mdoc", text)
    bench.run("-T 12 -o o.mrc -t s.mdoc s.mrc")
    np.testing.assert_array_equal(read_mrc(bench.folder / "o.mrc"),
                                  read_mrc(bench.folder / "wanted.mrc"))


def test_mdocs_of_movies_put_together(bench):
    bench.text("s.mdoc", "".join(f"T = SerialEM\n\n[FrameSet = 0]\nTiltAngle = {a}\n\n"
                                 for a in ANGLES))
    bench.refused("s.mrc -t s.mdoc", DATA, "s.mdoc has 7 times [FrameSet = 0]",
                  "single movies were put together")


# ---- how thick ----

def aln(thickness=None, raw=(COLUMNS, ROWS, VIEWS)):
    head = "# AreTomo Alignment / Priims bprmMn\n# RawSize = {} {} {}\n".format(*raw)
    if thickness is not None:
        head += f"# Thickness = {thickness}\n"
    return head + "".join(f"{k} 2.5 1 0 0 1 1 1 0 {a}\n" for k, a in enumerate(ANGLES, 1))


@pytest.mark.parametrize("thickness, raw, expected, warned", [
    # Half of it is added, to an even number of pixels; 16 at least.
    (12, (COLUMNS, ROWS, VIEWS), 18, False), (14, (COLUMNS, ROWS, VIEWS), 22, False),
    (9, (COLUMNS, ROWS, VIEWS), 16, False),
    (28, (2 * COLUMNS, 2 * ROWS, VIEWS), 22, False),  # of larger images
    # Not measured, or not possible: a quarter of the width, 16 at least.
    (0, (COLUMNS, ROWS, VIEWS), 16, True), (-1, (COLUMNS, ROWS, VIEWS), 16, True),
    (999, (COLUMNS, ROWS, VIEWS), 16, True), (None, (COLUMNS, ROWS, VIEWS), 16, True)])
def test_thickness_that_aretomo_measured(bench, thickness, raw, expected, warned):
    bench.text("s.aln", aln(thickness, raw))
    for how in ("-t s.aln", "-t s.tlt --transforms s.aln"):
        done = bench.run(f"{how} -o o.mrc s.mrc")
        assert read_mrc(bench.folder / "o.mrc").shape == (ROWS, expected, COLUMNS)
        assert ("warning: no thickness given" in done.stderr) == warned
        assert f"taking {expected} pixels" in done.stderr
        assert warned or "by s.aln" in done.stderr
    bench.run("-t s.aln -T 10 -o o.mrc s.mrc")
    assert read_mrc(bench.folder / "o.mrc").shape[1] == 10


def test_thickness_of_an_alignment_that_is_not_used(bench):
    """The specimen is as thick whatever the angles come from; of another series it is not."""
    bench.text("s.aln", aln(14))
    done = bench.run("-t s.tlt --aligned -o o.mrc s.mrc")
    assert "taking 22 pixels, as the specimen has 14 by s.aln" in done.stderr
    assert "aligned while" not in done.stderr
    (bench.folder / "s.mrc").rename(bench.folder / "s_ali.mrc")
    assert "taking 22 pixels" in bench.run("-o o.mrc s_ali.mrc").stderr
    for raw in ((COLUMNS, ROWS, VIEWS + 1), (COLUMNS, 2 * ROWS, VIEWS)):
        bench.text("s.aln", aln(14, raw))
        assert "a quarter of the image" in bench.run("-o o.mrc s_ali.mrc").stderr


@pytest.mark.parametrize("size, pixel, expected", [
    ("22", "10.0", 22), ("22", "5.0", 11), ("22", None, 22), ("21.4", "10.0", 21),
    ("0", "10.0", 16), ("nan", "10.0", 16), ("9999", "10.0", 16)])
def test_thickness_of_relions_tomograms(bench, size, pixel, expected):
    labels = ["rlnTomoName", "rlnTomoSizeZ", "rlnTomoTiltSeriesStarFile"]
    row = ["s", size, "tilts/s.star"]
    if pixel:
        labels.append("rlnTomoTiltSeriesPixelSize")
        row.append(pixel)
    other = ["other", "77", "tilts/s.star"] + ["1.0"] * bool(pixel)
    bench.text("tomograms.star", "data_global\n\nloop_\n"
               + "".join(f"_{name}\n" for name in labels)
               + " ".join(other) + "\n" + " ".join(row) + "\n")
    (bench.folder / "tilts").mkdir()
    bench.text("tilts/s.star", "data_s\n\nloop_\n_rlnTomoYTilt\n" + lines(ANGLES))
    done = bench.run("-t tomograms.star -o o.mrc s.mrc")
    assert read_mrc(bench.folder / "o.mrc").shape == (ROWS, expected, COLUMNS)
    assert ("in tomograms.star" in done.stderr) == (expected != 16)
