"""Installing, the containers' recipes, and the Python helper."""
import re
import subprocess
import sys

import mrcfile
import numpy as np
import pytest

from conftest import ROOT, read_mrc

PROGRAMS = ["tiltrec-mpi", "tiltrecz-mpi", "tiltrec-cuda", "tiltrecz-cuda"]
EXAMPLES = ROOT / "examples"


def run(*command, **how):
    done = subprocess.run([*map(str, command)], text=True, capture_output=True, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(build_dir, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", build_dir, "--prefix", prefix)
    return prefix


def test_install(installed, build_dir, phantom, tmp_path):
    doc = installed / "share" / "doc" / "tiltrec"
    for program in PROGRAMS:
        assert (installed / "share" / "man" / "man1" / f"{program}.1").exists()
        assert (doc / "manual" / f"{program}.md").exists()
        assert run(installed / "bin" / program, "--version").startswith(f"{program} 0.")
    chapters = {path.name for path in (ROOT / "manual").glob("*.md")}
    assert chapters and chapters <= {path.name for path in (doc / "manual").iterdir()}
    for name in ("LICENSE", "README.md", "CHANGELOG.md", "examples/sirt_from_python.py",
                 "examples/cluster/large.sbatch", "examples/containers/Dockerfile",
                 "examples/ondemand/template/script.sh.erb"):
        assert (doc / name).read_bytes() == (ROOT / name).read_bytes(), name
    for folder, name in ((installed / "bin", "installed.mrc"), (build_dir, "built.mrc")):
        run(folder / "tiltrec-mpi", "-q", "-T", 24, "-o", tmp_path / name, phantom.series)
    assert np.array_equal(read_mrc(tmp_path / "installed.mrc"),
                          read_mrc(tmp_path / "built.mrc"))


# ---- containers ----

def recipe(name):
    return re.sub(r"\\\n\s*", "", (EXAMPLES / "containers" / name).read_text())


def packages(line):
    return {word for word in line.split("--no-install-recommends", 1)[1].split("&&")[0].split()}


@pytest.mark.parametrize("docker, apptainer", [("Dockerfile", "tiltrec.def"),
                                               ("Dockerfile.cuda", "tiltrec-cuda.def")])
def test_containers(docker, apptainer):
    """No container can be built here; but both recipes install what tests/setup names for
    building, and agree."""
    def installs(name):
        return [packages(line) for line in recipe(name).splitlines() if "apt-get install" in line]

    setup = (ROOT / "tests" / "setup").read_text()
    needed = re.search(r"missing_packages\(\) \{(.*?)\n\}", setup, re.S)[1]
    needed = {word for line in needed.splitlines() for word in
              line.partition("|| echo ")[2].replace("has_command h5cc || echo", "").split()}
    needed -= {"", "libcmocka-dev", "python3", "python3-venv"}  # for tests
    needed = {word for word in needed if not word.startswith(("has_", "||", "echo", "h5cc"))}
    built, ran = installs(docker)
    assert needed == built - {"file"}  # for cpack
    assert [built, {word.rsplit("/", 1)[-1] for word in ran}] == [
        first if k == 0 else {word.rsplit("/", 1)[-1] for word in first}
        for k, first in enumerate(installs(apptainer))]
    steps = [line[4:] for line in recipe(docker).splitlines() if line.startswith("RUN cmake")]
    for step in steps:
        assert step in recipe(apptainer)
    assert recipe(docker).count("FROM ") == recipe(apptainer).count("Bootstrap: ") == 2


# ---- Python ----

@pytest.fixture
def helper(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "common" / "library" / "python"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from tiltrec import programs
    return programs


def test_python_helper(helper, build_dir, phantom, tmp_path):
    out = tmp_path / "o.mrc"
    made = helper.reconstruct(phantom.series, program=build_dir / "tiltrec-mpi", output=out,
                              algorithm="SIRT", iterations=3, thickness=24, invert=True,
                              scale="0,2", order="xyz", tilts=phantom.tilts)
    with mrcfile.open(out) as file:
        assert np.array_equal(made.data, file.data)
        assert made.voxel_size == pytest.approx(float(file.voxel_size.x))
    assert made.data.shape == (24, 40, 64) and made.path == str(out)
    assert made.result["algorithm"]["name"] == "SIRT" and len(made.result["residuals"]) == 3

    before = sorted(tmp_path.iterdir())
    with pytest.raises(helper.Error) as raised:
        helper.reconstruct(phantom.series, program=build_dir / "tiltrec-mpi", thickness=-5,
                           output=tmp_path / "p.mrc")
    assert str(raised.value).startswith("--thickness -5: must be")
    assert raised.value.status == 2 and sorted(tmp_path.iterdir()) == before
    with pytest.raises(helper.Error, match="^.*none.mrc: No such file") as raised:
        helper.reconstruct(tmp_path / "none.mrc", program=build_dir / "tiltrec-mpi")
    assert raised.value.status == 1
