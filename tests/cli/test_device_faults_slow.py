"""What the programs for GPUs do when the device fails, by the emulation of tests/cudaemu:
one call of the runtime after the other loses the device, or finds no memory. Each run must
end by itself with one sentence and a status that is not 0, and leave no file behind but what
--resume goes on from, to the bytes of an undisturbed run."""
import os
import signal
import subprocess

import numpy as np
import pytest

from conftest import EVERY, MPI_ENVIRONMENT, program_command, write_series

EARLIER = b"of an earlier run"
SMALL = str((576 << 20) + (1 << 17))  # bytes: what plans keep free, and little for slabs
SECONDS = 30  # within which every rank has ended
DATA, MEMORY = 1, 4  # exit statuses
LOST = ["kernel", "launch", "cudaMemcpyAsync", "cudaMemsetAsync", "cudaStreamSynchronize",
        "cudaStreamCreateWithFlags", "cudaMemGetInfo", "cudaSetDevice"]
SLICES = ("tiltrec", ["-a", "SIRT", "-i", "2"])
# One iteration, as runs take long: a second one makes the same calls from the same places.
VOLUME = ("tiltrecz", ["-a", "CGLS", "-i", "1", "--pitch", "4", "--xtilts", "x.xtilt"])
TWICE = (VOLUME[0], ["2" if option == "1" else option for option in VOLUME[1]])
PITCHED = ("tiltrecz", ["-a", "CGLS", "-i", "2", "--pitch", "4"])
WORK = pytest.mark.parametrize("work", [SLICES, VOLUME, PITCHED],
                               ids=["slices", "volume", "pitched"])
# Only in one process; the others would wait for it for ever.
ON_RANK = ('if [ "${PMI_RANK:-$OMPI_COMM_WORLD_RANK}" != %d ]; then unset CUDAEMU_FAIL; fi; '
           'exec "$@"')


class Device:
    def __init__(self, folder, build_dir):
        self.folder, self.build_dir = folder / "series", build_dir
        self.folder.mkdir()
        data = np.random.default_rng(1).normal(10, 1, (7, 40, 16)).astype(np.float32)
        write_series(self.folder, data, 20.0 * np.arange(7) - 60, name="s.mrc")
        np.savetxt(self.folder / "x.xtilt", np.arange(7) - 3)
        self.inputs = {path.name for path in self.folder.iterdir()}

    def left(self):
        return {path.name: path.read_bytes() for path in self.folder.iterdir()
                if path.name not in self.inputs}

    def run(self, work, fail="", more=(), ranks=None, rank=None, fresh=True, memory=""):
        """Returns (exit status, standard error)."""
        program, arguments = work
        for name in self.left() if fresh else ():
            (self.folder / name).unlink()
        if fresh:
            (self.folder / "o.mrc").write_bytes(EARLIER)
        command = program_command(
            self.build_dir, ["-T", "16", "--quiet", "--kernel", "tile", "-o", "o.mrc",
                             *arguments, *more, "s.mrc"], ranks,
            wrapper=() if rank is None else ["sh", "-c", ON_RANK % rank, "sh"],
            program=f"tests/cudaemu/{program}-cudaemu")
        environment = {**os.environ, **MPI_ENVIRONMENT, "CUDAEMU_DEVICES": "2",
                       "CUDAEMU_FAIL": fail, "CUDAEMU_MEMORY": memory}
        process = subprocess.Popen(command, cwd=self.folder, env=environment, text=True,
                                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, start_new_session=True)
        try:
            said = process.communicate(timeout=SECONDS)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            pytest.fail(f"{fail}: {' '.join(command)} does not end")
        return process.returncode, said

    def judge(self, fail, status, said, expected):
        """Whether the run failed, as it should then."""
        if status == 0:  # with less memory, or without this call
            assert self.left() == {"o.mrc": expected}, fail
            return False
        errors = [line for line in said.splitlines() if "error: " in line]
        assert status in (DATA, MEMORY) and len(errors) == 1, (fail, status, said)
        assert "GPU" in errors[0] or "CUDA device" in errors[0], (fail, said)
        assert self.left() == {"o.mrc": EARLIER}, (fail, said)
        return True

    def sweep(self, work, calls, step=1, onwards="", **how):
        """Let each call fail, and then the next, until a run no longer makes so many.
        Returns how many runs failed."""
        assert self.run(work, **how)[0] == 0
        expected, failures = (self.folder / "o.mrc").read_bytes(), 0
        for call in calls:
            harmless = 0
            for k in range(1, 1000, step):
                status, said = self.run(work, f"{call}:{k}{onwards}", **how)
                failed = self.judge(f"{call}:{k}", status, said, expected)
                failures += failed
                harmless = 0 if failed else harmless + 1
                if harmless == 3:
                    break
        print(*work[1], *calls, how, failures, "failed")
        return failures


@pytest.fixture(scope="module")
def device(tmp_path_factory, build_dir):
    return Device(tmp_path_factory.mktemp("device"), build_dir)


@WORK
def test_lost(device, work, sanitized):
    step = 11 if work is VOLUME else 2
    sample = (4 if sanitized or EVERY > 1 else 1) * (3 if sanitized and EVERY > 1 else 1)
    assert device.sweep(work, LOST, sample * step) > 20 // sample


@pytest.mark.unsanitized
@WORK
@pytest.mark.parametrize("onwards", ["", "+"], ids=["once", "from-then-on"])
def test_no_memory(device, work, onwards, sanitized):
    """Once, slabs may become smaller; at last there is none."""
    step = 3 if sanitized and EVERY > 1 else 2 if work is VOLUME and EVERY > 1 else 1
    failures = device.sweep(work, ["cudaMalloc", "cudaMallocHost"], step, onwards=onwards)
    assert failures > (3 // step if onwards else 0)


@pytest.mark.unsanitized
@WORK
@pytest.mark.parametrize("rank", [0, 1])
def test_lost_by_one_process(device, work, rank, sanitized):
    """The others may be anywhere in the algorithm, and must not wait there."""
    step = 29 if work is VOLUME else 11
    assert device.sweep(work, ["kernel", "cudaMallocHost"],
                        2 * step if sanitized or EVERY > 1 else step,
                        ranks=2, rank=rank) > 1


@pytest.mark.unsanitized
@WORK
def test_going_on(device, work, sanitized):
    """What was kept before the device was lost counts."""
    keep = ["--checkpoint", "1e-9"]  # minutes: everything is kept
    memory = SMALL if work is SLICES else ""
    step = 7 if work is not VOLUME else 60 if sanitized or EVERY > 1 else 25
    work = TWICE if work is VOLUME else work
    assert device.run(work, memory=memory)[0] == 0
    expected, kept = (device.folder / "o.mrc").read_bytes(), 0
    for k in range(1, 1000, step):
        status, said = device.run(work, f"kernel:{k}", keep, memory=memory)
        if status == 0:
            break
        kept += len(device.left()) > 1
        assert device.left()["o.mrc"] == EARLIER
        status, said = device.run(work, more=[*keep, "--resume"], fresh=False,
                                  memory=memory)
        assert status == 0, said
        assert device.left() == {"o.mrc": expected}, k
    assert k > 1 and kept > 0
