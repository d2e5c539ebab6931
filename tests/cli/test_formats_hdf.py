"""HDF5 files against h5py, and what both formats share: damage, and the names and types
of an output."""
import gzip
import os

import h5py
import numpy as np
import pytest

from format_files import (  # noqa: F401: with its fixtures
    DTYPES, LABELS, block, fei_part, header, read, refuse, run_tool, same, save,
    shape_of, spread, write, write_stack)


# ---- reading ----

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


def test_exchange(read, tmp_path):
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
    refuse(made(set_image(np.zeros((2, 2), "longdouble"))), "floats of 16")
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


def other_files(folder):
    """Files with images, and what leads to them: {name: how}."""
    data = block("i2", (3, 5, 7))
    with h5py.File(folder / "secret.h5", "w") as file:
        file["/MDF/images/0/image"] = file["/exchange/data"] = data
    data.tofile(folder / "secret.raw")
    layout = h5py.VirtualLayout(data.shape, "i2")
    layout[...] = h5py.VirtualSource("secret.h5", "/exchange/data", data.shape)
    raw = [(str(folder / "secret.raw"), 0, h5py.h5f.UNLIMITED)]

    def link(at, to="secret.h5"):
        def fill(file):
            file[at] = h5py.ExternalLink(to, at)
        return fill

    def soft(file):
        file["/elsewhere"] = h5py.ExternalLink("secret.h5", "/MDF")
        file["/MDF"] = h5py.SoftLink("/elsewhere")

    def one_of_a_stack(file):
        file["/MDF/images/0/image"] = data[0]
        file["/MDF/images/1"] = h5py.ExternalLink("secret.h5", "/MDF/images/0")

    def theta(file):
        file["/exchange/data"] = data
        file["/exchange/theta"] = h5py.ExternalLink("secret.h5", "/exchange/data")
    return {
        "external": lambda file: file.create_dataset("/MDF/images/0/image", data.shape, "i2",
                                                     external=raw),
        "external data": lambda file: file.create_dataset("/exchange/data", data.shape, "i2",
                                                          external=raw),
        "virtual": lambda file: file.create_virtual_dataset("/MDF/images/0/image", layout),
        "linked image": link("/MDF/images/0/image"), "linked group": link("/MDF"),
        "linked data": link("/exchange/data"), "linked exchange": link("/exchange"),
        "absolute": link("/MDF", str(folder / "secret.h5")), "soft": soft,
        "stack": one_of_a_stack, "theta": theta}


@pytest.mark.parametrize("way", [
    "external", "external data", "virtual", "linked image", "linked group", "linked data",
    "linked exchange", "absolute", "soft", "stack", "theta"])
def test_no_way_into_other_files(refuse, tmp_path, way):
    """h5py follows all of these."""
    with h5py.File(tmp_path / "a.hdf", "w") as file:
        other_files(tmp_path)[way](file)
    with h5py.File(tmp_path / "a.hdf") as file:
        found = file["MDF/images/0/image" if "MDF" in file else "exchange/data"]
        assert np.any(found[...])
    refuse(tmp_path / "a.hdf", "another file", "secret", "only what is in the file itself")


def test_what_hdf5_says_is_tidied(run_tool, tmp_path):
    """Its reasons end in values of its own variables, and are cut by nobody."""
    write_stack(tmp_path / "a.hdf", block("f4", (6, 50, 50)))
    whole = (tmp_path / "a.hdf").read_bytes()
    (tmp_path / "a.hdf").write_bytes(whole[:-3000])
    done = run_tool("imageinfo", tmp_path / "a.hdf")
    assert done.stderr.endswith("(HDF5: truncated file)\n"), done.stderr


# ---- writing ----

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


def test_deflate_makes_it_smaller(write):
    data = np.zeros((3, 700, 800), "f4")  # sections of more than one chunk
    data[:, 100:200, ::7] = 3
    plain, _ = write("plain.hdf", data, "float32")
    packed, expected = write("packed.hdf", data, "float32", 6)
    assert packed.stat().st_size < plain.stat().st_size / 10
    with h5py.File(packed) as file:
        np.testing.assert_array_equal(file["/MDF/images/0/image"][...], expected)


# ---- both formats ----

@pytest.mark.parametrize("name, deflate", [("a.mrc", 0), ("a.hdf", 0), ("a.hdf", 5)])
def test_same_input_same_bytes(write, name, deflate):
    data = spread("float32")
    first = write(name, data, "float32", deflate, labels=LABELS)[0].read_bytes()
    again = write("again_" + name, data, "float32", deflate, labels=LABELS)[0].read_bytes()
    assert first == again


@pytest.mark.slow
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
                            env={"ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:"
                                                "verify_asan_link_order=0"}
                            if name == "b" else {})
            assert done.returncode in (0, 1, 4), done
            if done.returncode:
                refused += 1
                assert len(done.stderr.splitlines()) == 1 and done.stderr.strip()
    assert refused > 50


def test_refused_output(run_tool, tmp_path):
    np.zeros(8, "f4").tofile(tmp_path / "raw")
    for name, type_, text in [("a.png", "float32", ".mrc"), ("a.mrc", "uint8", "uint8"),
                              ("missing/a.mrc", "float32", "No such file"),
                              ("missing/a.hdf", "float32", "No such file")]:
        done = run_tool("imagewrite", tmp_path / "raw", tmp_path / name, type_, 2, 2, 2, 1,
                        0, 0, 0, 0)
        assert done.returncode in (1, 2)
        assert text in done.stderr and os.path.basename(name) in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]
