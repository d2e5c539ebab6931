"""The programs carry the hardening that CMakeLists.txt asks for (see SECURITY.md)."""
import re
import shutil
import subprocess

import pytest

PROGRAMS = ("tiltrec-mpi", "tiltrecz-mpi", "tiltrec-cuda", "tiltrecz-cuda")


def readelf(path, *options):
    if not shutil.which("readelf"):
        pytest.skip("readelf (binutils) is not installed")
    return subprocess.run(["readelf", "--wide", *options, path], check=True, text=True,
                          capture_output=True, env={"LC_ALL": "C"}).stdout


@pytest.fixture(scope="module")
def cache(build_dir):
    text = (build_dir / "CMakeCache.txt").read_text()
    found = dict(re.findall(r"^([\w-]+):\w+=(.*)$", text, re.MULTILINE))
    if found.get("TR_HARDENING") != "ON":
        pytest.skip("this tree was built with -DTR_HARDENING=OFF")
    return found


@pytest.fixture(params=PROGRAMS)
def program(request, build_dir, cache):
    return build_dir / request.param


def test_addresses_vary(program):
    assert re.search(r"Type:\s+DYN", readelf(program, "--file-header"))
    assert re.search(r"FLAGS_1.*\bPIE\b", readelf(program, "--dynamic"))


def test_tables_of_the_linker_are_read_only(program):
    assert "GNU_RELRO" in readelf(program, "--segments")
    assert re.search(r"BIND_NOW|FLAGS_1.*\bNOW\b", readelf(program, "--dynamic"))


def test_stack_is_no_code_and_is_checked(program):
    stack = re.search(r"GNU_STACK.*", readelf(program, "--segments")).group()
    assert re.search(r" RW +0x", stack), stack
    assert "__stack_chk_fail" in readelf(program, "--dyn-syms")


def test_buffers_are_checked(program, cache, sanitized):
    if sanitized or cache.get("CMAKE_BUILD_TYPE") == "Debug":
        pytest.skip("needs optimisation and no sanitizer")
    symbols = readelf(program, "--dyn-syms")
    checked = set(re.findall(r"__(\w+)_chk\b", symbols))
    assert {"snprintf", "vsnprintf"} <= checked, checked


def test_no_library_is_looked_for_in_the_current_folder(program):
    """An empty folder in the list is the current one, where files from elsewhere lie."""
    for paths in re.findall(r"R(?:UN)?PATH.*\[(.*)\]", readelf(program, "--dynamic")):
        for path in paths.split(":"):
            assert path.startswith("/"), paths
