"""The programs for GPUs on the emulation of tests/cudaemu: fixtures `cuda` and `cudaz`."""
import pytest

from conftest import runner


@pytest.fixture(scope="session")
def cuda(build_dir):
    return runner(build_dir, "tests/cudaemu/tiltrec-cudaemu")


@pytest.fixture(scope="session")
def cudaz(build_dir):
    return runner(build_dir, "tests/cudaemu/tiltrecz-cudaemu")
