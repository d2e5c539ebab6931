"""The Debian package: built, looked at, unpacked and run."""
import re
import shutil

import pytest

from conftest import read_mrc
from test_packages import PROGRAMS, run


def test_debian_package(build_dir, sanitized, phantom, tmp_path):
    if sanitized:
        pytest.skip("a package of the sanitizer build is of no use")
    if not shutil.which("dpkg-shlibdeps") or not shutil.which("file"):
        pytest.skip("no dpkg-shlibdeps and file (Debian: dpkg-dev file)")
    run("cpack", "-B", tmp_path / "package", cwd=build_dir)
    package, = (tmp_path / "package").glob("tiltrec_*.deb")
    fields = dict(line.split(": ", 1) for line in
                  run("dpkg-deb", "-f", package).splitlines()
                  if ": " in line and not line.startswith(" "))
    assert fields["Package"] == "tiltrec" and fields["Section"] == "science"
    for library in "libc6", "libfftw3-single3", "libhdf5", "libgomp1", "zlib1g", "libtiff", "libxxhash0":
        assert re.search(rf"\b{library}", fields["Depends"]), fields
    root = tmp_path / "root"
    run("dpkg-deb", "-x", package, root)
    for program in PROGRAMS:
        page = run("gzip", "-dc", root / "usr" / "share" / "man" / "man1" / f"{program}.1.gz")
        assert page.startswith(f".TH {program}")
        assert "/build/" not in run("readelf", "-d", root / "usr" / "bin" / program)
    out = tmp_path / "o.mrc"
    run(root / "usr" / "bin" / "tiltrec-mpi", "-q", "-T", 24, "-o", out, phantom.series)
    assert read_mrc(out).shape == (40, 24, 64)
    if shutil.which("lintian"):
        # Who makes a package gives the address.
        said = run("lintian", "--fail-on", "none", "--suppress-tags",
                   "bogus-mail-host,bogus-mail-host-in-debian-changelog", package)
        assert "E: " not in said, said
