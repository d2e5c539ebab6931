"""examples/denoise.py without its network: tiles, splits and samples against their definitions,
and what is refused."""
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from conftest import ROOT, read_mrc, write_mrc

sys.path.insert(0, str(ROOT / "examples"))
import denoise  # noqa: E402

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("length, size, overlap",
                         [(64, 64, 16), (65, 64, 16), (200, 64, 0), (200, 64, 63), (1000, 96, 40)])
def test_tiles_cover_and_overlap(length, size, overlap):
    at = denoise.starts(length, size, overlap)
    assert at[0] == 0 and at[-1] == length - size
    gaps = np.diff(at)
    assert (gaps > 0).all() and (gaps <= size - overlap).all()
    shortest = -(-(length - size) // (size - overlap)) + 1
    assert len(at) == shortest


@pytest.mark.parametrize("shape", [(3, 64, 64), (3, 50, 130), (5, 200, 33)])
def test_what_a_tile_leaves_alone_comes_back(shape):
    """Weights add up to 1 everywhere, and each tile gets its own slices."""
    stack = RNG.normal(size=shape)
    asked = []

    def middle(patch):
        asked.append(patch.shape)
        return patch[shape[0] // 2]

    out = denoise.in_tiles(stack, 64, 24, middle)
    assert np.allclose(out, stack[shape[0] // 2], atol=1e-12)
    assert set(asked) == {(shape[0], 64, 64)}


def test_tiles_are_blended_linearly():
    """Of two tiles that say 0 and 1, the overlap goes from one to the other in even steps."""
    said = iter([0.0, 1.0])
    out = denoise.in_tiles(np.zeros((1, 32, 48)), 32, 16, lambda patch: np.full((32, 32),
                                                                                next(said)))
    line = out[10]
    assert np.allclose(line[:16], 0) and np.allclose(line[32:], 1)
    assert np.allclose(line[16:32], np.arange(1, 17) / 17)


@pytest.mark.parametrize("n", [2, 4])
def test_a_sample_is_all_but_one_and_that_one(n):
    """Each number tells its part and place, so the pair can be taken apart again."""
    places = np.arange(7 * 40 * 50).reshape(7, 40, 50)
    volumes = [places + 1e6 * 3 ** k for k in range(n)]
    parts = denoise.Parts(volumes, 2)
    mean = sum(volumes) / n
    assert parts.mean == pytest.approx(mean.mean()) and parts.deviation == pytest.approx(mean.std())
    targets, sections = set(), set()
    exact = denoise.Parts([v.astype(np.float64) for v in volumes], 2)
    for _ in range(60):
        given, wanted = exact.sample(RNG, 16)
        assert given.shape == (5, 16, 16) and wanted.shape == (1, 16, 16)
        wanted = wanted.astype(float) * parts.deviation + parts.mean
        given = given.astype(float) * parts.deviation + parts.mean
        part = int(np.argmin([abs(wanted.mean() - 1e6 * 3 ** k - 7000) for k in range(n)]))
        others = np.mean([1e6 * 3 ** k for k in range(n) if k != part])
        place = np.rint(wanted[0] - 1e6 * 3 ** part)
        assert np.allclose(given[2] - others, place, atol=1e6 * 3 ** n * 1e-6)
        section = int(round(place.mean() // 2000))
        around = {int(round((g.mean() - others - place.mean()) / 2000)) for g in given}
        assert around <= {-2, -1, 0, 1, 2} and len(around) >= 3
        targets.add(part), sections.add(section)
    assert targets == set(range(n)) and len(sections) == 7


def test_the_last_section_is_repeated():
    parts = denoise.Parts([RNG.normal(size=(4, 8, 8)) for _ in range(2)], 5)
    stack = parts.around([0], 1)
    want = (parts.volumes[0] - parts.mean) / parts.deviation
    for k, section in enumerate([0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3]):
        assert np.allclose(stack[k], want[section], atol=1e-6)


def test_small_slices_are_mirrored():
    parts = denoise.Parts([RNG.normal(size=(4, 10, 20)) for _ in range(2)], 1)
    given, wanted = parts.sample(RNG, 16)
    assert given.shape == (3, 16, 16) and wanted.shape == (1, 16, 16)
    assert np.allclose(wanted[0, 10:], wanted[0, 9:3:-1])


def refused(folder, *arguments):
    done = subprocess.run([sys.executable, "-B", ROOT / "examples" / "denoise.py", *arguments],
                          cwd=folder, text=True, capture_output=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    return done.stderr


def test_what_is_refused(tmp_path):
    for name, shape in ("a", (4, 8, 8)), ("b", (4, 8, 8)), ("c", (4, 8, 9)):
        write_mrc(tmp_path / f"{name}.mrc", RNG.normal(size=shape))
    bad = read_mrc(tmp_path / "a.mrc").copy()
    bad[2, 1, 1] = np.nan
    write_mrc(tmp_path / "nan.mrc", bad)
    write_mrc(tmp_path / "flat.mrc", np.ones((4, 8, 8)))
    (tmp_path / "text.mrc").write_text("no volume")
    (tmp_path / "there.mrc").write_text("earlier")
    for arguments, said in [
            ("-o d.mrc a.mrc", "two or more parts"), ("-o d.mrc a.mrc a.mrc", "given twice"),
            ("-o d.mrc a.mrc c.mrc", "c.mrc has 9 x 8 x 4 voxels, but a.mrc has 8 x 8 x 4"),
            ("-o d.mrc a.mrc none.mrc", "none.mrc"), ("-o d.mrc a.mrc text.mrc", "text.mrc"),
            ("-o d.mrc a.mrc nan.mrc", "section 3 of a part has values that are no numbers"),
            ("-o d.mrc flat.mrc flat.mrc", "given twice"),
            ("-o a.mrc --overwrite a.mrc b.mrc", "also a part"),
            ("-o there.mrc a.mrc b.mrc", "there.mrc exists"),
            ("-o d.mrc --patch 100 a.mrc b.mrc", "multiple of 8"),
            ("-o d.mrc --patch 64 a.mrc b.mrc", "larger than --overlap"),
            ("-o d.mrc --levels 0 a.mrc b.mrc", "--levels")]:
        assert said in refused(tmp_path, *arguments.split()), arguments
    assert (tmp_path / "there.mrc").read_text() == "earlier"
    try:
        import torch  # noqa: F401
    except ImportError:
        assert "PyTorch is not installed" in refused(tmp_path, "-o", "d.mrc", "a.mrc", "b.mrc")
    assert not (tmp_path / "d.mrc").exists()


def test_the_output_s_header(tmp_path):
    """Voxel size and statistics; nothing is there until all is."""
    data = RNG.normal(size=(3, 5, 7)).astype(np.float32)
    write_mrc(tmp_path / "p.mrc", data, pixel=2.5)
    with mrcfile.open(tmp_path / "p.mrc") as file:
        voxel = file.voxel_size.copy()
    denoise.write(str(tmp_path / "d.mrc"), iter(data), data.shape, voxel)
    with mrcfile.open(tmp_path / "d.mrc") as file:
        assert np.array_equal(file.data, data) and file.voxel_size.x == pytest.approx(2.5)
        assert file.header.dmean == pytest.approx(data.mean(), abs=1e-6)

    def stops():
        yield data[0]
        raise RuntimeError("stopped")
    with pytest.raises(RuntimeError):
        denoise.write(str(tmp_path / "e.mrc"), stops(), data.shape, voxel)
    assert not (tmp_path / "e.mrc").exists()
