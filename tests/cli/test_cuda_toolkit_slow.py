"""The project configured where nvcc is too old or broken: by TR_CUDA=AUTO
without the programs for GPUs, and a line that says why; by TR_CUDA=ON not at all."""
import os
import shutil
import subprocess

import pytest

from conftest import ROOT

NVCC = shutil.which("nvcc")


def configure(folder, nvcc, mode):
    """With this text as the nvcc that is found."""
    (folder / "bin").mkdir(exist_ok=True)
    path = folder / "bin" / "nvcc"
    path.write_text(f"#!/bin/sh\n{nvcc}\n")
    path.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    environment.pop("CUDACXX", None)
    return subprocess.run(["cmake", "-S", ROOT, "-B", folder / "build",
                           "-DBUILD_TESTING=OFF", f"-DTR_CUDA={mode}"], text=True,
                          capture_output=True, env=environment)


def refused(folder, nvcc, reason):
    done = configure(folder, nvcc, "AUTO")
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if "No programs for GPUs" in line]
    assert reason in line and "CUDA Toolkit 11.8 or later" in line
    assert "CUDA compiler identification" not in done.stdout
    shutil.rmtree(folder / "build")
    done = configure(folder, nvcc, "ON")
    said = " ".join(done.stderr.split())
    assert done.returncode != 0 and "TR_CUDA=ON, but" in said and reason in said


@pytest.mark.skipif(not NVCC, reason="no nvcc is here to act as an old one")
def test_an_old_nvcc(tmp_path):
    refused(tmp_path, f'[ "$1" = --version ] && echo "release 11.2, V11.2.67" && exit\n'
                      f'exec {NVCC} "$@"', "is of CUDA 11.2")


def test_a_broken_nvcc(tmp_path):
    refused(tmp_path, "exit 1", "no CUDA compiler (nvcc) works here")
