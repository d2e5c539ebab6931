"""What tests of volumes larger than the device have in common: on the emulation of
tests/cudaemu, with just the memory that some planes of the volumes take."""
from conftest import read_mrc

MIB = 1 << 20
# Three slabs of 32 planes and a rest.
THICK = ["-T", 107]
IN_CORE = "ordinary allocations"
BY_PLANES = "volumes in host memory, some planes at a time on the GPU"
UNIFIED = "unified memory, because the GPU has less free"
NO_UNIFIED = "cudaMallocManaged:1+"  # it fails


def volume(program, folder, series, *options, memory=None, environment={}, **how):
    """Returns what was said; the volume is folder/rec.mrc."""
    environment = {**environment, **({"CUDAEMU_MEMORY": str(memory)} if memory else {})}
    thick = () if "-T" in options else THICK
    return program(*thick, "-o", folder / "rec.mrc", *options, series.name,
                   cwd=series.parent, env=environment, **how).stderr


def content(folder):
    return (folder / "rec.mrc").read_bytes()[1024:]


def little_memory(program, folder, series, *options, **how):
    """The least memory of the device, to 1/8 MiB, with which volumes go by planes."""
    low, high = 256 * MIB, 1280 * MIB
    while high - low > MIB // 8:
        middle = (low + high) // 2
        said = volume(program, folder, series, *options, "--dry-run", memory=middle, **how)
        low, high = (middle, high) if UNIFIED in said else (low, middle)
    return high


def check(program, folder, series, *options, kernel="tile", environment={}, **how):
    """The same bytes as in core, and none of it in unified memory. Returns the volume."""
    options = ["--kernel", kernel, *options]
    assert IN_CORE in volume(program, folder, series, *options, **how)
    wanted = content(folder)
    memory = little_memory(program, folder, series, *options, environment=environment, **how)
    said = volume(program, folder, series, *options, memory=memory,
                  environment={"CUDAEMU_FAIL": NO_UNIFIED, **environment}, **how)
    assert BY_PLANES in said
    assert content(folder) == wanted
    return read_mrc(folder / "rec.mrc")
