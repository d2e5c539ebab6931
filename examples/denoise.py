#!/usr/bin/env python3
"""Denoise a tomogram with a network that is trained on its own parts (Noise2Inverse).

A. A. Hendriksen, D. M. Pelt, K. J. Batenburg, IEEE Trans. Comput. Imaging 6 (2020) 1320-1335.

The parts are tomograms of the same specimen from different views or frames, as --half-sets
of the programs writes them. Their noise is independent, so a network that is to tell one part
from the mean of the others can only learn what they have in common: the specimen. The
denoised tomogram is the mean of what it makes of each such mean. The network sees a section
of the file and some to both sides of it ("2.5-D").

    tiltrec-mpi -a FBP --half-sets views --splits 4 scan.h5
    denoise.py -o scan_denoised.mrc scan_rec_?of4.mrc

Training can be stopped and goes on with --resume. Needs numpy, mrcfile and PyTorch.
"""
import argparse
import os
import sys
import time

import numpy as np


def options():
    o = argparse.ArgumentParser(
        description="Denoise a tomogram by Noise2Inverse, trained on its own parts.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    o.add_argument("parts", nargs="+", metavar="PART",
                   help="MRC files of --half-sets: two halves, or all splits")
    o.add_argument("-o", "--output", required=True, help="MRC file to write")
    o.add_argument("--model", help="the network's file, written after each epoch; the "
                   "output's name with .pt in place of .mrc unless given")
    o.add_argument("--resume", action="store_true",
                   help="go on with the network in --model; once it is trained, apply it")
    o.add_argument("--neighbours", type=int, default=5,
                   help="sections to each side of the one to be denoised")
    o.add_argument("--channels", type=int, default=32, help="of the network at full size")
    o.add_argument("--levels", type=int, default=3, help="at which it halves its images")
    o.add_argument("--epochs", type=int, default=25, help="after each the network is kept")
    o.add_argument("--steps", type=int, default=200, help="batches in an epoch")
    o.add_argument("--batch", type=int, default=4, help="patches in a batch")
    o.add_argument("--patch", type=int, default=256,
                   help="their size in pixels, in training and as tiles")
    o.add_argument("--overlap", type=int, default=64, help="of neighbouring tiles")
    o.add_argument("--rate", type=float, default=1e-3, help="of learning, at the beginning")
    o.add_argument("--seed", type=int, default=0, help="of all that is random")
    o.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 ...; auto: a GPU if "
                   "there is one")
    o.add_argument("--overwrite", action="store_true", help="replace an output and a model")
    return o


def fail(text):
    raise SystemExit(f"denoise.py: {text}")


# ---- what needs no network ----

def starts(length, size, overlap):
    """Where tiles of `size` begin that cover 0 ... length - 1 and overlap by at least so
    much; length >= size > overlap."""
    if length == size:
        return [0]
    count = -(-(length - overlap) // (size - overlap))
    return [round(k * (length - size) / (count - 1)) for k in range(count)]


def ramp(size, overlap):
    """A tile's weights along an axis: 1, but over `overlap` at both ends linearly to
    near 0, and never 0, so that the image's own edges come from somewhere."""
    at = np.arange(size)
    near = np.minimum(at, at[::-1]) + 1.0
    return np.minimum(near / (min(overlap, size // 2) + 1.0), 1.0)


def in_tiles(stack, size, overlap, denoise):
    """denoise(patch[slices][size][size]) -> [size][size] over stack[slices][h][w], blended
    where tiles overlap. Less than a tile is continued by mirror images."""
    h, w = stack.shape[1:]
    more = [(0, max(0, size - n)) for n in (h, w)]
    if any(b for _, b in more):
        stack = np.pad(stack, [(0, 0), *more], mode="symmetric")
    total = np.zeros(stack.shape[1:])
    weights = np.zeros(stack.shape[1:])
    weight = np.outer(ramp(size, overlap), ramp(size, overlap))
    for y in starts(stack.shape[1], size, overlap):
        for x in starts(stack.shape[2], size, overlap):
            here = np.s_[y:y + size, x:x + size]
            total[here] += weight * denoise(stack[:, y:y + size, x:x + size])
            weights[here] += weight
    return (total / weights)[:h, :w]


class Parts:
    """The tomograms of the parts, scaled together to mean 0 and deviation 1."""

    def __init__(self, volumes, neighbours):
        self.volumes = volumes
        self.neighbours = neighbours
        self.n, (self.sections, self.height, self.width) = len(volumes), volumes[0].shape
        sums = np.zeros(3)  # of the mean of all
        for k in range(self.sections):
            mean = sum(v[k].astype(np.float64) for v in volumes) / self.n
            if not np.isfinite(mean).all():
                fail(f"section {k + 1} of a part has values that are no numbers")
            sums += mean.size, mean.sum(), (mean * mean).sum()
        self.mean = sums[1] / sums[0]
        self.deviation = np.sqrt(max(sums[2] / sums[0] - self.mean ** 2, 0.0))
        if self.deviation <= 1e-12 * abs(self.mean) or self.deviation == 0.0:
            fail("the parts are constant")

    def scaled(self, which, section, rows=np.s_[:], columns=np.s_[:]):
        """The mean of some of the parts there, float32."""
        total = sum(self.volumes[k][section, rows, columns].astype(np.float32)
                    for k in which)
        return (total / np.float32(len(which)) - np.float32(self.mean)) / np.float32(
            self.deviation)

    def around(self, which, section, rows=np.s_[:], columns=np.s_[:]):
        """[slices][h][w] around a section; at the ends of the file the last one is
        repeated."""
        ends = np.clip(np.arange(section - self.neighbours, section + self.neighbours + 1),
                       0, self.sections - 1)
        return np.stack([self.scaled(which, k, rows, columns) for k in ends])

    def others(self, target):
        return [k for k in range(self.n) if k != target]

    def sample(self, rng, size):
        """A pair to learn from: [slices][size][size] of all but one part, [1][size][size]
        of that one, mirrored at random."""
        target, section = rng.integers(self.n), rng.integers(self.sections)
        y = rng.integers(max(self.height - size, 0) + 1)
        x = rng.integers(max(self.width - size, 0) + 1)
        here = np.s_[y:y + size], np.s_[x:x + size]
        given = self.around(self.others(target), section, *here)
        wanted = self.scaled([target], section, *here)[None]
        mirrors = [axis for axis in (1, 2) if rng.integers(2)]
        given, wanted = np.flip(given, mirrors), np.flip(wanted, mirrors)
        if rng.integers(2):
            given = given[::-1]
        more = [(0, 0), *((0, size - n) for n in given.shape[1:])]
        return (np.pad(given, more, mode="symmetric"),
                np.pad(wanted, more, mode="symmetric"))


# ---- training and applying ----

def import_network():
    try:
        import torch
    except ImportError:
        fail("PyTorch is not installed; `pip install torch` installs it")
    from unet import UNet
    return torch, UNet


def choose_device(torch, name):
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except Exception as error:  # the drivers have many
        fail(f"--device {name} cannot be used: {error}")
    return torch.device(name)


def settings(a, parts):
    """What a network must have been trained with to go on."""
    return {"neighbours": a.neighbours, "channels": a.channels, "levels": a.levels,
            "steps": a.steps, "batch": a.batch, "patch": a.patch, "rate": a.rate,
            "seed": a.seed, "epochs": a.epochs, "parts": parts.n,
            "size": [parts.sections, parts.height, parts.width],
            "mean": float(parts.mean), "deviation": float(parts.deviation)}


def keep(torch, path, state):
    """The old file is there until the new one is complete."""
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)


def load(torch, path, wanted, device):
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        had = state["settings"]
    except Exception as error:
        fail(f"{path} cannot be gone on with: {error}")
    differ = [f"{name} {had.get(name)} there, {value} here"
              for name, value in wanted.items() if had.get(name) != value]
    if differ:
        fail(f"{path} is of a training with other settings or parts: {'; '.join(differ)}")
    return state


def train(torch, network, parts, a, device):
    """Epochs of patches; each epoch's are drawn anew from its own number, so that a run that
    was stopped goes on as if it had not been."""
    wanted = settings(a, parts)
    optimizer = torch.optim.Adam(network.parameters(), lr=a.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, a.epochs, 0.05 * a.rate)
    done = 0
    if a.resume and os.path.exists(a.model):
        state = load(torch, a.model, wanted, device)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = state["epochs"]
        print(f"going on after epoch {done} of {a.model}", flush=True)
    for epoch in range(done, a.epochs):
        begun, loss_sum = time.monotonic(), 0.0
        rng = np.random.default_rng([a.seed, epoch])
        for _ in range(a.steps):
            pairs = [parts.sample(rng, a.patch) for _ in range(a.batch)]
            given, target = (torch.from_numpy(np.stack(side)).to(device)
                             for side in zip(*pairs))
            loss = torch.nn.functional.mse_loss(network(given), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
        schedule.step()
        if not np.isfinite(loss_sum):
            fail("the training diverged; try a smaller --rate")
        keep(torch, a.model, {
            "settings": wanted, "epochs": epoch + 1, "network": network.state_dict(),
            "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()})
        print(f"epoch {epoch + 1} of {a.epochs}: loss {loss_sum / a.steps:.5f}, "
              f"{time.monotonic() - begun:.1f} s", flush=True)


def denoised(torch, network, parts, a, device):
    """Section after section, the mean over the parts left out."""
    def one(patch):
        with torch.no_grad():
            out = network(torch.from_numpy(np.ascontiguousarray(patch))[None].to(device))
        return out[0, 0].cpu().numpy()

    network.eval()
    for section in range(parts.sections):
        total = sum(in_tiles(parts.around(parts.others(k), section), a.patch, a.overlap, one)
                    for k in range(parts.n))
        yield (total / parts.n * parts.deviation + parts.mean).astype(np.float32)


# ---- files ----

def open_parts(paths, output, neighbours):
    import mrcfile
    if len(paths) < 2:
        fail("two or more parts are needed: the _EVN and _ODD files of --half-sets, or all "
             "splits; a single tomogram has no independent noise")
    files = []
    for path in paths:
        try:
            files.append(mrcfile.mmap(path, "r"))
        except (OSError, ValueError) as error:
            fail(f"{path}: {error}")
        if files[-1].data is None or files[-1].data.ndim != 3:
            fail(f"{path} is no volume")
        if files[-1].data.shape != files[0].data.shape:
            size = " x ".join(map(str, files[-1].data.shape[::-1]))
            first = " x ".join(map(str, files[0].data.shape[::-1]))
            fail(f"{path} has {size} voxels, but {paths[0]} has {first}")
    for k, path in enumerate(paths):
        if any(os.path.samefile(path, other) for other in paths[:k]):
            fail(f"{path} is given twice")
        if os.path.exists(output) and os.path.samefile(path, output):
            fail(f"the output {output} is also a part")
    return Parts([f.data for f in files], neighbours), files[0].voxel_size.copy()


def write(path, sections, shape, voxel):
    import mrcfile
    with mrcfile.new_mmap(path + ".partial", shape, 2, overwrite=True) as file:
        for k, section in enumerate(sections):
            file.data[k] = section
        file.voxel_size = voxel
        file.update_header_stats()
        file.add_label("examples/denoise.py: Noise2Inverse, 2.5-D U-Net")
    os.replace(path + ".partial", path)


def check(a):
    a.model = a.model or os.path.splitext(a.output)[0] + ".pt"
    unit = 1 << a.levels if 0 < a.levels < 8 else 0
    if not unit or a.neighbours < 0 or min(a.channels, a.epochs, a.steps, a.batch) < 1:
        fail("--levels is 1 to 7, --neighbours 0 or more, --channels, --epochs, --steps and "
             "--batch 1 or more")
    if a.patch < 2 * unit or a.patch % unit or not 0 <= a.overlap < a.patch:
        fail(f"--patch must be a multiple of {unit} (2 to the power of --levels), at least "
             f"{2 * unit}, and larger than --overlap")
    for path in (a.output, a.model):
        if os.path.exists(path) and not (a.overwrite or a.resume):
            fail(f"{path} exists; --resume goes on with a network, --overwrite replaces it")


def main():
    a = options().parse_args()
    check(a)
    parts, voxel = open_parts(a.parts, a.output, a.neighbours)
    torch, UNet = import_network()
    torch.manual_seed(a.seed)
    device = choose_device(torch, a.device)
    network = UNet(2 * a.neighbours + 1, a.channels, a.levels).to(device)
    print(f"{parts.n} parts of {parts.width} x {parts.height} x {parts.sections}, "
          f"{sum(p.numel() for p in network.parameters())} weights, on {device}", flush=True)
    try:
        train(torch, network, parts, a, device)
        write(a.output, denoised(torch, network, parts, a, device),
              parts.volumes[0].shape, voxel)
    except torch.cuda.OutOfMemoryError:
        fail("the GPU's memory is too small; try a smaller --batch or --patch")
    print(f"wrote {a.output}")


if __name__ == "__main__":
    sys.exit(main())
