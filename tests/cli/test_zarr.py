"""OME-Zarr out: as zarr, tensorstore and ome-zarr read it, and as data portals ask for it."""
import json
import signal
import subprocess
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import zarr

from conftest import MPI_ENVIRONMENT, program_command, read_mrc, write_series

VIEWS, ROWS, COLUMNS, THICKNESS = 9, 37, 50, 21
LEVELS = 3
PIXEL = 5.4
TWO_AND_THREE = [2, pytest.param(3, marks=pytest.mark.skipif(
    int(zarr.__version__.split(".")[0]) < 3, reason="zarr before 3 reads only Zarr 2"))]


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zarr")
    data = np.random.default_rng(3).normal(100, 10, (VIEWS, ROWS, COLUMNS))
    return write_series(folder, data, np.linspace(-50, 50, VIEWS), pixel=PIXEL)


def halved(volume):
    """Means over the voxels there are of 2 x 2 x 2."""
    shape = tuple((n + 1) // 2 for n in volume.shape)
    sums, counts = np.zeros(shape), np.zeros(shape)
    for corner in np.ndindex(2, 2, 2):
        part = volume[tuple(slice(c, None, 2) for c in corner)].astype(float)
        place = tuple(slice(n) for n in part.shape)
        sums[place] += part
        counts[place] += 1
    return sums / counts


def upright(path, order="xzy"):
    """The tomogram as [z][y][x] of order xyz."""
    data = read_mrc(path)
    return data if order == "xyz" else data[:, ::-1].transpose(1, 0, 2)


def levels(store):
    group = zarr.open_group(str(store), mode="r")
    return [group[str(level)][...] for level in range(LEVELS)]


def check(store, expected, rounding=0.0):
    found = levels(store)
    assert np.array_equal(found[0], expected)
    mean = found[0]
    for level in found[1:]:
        mean = halved(mean)
        assert level.shape == mean.shape
        # Each level is rounded once, the means behind it are not.
        assert np.allclose(level, mean, rtol=1e-6, atol=rounding + 1e-5)


@pytest.mark.parametrize("version", TWO_AND_THREE)
@pytest.mark.parametrize("order", ["xzy", "xyz"])
@pytest.mark.parametrize("chunk", [16, 256])
def test_voxels(tiltrec, series, tmp_path, version, order, chunk):
    tiltrec(series, "-T", THICKNESS, "-o", "a.mrc", "--order", order, "--zarr", "--zarr-version",
            version, "--zarr-chunk", chunk, cwd=tmp_path)
    check(tmp_path / "a.zarr", upright(tmp_path / "a.mrc", order))
    array = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["0"]
    assert array.metadata.zarr_format == version if version == 3 else True
    assert array.chunks == tuple(min(chunk, n + n % 2) for n in (THICKNESS, ROWS, COLUMNS))


@pytest.mark.parametrize("mode, dtype, rounding", [
    ("half", "float32", 0), ("int16", "int16", 0.51), ("uint16", "uint16", 0.51),
    ("byte", "int8", 0.51)])
def test_types(tiltrec, series, tmp_path, mode, dtype, rounding):
    tiltrec(series, "-T", THICKNESS, "-o", "a.mrc", "--mode", mode, "--zarr", cwd=tmp_path)
    assert levels(tmp_path / "a.zarr")[0].dtype == dtype
    check(tmp_path / "a.zarr", upright(tmp_path / "a.mrc"), rounding)


def test_instead_of_a_file(tiltrec, series, tmp_path):
    tiltrec(series, "-T", THICKNESS, "-o", "a.mrc", cwd=tmp_path)
    run = tiltrec(series, "-T", THICKNESS, "-o", "b.zarr", "--half-sets", "views", "--json",
                  "b.json", "--preview", cwd=tmp_path)
    assert "wrote b.zarr" in run.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["a.mrc", "b.zarr", "b_EVN.zarr", "b_ODD.zarr", "b.json", "b_xy.png", "b_xz.png",
         "b_yz.png"])
    check(tmp_path / "b.zarr", upright(tmp_path / "a.mrc"))
    output = json.loads((tmp_path / "b.json").read_text())["output"]
    assert output["path"] == "b.zarr" and output["format"] == "Zarr"
    tiltrec(series, "-T", THICKNESS, "--format", "zarr", cwd=tmp_path)
    check(tmp_path / "s_rec.zarr", upright(tmp_path / "a.mrc"))


def contents(store):
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(Path(store).rglob("*"))
            if p.is_file()}


def test_the_same_files_whatever_the_processes(build_dir, tiltrec, series, tmp_path):
    options = ["-T", THICKNESS, "--zarr", "--zarr-chunk", 16, "-q"]
    tiltrec(series, *options, "-o", "a.mrc", "--threads", 1, cwd=tmp_path)
    subprocess.run(program_command(build_dir, [series, *options, "-o", "b.mrc"], ranks=3),
                   cwd=tmp_path, check=True, env={**MPI_ENVIRONMENT, "PATH": "/usr/bin:/bin"})
    assert contents(tmp_path / "a.zarr") == contents(tmp_path / "b.zarr")


def test_as_portals_ask_for_it(tiltrec, series, tmp_path):
    """The rules of the CryoET Data Portal: axes, three levels, scales within 1e-3 of the voxel
    of the MRC file, a number type that it takes."""
    tiltrec(series, "-T", THICKNESS, "-o", "a.mrc", "--mode", "half", "--zarr", cwd=tmp_path)
    attributes = json.loads((tmp_path / "a.zarr" / ".zattrs").read_text())
    image, = attributes["multiscales"]
    assert image["version"] == "0.4" and image["name"] == "/"
    assert [a["name"] for a in image["axes"]] == ["z", "y", "x"]
    assert {(a["type"], a["unit"]) for a in image["axes"]} == {("space", "angstrom")}
    with mrcfile.open(tmp_path / "a.mrc", header_only=True) as file:
        voxel = float(file.voxel_size.x)
    assert [d["path"] for d in image["datasets"]] == ["0", "1", "2"]
    for level, data in enumerate(image["datasets"]):
        transform, = data["coordinateTransformations"]
        assert transform["type"] == "scale"
        assert transform["scale"] == pytest.approx([voxel * 2**level] * 3, abs=1e-3)
    for level in "012":
        array = json.loads((tmp_path / "a.zarr" / level / ".zarray").read_text())
        assert array["dtype"] in ("|i1", "<i2", "<f4", "<f8")
        assert array["dimension_separator"] == "/" and array["order"] == "C"


@pytest.mark.slow  # to load the reader takes two seconds
@pytest.mark.parametrize("version", TWO_AND_THREE)
def test_other_readers(tiltrec, series, tmp_path, version):
    tensorstore = pytest.importorskip("tensorstore", reason="for a second reader of Zarr")
    tiltrec(series, "-T", THICKNESS, "-o", "a.mrc", "--zarr", "--zarr-version", version,
            cwd=tmp_path)
    array = tensorstore.open({"driver": "zarr3" if version == 3 else "zarr", "kvstore": {
        "driver": "file", "path": f"{tmp_path}/a.zarr/0/"}}).result().read().result()
    assert np.array_equal(array, upright(tmp_path / "a.mrc"))
    reader = pytest.importorskip("ome_zarr.reader", reason="for a reader of OME-Zarr")
    from ome_zarr.io import parse_url
    node = next(iter(reader.Reader(parse_url(str(tmp_path / "a.zarr")))()))
    assert [d.shape for d in node.data] == [level.shape for level in levels(tmp_path / "a.zarr")]
    assert np.array_equal(np.asarray(node.data[0]), array)


def test_what_is_in_its_place(tiltrec, series, tmp_path):
    """A store is replaced; nothing else is."""
    options = [series, "-T", THICKNESS, "-q"]
    tiltrec(*options, "-o", "a.zarr", "--zarr-chunk", 16, cwd=tmp_path)
    tiltrec(*options, "-o", "a.zarr/", "--zarr-version", 3, cwd=tmp_path)
    assert sorted(p.name for p in (tmp_path / "a.zarr").iterdir()) == ["0", "1", "2", "zarr.json"]
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "mine").write_text("of the user")
    (tmp_path / "c.zarr").write_text("of the user")
    for name in "b", "c":
        for output in [f"{name}.zarr"], [f"{name}.mrc", "--zarr"]:
            run = tiltrec(*options, "-o", *output, cwd=tmp_path, check=False)
            assert run.returncode == 2
            assert f"{name}.zarr is there and no Zarr store" in run.stderr
    assert (tmp_path / "b.zarr" / "mine").read_text() == "of the user"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.zarr", "b.zarr", "c.zarr"]


def test_refused(tiltrec, series, tmp_path):
    for options, sentence in [
            (["-o", "a.zarr", "--zarr-chunk", 17], "--zarr-chunk 17 is odd"),
            (["-o", "a.mrc", "--format", "zarr"], "--format asks for Zarr"),
            (["-o", "a.zarr", "--format", "tiff"], "-o a.zarr names a file of Zarr")]:
        run = tiltrec(series, "-T", THICKNESS, *options, cwd=tmp_path, check=False)
        assert run.returncode == 2 and sentence in run.stderr
    assert not list(tmp_path.iterdir())
    large = write_series(tmp_path, np.ones((3, 300, 300)) + np.eye(300), [-10, 0, 10])
    run = tiltrec(large, "-T", 200, "-o", "a.zarr", "--zarr-chunk", 512, "--memory", "100M",
                  cwd=tmp_path, check=False)
    assert run.returncode == 4 and "or make them smaller with --zarr-chunk" in run.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s_ali.mrc", "s_ali.tlt"]


def test_interrupted(build_dir, tiltrec, tmp_path):
    """Stopped while chunks are written, it goes on to the same files."""
    data = np.random.default_rng(4).normal(size=(3, 256, 256))
    series = write_series(tmp_path, data, [-10, 0, 10])
    options = [series, "-T", 64, "--zarr", "--zarr-chunk", 16, "-q", "--checkpoint", 1e-9]
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    tiltrec(*options, "-o", "a.mrc", cwd=tmp_path / "whole")
    process = subprocess.Popen(program_command(build_dir, [*options, "-o", "a.mrc"]),
                               cwd=tmp_path / "cut", stderr=subprocess.DEVNULL,
                               env={**MPI_ENVIRONMENT, "PATH": "/usr/bin:/bin"})
    store = tmp_path / "cut" / ".a.mrc.store"
    while process.poll() is None and len(list(store.glob("2/0/*/*"))) < 3:
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) != 0, "it was over before it was stopped"
    first = {p: p.stat().st_ino for p in store.glob("2/0/*/*") if p.suffix != ".partial"}
    assert first and not (tmp_path / "cut" / "a.zarr").exists()
    tiltrec(*options, "-o", "a.mrc", "--resume", cwd=tmp_path / "cut")
    assert contents(tmp_path / "cut" / "a.zarr") == contents(tmp_path / "whole" / "a.zarr")
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == ["a.mrc", "a.zarr"]
    kept = [p for p, number in first.items()
            if (tmp_path / "cut" / "a.zarr" / p.relative_to(store)).stat().st_ino == number]
    assert kept, "what was done was done again"
