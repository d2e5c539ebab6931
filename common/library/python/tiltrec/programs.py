"""Run a TiltRec program on a file and open the tomogram (needs mrcfile).

    tomogram = tiltrec.programs.reconstruct("ts_ali.mrc", algorithm="SIRT", iterations=30,
                                            thickness=300, threads=8)
    tomogram.data         # numpy array [section][row][column], read from the disk as needed
    tomogram.voxel_size   # angstroms
    tomogram.path, tomogram.result   # the result is that of --json, as a dictionary

Options are those of the program (tiltrec-mpi --help), '_' for '-'; True for those without
a value, a list for those of several words.
"""
import json
import os
import shutil
import subprocess
import sysconfig
import tempfile
from collections import namedtuple
from pathlib import Path

from ._library import Error

Tomogram = namedtuple("Tomogram", "data voxel_size path result")


def find(program):
    """The program beside this Python, where the wheel puts it, or in the path."""
    folders = [sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)]
    return shutil.which(str(program), path=os.pathsep.join(folders)) or str(program)


def command_line(series, program, processes, options):
    line = ["mpiexec", "-n", str(processes)] if processes > 1 else []
    line.append(find(program))
    for name, value in options.items():
        words = value if isinstance(value, (list, tuple)) else [value]
        if value is True:
            line.append("--" + name.replace("_", "-"))
        elif value not in (None, False):
            line += [f"--{name.replace('_', '-')}={words[0]}", *map(str, words[1:])]
    return [*line, "--", str(series)]


def reconstruct(series, program="tiltrec-mpi", processes=1, **options):
    """The Tomogram of a series; raises tiltrec.Error where the program fails."""
    import mrcfile
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "result.json")
        line = command_line(series, program, processes, {**options, "json": file})
        done = subprocess.run(line, stderr=subprocess.PIPE, text=True)
        result = json.loads(file.read_text()) if file.exists() else {}
    if done.returncode != 0:  # a wrong option leaves no file
        said = done.stderr.rpartition(": error: ")[2].splitlines() or [""]
        raise Error(result.get("error") or said[0], done.returncode)
    data = mrcfile.mmap(result["output"]["path"], mode="r").data
    return Tomogram(data, result["output"]["voxel_angstrom"], result["output"]["path"], result)
