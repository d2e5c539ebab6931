"""What the tests of bad input share: a small series, and what a clean refusal is."""
import os
import shutil
import struct
import subprocess
import warnings

import mrcfile
import numpy as np
import pytest

VIEWS, ROWS, COLUMNS = 7, 12, 16
# Write each rank's exit status to a file of its own in $1, then exit with it.
RECORD = 'to=$1; shift; "$@"; s=$?; echo $s > "$to/$$"; exit $s'


class Bench:
    """Folder `folder` with s.mrc (7 views of 16 x 12 pixels) and its angles s.tlt."""

    def __init__(self, folder, tiltrec):
        self.tiltrec = tiltrec
        self.folder = folder / "series"
        self.statuses = folder / "statuses"
        self.folder.mkdir()
        self.statuses.mkdir()
        rng = np.random.default_rng(1)
        self.data = rng.normal(10, 1, (VIEWS, ROWS, COLUMNS)).astype(np.float32)
        self.stack("s.mrc", self.data)
        self.text("s.tlt", "".join(f"{20 * k - 60}\n" for k in range(VIEWS)))

    def stack(self, name, data):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NaN is meant
            mrcfile.write(self.folder / name, data, voxel_size=10.0, overwrite=True)

    def text(self, name, text):
        (self.folder / name).write_text(text)

    def patch(self, offset, form, *values):
        """Overwrite part of s.mrc; `form` as for struct."""
        with open(self.folder / "s.mrc", "r+b") as file:
            file.seek(offset)
            file.write(struct.pack(form, *values))

    def contents(self):
        """All that is in the folder, hidden files too."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            status = path.lstat()
            readable = path.is_file() and os.access(path, os.R_OK)
            found[str(path.relative_to(self.folder))] = (
                status.st_mode, status.st_ino, path.read_bytes() if readable else None)
        return found

    def run(self, arguments, **how):
        """`arguments` as one string, as typed in the folder."""
        return self.tiltrec(*arguments.split(), **{"cwd": self.folder, **how})

    def refused(self, arguments, status, *said, ranks=None, wrapper=(), **how):
        """The run exits with `status` on every rank, after one sentence of error that has
        every text of `said`, and leaves the folder as it was. Returns what it printed."""
        before = self.contents()
        if ranks:
            wrapper = ["sh", "-c", RECORD, "sh", self.statuses, *wrapper]
        done = self.run(arguments, ranks=ranks, wrapper=wrapper, check=False, **how)
        shown = f"tiltrec-mpi {arguments}\nexit status {done.returncode}\n{done.stderr}"
        print(shown)
        errors = [line for line in (done.stdout + done.stderr).splitlines()
                  if "error:" in line]
        assert len(errors) == 1 and errors[0].startswith("tiltrec-mpi: error: "), shown
        for text in said:
            assert text in errors[0], shown
        assert done.returncode == status, shown
        assert self.contents() == before, shown
        if ranks:
            each = [path.read_text() for path in self.statuses.iterdir()]
            assert each == [f"{status}\n"] * ranks, (each, shown)
        return done.stderr


def as_common_user():
    """A wrapper under which permissions hold also for root."""
    if os.geteuid() != 0:
        return []
    wrapper = ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
    if not shutil.which("setpriv") or subprocess.run([*wrapper, "true"]).returncode:
        pytest.skip("root is not bound by permissions, and setpriv cannot change that here")
    return wrapper


def on_small_disk(options, folder):
    """A wrapper that mounts an empty disk on `folder`, which only the program sees, and
    leaves the names of the files on it in the file `left` beside it."""
    mount = f'mount -t tmpfs -o {options} none "{folder}"'
    script = f'{mount} && "$@"; s=$?; ls -A "{folder}" > "{folder}/../../left"; exit $s'
    for unshare in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        if shutil.which("unshare") and not subprocess.run(
                [*unshare, "sh", "-c", mount], capture_output=True).returncode:
            return [*unshare, "sh", "-c", script, "sh"]
    pytest.skip("mounting a small disk is not allowed here")
