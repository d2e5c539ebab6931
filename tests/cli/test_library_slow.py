"""The wheel: built, installed into a fresh environment, and used there."""
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import numpy as np
import pytest

from conftest import ROOT

PACKAGE = ROOT / "common" / "library" / "python"
PROGRAMS = ("tiltrec-mpi", "tiltrecz-mpi", "tiltrec-cuda", "tiltrecz-cuda")


def run(*words, **options):
    done = subprocess.run([*map(str, words)], text=True, capture_output=True, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, sanitized):
    pytest.importorskip("scikit_build_core")
    if sanitized:
        pytest.skip("the wheel is built for its users, once")
    folder = tmp_path_factory.mktemp("wheel")
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])  # of ninja
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
        "--no-index", f"--config-settings=build-dir={folder / 'build'}", "-w", folder, PACKAGE,
        env={**os.environ, "PATH": scripts, "TR_CUDA": "OFF"})
    assert not (PACKAGE / "build").exists()
    made, = folder.glob("*.whl")
    return made


def test_one_wheel_for_every_python(wheel):
    version = run("sed", "-n", "s/^project(tiltrec VERSION \\([0-9.]*\\).*/\\1/p",
                  ROOT / "CMakeLists.txt").strip()
    assert wheel.name.startswith(f"tiltrec-{version}-py3-none-linux_")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert [name for name in names if ".so" in name] == ["tiltrec/lib/libtiltrec.so.0"]
    for program in PROGRAMS:
        assert f"tiltrec-{version}.data/scripts/{program}" in names
    modules = {f"tiltrec/{path.name}" for path in (PACKAGE / "tiltrec").glob("*.py")}
    assert modules <= set(names)
    others = {name for name in names if "/scripts/" not in name and "dist-info" not in name}
    assert others == modules | {"tiltrec/lib/libtiltrec.so.0"}
    assert wheel.stat().st_size < 4 << 20


@pytest.fixture(scope="module")
def fresh(wheel, tmp_path_factory):
    """A new environment with the wheel; numpy and mrcfile come from this one."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index",
        wheel)
    packages = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    with open(os.path.join(packages, "others.pth"), "w") as file:
        file.write("\n".join(path for path in sys.path if path.endswith("-packages")))
    return python


def clean_environment():
    return {name: value for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "TILTREC_LIBRARY_PATH", "LD_LIBRARY_PATH")}


def test_the_package_works_there(fresh, phantom, tmp_path):
    code = """if True:
        import sys, mrcfile, numpy as np, tiltrec
        assert tiltrec.__file__.startswith(sys.prefix), tiltrec.__file__
        data, tilts = mrcfile.read(sys.argv[1]), np.loadtxt(sys.argv[2])
        got = tiltrec.reconstruct(data, tilts, "SIRT", thickness=24, iterations=4)
        file = tiltrec.programs.reconstruct(sys.argv[1], algorithm="SIRT", thickness=24,
            iterations=4, outside="zero", order="xyz", output="program.mrc", tilts=sys.argv[2])
        print(tiltrec.__version__, np.abs(got - file.data).max() / np.ptp(got))"""
    version, difference = run(fresh, "-c", code, phantom.series, phantom.tilts, cwd=tmp_path,
                              env=clean_environment()).split()
    assert version.startswith("0.") and float(difference) < 1e-6


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_programs_are_there(fresh, program):
    said = run(fresh.parent / program, "--version", env=clean_environment())
    assert said.startswith(f"{program} 0.")


def test_other_versions_of_python(wheel, tmp_path):
    """The same wheel, unpacked, with each Python of this machine that has numpy."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = ("import numpy as np, tiltrec\n"
            "A = tiltrec.Operator([0.0], (3, 4), thickness=2)\n"
            "print((A @ np.ones((2, 3, 4), np.float32)).tolist())")
    found = 0
    for minor in range(8, 20):
        python = shutil.which(f"python3.{minor}")
        if not python or subprocess.run([python, "-c", "import numpy"],
                                        capture_output=True).returncode:
            continue
        found += 1
        said = run(python, "-B", "-c", code,
                   env={**clean_environment(), "PYTHONPATH": str(tmp_path)})
        assert np.array_equal(eval(said), np.full((1, 3, 4), 2.0)), python
    if not found:
        pytest.skip("no python3.N with numpy in the path")
