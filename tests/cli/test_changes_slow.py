"""What changes between a run that was killed and --resume: either a sentence refuses to go
on, or the result is what a fresh run makes of the same files and options, byte for byte.
Never a mixture. And what changes under a run while it works is found."""
import gzip
import os
import shutil
import signal
import subprocess
import time

import mrcfile
import numpy as np
import pytest

from conftest import EVERY, MPI_ENVIRONMENT, program_command, runner, write_mrc, write_series
from test_resume_slow import HEADER, RECORD, slices_done

pytestmark = pytest.mark.unsanitized

SLICES, VOLUME = "tiltrec-mpi", "tiltrecz-mpi"
VIEWS, ROWS, COLUMNS, THICK = 21, 160, 64, 32
TILTS = np.linspace(-60, 60, VIEWS)
SERIES, OUT = "s_ali.mrc", "rec.mrc"
MANY = {SLICES: 240, VOLUME: 300}  # iterations: long enough to be killed in the middle
COM = """$tilt -StandardInput
InputProjections s_ali.mrc
OutputFile rec.mrc
TILTFILE s_ali.tlt
THICKNESS 32
SCALE {} {}
SHIFT 0.0 {}
OFFSET {}
MODE 2
$exit
"""


def images(seed):
    rng = np.random.default_rng(seed)
    return (100 + 20 * rng.normal(size=(VIEWS, ROWS, COLUMNS))).astype(np.float32)


def write_xf(folder, shift=0.3, scale=1.0):
    np.savetxt(folder / "s.xf", [[scale, 0, 0, 1, shift if k == 3 else 0.2, 0.1]
                                 for k in range(VIEWS)], "%.9g")


def write_files(folder):
    write_series(folder, images(1), TILTS)
    for name, seed in ("even.mrc", 2), ("odd.mrc", 3):
        write_mrc(folder / name, images(seed))
    volume = np.random.default_rng(4).normal(size=(ROWS, THICK, COLUMNS))
    write_mrc(folder / "initial.mrc", volume)
    (folder / "tilt.com").write_text(COM.format(0, 1, 0, 0))
    write_xf(folder)


# The commands that are killed: what is added to the algorithm's.
BASES = {"plain": ["-T", THICK, SERIES], "com": ["--imod-com", "tilt.com"],
         "initial": ["-T", THICK, "--initial", "initial.mrc", SERIES],
         "transforms": ["-T", THICK, "--transforms", "s.xf", SERIES],
         "log": ["-T", THICK, "--log", 30, SERIES],
         "half": ["-T", THICK, "--half-sets", "frames", "even.mrc", "odd.mrc", SERIES],
         "hdf": ["-T", THICK, SERIES], "byte": ["-T", THICK, "--mode", "byte", SERIES],
         "xyz": ["-T", THICK, "--order", "xyz", SERIES]}


def options_of(program, base):
    output = "rec.hdf" if base == "hdf" else OUT
    more = ["--memory", "67M"] if program == SLICES else []
    return ["-a", "SIRT", "-i", MANY[program], *more, "-o", output, *BASES[base]]


# ---- changes ----

def data(change):
    """Of the samples of the series."""
    def apply(folder, options):
        with mrcfile.open(folder / SERIES) as file:
            samples = np.array(file.data)
        write_mrc(folder / SERIES, change(samples))
        return options, {}
    return apply


def one(change):
    def apply(samples):
        change(samples)
        return samples
    return data(apply)


def swap(axis, a=2, b=5):
    def apply(samples):
        order = np.arange(samples.shape[axis])
        order[[a, b]] = order[[b, a]]
        return np.take(samples, order, axis)
    return data(apply)


def bit(samples):
    samples.view(np.uint32)[7, 11, 13] ^= 1


def nan(samples):
    samples[7, 11, 13] = np.nan


def header(**fields):
    def apply(folder, options):
        with mrcfile.open(folder / SERIES, "r+") as file:
            if "label" in fields:
                file.add_label(fields["label"])
            if "pixel" in fields:
                file.voxel_size = fields["pixel"]
        return options, {}
    return apply


def in_another_form(folder, options):
    """The same samples, big-endian."""
    path = folder / SERIES
    with mrcfile.open(path) as file:
        samples = np.array(file.data)
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(samples.astype(">f4"))
        file.voxel_size = 4.0
    return options, {}


def packed(folder, options):
    path = folder / SERIES
    path.write_bytes(gzip.compress(path.read_bytes(), 1))
    return options, {}


def angles(change):
    def apply(folder, options):
        np.savetxt(folder / "s_ali.tlt", change(TILTS.copy()), "%.9g")
        return options, {}
    return apply


def nudged(tilts):
    tilts[4] += 0.001
    return tilts


def com(*values):
    def apply(folder, options):
        (folder / "tilt.com").write_text(COM.format(*values))
        return options, {}
    return apply


def initial(change):
    """The same size and time of writing."""
    def apply(folder, options):
        path = folder / "initial.mrc"
        before = path.stat()
        with mrcfile.open(path) as file:
            samples = np.array(file.data)
        write_mrc(path, change(samples))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return options, {}
    return apply


def transforms(**how):
    def apply(folder, options):
        write_xf(folder, **how)
        return options, {}
    return apply


def another_series(name):
    def apply(folder, options):
        write_mrc(folder / name, -images(9))
        return options, {}
    return apply


def more(*options_added, without=(), env=None):
    def apply(folder, options):
        kept = [o for o in options if o not in without]
        return [*options_added, *kept], env or {}
    return apply


def instead(old, *new):
    def apply(folder, options):
        at = options.index(old)
        return [*options[:at], *new, *options[at + len(new):]], {}
    return apply


def kept(pattern, change):
    """Of the files that the killed run left, but for one that it had only just opened."""
    def apply(folder, options):
        found = sorted(p for p in folder.glob(pattern) if p.stat().st_size)
        assert found, pattern
        for path in found:
            change(path)
        return options, {}
    return apply


def flip(at):
    """A bit, at a share of the length if `at` is less than 1."""
    def apply(path):
        content = bytearray(path.read_bytes())
        content[int(at * len(content)) if 0 < at < 1 else at] ^= 4
        path.write_bytes(content)
    return apply


def cut(share):
    return lambda path: os.truncate(path, int(share * path.stat().st_size))


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def fill(path):
    path.write_bytes(np.random.default_rng(1).bytes(path.stat().st_size))


def unlink(path):
    path.unlink()


INPUTS = {
    "negated": ("plain", data(lambda s: -s)), "doubled": ("plain", data(lambda s: 2 * s)),
    "brighter": ("plain", data(lambda s: s + 1)), "views swapped": ("plain", swap(0)),
    "rows swapped": ("plain", swap(1)), "columns swapped": ("plain", swap(2)),
    "mirrored": ("plain", data(lambda s: s[:, :, ::-1])), "one bit": ("plain", one(bit)),
    "a NaN": ("plain", one(nan)), "a label": ("plain", header(label="something")),
    "a pixel size": ("plain", header(pixel=7.5)), "big-endian": ("plain", in_another_form),
    "gzip": ("plain", packed), "an angle": ("plain", angles(nudged)),
    "angles turned over": ("plain", angles(lambda t: t[::-1])),
    "com: SCALE's factor": ("com", com(0, 250, 0, 0)),
    "com: SCALE's sum": ("com", com(7, 1, 0, 0)), "com: SHIFT": ("com", com(0, 1, 0.5, 0)),
    "com: OFFSET": ("com", com(0, 1, 0, 0.01)), "com: nothing": ("com", com(0, 1, 0, 0)),
    "initial volume": ("initial", initial(lambda s: s[::-1])),
    "initial volume negated": ("initial", initial(lambda s: -s)),
    "no initial volume": ("initial", more(without=("--initial", "initial.mrc"))),
    "a shift": ("transforms", transforms(shift=0.301)),
    "a magnification": ("transforms", transforms(scale=1.0001)),
    "no transforms": ("transforms", more(without=("--transforms", "s.xf"))),
    "log's base": ("log", instead("--log", "--log", 30.000001)),
    "no log": ("log", more(without=("--log", 30))),
    "log of 0": ("plain", more("--log", 0)), "contrast": ("plain", more("--invert")),
    "hot pixels": ("plain", more("--hot-pixels", "off")),
    "level": ("plain", more("--normalize", "mean")),
    "relaxation": ("plain", more("-r", 0.999999)), "offset": ("plain", more("--tilt-offset", 1e-7)),
    "outside": ("plain", more("--outside", "zero")), "slices": ("plain", more("--slices", "0:150")),
    "views left out": ("plain", more("--exclude", 3)), "scale": ("plain", more("--scale", "0,2")),
    "instruction set": ("plain", more(env={"TR_ISA": "baseline"})),
    "threads and memory": ("plain", more("--memory", "200M", without=("--memory", "67M"))),
    "iterations until the noise": ("plain", lambda _, o: ([x for x in o if x not in (
        "-i", *MANY.values())], {})),
}
KEPT = {
    SLICES: {
        "a slice's bit": ("plain", kept(".rec.mrc.partial", flip(3000))),
        "the header's bit": ("plain", kept(".rec.mrc.partial", flip(13))),
        "cut in half": ("plain", kept(".rec.mrc.partial", cut(0.5))),
        "cut in the first slices": ("plain", kept(".rec.mrc.partial", cut(0.03))),
        "cut to nothing": ("plain", kept(".rec.mrc.partial", cut(0))),
        "zeros": ("plain", kept(".rec.mrc.partial", zero)),
        "noise": ("plain", kept(".rec.mrc.partial", fill)),
        "gone": ("plain", kept(".rec.mrc.partial", unlink)),
        "the journal's bit": ("plain", kept(".rec.mrc.journal", flip(-150 * RECORD + 3))),
        "a bit of the journal's head": ("plain", kept(".rec.mrc.journal", flip(HEADER - 28))),
        "where a section is": ("plain", kept(".rec.mrc.journal", flip(-160 * RECORD - 80))),
        "the journal cut": ("plain", kept(".rec.mrc.journal", cut(0.7))),
        "xyz: a bit": ("xyz", kept(".rec.mrc.partial", flip(0.5))),
        "xyz: zeros": ("xyz", kept(".rec.mrc.partial", zero)),
        "HDF5: a slice's bit": ("hdf", kept(".rec.hdf.partial", flip(0.02))),
        "HDF5: a bit of how it is built": ("hdf", kept(".rec.hdf.partial", flip(40))),
        "HDF5: cut": ("hdf", kept(".rec.hdf.partial", cut(0.9))),
        "HDF5: noise": ("hdf", kept(".rec.hdf.partial", fill)),
        "floats: a bit": ("byte", kept(".rec.mrc.float", flip(2000))),
        "floats: cut": ("byte", kept(".rec.mrc.float", cut(0.01))),
        "integers: noise": ("byte", kept(".rec.mrc.partial", fill)),
        "half sets: the even frames": ("half", another_series("even.mrc")),
        "half sets: the odd frames": ("half", another_series("odd.mrc"))},
    VOLUME: {
        "a checkpoint's bit": ("plain", kept(".rec.mrc.checkpoint-0-of-1.0", flip(0.5))),
        "both checkpoints' bits": ("plain", kept(".rec.mrc.checkpoint-*", flip(0.5))),
        "a checkpoint cut": ("plain", kept(".rec.mrc.checkpoint-0-of-1.1", cut(0.6))),
        "both checkpoints cut": ("plain", kept(".rec.mrc.checkpoint-*", cut(0.6))),
        "a checkpoint gone": ("plain", kept(".rec.mrc.checkpoint-0-of-1.0", unlink)),
        "zeros": ("plain", kept(".rec.mrc.checkpoint-*", zero)),
        "the end": ("plain", kept(".rec.mrc.checkpoint-*", flip(-1))),
        "half sets: the even frames": ("half", another_series("even.mrc"))},
}
KINDS = [(program, name, *kind) for program in (SLICES, VOLUME)
         for name, kind in {**INPUTS, **KEPT[program]}.items()]


# ---- runs ----

def far_enough(folder, program):
    if program == SLICES:
        return any(slices_done(p) >= 17 for p in folder.glob(".*.journal"))
    return len([p for p in folder.glob(".*checkpoint*") if p.suffix in (".0", ".1")]) >= 2


def start(build_dir, folder, program, options):
    return subprocess.Popen(
        program_command(build_dir, ["--checkpoint", 1e-9, *options], program=program),
        cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, **MPI_ENVIRONMENT})


def work_until(build_dir, folder, program, options):
    """A run that has done something; the process."""
    process = start(build_dir, folder, program, options)
    while process.poll() is None and not far_enough(folder, program):
        time.sleep(0.002)
    return process


@pytest.fixture(scope="module")
def killed(build_dir, tmp_path_factory):
    """killed(program, base): a folder with what a killed run left, made once."""
    made = {}

    def make(program, base):
        if (program, base) not in made:
            folder = tmp_path_factory.mktemp("killed")
            write_files(folder)
            options = options_of(program, base)
            process = work_until(build_dir, folder, program, options)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
            assert not (folder / options[options.index("-o") + 1]).exists(), "it was over"
            made[program, base] = folder
        return made[program, base]
    return make


def results(folder):
    return {path.name: path.read_bytes() for path in folder.glob("rec*")}


SOME = KINDS[::1 if EVERY == 1 else 6]


@pytest.mark.parametrize("program, name, base, change", SOME,
                         ids=[f"{p}: {n}" for p, n, *_ in SOME])
def test_changed_before_resume(build_dir, killed, tmp_path, program, name, base, change):
    folder, run = tmp_path / "f", runner(build_dir, program)
    shutil.copytree(killed(program, base), folder, copy_function=shutil.copy2)
    options, env = change(folder, options_of(program, base))
    done = run("--resume", *options, cwd=folder, env=env, check=False)
    if done.returncode != 0:
        assert done.returncode in (1, 2), done.stderr
        assert len([line for line in done.stderr.splitlines() if "error: " in line]) == 1
        assert not results(folder)
        print("refused:", done.stderr.splitlines()[-1])
        return
    found = results(folder)
    assert found
    for path in folder.glob("rec*"):
        path.unlink()
    run(*options, cwd=folder, env=env)
    assert results(folder) == found, "a mixture"
    print("as a fresh run")


def test_what_does_not_change_goes_on(build_dir, killed, tmp_path):
    """Else the above could pass with a --resume that always starts anew."""
    for program, said in (SLICES, "going on after"), (VOLUME, "going on after iteration"):
        for base in "plain", "com", "initial", "transforms", "hdf", "half":
            folder = tmp_path / f"{program} {base}"
            shutil.copytree(killed(program, base), folder, copy_function=shutil.copy2)
            if (program, base) == (VOLUME, "transforms"):
                continue  # the rows are coupled; other tests go on there
            done = runner(build_dir, program)("--resume", *options_of(program, base),
                                              cwd=folder)
            assert said in done.stderr, (program, base, done.stderr)
            assert "made anew" not in done.stderr


# ---- during a run ----

@pytest.mark.parametrize("base", ["plain", "transforms", "initial"])
def test_an_input_written_to_meanwhile(build_dir, tiltrec, tmp_path, base):
    """In place: the run reads on from the same file. What it has is kept, and goes on when
    the file is again what it was."""
    write_files(tmp_path)
    options = options_of(SLICES, base)
    process = work_until(build_dir, tmp_path, SLICES, options)
    path = tmp_path / ("initial.mrc" if base == "initial" else SERIES)
    before = path.read_bytes()
    with open(path, "r+b") as file:
        file.seek(1024)
        file.write((-np.frombuffer(before, "<f4", offset=1024)).tobytes())
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and f"{path.name} was changed while this run" in said
    assert not results(tmp_path)
    path.write_bytes(before)
    said = tiltrec("--resume", *options, cwd=tmp_path).stderr
    assert "going on after" in said
    found = results(tmp_path)
    tiltrec(*options, cwd=tmp_path)
    assert results(tmp_path) == found


@pytest.mark.parametrize("base, kind", [("plain", "partial"), ("byte", "float")])
@pytest.mark.parametrize("change, word", [
    (cut(0), "was cut short"), (cut(0.5), "was cut short"), (unlink, "is not there"),
    (lambda p: shutil.copy(p, f"{p}.x") and os.replace(f"{p}.x", p), "was replaced")],
    ids=["to nothing", "in half", "removed", "replaced"])
def test_an_output_changed_meanwhile(build_dir, tiltrec, tmp_path, base, kind, change, word):
    write_files(tmp_path)
    options = options_of(SLICES, base)
    process = work_until(build_dir, tmp_path, SLICES, options)
    change(tmp_path / f".rec.mrc.{kind}")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 1 and word in said, said
    assert not results(tmp_path)
    tiltrec("--resume", *options, cwd=tmp_path)
    found = results(tmp_path)
    tiltrec(*options, cwd=tmp_path)
    assert results(tmp_path) == found
