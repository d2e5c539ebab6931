"""--report, --json and --preview: what they say, against numpy and the tomogram itself."""
import base64
import hashlib
import html.parser
import json
import re
import subprocess

import h5py
import numpy as np
import pytest

from conftest import ROOT, read_mrc, write_series
from png import read_png
from reference import Geometry, sirt
from specimen import make_slab
from volume_reference import Frame, direct_matrix

TILTS = np.array([-56, -41, -28.5, -12, 0, 3, 17, 33, 47.5])
N_U, N_V, THICKNESS = 20, 22, 6


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    rng = np.random.default_rng(3)
    x, y = np.arange(N_U), np.arange(N_V)[:, None]
    views = [3 + np.sin(0.5 * x + 0.3 * y + 0.4 * k) + 0.2 * rng.normal(size=(N_V, N_U))
             for k in range(len(TILTS))]
    return write_series(tmp_path_factory.mktemp("series"), np.stack(views), TILTS)


def result_of(program, folder, *options, **how):
    done = program("--json", "r.json", *options, cwd=folder, **how)
    return json.loads((folder / "r.json").read_text()), done


def figures(result, name):
    return np.array([view[name] for view in result["views"]["list"]], float)


# ---- how well the views fit ----

def projections(tomogram, pitch):
    """Of a volume [y][z][x], as [view][row][column]."""
    matrix = direct_matrix(TILTS, N_U, N_V, THICKNESS, xtilts=pitch)
    return (matrix @ tomogram.ravel()).reshape(len(TILTS), N_V, N_U)


@pytest.mark.parametrize("algorithm, pitch", [("WBP", 0), ("SIRT", 6)])
def test_correlations_are_those_of_numpy(tiltrec, tiltrecz, series, tmp_path, algorithm, pitch):
    views = read_mrc(series)
    for program in (tiltrec, tiltrecz):
        iterations = ["-i", 3] if algorithm == "SIRT" else []
        result, _ = result_of(program, tmp_path, "-a", algorithm, *iterations, "-T", THICKNESS,
                              "--pitch", pitch, "-o", "rec.mrc", series, ranks=2)
        rows = result["views"]["image_rows_compared"]
        assert rows == 16
        # The rows around the middle slice, and the columns that see half the tomogram.
        first = 11 - rows // 2
        tomogram = read_mrc(tmp_path / "rec.mrc").astype(float)
        crossed = tomogram[first:first + rows] if pitch == 0 else tomogram[1:-1]  # about
        projected = projections(tomogram - np.median(crossed), pitch)
        for k, t in enumerate(np.radians(TILTS)):
            half = max(N_U * np.cos(t), THICKNESS * np.sin(abs(t))) / 2
            middle = N_U / 2 - 0.5
            columns = slice(max(int(np.ceil(middle - half)), 0), int(middle + half) + 1)
            a, b = (image[k, first:first + rows, columns] for image in (views, projected))
            a, b = (image - image.mean(axis=1, keepdims=True) for image in (a, b))
            wanted = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
            assert result["views"]["list"][k]["correlation"] == pytest.approx(
                wanted, abs=2e-4 if pitch else 2e-5)


@pytest.mark.parametrize("name, pitch", [("tiltrec", 0), ("tiltrecz", 6)])
def test_residuals_are_those_of_numpy(request, series, tmp_path, name, pitch):
    """That of iteration 4 is the misfit of the tomogram of 3 iterations."""
    program, views = request.getfixturevalue(name), read_mrc(series)
    options = ["-a", "SIRT", "-T", THICKNESS, "--pitch", pitch, "--outside", "zero", "-o",
               "rec.mrc", series]
    program("-i", 3, *options, cwd=tmp_path)
    if pitch:  # its rows are not those of the tomogram
        geometry = Geometry(TILTS, N_U, 0, z=Frame(pitch, N_U, N_V, THICKNESS).z)
        seen = [geometry.matrix() @ sirt(geometry, views[:, row], 3)[0].ravel()
                for row in range(N_V)]
        misfit = views - np.stack(seen, axis=1)
    else:
        misfit = views - projections(read_mrc(tmp_path / "rec.mrc"), pitch)
    for ranks in (None, 3):
        result, _ = result_of(program, tmp_path, "-i", 4, *options, ranks=ranks)
        norms = [np.linalg.norm(image.reshape(len(TILTS), -1), axis=1)
                 for image in (misfit, views)]
        assert figures(result, "residual") == pytest.approx(norms[0] / norms[1], rel=1e-4)
        assert result["residuals"][3] == pytest.approx(
            np.linalg.norm(misfit) / np.linalg.norm(views), rel=1e-4)


def test_residuals_view_by_view(tiltrec, tiltrecz, series, tmp_path):
    """Algorithms that take them in parts, or over several slabs, give all of them."""
    for program, algorithm in ((tiltrec, "SART"), (tiltrecz, "CGLS"), (tiltrecz, "ADMM")):
        options = ["-a", algorithm, "-i", 2, "-T", THICKNESS, "-o", "rec.mrc", series]
        result, _ = result_of(program, tmp_path, *options)
        squares = (figures(result, "residual") ** 2
                   * (read_mrc(series) ** 2).sum(axis=(1, 2))).sum()
        assert np.sqrt(squares) / np.linalg.norm(read_mrc(series)) == pytest.approx(
            result["residuals"][-1], rel=1e-5)


@pytest.fixture(scope="module")
def cell(make_phantom):
    return make_phantom("--size", 96, 32, 40, "--views", 31, "--snr", 3)


@pytest.mark.parametrize("algorithm", ["WBP", "SIRT"])
@pytest.mark.parametrize("harm", ["none", "noise", "shift"])
def test_bad_views_are_named(tiltrec, cell, tmp_path, algorithm, harm):
    views = read_mrc(cell.series)
    bad = {"none": [], "noise": [9], "shift": [20]}[harm]
    if harm == "noise":
        views[8] = np.random.default_rng(1).normal(views[8].mean(), views[8].std(),
                                                   views[8].shape)
    if harm == "shift":
        views[19] = np.roll(views[19], 15, axis=1)
    path = write_series(tmp_path, views, np.loadtxt(cell.tilts))
    result, done = result_of(tiltrec, tmp_path, "-a", algorithm, "-T", 40, "-o", "rec.mrc",
                             "--report", "r.html", *(["-i", 15] if algorithm == "SIRT" else []),
                             path)
    assert result["views"]["bad"] == bad
    assert [v["view"] for v in result["views"]["list"] if v["bad"]] == bad
    page = (tmp_path / "r.html").read_text()
    assert done.stderr.count("fits the tomogram much worse") == len(bad)
    assert len(result["warnings"]) == len(bad)
    if bad:
        assert f"--exclude {bad[0]}" in done.stderr and f"<b>1 view stands out:</b> view {bad[0]} " in page
    else:
        assert "No view stands out." in page


@pytest.mark.parametrize("algorithm", ["WBP", "SIRT", "CGLS"])
def test_good_views_at_45_degrees_do_not_stand_out(tiltrec, tmp_path, algorithm):
    """There the projection of what is homogeneous has ripples."""
    views, tilts, _ = make_slab(128, 24, 48, 40, 5, 0.3, tilts=np.arange(-60.0, 61, 3))
    path = write_series(tmp_path, views, tilts)
    result, _ = result_of(tiltrec, tmp_path, "-a", algorithm, "-T", 48, "-o", "rec.mrc", path)
    assert result["views"]["bad"] == []
    assert 45.0 in [v["tilt_degrees"] for v in result["views"]["list"]]


# ---- the pictures ----

def tomogram_of(path, order):
    """[y][z][x], whatever the file."""
    if path.suffix == ".hdf":
        with h5py.File(path) as file:
            data = np.array(file["MDF/images/0/image"], float)
    else:
        data = read_mrc(path)
    return data if order == "xzy" else data[::-1].transpose(1, 0, 2)


def sections_of(volume):
    """Of [y][z][x] the central sections as pictures, the highest y or z at the top."""
    y, z, x = (n // 2 for n in volume.shape)
    return {"xy": volume[::-1, z, :], "xz": volume[y, ::-1, :], "yz": volume[:, ::-1, x].T}


def greys(section, low, high):
    return np.clip(255 * (section - low) / (high - low), 0, 255)


@pytest.mark.parametrize("order", ["xzy", "xyz"])
@pytest.mark.parametrize("name, more", [("rec.mrc", []), ("rec.hdf", ["--deflate", "3"]),
                                        ("rec.mrc", ["--mode", "byte"])])
def test_previews_are_the_central_sections(tiltrec, series, tmp_path, order, name, more):
    done = tiltrec("-T", THICKNESS, "--order", order, "-o", name, "--preview", *more, series,
                   cwd=tmp_path)
    sections = sections_of(tomogram_of(tmp_path / name, order))
    said = re.findall(r"wrote rec_(\w+)\.png: section (\d+), grey values from (\S+) to (\S+)",
                      done.stderr)
    assert [name for name, *_ in said] == list(sections)
    for plane, at, low, high in said:
        picture = read_png((tmp_path / f"rec_{plane}.png").read_bytes())
        wanted = sections[plane]
        assert picture.shape == wanted.shape
        assert np.abs(picture - greys(wanted, float(low), float(high))).max() < 1
        inside = (wanted >= float(low)) & (wanted <= float(high))
        assert 0.97 < inside.mean() <= 1
        assert int(at) == {"xy": THICKNESS, "xz": N_V, "yz": N_U}[plane] // 2
    assert not list(tmp_path.glob("*.partial"))


# ---- the JSON ----

def test_the_result_is_true(tiltrec, series, tmp_path):
    options = ["-a", "SIRT", "-i", 4, "-T", THICKNESS, "--tilt-offset", -1.5, "--exclude", "2,5-6",
               "--slices", "2:20", "--mode", "int16", "--half-sets", "views", "-o", "rec.mrc"]
    result, done = result_of(tiltrec, tmp_path, *options, series, ranks=2, threads=2)
    files = {f["role"]: f for f in result["inputs"]}
    for role, path in (("series", series), ("tilt angles", series.with_suffix(".tlt"))):
        data = path.read_bytes()
        assert files[role]["path"] == str(path) and files[role]["bytes"] == len(data)
        assert files[role]["sha256"] == hashlib.sha256(data).hexdigest()
    assert result["status"] == "ok" and result["exit_status"] == 0
    assert result["program"] == "tiltrec-mpi" and result["machine"]["processes"] == 2
    assert result["options"]["thickness"] == THICKNESS
    assert result["options"]["tilt-offset"] == -1.5 and result["options"]["exclude"] == "2,5-6"
    assert result["options"]["slices"] == [2, 20] and result["options"]["mode"] == "int16"
    assert result["options"]["half-sets"] == "views" and result["options"]["invert"] is False
    assert result["options"]["xtilts"] is None and result["options"]["iterations"] == 4
    used = [0, 2, 3, 6, 7, 8]
    assert [v["view"] for v in result["views"]["list"]] == [k + 1 for k in used]
    assert figures(result, "tilt_degrees") == pytest.approx(TILTS[used] - 1.5)
    data = read_mrc(tmp_path / "rec.mrc")
    output = result["output"]
    assert [output[n] for n in ("sections", "rows", "columns")] == list(data.shape)
    assert output["voxel_angstrom"] == 4 and output["type"] == "int16"
    assert output["statistics"]["mean"] == pytest.approx(data.mean(), abs=1e-4)
    assert output["statistics"]["standard_deviation"] == pytest.approx(data.std(), rel=1e-4)
    assert [output["statistics"][n] for n in ("min", "max")] == [data.min(), data.max()]
    assert output["scaling"] in done.stderr
    assert [h["path"] for h in result["half_sets"]] == ["rec_EVN.mrc", "rec_ODD.mrc"]
    assert [c["sections"] for c in result["frc"]] == ["x-y", "x-z"]
    for curve in result["frc"]:
        rings = [(r["frequency_per_voxel"], r["correlation"]) for r in curve["rings"]]
        assert rings[-1][0] == 0.5 and all(abs(c) <= 1 for _, c in rings)
        for limit in (0.5, 0.143):
            length = curve[f"resolution_{limit}_angstrom"]
            before = [f for f, c in rings if c >= limit]
            if length is not None:
                assert 4 / length >= min(before)
    assert result["seconds"]["all"] >= result["seconds"]["running"] > 0
    said = [float(x) for x in re.findall(r"\d: (\d\.\d{6})", done.stderr)]
    assert result["residuals"] == pytest.approx(said[:4], abs=1e-6)
    assert any(line.startswith("memory ") for line in result["plan"])


def chapter_names():
    """The names in the first column of the manual's table of the JSON."""
    text = (ROOT / "manual" / "report.md").read_text()
    table = text[text.index("| name | what |"):].split("\n\n")[0]
    return set(re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in table.splitlines())))


def test_the_manual_has_every_name_of_the_result(tiltrec, series, tmp_path):
    result, _ = result_of(tiltrec, tmp_path, "-T", THICKNESS, "-o", "rec.mrc", series)
    assert set(result) == chapter_names()
    chapter = (ROOT / "manual" / "report.md").read_text()
    for part in ("series", "geometry", "output", "machine", "seconds"):
        for name in result[part]:
            assert f"`{name}`" in chapter, f"{part}: {name}"


def test_failures_are_told(tiltrec, series, tmp_path):
    for options, status, words in ((["-T", 6, "none.mrc"], 1, "cannot open none.mrc"),
                                   (["--tilt-offset", "x", series], 2, "--tilt-offset")):
        (tmp_path / "r.json").write_text("{} of an earlier run")
        result, done = result_of(tiltrec, tmp_path, *options, check=False)
        assert done.returncode == status and result["exit_status"] == status
        assert result["status"] == "failed" and result["tomogram"] is None
        assert words in result["error"] and result["error"] in done.stderr
    (tmp_path / "notes.txt").write_text("what another program wrote")
    tiltrec("-T", 6, "--json", "notes.txt", "none.mrc", cwd=tmp_path, check=False)
    assert (tmp_path / "notes.txt").read_text() == "what another program wrote"


def test_the_tomogram_outlives_a_report_that_fails(tiltrec, series, tmp_path):
    (tmp_path / ".r.html.partial").mkdir()
    result, done = result_of(tiltrec, tmp_path, "-T", THICKNESS, "-o", "rec.mrc", "--report",
                             "r.html", series, check=False, ranks=2)
    assert done.returncode == 1 and "r.html cannot be written" in done.stderr
    assert result["status"] == "failed" and result["tomogram"] == "rec.mrc"
    assert read_mrc(tmp_path / "rec.mrc").shape == (N_V, THICKNESS, N_U)


def test_inputs_are_safe(tiltrec, series, tmp_path):
    path = write_series(tmp_path, read_mrc(series), TILTS)
    for option, name in (("--json", "s_ali.tlt"), ("--report", "s_ali.mrc"),
                         ("--report", "rec.mrc"), ("--report", "none/r.html")):
        before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        done = tiltrec("-T", THICKNESS, "-o", "rec.mrc", option, name, path, cwd=tmp_path,
                       check=False)
        assert done.returncode != 0 and option in done.stderr and name.split("/")[0] in done.stderr
        after = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        assert after == before


def test_a_dry_run_writes_none(tiltrec, series, tmp_path):
    done = tiltrec("-T", THICKNESS, "--dry-run", "--report", "r.html", "--json", "r.json", "--preview",
                   series, cwd=tmp_path)
    assert "for the report" in done.stderr and not list(tmp_path.iterdir())


@pytest.mark.parametrize("algorithm", ["WBP", "SIRT"])
def test_the_tomogram_is_the_same(tiltrec, tiltrecz, series, tmp_path, algorithm):
    for program in (tiltrec, tiltrecz):
        iterations = ["-i", 3] if algorithm == "SIRT" else []
        options = ["-a", algorithm, *iterations, "-T", THICKNESS, "--pitch", 3, series, "-o"]
        program(*options, "plain.mrc", cwd=tmp_path, ranks=2)
        program(*options, "told.mrc", "--report", "r.html", "--json", "r.json", "--preview",
                cwd=tmp_path, ranks=2)
        assert (tmp_path / "plain.mrc").read_bytes() == (tmp_path / "told.mrc").read_bytes()


# ---- the page ----

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(html.parser.HTMLParser):
    """Collects what is in it; fails on tags that do not match and on anything from outside."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.attributes, self.text = [], set(), {}, {}
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:")
        if "id" in attributes:
            assert attributes["id"] not in self.ids
            self.ids.add(attributes["id"])
            self.attributes[attributes["id"]] = attributes
        if tag not in VOID:
            self.open.append((tag, attributes.get("id")))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop()[0] == tag

    def handle_data(self, data):
        for _, name in self.open:
            if name:
                self.text[name] = self.text.get(name, "") + data


def volume_in(page):
    """The smaller volume [z][y][x] as densities, and its factors."""
    a = page.attributes["volume-data"]
    shape = [int(a[f"data-n{axis}"]) for axis in "zyx"]
    levels = np.frombuffer(base64.b64decode(page.text["volume-data"]), np.uint8).reshape(shape)
    low, high = float(a["data-low"]), float(a["data-high"])
    return low + levels / 255 * (high - low), [int(a[f"data-f{axis}"]) for axis in "zyx"]


def test_the_page(tiltrec, series, tmp_path):
    name = "it's <b>&\"odd\".mrc"
    path = write_series(tmp_path, read_mrc(series), TILTS, name="<i>s_ali.mrc")
    tiltrec("-a", "SIRT", "-i", 5, "-T", THICKNESS, "-o", name, "--report", "r.html", "--half-sets",
            "views", path.name, cwd=tmp_path)
    text = (tmp_path / "r.html").read_text()
    page = Page(text)
    assert "http://" not in text and "https://" not in text and "{{" not in text
    assert "<b>&\"odd" not in text and "<i>s_ali" not in text
    for setting in (f"--thickness</th><td>{THICKNESS} pixels", "--pitch</th><td>0 degrees",
                    "--tilt-offset</th><td>0 degrees", "--bin</th><td>1<"):
        assert setting in text
    for part in ("sections", "convergence", "views", "frc", "geometry", "input", "times", "run"):
        assert part in page.ids
    data = read_mrc(tmp_path / name)
    volume, factors = volume_in(page)
    assert factors == [1, 1, 1]
    step = (volume.max() - volume.min()) / 255
    wanted = np.clip(data.transpose(1, 0, 2), volume.min(), volume.max())
    assert np.abs(volume - wanted).max() < 0.51 * step + 1e-6
    for plane, section in sections_of(data).items():
        a = page.attributes[f"image-{plane}"]
        picture = read_png(base64.b64decode(a["src"].split(",")[1]))
        found = greys(section, float(a["data-low"]), float(a["data-high"]))
        assert np.abs(picture - found).max() < 0.51
    # The command makes the same tomogram again.
    kept = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()
    subprocess.run(page.text["command"] + " --quiet", shell=True, check=True, cwd="/")
    assert (tmp_path / name).read_bytes() == kept


def test_large_tomograms_become_smaller_ones(tiltrec, tmp_path):
    """Means of blocks of voxels; at most 8 MB."""
    views = np.random.default_rng(5).normal(size=(2, 150, 300))
    path = write_series(tmp_path, views, [-20, 20])
    for order in ("xzy", "xyz"):
        tiltrec("-a", "BPT", "-T", 163, "-o", "rec.mrc", "--order", order, "--report", "r.html", path,
                cwd=tmp_path)
        assert (tmp_path / "r.html").stat().st_size < 8e6
        volume, factors = volume_in(Page((tmp_path / "r.html").read_text()))
        assert factors == [3, 2, 2] or factors == [2, 2, 2] or factors == [2, 1, 1]
        data = tomogram_of(tmp_path / "rec.mrc", order).transpose(1, 0, 2)
        for axis, factor in enumerate(factors):
            starts = np.arange(0, data.shape[axis], factor)
            counts = np.minimum(starts + factor, data.shape[axis]) - starts
            shape = [-1 if k == axis else 1 for k in range(3)]
            data = np.add.reduceat(data, starts, axis=axis) / counts.reshape(shape)
        step = (volume.max() - volume.min()) / 255
        assert np.abs(volume - np.clip(data, volume.min(), volume.max())).max() < 0.52 * step


def chart_points(text, title):
    """How many points the chart of this title has."""
    chart = text.split(f"<title>{title}")[1].split("</svg>")[0]
    return chart.count("<circle")


def test_what_the_microscope_did(tiltrec, tmp_path):
    rng = np.random.default_rng(4)
    means = np.array([80, 95, 100, 97, 82.0])
    tilts = np.arange(-40, 41, 20)
    write_series(tmp_path, rng.normal(0, 3, (5, 24, 40)) + means[:, None, None], tilts)
    page = tmp_path / "r.html"
    tiltrec("-T", 10, "--report", page, "s_ali.mrc", cwd=tmp_path)
    text = page.read_text()
    assert chart_points(text, "Mean intensity of each view") == 5
    assert "Exposure at the end" not in text and "Defocus of each view" not in text
    (tmp_path / "d.defocus").write_text("".join(
        f"{k + 1} {k + 1} {t:.2f} {t:.2f} {3000 + 10 * k}\n" for k, t in enumerate(tilts)))
    tiltrec("-T", 10, "--report", page, "--dose", 3, "--dose-order", "symmetric", "--ctf",
            "d.defocus", "--voltage", 300, "--cs", 2.7, "--amplitude-contrast", 0.07,
            "s_ali.mrc", cwd=tmp_path)
    text = page.read_text()
    for title in ("Mean intensity of each view", "Exposure at the end of each view",
                  "Order in which the views were taken", "Defocus of each view"):
        assert chart_points(text, title) == 5


@pytest.mark.parametrize("outside, said", [("continue", "the specimen goes on"),
                                           ("zero", "nothing")])
def test_what_was_done_is_said_everywhere(tiltrecz, tmp_path, outside, said):
    rng = np.random.default_rng(4)
    write_series(tmp_path, rng.normal(10, 3, (7, 24, 40)), np.arange(-45, 46, 15))
    (tmp_path / "zf").write_text("0.01 0\n" * 7)
    tiltrecz("-a", "SIRT", "-i", 2, "-T", 10, "--outside", outside, "--z-factors", "zf",
            "--report", "r.html", "--json", "r.json", "-o", "rec.mrc", "s_ali.mrc", cwd=tmp_path)
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["outside"]["specimen_goes_on"] == (outside == "continue")
    assert (result["outside"]["cells"] > 0) == (outside == "continue")
    assert result["z_factors"] == "zf" and result["local_alignment"] is None
    assert result["ctf"] is None and result["dose"] is None
    assert "mirror image" in result["hand"]["angles"] and not result["hand"]["kept_by_order"]
    text = re.sub(r"<[^>]*>", " ", (tmp_path / "r.html").read_text())
    for words in ("not corrected here", "none here", "z-factors", "beyond the field"):
        assert words in text
    labels = (tmp_path / "rec.mrc").read_bytes()[224:1024].decode("ascii")
    assert f"beyond the field: {said}" in labels and "z-factors: zf" in labels
    assert "not CTF-corrected here" in labels


def test_power_spectra_with_the_rings_of_the_ctf(tiltrec, tmp_path):
    """Noise filtered by a known CTF: the picture is dark where the drawn rings are."""
    rng = np.random.default_rng(6)
    n, pixel, defocus = 512, 2.0, 12000.0
    fx, fy = np.fft.fftfreq(n, pixel), np.fft.fftfreq(n, pixel)[:, None]
    f2, wave = fx ** 2 + fy ** 2, 0.0196876  # 300 kV
    chi = np.pi * wave * defocus * f2 - np.pi / 2 * 2.7e7 * wave ** 3 * f2 ** 2 + np.arcsin(0.07)
    views = [np.fft.ifft2(np.fft.fft2(rng.normal(0, 1, (n, n))) * np.sin(chi)).real
             for _ in range(3)]
    write_series(tmp_path, np.array(views) + 20, [-20, 0, 20], pixel=pixel)
    (tmp_path / "d.defocus").write_text("".join(
        f"{k + 1} {k + 1} {t} {t} {defocus / 10}\n" for k, t in enumerate((-20, 0, 20))))
    tiltrec("-T", 16, "--slices", "200:215", "--report", "r.html", "--ctf", "d.defocus",
            "--voltage", 300, "--cs", 2.7, "--amplitude-contrast", 0.07, "s_ali.mrc", cwd=tmp_path)
    text = (tmp_path / "r.html").read_text()
    spectra = re.findall(r"<svg class='spectrum'.*?</svg>", text, re.DOTALL)
    assert len(spectra) == 3
    for svg in spectra:
        picture = read_png(base64.b64decode(svg.split("base64,")[1].split("'")[0])).astype(float)
        rings = [np.array(re.findall(r"([\d.]+) ([\d.]+)", path), float)
                 for path in re.findall(r"class='ctf-ring' d='([^']*)'", svg)]
        rings = [ring for ring in rings if len(ring)]
        for k, ring in enumerate(rings[:4]):
            radius = np.hypot(*(ring - 128).T)
            # chi is a whole number of half turns there
            f = radius.mean() / 128 / (2 * pixel)
            turns = (chi_of(f, wave, defocus)) / np.pi
            assert abs(turns - (k + 1)) < 0.05 and np.ptp(radius) < 0.5
            at = np.round(ring).astype(int)
            dark = picture[at[:, 1], at[:, 0]].mean()
            between = 128 + (ring - 128) * (radius.mean() + 6 - k) / radius.mean()
            at = np.round(between).astype(int)
            assert dark < 0.6 * picture[at[:, 1], at[:, 0]].mean()


def chi_of(f, wave, defocus):
    return (np.pi * wave * defocus * f ** 2 - np.pi / 2 * 2.7e7 * wave ** 3 * f ** 4
            + np.arcsin(0.07))
