"""What the tests of the image formats share: small programs that read and write by our code
(tests/tools), and files made by hand. A test file that imports them has the fixtures."""
import os
import struct
import subprocess
from types import SimpleNamespace

import h5py
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


def fei_part(alpha, size=768, mask=128, application=b"6.1"):
    part = bytearray(size)
    struct.pack_into("<iiI", part, 0, size, 0, mask)
    part[68:68 + len(application)] = application
    struct.pack_into("<d", part, 100, alpha)
    return bytes(part)


def write_stack(path, data, numbers=None, name=str):
    with h5py.File(path, "w") as file:
        for i, image in zip(numbers or range(len(data)), data):
            file[f"/MDF/images/{name(i)}/image"] = image
        file["/MDF/images"].attrs["imageid_max"] = np.array([len(data) - 1], "i4")
    return path


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
