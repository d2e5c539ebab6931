"""tests/gpu/first-day on a machine without a GPU: with programs that find none, and with
those of the emulation in the place of the real ones, so that all of it runs."""
import importlib.machinery
import importlib.util
import json
import shutil
import subprocess
import sys
import tarfile

import pytest

from conftest import ROOT

pytestmark = pytest.mark.unsanitized

TESTS = ["vectors", "regularizers"]  # those that take little


@pytest.fixture
def first_day(monkeypatch):
    """The script as a module, with work for a few seconds."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = str(ROOT / "tests" / "gpu" / "first-day")
    loader = importlib.machinery.SourceFileLoader("first_day", path)
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(
        "first_day", loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "TESTS", TESTS)
    monkeypatch.setattr(module, "WORKLOADS", {"tiny": (5, 48, 12, 16)})
    monkeypatch.setattr(module, "TIMED", (("tiny", "tiltrec-cuda", "-a WBP", 1, 3, 20),
                                          ("tiny", "tiltrec-mpi", "-a WBP", 1, 1, 20)))
    return module


@pytest.fixture
def bundle(build_dir, cell, tmp_path):
    """A folder as that of an archive, with the emulated programs for GPUs."""
    emulated = build_dir / "tests" / "cudaemu"
    folder = tmp_path / "bundle"
    files = {f"tiltrec{z}-{kind}": build_dir / f"tiltrec{z}-mpi" if kind == "mpi"
             else emulated / f"tiltrec{z}-cudaemu" for z in ("", "z")
             for kind in ("mpi", "cuda")}
    for test in TESTS:
        files[f"tests/gpu/test_{test}_gpu"] = emulated / f"test_{test}_cudaemu"
    for name in ("tests/gpu/sanitize", "tests/bench/compare"):
        files[name] = ROOT / name
    for name, path in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    script(folder / "tests/bench/gpu/tr_bench_gpu",
           f'exec {build_dir}/tests/bench/gpu/tr_bench_cudaemu --quick "$@"')
    shutil.copytree(cell, folder / "series")
    (folder / "about.json").write_text(json.dumps(
        {"commit": "none", "architectures": "none", "glibc": "2.0", "wanted": []}))
    return folder


@pytest.fixture(scope="session")
def cell(tmp_path_factory):
    """As tests/gpu/bundle makes it, but small."""
    folder = tmp_path_factory.mktemp("series") / "series"
    folder.mkdir()
    subprocess.run([sys.executable, "-B", ROOT / "examples" / "make_phantom.py",
                    "--out-prefix", folder / "cell", "--size", "48", "40", "24", "--views",
                    "15"], check=True, capture_output=True)
    return folder


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run(first_day, bundle, out, monkeypatch, *options):
    """Its exit status and summary."""
    archive = bundle.parent / "archive.tar.xz"
    with tarfile.open(archive, "w:xz", preset=0) as opened:
        opened.add(bundle, "tiltrec-first-day")
    monkeypatch.setattr(sys, "argv", ["first-day", str(archive), str(out),
                                      *map(str, options)])
    status = first_day.main()
    return status, (out / "summary.txt").read_text()


def test_no_gpu(first_day, bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("CUDAEMU_DEVICES", "0")
    status, summary = run(first_day, bundle, tmp_path / "out", monkeypatch)
    assert status == 77
    assert "no GPU: tiltrec-cuda: error: no CUDA device is present" in summary
    assert "FAILED" not in summary and summary.count("passed") == 3 + len(TESTS)


def test_a_gpu_that_cannot_be_used(first_day, bundle, tmp_path, monkeypatch):
    """It is listed, so that the programs find none is no success."""
    tools = tmp_path / "tools"
    script(tools / "nvidia-smi", "echo A GPU, 550, 80 GiB")
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    monkeypatch.setenv("CUDAEMU_DEVICES", "0")
    status, summary = run(first_day, bundle, tmp_path / "out", monkeypatch)
    assert status == 1
    assert "FAILED: the GPU can be used" in summary.splitlines()[-1]
    assert "no CUDA device is present" in summary


def test_libraries_that_are_missing(first_day, bundle, tmp_path, monkeypatch):
    about = json.loads((bundle / "about.json").read_text())
    (bundle / "about.json").write_text(json.dumps({**about, "wanted": ["libnone.so.7"]}))
    script(bundle / "tiltrec-cuda", "echo cannot open libnone.so.7; exit 127")
    status, summary = run(first_day, bundle, tmp_path / "out", monkeypatch)
    assert status == 1 and "no GPU" not in summary
    assert "FAILED: find libnone.so.7, tiltrec-cuda runs" in summary.splitlines()[-1]


def test_all_steps(first_day, bundle, tmp_path, monkeypatch):
    out = tmp_path / "out"
    status, summary = run(first_day, bundle, out, monkeypatch)
    assert status == 0, summary
    assert summary.count("from the CPU") == len(first_day.AGREE)
    assert len(summary.splitlines()) < 60
    assert json.loads((out / "bench.json").read_text())
    names = [line["name"] for line in json.loads((out / "programs.json").read_text())]
    assert names == ["tiny tiltrec-cuda -a WBP", "tiny tiltrec-mpi -a WBP"]
    assert len(list(out.iterdir())) <= 5
    with tarfile.open(out / "logs.tar.gz") as logs:
        assert "logs/test_vectors_gpu.log" in logs.getnames()
    monkeypatch.setattr(first_day, "AGREE", ())
    status, summary = run(first_day, bundle, tmp_path / "again", monkeypatch, "--before",
                          out)
    assert status == 0 and "programs.json against" in summary


@pytest.mark.long
def test_steps_that_fail_and_hang(first_day, bundle, tmp_path, monkeypatch):
    """Both are said, and the others run."""
    run_step = first_day.Day.run
    monkeypatch.setattr(first_day.Day, "run", lambda day, name, limit, command: run_step(
        day, name, 2 if name == "benchmark" else limit, command))
    script(bundle / "tests/gpu/test_vectors_gpu", "echo the reason; exit 5")
    script(bundle / "tests/bench/gpu/tr_bench_gpu", "sleep 100")
    script(bundle / "tiltrecz-cuda", "exit 1")
    status, summary = run(first_day, bundle, tmp_path / "out", monkeypatch)
    failed = [line for line in summary.splitlines() if line.startswith("FAILED")]
    assert status == 1
    assert "test_vectors_gpu" in failed[0] and "exit status 5: the reason" in failed[0]
    assert "tiltrecz -a SIRT -i 3" in failed[1]
    assert "benchmark" in failed[3] and "no end in 2 s" in failed[3]
    assert "passed  tiny tiltrec-mpi -a WBP" in summary
    assert "FAILED: test_vectors_gpu, tiltrecz" in summary.splitlines()[-1]


def test_tools_of_the_toolkit(first_day, bundle, build_dir, tmp_path, monkeypatch):
    """compute-sanitizer and ncu, or rather what stands in for them: one finds something in
    one program with racecheck only."""
    tools = tmp_path / "tools"
    script(tools / "compute-sanitizer", """case "$*" in
*racecheck*regularizers*) echo "========= a race"; exit 99 ;; esac
while [ "${1#-}" != "$1" ]; do
    case $1 in --tool | --error-exitcode | --report-api-errors) shift ;; esac
    shift
done
exec "$@\"""")
    script(tools / "ncu", "echo '\"ID\",\"Kernel Name\"'; echo '\"0\",\"project_planes\"'")
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    for test in ("vectors", "outer", "outer_coupled", "operators", "take"):
        script(bundle / f"tests/gpu/test_{test}_gpu", "exit 0")
    shutil.copy(build_dir / "tests" / "imagewrite", bundle / "tests")
    monkeypatch.setattr(first_day, "AGREE", ())
    out = tmp_path / "out"
    status, summary = run(first_day, bundle, out, monkeypatch)
    memcheck, racecheck, ncu = [
        next(line for line in summary.splitlines() if f" {name} " in line)
        for name in ("memcheck", "racecheck", "ncu")]
    assert status == 1
    assert memcheck.startswith("passed") and "9 programs passed" in memcheck
    assert racecheck.startswith("FAILED") and "8 programs passed" in racecheck
    assert "racecheck test_regularizers" in racecheck
    assert ncu.startswith("passed") and (out / "ncu.csv").read_text().count("\n") == 8
    with tarfile.open(out / "logs.tar.gz") as logs:
        assert "logs/racecheck-all.log" in logs.getnames()


def test_results_that_differ(first_day, bundle, tmp_path, monkeypatch):
    """A program for GPUs that is a thousandth off."""
    script(bundle / "tiltrec-cuda", f"""exec {sys.executable} - "$@" <<'PROGRAM'
import struct, subprocess, sys
subprocess.run(["{bundle}/tiltrec-mpi", *sys.argv[1:]], check=True)
path = sys.argv[sys.argv.index("-o") + 1]
data = bytearray(open(path, "rb").read())
n = (len(data) - 1024) // 4
values = struct.unpack(f"<{{n}}f", data[1024:])
data[1024:] = struct.pack(f"<{{n}}f", *(1.001 * v for v in values))
open(path, "wb").write(data)
PROGRAM""")
    monkeypatch.setattr(first_day, "AGREE", (("tiltrec", "-a WBP", 1e-5),
                                             ("tiltrec", "-a WBP --bin 2", 2e-3)))
    status, summary = run(first_day, bundle, tmp_path / "out", monkeypatch)
    assert status == 1
    assert "1.0e-03 from the CPU, 1e-05 allowed" in summary
    assert "FAILED: tiltrec -a WBP" == summary.splitlines()[-1].split("; ")[-1]
