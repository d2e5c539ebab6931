"""A run that is interrupted and goes on: the same bytes as without the interruption."""
import signal
import struct
import subprocess
import time

import numpy as np
import pytest

from conftest import MPI_ENVIRONMENT, program_command, read_mrc, write_series

TILTS = np.linspace(-60, 60, 31)
HEADER = 64  # bytes of the journal's
RECORD, DONE = 48, 40  # bytes of a record of the journal, and where it says that it is done
OPTIONS = ["-T", 40, "--memory", "70M"]  # slabs of 16 rows
WORK = {"SIRT": ["-a", "SIRT", "-i", 60], "SART": ["-a", "SART", "-i", 12], "WBP": []}


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resume")
    rng = np.random.default_rng(5)
    return write_series(folder, rng.normal(size=(31, 230, 64)), TILTS)


def slices_done(journal):
    """How many records the journal has, read by its documented layout."""
    if not journal.exists():
        return 0
    data = journal.read_bytes()
    if len(data) < HEADER:
        return 0
    fingerprint, slices, sections = struct.unpack("<QQQ", data[8:32])
    records = data[HEADER + fingerprint + 8 * sections:]
    return sum(struct.unpack_from("<I", records, RECORD * k + DONE)[0] == 1
               for k in range(len(records) // RECORD))


def interrupt(build_dir, folder, options, number, at_least=17, **how):
    """Start, wait until some slices are on the disk, and stop by a signal. Returns what
    standard error said, or None where the run was over before."""
    process = subprocess.Popen(
        program_command(build_dir, ["-o", "rec.mrc", "--checkpoint", 1e-9, *options], **how),
        cwd=folder, stderr=subprocess.PIPE, text=True, env={**MPI_ENVIRONMENT, "PATH":
                                                            "/usr/local/bin:/usr/bin:/bin"})
    journal = folder / ".rec.mrc.journal"
    while process.poll() is None and slices_done(journal) < at_least:
        time.sleep(0.002)
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    return None if (folder / "rec.mrc").exists() else said


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("algorithm, number", [
    ("SIRT", signal.SIGTERM), ("WBP", signal.SIGKILL),
    *(pytest.param(*p, marks=pytest.mark.unsanitized) for p in [
        ("SIRT", signal.SIGKILL), ("SIRT", signal.SIGINT), ("SART", signal.SIGTERM),
        ("WBP", signal.SIGTERM)])])
@pytest.mark.parametrize("output", [[], ["--pitch", 5], ["--mode", "byte", "--order", "xyz"]],
                         ids=["plain", "pitch", "bytes"])
def test_the_same_bytes(build_dir, tiltrec, series, tmp_path, algorithm, number, output):
    options = [*OPTIONS, *WORK[algorithm], *output, series]
    if "--pitch" in output:
        options[options.index("70M")] = "90M"
    if interrupt(build_dir, tmp_path, options, number) is None:
        pytest.skip("the run was over before it could be stopped")
    assert ".rec.mrc.partial" in names(tmp_path) and "rec.mrc" not in names(tmp_path)
    before = slices_done(tmp_path / ".rec.mrc.journal")
    assert before >= 16
    said = tiltrec("-o", "rec.mrc", "--resume", *options, cwd=tmp_path, ranks=2).stderr
    assert "going on after" in said
    assert names(tmp_path) == ["rec.mrc"]
    tiltrec("-o", "whole.mrc", *options, cwd=tmp_path)
    assert (tmp_path / "rec.mrc").read_bytes() == (tmp_path / "whole.mrc").read_bytes()


VOLUME = {"SIRT": ["-a", "SIRT", "-i", 150], "SART": ["-a", "SART", "-i", 60],
          "CGLS": ["-a", "CGLS", "-i", 300],
          "chebyshev": ["-a", "SIRT", "-i", 800, "--accelerate", "chebyshev"],
          "ADMM": ["-a", "ADMM", "-i", 60, "--positive"],
          "l1": ["-a", "ADMM", "-i", 120, "--regularizer", "l1", "-r", 1.6],
          "haar": ["-a", "ADMM", "-i", 120, "--regularizer", "haar"]}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    rng = np.random.default_rng(6)
    return write_series(folder, rng.normal(size=(31, 60, 48)), TILTS)


@pytest.mark.parametrize("work, number, ranks, geometry", [
    *((w, signal.SIGTERM, None, []) for w in VOLUME),
    *((w, signal.SIGKILL, None, []) for w in ("SIRT", "ADMM")),
    *((w, signal.SIGKILL, 2, []) for w in ("CGLS", "ADMM")),
    *((w, signal.SIGTERM, 2, ["--pitch", 4]) for w in ("SIRT", "ADMM"))])
def test_the_same_volume(build_dir, tiltrecz, sanitized, small, tmp_path, work, number, ranks,
                         geometry):
    """Iterations are kept; each process has its own file."""
    if sanitized and (ranks or work not in ("SIRT", "ADMM")):
        pytest.skip("the same paths run sanitized in the other cases; this takes minutes")
    options = ["-T", 32, *VOLUME[work], *geometry, small]
    process = subprocess.Popen(
        program_command(build_dir, ["-o", "rec.mrc", "--checkpoint", 1e-9, *options],
                        program="tiltrecz-mpi", ranks=ranks),
        cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wanted = 2 * (ranks or 1)  # both generations
    while (process.poll() is None and
           len([n for n in names(tmp_path) if "checkpoint" in n and ".new" not in n]) < wanted):
        time.sleep(0.002)
    if ranks and number == signal.SIGKILL:
        subprocess.run(["pkill", "-KILL", "-f", "tiltrecz-mpi -o rec.mrc --checkpoint"],
                       check=False)
    else:
        process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    if (tmp_path / "rec.mrc").exists():
        pytest.skip("the run was over before it could be stopped")
    if number == signal.SIGTERM and not ranks:
        assert process.returncode == 6
        assert "--resume goes on from there" in said.splitlines()[-1]
        assert not [n for n in names(tmp_path) if "partial" in n]
    for name in names(tmp_path):  # what a killed process could not remove
        if name.endswith((".partial", ".new")):
            (tmp_path / name).unlink()
    said = tiltrecz("-o", "rec.mrc", "--resume", *options, cwd=tmp_path, ranks=ranks).stderr
    assert "going on after iteration" in said
    assert names(tmp_path) == ["rec.mrc"]
    whole = tiltrecz("-o", "whole.mrc", *options, cwd=tmp_path, ranks=ranks).stderr
    assert (tmp_path / "rec.mrc").read_bytes() == (tmp_path / "whole.mrc").read_bytes()

    def residuals(text):
        return [line for line in text.splitlines() if line.lstrip()[:1].isdigit()]
    assert residuals(said) == residuals(whole)


def test_checkpoints_of_other_processes_are_refused(build_dir, tiltrecz, small, tmp_path):
    options = ["-T", 32, *VOLUME["SIRT"], small]
    process = subprocess.Popen(
        program_command(build_dir, ["-o", "rec.mrc", "--checkpoint", 1e-9, *options],
                        program="tiltrecz-mpi"), cwd=tmp_path, stderr=subprocess.DEVNULL)
    while process.poll() is None and not [n for n in names(tmp_path) if n.endswith(".1")]:
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)
    before = [n for n in names(tmp_path) if "checkpoint" in n]
    done = tiltrecz("-o", "rec.mrc", "--resume", *options, cwd=tmp_path, ranks=2, check=False)
    assert done.returncode == 2 and "start 1 with mpiexec" in done.stderr
    done = tiltrecz("-o", "rec.mrc", "--resume", *options, "-r", 1.5, cwd=tmp_path,
                    check=False)
    assert done.returncode == 2 and '"--relaxation = 1"' in done.stderr
    assert names(tmp_path) == before
    # Damaged ones count as none.
    for name in before:
        path = tmp_path / name
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    said = tiltrecz("-o", "rec.mrc", "--resume", *options, cwd=tmp_path).stderr
    assert "this run starts anew" in said


def test_a_batch_system_s_time_limit(tiltrecz, small, tmp_path):
    done = tiltrecz("-o", "rec.mrc", "-T", 32, "-a", "SIRT", "-i", 30, small, cwd=tmp_path,
                    check=False, env={"SLURM_JOB_END_TIME": str(int(time.time()) + 60)})
    assert done.returncode == 6
    assert "stopped after iteration 1" in done.stderr
    tiltrecz("-o", "rec.mrc", "-T", 32, "-a", "SIRT", "-i", 30, "--resume", small,
             cwd=tmp_path)
    assert names(tmp_path) == ["rec.mrc"]


def test_other_options_or_data_are_refused_by_name(build_dir, tiltrec, series, tmp_path):
    options = [*OPTIONS, *WORK["SIRT"]]
    copy = tmp_path / "t_ali.mrc"
    copy.write_bytes(series.read_bytes())
    copy.with_suffix(".tlt").write_bytes(series.with_suffix(".tlt").read_bytes())
    assert interrupt(build_dir, tmp_path, [*options, copy], signal.SIGTERM) is not None
    before = names(tmp_path)

    def resume(*more):
        done = tiltrec("-o", "rec.mrc", "--resume", *options, *more, copy, cwd=tmp_path,
                       check=False)
        assert names(tmp_path) == before
        return done

    done = resume("-r", 0.9)
    assert done.returncode == 2
    assert '"--relaxation = 1"' in done.stderr and '"--relaxation = 0.9' in done.stderr
    data = bytearray(copy.read_bytes())
    data[-3] ^= 1
    copy.write_bytes(data)
    done = resume()
    assert done.returncode == 2 and '"series = ' in done.stderr
    copy.with_suffix(".tlt").write_text("\n".join(str(t + 1) for t in TILTS))
    data[-3] ^= 1
    copy.write_bytes(data)
    done = resume()
    assert done.returncode == 2 and '"tilt angles = ' in done.stderr


def test_other_exposures_are_refused(build_dir, tiltrec, series, tmp_path):
    options = [*OPTIONS, *WORK["SIRT"], "--dose-order", "symmetric", series]
    assert interrupt(build_dir, tmp_path, [*options, "--dose", 3], signal.SIGTERM) is not None
    for more, line in ((["--dose", 4], "exposures = "),
                       (["--dose", 3, "--dose-initial", 1], "exposures = "),
                       (["--dose", 3, "--voltage", 200], "--voltage = ")):
        done = tiltrec("-o", "rec.mrc", "--resume", *options, *more, cwd=tmp_path, check=False)
        assert done.returncode == 2 and f'"{line}' in done.stderr, done.stderr
    done = tiltrec("-o", "rec.mrc", "--resume", *options, "--dose", 3, cwd=tmp_path)
    assert "going on" in done.stderr or "goes on" in done.stderr, done.stderr


def test_another_ctf_is_refused(build_dir, tiltrec, series, tmp_path):
    (tmp_path / "c.defocus").write_text("1 1 0 0 3000 2\n")
    (tmp_path / "d.defocus").write_text("1 1 0 0 3001 2\n")
    options = [*OPTIONS, *WORK["SIRT"], series, "--voltage", 300, "--cs", 2.7,
               "--amplitude-contrast", 0.07]
    assert interrupt(build_dir, tmp_path, [*options, "--ctf", "c.defocus"],
                     signal.SIGTERM) is not None
    for more, line in ((["--ctf", "d.defocus"], "CTF = "),
                       (["--ctf", "c.defocus", "--ctf-mode", "multiply"], "--ctf-mode = ")):
        done = tiltrec("-o", "rec.mrc", "--resume", *options, *more, cwd=tmp_path, check=False)
        assert done.returncode == 2 and f'"{line}' in done.stderr, done.stderr
    (tmp_path / "c.defocus").rename(tmp_path / "e.defocus")  # a name is no matter
    done = tiltrec("-o", "rec.mrc", "--resume", *options, "--ctf", "e.defocus", cwd=tmp_path)
    assert "going on" in done.stderr or "goes on" in done.stderr, done.stderr


def test_a_damaged_journal_is_not_believed(build_dir, tiltrec, series, tmp_path):
    """Records that do not fit their check sum count as not done."""
    options = [*OPTIONS, *WORK["SIRT"], series]
    assert interrupt(build_dir, tmp_path, options, signal.SIGTERM) is not None
    journal = tmp_path / ".rec.mrc.journal"
    data = bytearray(journal.read_bytes())
    start = len(data) - 230 * RECORD
    data[start + RECORD * 3 + 5] ^= 4
    journal.write_bytes(data)
    said = tiltrec("-o", "rec.mrc", "--resume", *options, cwd=tmp_path).stderr
    assert "going on after 3 slices" in said
    tiltrec("-o", "whole.mrc", *options, cwd=tmp_path)
    assert (tmp_path / "rec.mrc").read_bytes() == (tmp_path / "whole.mrc").read_bytes()
    (tmp_path / "rec.mrc").unlink()
    journal.write_bytes(b"something else")
    (tmp_path / ".rec.mrc.partial").write_bytes(b"")
    done = tiltrec("-o", "rec.mrc", "--resume", *options, cwd=tmp_path, check=False)
    assert done.returncode == 1 and ".rec.mrc.journal" in done.stderr


def test_nothing_to_go_on_from(tiltrec, series, tmp_path):
    said = tiltrec("-o", "rec.mrc", "--resume", *OPTIONS, series, cwd=tmp_path).stderr
    assert "this run starts anew" in said
    assert np.isfinite(read_mrc(tmp_path / "rec.mrc")).all()
    assert names(tmp_path) == ["rec.mrc"]


def test_without_resume_it_starts_anew(build_dir, tiltrec, series, tmp_path):
    options = [*OPTIONS, *WORK["SIRT"], series]
    assert interrupt(build_dir, tmp_path, options, signal.SIGTERM) is not None
    said = tiltrec("-o", "rec.mrc", *OPTIONS, series, cwd=tmp_path).stderr
    assert "an earlier run was interrupted; without --resume this one starts anew" in said
    assert names(tmp_path) == ["rec.mrc"]


def test_short_runs_are_not_kept(build_dir, series, tmp_path):
    """By default a run of less than a minute leaves nothing behind."""
    process = subprocess.Popen(
        program_command(build_dir, ["-o", "rec.mrc", *OPTIONS, "-a", "SIRT", "-i", 4000,
                                    series]), cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not (tmp_path / ".rec.mrc.partial").exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) != 0
    assert names(tmp_path) == []
