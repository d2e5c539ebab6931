"""TIFF in and out, against tifffile: stacks of any kind, folders of single images."""
import h5py
import numpy as np
import pytest
import tifffile

from conftest import read_mrc, write_mrc
from format_files import read, run_tool  # noqa: F401: fixtures

DATA, USAGE = 1, 2
VIEWS, ROWS, COLUMNS = 7, 21, 34
ANGLES = np.linspace(-60, 60, VIEWS)


def counts(dtype, seed=1):
    r = np.random.default_rng(seed)
    shape = VIEWS, ROWS, COLUMNS
    if np.dtype(dtype).kind == "f":
        return r.normal(100, 30, shape).astype(dtype)
    low = -100 if np.dtype(dtype).kind == "i" else 0
    return r.integers(low, 120, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("how", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 32)},
                                 {"compression": "zlib", "rowsperstrip": 5},
                                 {"compression": "zlib", "bigtiff": True, "tile": (16, 16)}],
                         ids=lambda how: "-".join(how) or "plain")
def test_stacks(read, tmp_path, dtype, how):  # noqa: F811
    """TIFF's first row is the top of a picture, ours the bottom."""
    data = counts(dtype)
    if dtype == "f2" and how.get("byteorder") == ">":
        pytest.skip("tifffile writes no big-endian halves")
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", metadata=None, **how)
    found = read(tmp_path / "a.tif")
    assert np.array_equal(found.data, data[:, ::-1].astype("f4"))


def test_rows_from_the_bottom(read, tmp_path):  # noqa: F811
    data = counts("u2")
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="minisblack", metadata=None,
                     extratags=[(274, "H", 1, 4, False)])
    assert np.array_equal(read(tmp_path / "a.tif").data, data)


def test_pixel_of_imagej(read, tmp_path):  # noqa: F811
    tifffile.imwrite(tmp_path / "a.tif", counts("u2"), imagej=True, resolution=(1 / 0.27, 1 / 0.27),
                     metadata={"unit": "nm", "axes": "ZYX"})
    assert read(tmp_path / "a.tif").pixel[0] == pytest.approx(2.7, rel=1e-5)


def write_folder(folder, data):
    folder.mkdir()
    for k, view in enumerate(data):
        tifffile.imwrite(folder / f"view_{k + 1}.tif", view)
    (folder / "notes.txt").write_text("not an image")


def reconstruct(tiltrec, folder, *arguments, name="out.mrc", check=True):
    return tiltrec("-T", 12, *arguments, "-o", name, cwd=folder, check=check)


@pytest.fixture
def angles(tmp_path):
    (tmp_path / "a.tlt").write_text("".join(f"{a:g}\n" for a in ANGLES))
    return "-t", "a.tlt"


def test_folders(tiltrec, tmp_path, angles):
    """Twelve views: view_10 comes after view_9."""
    data = np.random.default_rng(3).integers(0, 1000, (12, ROWS, COLUMNS)).astype("u2")
    (tmp_path / "a.tlt").write_text("".join(f"{a:g}\n" for a in np.linspace(-60, 60, 12)))
    write_folder(tmp_path / "views", data)
    write_mrc(tmp_path / "a.mrc", data[:, ::-1].astype("f4"))
    reconstruct(tiltrec, tmp_path, "views", *angles)
    reconstruct(tiltrec, tmp_path, "a.mrc", *angles, name="wanted.mrc")
    assert np.array_equal(read_mrc(tmp_path / "out.mrc"), read_mrc(tmp_path / "wanted.mrc"))
    # Without a name the tomogram is beside the folder, not in it.
    tiltrec("-T", 12, "views/", *angles, cwd=tmp_path, check=True)
    assert (tmp_path / "views_rec.mrc").exists()


def test_fields_in_folders(tiltrec, tmp_path):
    r = np.random.default_rng(4)
    gain = r.uniform(900, 1100, (ROWS, COLUMNS))
    views = np.rint(gain * r.uniform(0.3, 0.9, (VIEWS, ROWS, COLUMNS)))
    write_folder(tmp_path / "views", views.astype("u2"))
    write_folder(tmp_path / "flats", np.rint(gain)[None].astype("u2"))
    (tmp_path / "a.tlt").write_text("".join(f"{a:g}\n" for a in ANGLES))
    reconstruct(tiltrec, tmp_path, "views", "-t", "a.tlt", "--flats", "flats", "--hot-pixels", "off")
    write_mrc(tmp_path / "a.mrc", -np.log(views / np.rint(gain))[:, ::-1].astype("f4"))
    reconstruct(tiltrec, tmp_path, "a.mrc", "-t", "a.tlt", name="wanted.mrc")
    found, wanted = read_mrc(tmp_path / "out.mrc"), read_mrc(tmp_path / "wanted.mrc")
    assert np.abs(found - wanted).max() < 2e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("mode,dtype", [("float", "f4"), ("half", "f2"), ("int16", "i2"),
                                        ("uint16", "u2"), ("byte", "i1")])
@pytest.mark.parametrize("order", ["xzy", "xyz"])
def test_output(tiltrec, tmp_path, angles, mode, dtype, order):
    """The same samples as in MRC, and what ImageJ and others read of a stack."""
    write_mrc(tmp_path / "a.mrc", counts("f4"), pixel=5.4)
    for name in "out.tif", "out.mrc":
        reconstruct(tiltrec, tmp_path, "a.mrc", *angles, "--mode", mode, "--order", order,
                    "--verify", name=name)
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        found, text = file.asarray(), file.imagej_metadata
        assert not file.is_bigtiff and file.pages[0].tags["Orientation"].value == 4
        assert all(page.is_memmappable for page in file.pages)
    wanted = read_mrc(tmp_path / "out.mrc")
    assert found.dtype == dtype and found.shape == wanted.shape
    assert np.array_equal(found.astype("f4"), wanted.astype("f4"))
    assert text["slices"] == len(wanted) and text["unit"] == "angstrom"
    assert text["spacing"] == pytest.approx(5.4)


def test_output_is_read_back(tiltrec, read, tmp_path, angles):  # noqa: F811
    write_mrc(tmp_path / "a.mrc", counts("f4"), pixel=5.4)
    for name in "out.tif", "out.mrc":
        reconstruct(tiltrec, tmp_path, "a.mrc", *angles, name=name)
    tiff, mrc = read(tmp_path / "out.tif"), read(tmp_path / "out.mrc")
    for key in "pixel", "origin", "statistics":
        assert getattr(tiff, key) == pytest.approx(getattr(mrc, key)), key
    assert tiff.label == mrc.label and np.array_equal(tiff.data, mrc.data)
    # As the initial volume of another run it goes the same way.
    for name in "tif", "mrc":
        reconstruct(tiltrec, tmp_path, "a.mrc", *angles, "-a", "SIRT", "-i", 2, "--initial",
                    "out." + name, name=name + ".mrc")
    assert np.array_equal(read_mrc(tmp_path / "tif.mrc"), read_mrc(tmp_path / "mrc.mrc"))


def test_format_of_the_output(tiltrec, tmp_path, angles):
    write_mrc(tmp_path / "a.mrc", counts("f4"))
    for name, ending in ("tiff", "tif"), ("hdf5", "hdf"), ("mrc", "mrc"):
        tiltrec("-T", 12, "a.mrc", *angles, "--format", name, cwd=tmp_path, check=True)
        assert (tmp_path / f"a_rec.{ending}").exists()
    done = reconstruct(tiltrec, tmp_path, "a.mrc", *angles, "--format", "tiff", check=False)
    assert done.returncode == USAGE
    assert "-o out.mrc names a file of MRC, but --format asks for TIFF" in done.stderr


def test_bytes_and_resuming(tiltrec, tmp_path, angles):
    write_mrc(tmp_path / "a.mrc", counts("f4"))
    reconstruct(tiltrec, tmp_path, "a.mrc", *angles, name="a.tif")
    tiltrec("-T", 12, "a.mrc", *angles, "-o", "b.tif", cwd=tmp_path, ranks=3, check=True)
    a, b = ((tmp_path / name).read_bytes() for name in ("a.tif", "b.tif"))
    at = 16 + 2048
    assert a[at:] == b[at:]


def test_refused(tiltrec, tmp_path, angles):
    def refused(words, *arguments, status=DATA):
        done = reconstruct(tiltrec, tmp_path, *arguments, *angles, check=False)
        assert done.returncode == status and words in done.stderr, done.stderr
        assert not (tmp_path / "out.mrc").exists()
    data = counts("u2")
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 8, 3), "u1"), photometric="rgb")
    refused("rgb.tif holds colours", "rgb.tif")
    tifffile.imwrite(tmp_path / "complex.tif", data.astype("c8"), photometric="minisblack")
    refused("integers of 8, 16 and 32 bits", "complex.tif")
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as file:
        file.write(data[0])
        file.write(data[0, 1:])
    refused("page 2 has 34 x 20 pixels of 16 bits and page 1 has 34 x 21", "mixed.tif")
    tifffile.imwrite(tmp_path / "cut.tif", data, photometric="minisblack", metadata=None)
    whole = (tmp_path / "cut.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[:len(whole) // 2])
    refused("cut.tif", "cut.tif")
    (tmp_path / "cut.tif").write_bytes(whole[:9])
    refused("begins as a TIFF image, but is damaged or not complete", "cut.tif")
    tifffile.imwrite(tmp_path / "eer.tif", data[0], extratags=[])
    bytes_ = bytearray((tmp_path / "eer.tif").read_bytes())
    at = bytes_.index(b"\x03\x01\x03\x00\x01\x00\x00\x00\x01\x00")
    bytes_[at + 8:at + 10] = (65001).to_bytes(2, "little")
    (tmp_path / "eer.tif").write_bytes(bytes_)
    refused("eer.tif is an EER movie", "eer.tif")
    (tmp_path / "empty").mkdir()
    refused("empty is a folder without TIFF images", "empty")
    write_folder(tmp_path / "views", data)
    tifffile.imwrite(tmp_path / "views" / "view_8.tif", data[0, 1:])
    refused("view_8.tif has 34 x 20 samples of uint16", "views")
    tifffile.imwrite(tmp_path / "views" / "view_8.tif", data, photometric="minisblack")
    refused("view_8.tif holds 7 images; in a folder each view has a file of its own", "views")
