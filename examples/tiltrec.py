"""Run a TiltRec program from Python and open the tomogram (needs numpy and mrcfile).

    import tiltrec
    tomogram = tiltrec.reconstruct("ts_ali.mrc", algorithm="SIRT", iterations=30,
                                   thickness=300, threads=8)
    tomogram.data         # numpy array [section][row][column], read from the disk as needed
    tomogram.voxel_size   # angstroms
    tomogram.path, tomogram.log

Options are those of the program (tiltrec-mpi --help), '_' for '-'; True for those without
a value, a list for those of several words. Or: python3 tiltrec.py SERIES [option=value ...]
"""
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import mrcfile

Tomogram = namedtuple("Tomogram", "data voxel_size path log")


class Error(Exception):
    """The one sentence that the program says, and its exit status (manual/index.md)."""

    def __init__(self, sentence, status):
        super().__init__(sentence)
        self.status = status


def command_line(series, program, processes, options):
    line = ["mpiexec", "-n", str(processes)] if processes > 1 else []
    line.append(program)
    for name, value in options.items():
        words = value if isinstance(value, (list, tuple)) else [value]
        if value is True:
            line.append("--" + name.replace("_", "-"))
        elif value not in (None, False):
            line += [f"--{name.replace('_', '-')}={words[0]}", *map(str, words[1:])]
    return [*line, "--", str(series)]


def reconstruct(series, program="tiltrec-mpi", processes=1, output=None, **options):
    """The Tomogram of a series; raises Error where the program fails. It is written to
    `output`, or beside the series under its name with _rec.mrc."""
    series = Path(series)
    if output is None:
        output = series.with_name(series.stem.removesuffix("_ali") + "_rec.mrc")
    line = command_line(series, str(program), processes, {"output": output, **options})
    done = subprocess.run(line, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        said = [s.split(": error: ", 1)[1] for s in done.stderr.splitlines() if ": error: " in s]
        raise Error(said[0] if said else done.stderr.strip(), done.returncode)
    with mrcfile.open(output, mode="r", header_only=True) as file:
        voxel_size = float(file.voxel_size.x)
    return Tomogram(mrcfile.mmap(output, mode="r").data, voxel_size, Path(output), done.stderr)


if __name__ == "__main__":
    given = dict(word.split("=", 1) for word in sys.argv[2:])
    made = reconstruct(sys.argv[1], **given)
    print(made.path, made.data.shape, f"{made.voxel_size:g} angstroms a voxel")
