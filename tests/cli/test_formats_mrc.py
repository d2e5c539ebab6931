"""MRC files, also packed by gzip, against independent readers and writers: mrcfile, numpy."""
import gzip
import os
import struct
import subprocess
import warnings

import h5py
import mrcfile
import numpy as np
import pytest

from format_files import (  # noqa: F401: with its fixtures
    DTYPES, LABELS, MODES, block, fei_part, header, read, refuse, run_tool, same, save,
    shape_of, spread, write)


# ---- real files ----

REFUSED = {"5i55_tiny.ccp4": "2, 1, 3", "iota_yzx.ccp4.gz": "2, 3, 1",
           "headerTest.st": "526336", "LICENSE.txt": "text"}


def test_every_real_file(shared_data, read, refuse):
    files = sorted((shared_data / "interop").iterdir())
    assert len(files) >= 16
    for path in files + [shared_data / "needle" / "needle.ali",
                         shared_data / "needle" / "needle_raw.mrc",
                         shared_data / "pulley" / "pulley.mrc",
                         shared_data / "imod_parity" / "imod_wbp.mrc"]:
        if path.name in REFUSED:
            refuse(path, REFUSED[path.name])
            continue
        found = read(path)
        if path.name == "garbage_stamp_int16.mrc":  # mrcfile refuses its machine stamp
            expected = np.frombuffer(path.read_bytes()[1024:], "<i2").reshape(30, 20, 10)
            assert expected.any()
        elif path.name == "no_map_no_stamp.mrc":
            expected = np.frombuffer(path.read_bytes()[1024:], "<f4").reshape(1, 50, 50)
        else:
            with mrcfile.open(path, permissive=True) as file:
                expected = np.array(file.data)
                voxel = file.voxel_size
                if file.header.cella.x > 0:
                    np.testing.assert_allclose(found.pixel, [voxel.x, voxel.y, voxel.z],
                                               rtol=1e-6)
                assert expected.dtype.newbyteorder("<") == DTYPES[found.type]
        same(found.data, expected.reshape(found.data.shape))
        assert found.format == "MRC"
        assert found.compressed == str(int(path.suffix == ".gz"))


def test_imod_file_keeps_its_own_sign_of_origin(shared_data, read):
    """IMOD's stamp, no version, flag 4 not set: the stored sign is IMOD's."""
    np.testing.assert_array_equal(read(shared_data / "imod_parity" / "imod_wbp.mrc").origin,
                                  [64, 24, 0])


# ---- MRC made here ----

@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_in_both_byte_orders(read, tmp_path, mode, order, stamped):
    data = block(np.dtype(MODES[mode]).newbyteorder(order))
    stamp = {"<": b"DA\0\0", ">": b"\x11\x11\0\0"}[order] if stamped else bytes(4)
    found = read(save(tmp_path / "a.mrc", header(shape_of(data), mode, order, stamp=stamp,
                                                 mark=b"MAP " if stamped else bytes(4)),
                      data))
    same(found.data, data)
    assert DTYPES[found.type] == MODES[mode]
    np.testing.assert_allclose(found.pixel, [10 / 7, 20 / 5, 30 / 3], rtol=1e-6)


def test_wrong_stamp_does_not_decide(read, tmp_path):
    data = block(">i2")
    same(read(save(tmp_path / "a.mrc", header(shape_of(data), 1, ">", stamp=b"DD\0\0"),
                   data)).data, data)


@pytest.mark.parametrize("nx", [6, 7])
def test_mode_101(read, run_tool, tmp_path, nx):
    data = np.random.default_rng(2).integers(0, 16, (2, 3, nx), np.uint8)
    even = np.concatenate([data, np.zeros((2, 3, nx % 2), np.uint8)], axis=2)
    packed = even[:, :, 0::2] | even[:, :, 1::2] << 4
    path = save(tmp_path / "a.mrc", header(shape_of(data), 101), packed)
    found = read(path)
    same(found.data, data)
    assert found.type == "uint4"
    out = tmp_path / "part"
    for x0 in range(nx):
        for n in range(1, nx - x0 + 1):
            assert run_tool("imageinfo", path, out, 1, 1, 2, x0, n).returncode == 0
            same(np.fromfile(out, "<f4").reshape(2, n), data[1, 1:3, x0:x0 + n])


@pytest.mark.parametrize("changes, type_", [
    ({"imod": 0, "statistics": (-100, 100, 0)}, "uint8"),  # the flag wins
    ({"imod": 1, "statistics": (0, 200, 90)}, "int8"),
    ({"version": 0, "statistics": (-3, 100, 0)}, "int8"),
    ({"version": 20140, "statistics": (0, 200, 90)}, "uint8"),
    ({"version": 0, "statistics": (0, 100, 50)}, "uint8"),  # could be either
    ({"version": 20140, "statistics": (0, 100, 50)}, "int8"),
    ({"version": 0, "statistics": (float("nan"),) * 3}, "uint8"),
    ({"version": 20141, "statistics": (-128, 255, 0)}, "int8")])
def test_sign_of_bytes(read, tmp_path, changes, type_):
    data = np.arange(256, dtype="u1").reshape(1, 16, 16)
    found = read(save(tmp_path / "a.mrc", header((16, 16, 1), 0, **changes), data))
    assert found.type == type_
    same(found.data, data.view(DTYPES[type_]))


@pytest.mark.parametrize("changes, sign", [
    ({"version": 20141}, -1), ({"version": 20140, "imod": 1}, -1),
    ({"version": 0}, 1), ({"version": 0, "imod": 1}, 1), ({"version": 0, "imod": 5}, -1),
    ({"version": 20141, "imod": 4}, -1)])
def test_sign_of_origin(read, tmp_path, changes, sign):
    path = save(tmp_path / "a.mrc", header((2, 2, 1), 1, origin=(3, -4, 5.5), **changes),
                bytes(8))
    np.testing.assert_array_equal(read(path).origin, sign * np.array([3, -4, 5.5]))


def test_labels_and_statistics(read, tmp_path):
    found = read(save(tmp_path / "a.mrc",
                      header((2, 2, 1), 1, statistics=(-2, 9, 4), version=20140,
                             labels=[b"first", b"", b"bell\x07 \x1b[31m", b"x" * 80]),
                      bytes(8)))
    assert found.label == ["first", "bell   [31m", "x" * 80]
    np.testing.assert_array_equal(found.statistics, [-2, 9, 4, -1])


def test_axes_may_be_unset(read, tmp_path):
    data = block("i2")
    same(read(save(tmp_path / "a.mrc", header(shape_of(data), 1, axes=(0, 0, 0)),
                   data)).data, data)


@pytest.mark.parametrize("order", "<>")
def test_serialem_tilts_in_the_extended_header(read, tmp_path, order):
    """Angle, stage position and exposure dose (flags 1, 4 and 32): 10 bytes."""
    angles = np.array([-60.5, 0, 59.99])
    data = block(order + "i2")
    extended = b"".join(struct.pack(order + "5h", round(100 * a), 7, 8, 9, 10)
                        for a in angles).ljust(64, b"\0")
    head = header(shape_of(data), 1, order, extended=64, exttype=b"SERI", items=(10, 37))
    found = read(save(tmp_path / "a.mrc", head, data, extended))
    same(found.data, data)
    np.testing.assert_allclose(found.tilts, angles)


@pytest.mark.parametrize("items, extended", [((10, 36), 64), ((12, 37), 64), ((10, 37), 29),
                                             ((-10, 37), 64), ((0, 0), 64)])
def test_no_tilts_unless_certain(read, tmp_path, items, extended):
    """No angle among the items; sizes that do not add up; too short for all sections."""
    data = block("i2")
    found = read(save(tmp_path / "a.mrc", header(shape_of(data), 1, extended=extended,
                                                 items=items), data, bytes(extended)))
    same(found.data, data)
    assert found.tilts.size == 0


@pytest.mark.parametrize("version", [b"FEI1", b"FEI2"])
def test_fei_tilts_in_the_extended_header(read, tmp_path, version):
    angles = np.array([-51.25, 0.001, 60])
    data = block("i2")

    def tilts(**changes):
        extended = b"".join(fei_part(a, **changes) for a in angles)
        head = header(shape_of(data), 1, extended=len(extended), exttype=version)
        path = save(tmp_path / "a.mrc", head, data, extended)
        with mrcfile.open(path) as file:  # mrcfile finds the angles at the same place
            same(file.data, data)
        found = read(path)
        same(found.data, data)
        return found.tilts
    np.testing.assert_allclose(tilts(), angles)
    assert tilts(mask=64).size == 0
    assert tilts(size=100 + 8)[2] == 60
    np.testing.assert_allclose(tilts(application=b"4.4.0.4981"), np.radians(angles))
    angles[1] = float("nan")
    assert tilts().size == 0


def test_fei_alpha_is_where_mrcfile_has_it(tmp_path, read):
    dtype = mrcfile.dtypes.get_ext_header_dtype(b"FEI1", "<")
    extended = np.zeros(3, dtype)
    extended["Metadata size"] = dtype.itemsize
    extended["Bitmask 1"] = 0xffffffff
    extended["Alpha tilt"] = [-3, 0, 3.5]
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(block("i2"))
        file.set_extended_header(extended)
        file.header.exttyp = b"FEI1"
    np.testing.assert_array_equal(read(tmp_path / "a.mrc").tilts, [-3, 0, 3.5])


def test_first_fei_files_have_the_top_row_first(read, run_tool, tmp_path):
    """As IMOD reads them: FEI1 and version 20140, not written by IMOD."""
    data = block("i2")
    extended = fei_part(1) * 3
    options = {"extended": len(extended), "exttype": b"FEI1", "version": 20140}
    path = save(tmp_path / "a.mrc", header(shape_of(data), 1, **options), data, extended)
    same(read(path).data, data[:, ::-1])
    assert run_tool("imageinfo", path, tmp_path / "part", 1, 1, 2, 2, 4).returncode == 0
    same(np.fromfile(tmp_path / "part", "<f4").reshape(2, 4), data[1, ::-1][1:3, 2:6])
    path = save(tmp_path / "b.mrc", header(shape_of(data), 1, imod=0, **options), data,
                extended)
    same(read(path).data, data)


# ---- MRC refused ----

def test_missing_and_odd_paths(refuse, tmp_path):
    refuse(tmp_path / "absent.mrc", "No such file")
    (tmp_path / "folder").mkdir()
    refuse(tmp_path / "folder", "folder")
    os.mkfifo(tmp_path / "pipe")
    refuse(tmp_path / "pipe", "regular")
    for name, content, text in [("empty.mrc", b"", "empty"), ("short", b"\0" * 100, "100"),
                                ("text.mrc", b"1.5 2.5\r\n" * 500, "text"),
                                ("noise", bytes([255]) * 5000, "format"),
                                ("half", header((4, 4, 4), 1)[:900], "900")]:
        (tmp_path / name).write_bytes(content)
        refuse(tmp_path / name, text)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("changes, texts", [
    ({"size": (-4, 4, 4)}, ["-4 x 4 x 4"]), ({"size": (4, 0, 4)}, ["4 x 0 x 4"]),
    ({"size": (4, 4, 5)}, ["1152", "1184"]),  # bytes found and needed
    ({"size": (2**31 - 1,) * 3}, ["impossible"]),
    ({"size": (2**31 - 1, 2**30, 1)}, ["4611686016279905280"]),
    ({"mode": 3}, ["mode 3", "complex"]), ({"mode": 4}, ["mode 4", "complex"]),
    ({"mode": 16}, ["mode 16", "RGB"]), ({"mode": 7}, ["mode 7"]),
    ({"mode": -1}, ["mode -1"]), ({"axes": (3, 2, 1)}, ["3, 2, 1"]),
    ({"axes": (1, 2, 9)}, ["1, 2, 9"]), ({"extended": -8}, ["-8"]),
    ({"extended": 1 << 30}, ["1152", str((1 << 30) + 1152)]),
    ({"mode": 0, "imod": 16}, ["4-bit"])])
def test_bad_headers(refuse, tmp_path, changes, texts, order):
    options = {"size": (4, 4, 4), "mode": 1, "order": order, **changes}
    refuse(save(tmp_path / "bad.mrc", header(**options), bytes(128)), *texts)


# ---- gzip ----

def test_gzip(read, refuse, tmp_path):
    data = block("f4", (4, 50, 60))
    packed = gzip.compress(header(shape_of(data), 2) + data.tobytes())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["/MDF/images/0/image"] = data
    (tmp_path / "a.mrc.gz").write_bytes(packed)
    (tmp_path / "named_mrc.mrc").write_bytes(gzip.compress((tmp_path / "a.h5").read_bytes()))
    for name, format_ in [("a.mrc.gz", "MRC"), ("named_mrc.mrc", "HDF5")]:
        found = read(tmp_path / name, env={"TMPDIR": str(tmp_path)})
        same(found.data, data)
        assert found.compressed == "1" and found.format == format_
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("tiltrec")]
    changed = bytearray(packed)
    changed[len(packed) // 2] ^= 0x55
    for content, text in [(packed[:-20], "too early"), (packed[:len(packed) // 2], "too early"),
                          (bytes(changed), "damaged"), (packed[:3], "damaged"),
                          (gzip.compress(b""), "empty"), (gzip.compress(b"hello\n"), "text")]:
        (tmp_path / "bad.gz").write_bytes(content)
        refuse(tmp_path / "bad.gz", text)
    refuse(tmp_path / "a.mrc.gz", "/no/such/folder", env={"TMPDIR": "/no/such/folder"})


def test_gzip_with_no_room_for_the_temporary_file(build_dir, tmp_path):
    """A limit on the size of files stands for a full disk."""
    (tmp_path / "a.gz").write_bytes(gzip.compress(header((1000, 1000, 1), 2)
                                                  + bytes(4_000_000)))
    done = subprocess.run(
        ["bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "-",
         build_dir / "tests" / "imageinfo", tmp_path / "a.gz"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "a.gz" in done.stderr and "TMPDIR" in done.stderr


@pytest.mark.parametrize("format_", ["MRC", "HDF5"])
def test_packed_file_is_unpacked_no_further_than_it_says(build_dir, read, tmp_path, format_):
    """300 kB of zeros that unpack to 300 MB; a limit on the size of files tells whether
    they are."""
    data = block("f4", (4, 50, 60))
    whole = header(shape_of(data), 2) + data.tobytes()
    if format_ == "HDF5":
        with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
            file["/MDF/images/0/image"] = data
        whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(whole + bytes(300_000_000), 1))
    done = subprocess.run(
        ["bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "-",
         build_dir / "tests" / "imageinfo", tmp_path / "a.gz"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    same(read(tmp_path / "a.gz").data, data)


# ---- writing ----

@pytest.mark.parametrize("type_", ["int8", "int16", "uint16", "float16", "float32"])
def test_mrc_written(write, read, capsys, type_):
    path, expected = write("out.mrc", spread(type_), type_, labels=LABELS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        file = mrcfile.open(path)
    with file:
        assert file.validate() and capsys.readouterr().out == ""  # nothing to complain of
        assert file.data.dtype == expected.dtype and file.is_volume()
        np.testing.assert_array_equal(file.data, expected)
        head = file.header
        assert file.voxel_size.x == file.voxel_size.y == file.voxel_size.z == 3.5
        assert head.nsymbt == 0 and head.ispg == 1 and head.mz == 5 and head.nversion == 20141
        assert (head.origin.x, head.origin.y, head.origin.z) == (-10, 20.5, 0)
        assert [label.rstrip() for label in file.get_labels()] == list(LABELS)
        assert head.dmin == expected.min() and head.dmax == expected.max()
        values = expected.astype("f8")
        np.testing.assert_allclose([head.dmean, head.rms], [values.mean(), values.std()],
                                   rtol=1e-5)
    assert path.stat().st_size == 1024 + expected.nbytes
    found = read(path)
    np.testing.assert_array_equal(found.origin, [10, -20.5, 0])
    same(found.data, expected)


def test_unknown_pixel_is_written_as_1(write):
    path, _ = write("out.rec", spread("int16", (1, 3, 2)), "int16", pixel=0)
    assert mrcfile.validate(path)
    with mrcfile.open(path) as file:
        assert file.voxel_size.tolist() == (1, 1, 1)
