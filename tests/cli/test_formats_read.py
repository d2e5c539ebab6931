"""The image formats against independent readers and writers: mrcfile, h5py, numpy."""
import gzip
import os
import struct
import subprocess
import warnings
from types import SimpleNamespace

import h5py
import mrcfile
import numpy as np
import pytest

DTYPES = {"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "float32": "f4",
          "float16": "f2"}
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}


@pytest.fixture(scope="session")
def run_tool(build_dir):
    def run(name, *arguments, env=None):
        done = subprocess.run([build_dir / "tests" / name, *map(str, arguments)], text=True,
                              errors="replace", capture_output=True, timeout=60,
                              env={**os.environ, **(env or {})})
        assert done.returncode >= 0 and "Sanitizer" not in done.stderr \
            and "runtime error:" not in done.stderr, done.stderr
        return done
    return run


@pytest.fixture
def read(run_tool, tmp_path):
    """Everything our reader says of a file, and its samples as float32[z][y][x]."""
    def run(path, **keywords):
        out = tmp_path / "samples.raw"
        done = run_tool("imageinfo", path, out, **keywords)
        assert done.returncode == 0, done.stderr
        found = {"label": []}
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            if key == "label":
                found["label"].append(value)
            else:
                found[key] = value
        for key in ("pixel", "origin", "statistics", "tilts"):
            found[key] = np.array(found[key].split(), float)
        nx, ny, nz = map(int, found["size"].split())
        found["data"] = np.fromfile(out, "<f4").reshape(nz, ny, nx)
        return SimpleNamespace(**found)
    return run


@pytest.fixture
def refuse(run_tool):
    """One sentence, naming the file and holding every given text; exit status 1."""
    def run(path, *texts, **keywords):
        done = run_tool("imageinfo", path, **keywords)
        assert done.returncode == 1, done
        assert len(done.stderr.splitlines()) == 1
        for text in (os.path.basename(path), *texts):
            assert str(text) in done.stderr
    return run


def same(found, expected):
    """Equal also where both are NaN."""
    np.testing.assert_array_equal(found, np.asarray(expected).astype("f4"))


def block(dtype, shape=(3, 5, 7), seed=1):
    """Random values over the range of the type."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return (1000 * rng.standard_normal(shape)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, "i8", endpoint=True).astype(dtype)


def header(size, mode, order="<", axes=(1, 2, 3), extended=0, exttype=b"", version=20141,
           stamp=b"DD\0\0", mark=b"MAP ", imod=None, origin=(0, 0, 0), grid=None,
           cell=(10, 20, 30), statistics=(0, -1, -2), items=(0, 0), labels=()):
    """An MRC header made by hand."""
    head = bytearray(1024)

    def put(at, kind, *values):
        struct.pack_into(order + kind, head, at, *values)
    put(0, "4i", *size, mode)
    put(28, "3i", *(grid or size))
    put(40, "6f", *cell, 90, 90, 90)
    put(64, "3i", *axes)
    put(76, "3f", *statistics)
    put(88, "2i", 1, extended)
    head[104:104 + len(exttype)] = exttype
    put(108, "i", version)
    put(128, "2h", *items)
    if imod is not None:
        put(152, "2i", 1146047817, imod)
    put(196, "3f", *origin)
    head[208:212] = mark
    head[212:216] = stamp
    put(216, "fi", -1, len(labels))
    for i, label in enumerate(labels):
        head[224 + 80 * i:304 + 80 * i] = label.ljust(80)
    return bytes(head)


def save(path, head, data, extended=b""):
    path.write_bytes(head + extended + (data if isinstance(data, bytes) else data.tobytes()))
    return path


def shape_of(data):
    return data.shape[::-1]


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


def fei_part(alpha, size=768, mask=128, application=b"6.1"):
    part = bytearray(size)
    struct.pack_into("<iiI", part, 0, size, 0, mask)
    part[68:68 + len(application)] = application
    struct.pack_into("<d", part, 100, alpha)
    return bytes(part)


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
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(4_000_000)))
    done = subprocess.run(
        ["bash", "-c", 'trap "" XFSZ; ulimit -f 1000; exec "$@"', "-",
         build_dir / "tests" / "imageinfo", tmp_path / "a.gz"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "a.gz" in done.stderr and "TMPDIR" in done.stderr


# ---- HDF5 ----

def imod_attributes(where, shape, pixel=2.0, origin=(1, -2, 3)):
    nz, ny, nx = shape
    for name, n, o in zip("xyz", (nx, ny, nz), origin):
        where.attrs[f"IMOD.MRC.m{name}"] = np.array([n], "i4")
        where.attrs[f"IMOD.MRC.{name}len"] = np.array([n * pixel], "f4")
        where.attrs[f"IMOD.MRC.{name}origin"] = np.array([o], "f4")
    for name, value in [("minimum", -5), ("maximum", 6), ("mean", 0.5), ("rms", 2)]:
        where.attrs["IMOD.MRC." + name] = np.array([value], "f4")
    where.attrs["IMOD.MRC.nlabels"] = np.array([2], "i4")
    where.attrs["IMOD.MRC.label0"] = np.bytes_("fixed label".ljust(80))
    where.attrs["IMOD.MRC.label1"] = "variable label"


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2", ">u2", "<f2", ">f2",
                                   "<f4", ">f4"])
def test_imod_volume(read, run_tool, tmp_path, dtype):
    data = block(dtype, (4, 9, 11))
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        file.create_dataset("/MDF/images/0/image", data=data, chunks=(2, 3, 11),
                            compression="gzip", shuffle=True)
        imod_attributes(file["/MDF/images/0"], data.shape)
    found = read(tmp_path / "a.hdf")
    same(found.data, data)
    assert np.dtype(DTYPES[found.type]) == np.dtype(dtype).newbyteorder("<")
    assert found.format == "HDF5"
    np.testing.assert_allclose(found.pixel, 2)
    np.testing.assert_array_equal(found.origin, [-1, 2, -3])
    np.testing.assert_array_equal(found.statistics, [-5, 6, 0.5, 2])
    assert found.label == ["fixed label", "variable label"]
    out = tmp_path / "part"
    assert run_tool("imageinfo", tmp_path / "a.hdf", out, 2, 3, 5, 4, 6).returncode == 0
    same(np.fromfile(out, "<f4").reshape(5, 6), data[2, 3:8, 4:10])


def write_stack(path, data, numbers=None, name=str):
    with h5py.File(path, "w") as file:
        for i, image in zip(numbers or range(len(data)), data):
            file[f"/MDF/images/{name(i)}/image"] = image
        file["/MDF/images"].attrs["imageid_max"] = np.array([len(data) - 1], "i4")
    return path


def test_imod_stack_in_the_order_of_the_numbers(read, run_tool, tmp_path):
    data = block("i2", (12, 5, 7))  # more than ten: "10" sorts before "2"
    path = write_stack(tmp_path / "a.hdf", data)
    angles = np.linspace(-60, 60, 12)
    with h5py.File(path, "a") as file:
        imod_attributes(file["/MDF/images"], data.shape, pixel=1.5)
        for i, angle in enumerate(angles):
            file[f"/MDF/images/{i}"].attrs["TiltAngle"] = np.array([angle], "f4")
    found = read(path)
    same(found.data, data)
    np.testing.assert_allclose(found.pixel, 1.5)
    np.testing.assert_array_equal(found.origin, [-1, 2, -3])
    np.testing.assert_allclose(found.tilts, angles, rtol=1e-6)
    assert run_tool("imageinfo", path, tmp_path / "part", 11, 1, 3, 2, 4).returncode == 0
    same(np.fromfile(tmp_path / "part", "<f4").reshape(3, 4), data[11, 1:4, 2:6])
    with h5py.File(path, "a") as file:
        del file["/MDF/images/5"].attrs["TiltAngle"]
    assert read(path).tilts.size == 0  # all or none


def test_eman_stack_and_volume(read, tmp_path):
    data = block("u2", (3, 5, 7))
    bits = [16, 12, 5]
    low, high = np.array([-3.5, 0, 10]), np.array([8.25, 1, -2])
    path = write_stack(tmp_path / "a.hdf", data)
    with h5py.File(path, "a") as file:
        for i in range(3):
            attributes = file[f"/MDF/images/{i}"].attrs
            attributes["EMAN.nx"] = np.int32(7)
            attributes["EMAN.apix_x"] = attributes["EMAN.apix_y"] = np.float32(3.25)
            attributes["EMAN.apix_z"] = np.float32(6.5)
            attributes["EMAN.origin_x"] = np.float32(12)
            attributes["EMAN.stored_renderbits"] = np.int32(bits[i])
            attributes["EMAN.stored_rendermin"] = np.float32(low[i])
            attributes["EMAN.stored_rendermax"] = np.float32(high[i])
    found = read(path)
    for i in range(3):
        expected = data[i] / (2.0**bits[i] - 1) * (high[i] - low[i]) + low[i]
        np.testing.assert_allclose(found.data[i], expected, rtol=3e-7, atol=3e-6)
    np.testing.assert_array_equal(found.pixel, [3.25, 3.25, 6.5])
    np.testing.assert_array_equal(found.origin, [-12, 0, 0])
    with h5py.File(tmp_path / "b.hdf", "w") as file:
        file["/MDF/images/0/image"] = data
        file["/MDF/images/0"].attrs["EMAN.stored_renderbits"] = np.int32(8)
        file["/MDF/images/0"].attrs["EMAN.stored_rendermin"] = np.float32(-1)
        file["/MDF/images/0"].attrs["EMAN.stored_rendermax"] = np.float32(254)
    np.testing.assert_allclose(read(tmp_path / "b.hdf").data, data - 1.0)
    with h5py.File(tmp_path / "b.hdf", "a") as file:
        file["/MDF/images/0"].attrs["EMAN.stored_renderbits"] = np.int32(0)
    same(read(tmp_path / "b.hdf").data, data)


def test_exchange(read, refuse, tmp_path):
    data = block("u2", (4, 5, 7))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["/exchange/data"] = data
    found = read(path)
    same(found.data, data)
    assert found.tilts.size == 0
    for theta in (np.array([0, 1.5, 90, 179.25]), np.array([0, 1, 2, -3], "i4")):
        with h5py.File(path, "a") as file:
            file.pop("/exchange/theta", None)
            file["/exchange/theta"] = theta
        np.testing.assert_array_equal(read(path).tilts, theta)
    for theta, texts in [([1.0, 2, 3], ["3 angles", "4 views"]),
                         ([1, 2, np.nan, 4], ["angle 3"]), ([0, 1, 2, 400.0], ["400"]),
                         ([b"a", b"b", b"c", b"d"], ["numbers"])]:
        with h5py.File(path, "a") as file:
            file.pop("/exchange/theta", None)
            file["/exchange/theta"] = theta
        refuse(path, "/exchange/theta", *texts)


def test_bad_hdf5(refuse, tmp_path):
    data = block("i2", (4, 5, 7))
    path = tmp_path / "bad.hdf"

    def made(fill):
        with h5py.File(path, "w") as file:
            fill(file)
        return path

    def set_image(value, **attributes):
        def fill(file):
            file["/MDF/images/0/image"] = value
            for name, number in attributes.items():
                file["/MDF/images/0"].attrs[name.replace("__", ".")] = number
        return fill
    refuse(made(lambda file: file.create_group("other")), "/MDF/images", "/exchange/data")
    refuse(made(lambda file: file.create_group("/MDF/images/x")), "no images")
    refuse(made(lambda file: file.create_group("/MDF/images/0")), "/MDF/images/0/image")
    refuse(made(set_image(np.zeros(5, "f4"))), "1 dimensions")
    refuse(made(set_image(np.zeros((2, 0, 3), "f4"))), "3 x 0 x 2")
    refuse(made(set_image(np.zeros((2, 2), "f8"))), "floats of 8")
    refuse(made(set_image(np.zeros((2, 2), "i4"))), "integers of 4")
    refuse(made(set_image(np.zeros((2, 2), "c8"))), "no plain numbers")
    refuse(made(set_image(data, IMOD__is_complex=1)), "complex")
    refuse(made(set_image(data, EMAN__is_complex=1)), "complex")
    refuse(made(set_image(data, IMOD__is_rgb=1)), "RGB")
    refuse(made(set_image(data, EMAN__stored_renderbits=99)), "99 bits")
    refuse(made(lambda file: file.create_dataset("/MDF/images/0/image", (4, 5, 7), "i2")),
           "incomplete")
    refuse(made(lambda file: file.create_dataset("/MDF/images/0/image", (2**20,) * 3, "i2",
                                                 chunks=(1, 5, 7))), "incomplete")

    def one_chunk_of_many(file):
        image = file.create_dataset("/MDF/images/0/image", (9000, 5, 7), "i2",
                                    chunks=(1, 5, 7), compression="gzip")
        image[0] = data[0]
    refuse(made(one_chunk_of_many), "incomplete")
    refuse(made(lambda file: file.create_dataset("/exchange/data", (4, 5, 7), "S3")), "numbers")
    refuse(write_stack(path, data, [0, 1, 3, 4]), "image 2 is missing")
    refuse(write_stack(path, data, [1, 2, 3, 4]), "image 0 is missing")
    refuse(write_stack(path, [data[0], data[1], data[2][:4]]), "image 2", "7 x 4", "7 x 5")
    refuse(write_stack(path, [data[0], data[1].astype("f4")]), "image 1", "float32")
    refuse(write_stack(path, [data, data]), "2 volumes")
    write_stack(path, block("f4", (6, 50, 50)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-3000])
    refuse(path, "HDF5: ")
    path.write_bytes(whole[:8] + bytes(len(whole) - 8))
    refuse(path, "HDF5: ")


# ---- damage ----

def test_damage_never_crashes(run_tool, tmp_path):
    """Random bytes changed in headers: read, or refused with one sentence."""
    rng = np.random.default_rng(4)
    data = block("i2", (3, 6, 5))
    save(tmp_path / "a", header(shape_of(data), 1, extended=768 * 3, exttype=b"FEI1",
                                labels=[b"x"]), data, fei_part(3) * 3)
    write_stack(tmp_path / "b", data)
    (tmp_path / "c").write_bytes(gzip.compress((tmp_path / "a").read_bytes()))
    refused = 0
    for name, reach in [("a", 300), ("b", 4000), ("c", 400)]:
        whole = np.frombuffer((tmp_path / name).read_bytes(), "u1")
        for _ in range(60):
            changed = whole.copy()
            places = rng.integers(0, min(reach, len(whole)), rng.integers(1, 9))
            changed[places] = rng.choice([0, 1, 127, 128, 255], len(places))
            (tmp_path / "damaged").write_bytes(changed[:rng.integers(1, 2 * len(changed))])
            # Damaged HDF5 makes the library lose memory and ask for absurd amounts.
            done = run_tool("imageinfo", tmp_path / "damaged", tmp_path / "out",
                            env={"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}
                            if name == "b" else {})
            assert done.returncode in (0, 1, 4), done
            if done.returncode:
                refused += 1
                assert len(done.stderr.splitlines()) == 1 and done.stderr.strip()
    assert refused > 50


# ---- writing ----

@pytest.fixture
def write(run_tool, tmp_path):
    """Write float32 samples as a type; the path, and what the file should hold."""
    def run(name, data, type_, deflate=0, pixel=3.5, origin=(10, -20.5, 0), labels=()):
        data.astype("<f4").tofile(tmp_path / "in.raw")
        done = run_tool("imagewrite", tmp_path / "in.raw", tmp_path / name, type_,
                        *shape_of(data), pixel, *origin, deflate, *labels)
        assert done.returncode == 0, done.stderr
        dtype = np.dtype(DTYPES[type_])
        if dtype.kind == "i" or dtype.kind == "u":
            limits = np.iinfo(dtype)
            data = np.clip(np.rint(data.astype("f8")), limits.min, limits.max)
        return tmp_path / name, data.astype(dtype)
    return run


def spread(type_, shape=(5, 11, 13)):
    """Samples that also go beyond the integers of the type."""
    reach = {"int8": 200, "uint8": 300, "int16": 40000, "uint16": 70000}.get(type_, 10)
    return np.random.default_rng(3).uniform(-reach, reach, shape).astype("f4")


LABELS = ("tiltrec test", "not CTF-corrected here", "m" * 80)


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


@pytest.mark.parametrize("deflate", [0, 6])
@pytest.mark.parametrize("type_", sorted(DTYPES))
def test_hdf5_written(write, read, type_, deflate):
    path, expected = write("out.hdf", spread(type_), type_, deflate, labels=LABELS)
    with h5py.File(path) as file:
        image = file["/MDF/images/0/image"]
        assert image.dtype == expected.dtype
        np.testing.assert_array_equal(image[...], expected)
        assert image.chunks == (1, 11, 13)
        assert image.compression == ("gzip" if deflate else None)
        assert file["/MDF/images"].attrs["imageid_max"] == 0
        attributes = file["/MDF/images/0"].attrs
        values = expected.astype("f8")
        for name, value in {
                "nx": 13, "ny": 11, "nz": 5, "mx": 13, "my": 11, "mz": 5, "xlen": 13 * 3.5,
                "ylen": 11 * 3.5, "zlen": 5 * 3.5, "alpha": 90, "mapc": 1, "mapr": 2,
                "maps": 3, "xorigin": -10, "yorigin": 20.5, "zorigin": 0, "nlabels": 3,
                "minimum": values.min(), "maximum": values.max(), "mean": values.mean(),
                "rms": values.std()}.items():
            found = attributes["IMOD.MRC." + name]
            assert found.shape == (1,)  # IMOD skips numbers with a scalar dataspace
            np.testing.assert_allclose(found, value, rtol=1e-5)
            assert found.dtype in ("int32", "float32")
        for i, label in enumerate(LABELS):
            stored = attributes.get_id(f"IMOD.MRC.label{i}")
            assert stored.shape == () and stored.get_type().get_size() == 81
            assert attributes[f"IMOD.MRC.label{i}"].decode() == label.ljust(80)
    found = read(path)
    same(found.data, expected)
    np.testing.assert_array_equal(found.origin, [10, -20.5, 0])
    np.testing.assert_allclose(found.pixel, 3.5)
    assert found.label == list(LABELS)
    assert sorted(p.name for p in path.parent.iterdir()) == ["in.raw", "out.hdf", "samples.raw"]


@pytest.mark.parametrize("name, deflate", [("a.mrc", 0), ("a.hdf", 0), ("a.hdf", 5)])
def test_same_input_same_bytes(write, name, deflate):
    data = spread("float32")
    first = write(name, data, "float32", deflate, labels=LABELS)[0].read_bytes()
    again = write("again_" + name, data, "float32", deflate, labels=LABELS)[0].read_bytes()
    assert first == again


def test_deflate_makes_it_smaller(write):
    data = np.zeros((3, 700, 800), "f4")  # sections of more than one chunk
    data[:, 100:200, ::7] = 3
    plain, _ = write("plain.hdf", data, "float32")
    packed, expected = write("packed.hdf", data, "float32", 6)
    assert packed.stat().st_size < plain.stat().st_size / 10
    with h5py.File(packed) as file:
        np.testing.assert_array_equal(file["/MDF/images/0/image"][...], expected)


def test_refused_output(run_tool, tmp_path):
    np.zeros(8, "f4").tofile(tmp_path / "raw")
    for name, type_, text in [("a.tif", "float32", ".mrc"), ("a.mrc", "uint8", "uint8"),
                              ("missing/a.mrc", "float32", "No such file"),
                              ("missing/a.hdf", "float32", "No such file")]:
        done = run_tool("imagewrite", tmp_path / "raw", tmp_path / name, type_, 2, 2, 2, 1,
                        0, 0, 0, 0)
        assert done.returncode in (1, 2)
        assert text in done.stderr and os.path.basename(name) in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]
