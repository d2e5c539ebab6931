"""What a library would do behind our back: HDF5 chunks that do not fit the memory allowed,
files of very many links, colons in names, and limits of a file's size."""
import resource
import subprocess
import time

import h5py
import numpy as np
import pytest

from conftest import program_command, read_mrc, write_series

BASE = ["-q", "-a", "BPT", "-T", "8", "-o", "rec.mrc"]


def write_exchange(path, data, chunks):
    with h5py.File(path, "w") as file:
        file.create_dataset("exchange/data", data=data, chunks=chunks, compression="gzip")
        file["exchange/theta"] = np.linspace(-30.0, 30, len(data))


@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_chunks_beyond_the_memory_allowed(build_dir, tmp_path, program):
    """144 MB in one chunk, of which a pixel is wanted at a time."""
    data = np.zeros((3, 2000, 6000), "f4")
    data[:, ::500, ::500] = 1
    write_exchange(tmp_path / "s.h5", data, data.shape)
    command = program_command(build_dir, [*BASE, "-w", "8", "--slices", "0:1", "--memory",
                                          "200M", "s.h5"], program=program)
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert done.returncode == 4, done.stderr
    assert "chunks of 137 MiB" in done.stderr and "275 MiB are needed" in done.stderr
    assert "200 MiB are allowed" in done.stderr and "--memory" in done.stderr
    assert not list(tmp_path.glob("rec*"))


def test_chunks_do_not_matter_where_they_fit(tiltrec, tmp_path):
    data = np.random.default_rng(0).normal(10, 1, (5, 16, 24)).astype("f4")
    volumes = []
    for chunks in (data.shape, (1, 4, 8)):
        write_exchange(tmp_path / "s.h5", data, chunks)
        tiltrec(*BASE, "s.h5", cwd=tmp_path)
        volumes.append(read_mrc(tmp_path / "rec.mrc"))
        (tmp_path / "rec.mrc").unlink()
    assert np.array_equal(*volumes) and np.ptp(volumes[0]) > 0


def test_very_many_links(tiltrec, tmp_path, sanitized):
    """To find the i-th link by its place took time that grew with the square."""
    if sanitized:
        pytest.skip("a matter of time")
    seconds = []
    for n in (2000, 16000):
        with h5py.File(tmp_path / "s.h5", "w", libver="latest") as file:
            group = file.create_group("MDF/images")
            for k in range(n):
                group[f"not a number {k}"] = h5py.SoftLink("/x")
        start = time.monotonic()
        done = tiltrec(*BASE, "s.h5", cwd=tmp_path, check=False)
        seconds.append(time.monotonic() - start)
        assert done.returncode == 1 and "no images" in done.stderr, done.stderr
    assert seconds[1] < 5, seconds


@pytest.mark.slow
@pytest.mark.parametrize("output", ["ufs:x.mrc", "nfs:x.mrc", "lustre:a:b.mrc", "12:30/o.mrc",
                                    "ufs:/o.mrc", "12:30/ufs:o.hdf", ":.mrc"])
@pytest.mark.parametrize("ranks, program", [(None, "tiltrec-mpi"), (2, "tiltrec-mpi"),
                                            (2, "tiltrecz-mpi")])
def test_colons_are_parts_of_names(build_dir, tmp_path, output, ranks, program):
    write_series(tmp_path, np.random.default_rng(1).normal(10, 1, (7, 8, 24)),
                 np.arange(-30, 31, 10))
    for folder in ("12:30", "ufs:"):
        (tmp_path / folder).mkdir()
    for path in (output, str(tmp_path / output)):
        command = program_command(build_dir, [*BASE[:-1], path, "--mode", "byte", "s_ali.mrc"],
                                  ranks, program=program)
        done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / output).stat().st_size > 1024
        names = {p.name for p in tmp_path.rglob("*")}
        assert names == {"s_ali.mrc", "s_ali.tlt", "12:30", "ufs:", output.split("/")[-1]}
        (tmp_path / output).unlink()


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["mrc", "hdf"])
@pytest.mark.parametrize("mode", ["float", "byte"])
@pytest.mark.parametrize("program", ["tiltrec-mpi", "tiltrecz-mpi"])
def test_a_limit_of_a_files_size(build_dir, tmp_path, ending, mode, program):
    """What MPI needs is below the larger limit, the tomogram above it."""
    write_series(tmp_path, np.random.default_rng(1).normal(10, 1, (7, 100, 200)),
                 np.arange(-30, 31, 10))
    command = program_command(build_dir, ["-q", "-a", "BPT", "-T", "128", "-o", f"rec.{ending}",
                                          "--mode", mode, "s_ali.mrc"], program=program)
    for limit, status, words in ((9000, 3, ["ulimit -f", "9000"]),
                                 (6 << 20, 1, [f"rec.{ending}", "File too large"])):
        done = subprocess.run(
            command, cwd=tmp_path, text=True, capture_output=True, timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert done.returncode == status, done.stderr
        assert done.stderr.count("error:") == 1, done.stderr
        assert all(word in done.stderr for word in words), done.stderr
        assert not list(tmp_path.glob("*rec*"))
