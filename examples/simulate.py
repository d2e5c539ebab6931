#!/usr/bin/env python3
"""Simulate a cryo-EM tilt series with CTF, dose and noise, with the truth to compare with.

The specimen goes on beyond the field on all sides. It is made of points, each with a form
factor, and no voxel grid comes between it and the views: each view puts the points where
the geometry says on a grid twice as fine as the detector's, one for each layer across the
beam, so that each layer has the CTF of its own depth, and cuts the spectrum to the detector's
frequencies. With x, y, s a point's distance from the volume's centre in pixels, t the tilt
angle, g the pitch,

    z' = y sin g + s cos g            u = x cos t - z' sin t       column from the tilt axis
    v  = y cos g - s sin g            depth = x sin t + z' cos t
    defocus = that of the view + HAND pixel depth                  positive is underfocus
    contrast = 2 sigma (projected potential), filtered by
               sin(pi lambda defocus f^2 - pi/2 Cs lambda^3 f^4 + phase + asin A)
               x damping by dose x exp(-B f^2 / 4)
    electrons = dose pixel^2 exp(-thickness / (free path cos t)) (1 + contrast)

Dense matter is bright (--dark: as on the detector). Frames of even and odd number get half
of the electrons each, and the series is their sum.

Written: PREFIX.mrc  the series, in order of angle; PREFIX_EVN.mrc, PREFIX_ODD.mrc its halves
         PREFIX.rawtlt, PREFIX.tlt  angles in degrees
         PREFIX.mrc.mdoc  doses, times of acquisition, angles
         PREFIX.defocus   IMOD's, version 3 (with the CTF)
         PREFIX.xf        what aligns the series (with --shifts, --axis-angle, --axis-drift)
         PREFIX_truth.mrc the potential in volt: sections y, rows thickness, columns x
         PREFIX_simulation.json  all parameters, and what is true of each view
"""
import argparse
import datetime
import json
import multiprocessing
import os

import numpy as np

import mrc
import specimens

WIDTH, SHAPE = 4, 9.0  # of the Kaiser-Bessel function that puts points on a grid
STEPS = 2048  # of its table, for each grid cell
MOST_POINTS = 3e7  # 16 bytes each, and as much again in every process


# ---- microscope ----

def wavelength(kv):
    """In angstroms."""
    volt = 1e3 * kv
    return 12.2643247 / np.sqrt(volt * (1 + 0.978466e-6 * volt))


def interaction(kv):
    """Radians of phase for a volt and an angstrom."""
    return 2 * np.pi / (wavelength(kv) * 1e3 * kv) * (511 + kv) / (1022 + kv)


def phase_terms(a, fx, fy):
    """The CTF is sin(slope * defocus + rest), defocus in angstroms."""
    f2, length = fx ** 2 + fy ** 2, wavelength(a.voltage)
    slope = np.pi * length * f2
    difference, axis = a.astigmatism[0] * 1e4, np.radians(a.astigmatism[1])
    rest = slope * difference / 2 * np.cos(2 * (np.arctan2(fy, fx) - axis))
    rest += np.radians(a.phase_shift) + np.arcsin(a.amplitude_contrast)
    rest -= np.pi / 2 * a.cs * 1e7 * length ** 3 * f2 ** 2
    return slope.astype(np.float32), rest.astype(np.float32)


def damping(f, before, dose, kv, where):
    """Amplitude left after that exposure (e/A^2): Grant and Grigorieff 2015."""
    critical = 0.24499 * np.maximum(f, 1e-6) ** -1.6649 + 2.8141
    critical *= np.interp(kv, [120, 200, 300], [0.45, 0.8, 1.0])
    return np.exp(-(before + dose * {"middle": 0.5, "end": 1.0}[where]) / (2 * critical))


def order_of_views(angles, scheme, start):
    """The views in the order in which they were taken."""
    first = np.argmin(np.abs(angles - start))
    if scheme == "continuous":
        return list(range(len(angles)))
    if scheme == "bidirectional":
        return [*range(first, len(angles)), *range(first - 1, -1, -1)]
    # Hagen's: two on one side, two on the other.
    up, down, order = list(range(first + 1, len(angles))), list(range(first - 1, -1, -1)), [first]
    side, count = up, 1
    while up or down:
        side = side or (down if side is up else up)
        order.append(side.pop(0))
        count += 1
        if count % 2 == 0:
            side = down if side is up else up
    return order


# ---- points on grids ----

def kernel_table():
    at = np.arange(WIDTH // 2 * STEPS + 1) / (WIDTH / 2 * STEPS)
    table = np.i0(SHAPE * np.sqrt(1 - at ** 2))
    return np.append(table, 0.0).astype(np.float32)


TABLE = kernel_table()


def kernel_transform(n):
    """Of the kernel at frequencies k / (2 n), k = 0 ... n / 2 and negative: one axis of a grid
    twice as fine as n samples."""
    nu = np.fft.fftfreq(n) / 2
    root = np.sqrt(SHAPE ** 2 - (np.pi * WIDTH * nu) ** 2)
    return WIDTH * np.sinh(root) / root


def nodes(at):
    """The first of the grid points that a point touches, and its weights there [WIDTH][n]."""
    first = np.floor(at).astype(np.int32) - (WIDTH // 2 - 1)
    away = np.abs(at - first - np.arange(WIDTH, dtype=np.float32)[:, None])
    return first, TABLE[(away * STEPS + 0.5).astype(np.int32)]


def spread(shape, row, column, weight):
    """Points at fractional indexes on a grid of that shape; all must be within."""
    total = np.zeros(shape[0] * shape[1], np.float32)
    for i in range(0, len(row), 1 << 17):
        part = slice(i, i + (1 << 17))
        j, wj = nodes(row[part])
        k, wk = nodes(column[part])
        at = np.arange(WIDTH)[:, None, None] * shape[1] + np.arange(WIDTH)[:, None]
        at = at + (j.astype(np.int64) * shape[1] + k)
        values = (wj * weight[part])[:, None] * wk
        total += np.bincount(at.ravel(), values.ravel(), len(total)).astype(np.float32)
    return total.reshape(shape)


def cut_spectrum(fine):
    """The lower half of the frequencies of a real grid, both ways, without the Nyquist
    frequency: shape [rows / 2][columns / 4 + 1]."""
    rows, columns = fine.shape[0] // 2, fine.shape[1] // 2
    part = np.fft.rfft(fine, axis=1)[:, :columns // 2 + 1]
    part[:, -1] = 0
    part = np.fft.fft(part, axis=0)
    return cut_axis(part, rows)


def cut_axis(spectrum, n):
    """The n lowest of 2 n frequencies along the first axis, without the Nyquist frequency."""
    low = np.concatenate([spectrum[:n // 2], spectrum[-(n // 2):]])
    low[n // 2] = 0
    return low


def nice(n):
    """The next even number of small factors."""
    n += n % 2
    while True:
        rest = n
        for factor in 2, 3, 5:
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 2


def margin_for(a, defocus):
    """Pixels beside the field that the CTF brings into it."""
    reach = wavelength(a.voltage) / (2 * a.pixel) * (abs(defocus) + 1) * 1e4
    return 16 + int(np.ceil(reach / a.pixel))


class Detector:
    """A view's grid: the field with a margin wide enough for what the CTF spreads."""

    def __init__(self, a):
        nx, ny, _ = a.size
        self.margin = 16 if a.no_ctf else margin_for(a, a.defocus)
        self.shape = nice(ny + 2 * self.margin), nice(nx + 2 * self.margin)
        rows, columns = self.shape
        fy = np.fft.fftfreq(rows, a.pixel)[:, None]
        fx = np.fft.rfftfreq(columns, a.pixel)
        self.f = np.hypot(fx, fy)
        self.slope, self.rest = phase_terms(a, fx, fy)
        across = kernel_transform(columns)[:columns // 2 + 1]
        self.grid = 1 / (kernel_transform(rows)[:, None] * across)

    def half_field(self):
        """From the field's middle, in columns and rows, as far as points count."""
        return self.shape[1] / 2 - WIDTH, self.shape[0] / 2 - WIDTH


# ---- one view ----

class Scene:
    """What all views share."""

    def __init__(self, a):
        self.a = a
        self.detector = Detector(a)
        self.views = plan_views(a)
        self.cloud = make_cloud(a, self.views)
        points, self.weights, self.kinds = self.cloud.joined()
        self.x, self.y, self.s = (points / np.float32(a.pixel)).T
        f = self.detector.f
        self.shapes = [(shape(f) * self.detector.grid).astype(np.float32)
                       for shape in self.cloud.kinds]
        self.bad = bad_pixels(a)
        self.deviation = 0.0
        if a.snr:
            nearest = min(self.views, key=lambda view: abs(view["tilt"]))
            self.deviation = float(self.contrast(nearest).std())

    def positions(self, view):
        """Columns and rows on the fine grid, depths in pixels, and which points are on it."""
        a = self.a
        t, g, turn = np.radians([view["tilt"], a.pitch, view["axis"]])
        z = self.y * np.float32(np.sin(g)) + self.s * np.float32(np.cos(g))
        depth = self.x * np.float32(np.sin(t)) + z * np.float32(np.cos(t))
        u = self.x * np.float32(np.cos(t)) - z * np.float32(np.sin(t))
        v = self.y * np.float32(np.cos(g)) - self.s * np.float32(np.sin(g))
        u += np.float32(a.axis_shift - view["shift"][0])
        v -= np.float32(view["shift"][1])
        if turn:
            u, v = (np.float32(np.cos(turn)) * u - np.float32(np.sin(turn)) * v,
                    np.float32(np.sin(turn)) * u + np.float32(np.cos(turn)) * v)
        half = self.detector.half_field()
        seen = np.flatnonzero((np.abs(u) < half[0]) & (np.abs(v) < half[1]))
        rows, columns = self.detector.shape
        # The middle of a field of n samples is at n / 2 - 0.5.
        column, row = 2 * (u[seen] + columns / 2 - 0.5), 2 * (v[seen] + rows / 2 - 0.5)
        return column, row, depth[seen], seen

    def contrast(self, view):
        a, detector = self.a, self.detector
        column, row, depth, seen = self.positions(view)
        thick = np.inf if a.no_ctf else a.depth_step * 10 / a.pixel
        layer = np.rint(depth / thick).astype(np.int32)
        lowest = layer.min(initial=0)
        group = (layer - lowest) * len(self.shapes) + self.kinds[seen]
        sort = np.argsort(group, kind="stable")
        group, column, row = group[sort], column[sort], row[sort]
        weight = self.weights[seen[sort]] / np.float32(a.pixel ** 2)
        starts = np.flatnonzero(np.diff(group, prepend=-1))
        fine = tuple(2 * n for n in detector.shape)
        total = np.zeros(detector.f.shape, np.complex64)
        for first, end in zip(starts, [*starts[1:], len(group)]):
            part = slice(first, end)
            number, kind = divmod(group[first], len(self.shapes))
            spectrum = cut_spectrum(spread(fine, row[part], column[part], weight[part]))
            spectrum *= self.shapes[kind]
            if not a.no_ctf:
                defocus = view["defocus"] * 1e4 + a.hand * (number + lowest) * thick * a.pixel
                spectrum *= np.sin(detector.slope * np.float32(defocus) + detector.rest)
            total += spectrum
        response = np.exp(-a.b_factor / 4 * detector.f ** 2)
        if not a.no_damping:
            response *= damping(detector.f, view["prior"], view["dose"], a.voltage, a.damping_at)
        total *= (2 * interaction(a.voltage) * response).astype(np.float32)
        image = np.fft.irfft2(total, detector.shape)
        (rows, columns), (nx, ny, _) = detector.shape, a.size
        return image[(rows - ny) // 2:, (columns - nx) // 2:][:ny, :nx]

    def halves(self, view):
        """Electrons in the even and odd frames."""
        a = self.a
        sign = -1 if a.dark else 1
        mean = view["dose"] * a.pixel ** 2 * view["transmission"]
        electrons = mean * np.maximum(1 + sign * self.contrast(view).astype(np.float64), 0)
        for column, row in self.bad["hot"]:
            electrons[row, column] += a.hot_amplitude * mean
        rng = np.random.default_rng([a.seed, 3, view["number"]])
        halves = [electrons / 2, electrons / 2]
        if a.snr:
            sigma = mean * self.deviation / np.sqrt(2 * a.snr)
            halves = [part + sigma * rng.normal(size=part.shape) for part in halves]
        elif not a.noise_free:
            halves = [rng.poisson(part).astype(np.float64) for part in halves]
        else:
            halves = [part.copy() for part in halves]
        for column, row in self.bad["dead"]:
            halves[0][row, column] = halves[1][row, column] = 0
        for column, row, half in view["flashes"]:
            halves[half][row, column] += np.rint(a.hot_amplitude * mean)
        return [part.astype(np.float32) for part in halves]


SCENE = None  # of this process and of those forked from it


def halves_of(number):
    return SCENE.halves(SCENE.views[number])


# ---- what is simulated ----

def plan_views(a):
    """What is true of each view, in order of angle."""
    n = int(np.floor((a.range[1] - a.range[0]) / a.step + 1e-6)) + 1
    angles = np.round(a.range[0] + a.step * np.arange(n), 3)
    order = order_of_views(angles, a.scheme, a.start)
    rng = np.random.default_rng([a.seed, 1])
    jitter, shifts = rng.normal(size=n), rng.normal(size=(n, 2))
    nx, ny, nz = a.size
    views = []
    for i, tilt in enumerate(angles):
        own = np.random.default_rng([a.seed, 4, i])
        flashes = np.stack([own.integers(0, nx, a.flashes), own.integers(0, ny, a.flashes),
                            own.integers(0, 2, a.flashes)], axis=1)
        path = a.ice / (a.free_path * np.cos(np.radians(tilt)))
        views.append({"number": i, "tilt": float(tilt), "order": order.index(i),
                      "dose": a.dose_per_view, "prior": a.dose_per_view * order.index(i),
                      "defocus": float(a.defocus + a.defocus_jitter * jitter[i]),
                      "shift": (a.shifts * shifts[i]).tolist(),
                      "axis": float(a.axis_angle + a.axis_drift * (i / max(n - 1, 1) - 0.5)),
                      "transmission": float(np.exp(-path)), "flashes": flashes.tolist()})
    return views


def bad_pixels(a):
    """Columns and rows of those that are hot or dead in all views; no two are the same."""
    nx, ny, _ = a.size
    rng = np.random.default_rng([a.seed, 2])
    at = rng.permutation(nx * ny)[:a.hot_pixels + a.dead_pixels]
    places = np.stack([at % nx, at // nx], axis=1).tolist()
    return {"hot": places[:a.hot_pixels], "dead": places[a.hot_pixels:]}


def specimen_box(a, views):
    """In angstroms: all that any view shows, the same up to 5 um of defocus and without a
    CTF, so that the specimen is the same."""
    margin = margin_for(a, max(a.defocus, 5.0))
    half_u, half_v = a.size[0] / 2 + margin, a.size[1] / 2 + margin
    turn, g = np.radians([v["axis"] for v in views]), np.radians(a.pitch)
    away = np.abs([v["shift"] for v in views]).max(axis=0)
    c, s = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    reach_u = (c * half_u + s * half_v).max() + away[0]
    reach_v = (s * half_u + c * half_v).max() + away[1]
    s = a.ice * 10 / a.pixel / 2
    y = (reach_v + s * abs(np.sin(g))) / np.cos(g)
    z = y * abs(np.sin(g)) + s * np.cos(g)
    tilts = np.radians([v["tilt"] for v in views])
    low, high = ([(reach_u + shift + z * abs(np.sin(t))) / np.cos(t) for t in tilts]
                 for shift in (a.axis_shift, -a.axis_shift))
    return specimens.Box(np.array([-max(low), -y, -s]) * a.pixel,
                         np.array([max(high), y, s]) * a.pixel)


def make_cloud(a, views):
    cloud, rng = specimens.Cloud(), np.random.default_rng([a.seed, 0])
    box = specimen_box(a, views)
    if a.specimen in ("chains", "blobs"):
        points = specimens.POINTS[a.specimen] * a.crowding * box.volume()
        if points > MOST_POINTS:
            fewer = 0.9 * a.crowding * MOST_POINTS / points
            raise ValueError(f"{points:.2g} points would make this specimen; up to "
                             f"{MOST_POINTS:.0e} can be, as with --crowding {fewer:.2g}")
    if a.specimen == "chains":
        specimens.chain_specimen(cloud, box, rng, a.crowding)
    elif a.specimen == "blobs":
        specimens.blob_specimen(cloud, box, rng, a.crowding)
    elif a.specimen == "white":
        specimens.white_specimen(cloud, box, rng, a.crowding, a.pixel)
    if a.dots:
        sigma = a.dot_sigma * a.pixel
        cloud.add(specimens.gaussian(sigma), np.array(a.dots)[:, [0, 2, 1]] * a.pixel,
                  a.dot_volt * (2 * np.pi) ** 1.5 * sigma ** 3)
    if a.carbon_edge is not None:
        # A film of 12 nm under the specimen, right of the edge, grainy as carbon is.
        film = specimens.Box(box.low, box.high)
        film.low[0] = np.clip(a.carbon_edge * a.pixel, box.low[0], box.high[0])
        film.high[2] = min(film.low[2] + 120, box.high[2])
        places = film.scatter(np.random.default_rng([a.seed, 6]), int(film.volume() / 20 ** 3))
        cloud.add(specimens.gaussian(8.0), places, 5 * 20 ** 3)
    if a.gold:
        # Weaker than gold, which is no weak phase object.
        radius = 50.0
        places = box.scatter(np.random.default_rng([a.seed, 5]), a.gold)
        cloud.add(specimens.ball(radius), places, 4 * 4 / 3 * np.pi * radius ** 3)
    return cloud


def truth_of(scene):
    """The potential in volt, cut to the voxels' frequencies, as [y][s][x]."""
    a = scene.a
    nx, ny, nz = a.size
    margin = max(8, int(np.ceil(120 / a.pixel)))
    columns, rows, planes = (nice(n + 2 * margin) for n in (nx, nz, ny))
    at = [2 * (p + n // 2 - 0.5 + (m - n) // 2)
          for p, n, m in ((scene.x + np.float32(a.axis_shift), nx, columns), (scene.s, nz, rows))]
    y = 2 * (scene.y + ny / 2 - 0.5 + (planes - ny) // 2)
    within = [(p > 2) & (p < 2 * n - 3) for p, n in zip((*at, y), (columns, rows, planes))]
    seen = np.flatnonzero(np.all(within, axis=0))
    seen = seen[np.argsort(y[seen], kind="stable")]
    x, s, y = at[0][seen], at[1][seen], y[seen]
    weights, kinds = scene.weights[seen] / np.float32(a.pixel ** 3), scene.kinds[seen]
    fx, fs, fy = (f(n, a.pixel) for f, n in ((np.fft.rfftfreq, columns), (np.fft.fftfreq, rows),
                                             (np.fft.fftfreq, planes)))
    across = kernel_transform(rows)[:, None] * kernel_transform(columns)[:columns // 2 + 1]
    total = np.zeros((planes, rows, columns // 2 + 1), np.complex64)
    for kind, shape in enumerate(scene.cloud.kinds):
        mine = np.flatnonzero(kinds == kind)
        spectra = np.zeros((2 * planes, rows, columns // 2 + 1), np.complex64)
        first, along = nodes(y[mine])
        for j in range(2 * planes):
            # Of points that touch plane j, in order of y.
            i0, i1 = np.searchsorted(first, [j - WIDTH + 1, j + 1])
            if i0 < i1:
                part, k = mine[i0:i1], j - first[i0:i1]
                weight = weights[part] * along[k, np.arange(i0, i1)]
                plane = spread((2 * rows, 2 * columns), s[part], x[part], weight)
                spectra[j] = cut_spectrum(plane)
        for r in range(rows):
            f = np.sqrt(fx ** 2 + fs[r] ** 2 + fy[:, None] ** 2)
            factor = shape(f) / across[r] / kernel_transform(planes)[:, None]
            total[:, r] += cut_axis(np.fft.fft(spectra[:, r], axis=0), planes) * factor
    volume = np.empty((ny, nz, nx), np.float32)
    for r in range(rows):
        total[:, r] = np.fft.ifft(total[:, r], axis=0)
    for k in range(ny):
        plane = np.fft.irfft2(total[k + (planes - ny) // 2], (rows, columns))
        volume[k] = plane[(rows - nz) // 2:, (columns - nx) // 2:][:nz, :nx]
    return volume


# ---- files ----

def write_mdoc(path, a, views):
    nx, ny, _ = a.size
    start = datetime.datetime(2026, 11, 25, 14, 3, 22)
    with open(path, "w", encoding="ascii") as file:
        file.write(f"PixelSpacing = {a.pixel:g}\nVoltage = {a.voltage:g}\n"
                   f"ImageFile = {os.path.basename(a.out_prefix)}.mrc\n"
                   f"ImageSize = {nx} {ny}\nDataMode = 2\n\n[T = simulated]\n\n")
        if a.axis_angle:
            file.write(f"[T = Tilt axis angle = {a.axis_angle:g}]\n\n")
        for view in views:
            time = start + datetime.timedelta(seconds=45 * view["order"])
            file.write(f"[ZValue = {view['number']}]\nTiltAngle = {view['tilt']:.3f}\n"
                       f"PixelSpacing = {a.pixel:g}\nDefocus = {-view['defocus']:.4f}\n"
                       f"ExposureDose = {view['dose']:.6g}\n"
                       f"PriorRecordDose = {view['prior']:.6g}\n"
                       f"DateTime = {time:%d-%b-%Y  %H:%M:%S}\n\n")


def write_defocus(path, a, views):
    """IMOD's, version 3: nm, views from 1; flags 1 astigmatism, 4 phase shift, in degrees."""
    difference, axis = a.astigmatism
    flags = (1 if difference else 0) | (4 if a.phase_shift else 0)
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{flags} 0 0. 0. 0. 3\n")
        for view in views:
            n, tilt, middle = view["number"] + 1, view["tilt"], 1e3 * view["defocus"]
            line = f"{n} {n} {tilt:.2f} {tilt:.2f} {middle + 500 * difference:.2f}"
            if difference:
                line += f" {middle - 500 * difference:.2f} {axis:.2f}"
            if a.phase_shift:
                line += f" {a.phase_shift:.3f}"
            file.write(line + "\n")


def write_transforms(path, a, views):
    """x' = A (x - centre) + d + centre aligns, as IMOD's .xf."""
    turns = [(np.cos(t), np.sin(t)) for t in np.radians([view["axis"] for view in views])]
    np.savetxt(path, [[c, s, -s, c, *view["shift"]] for (c, s), view in zip(turns, views)],
               ["%12.7f"] * 4 + ["%12.3f"] * 2)


def write_all(scene, halves, truth):
    a, name = scene.a, scene.a.out_prefix
    for suffix, data in (("", halves[:, 0] + halves[:, 1]), ("_EVN", halves[:, 0]),
                         ("_ODD", halves[:, 1])):
        if a.output == "contrast":
            data = data / data.mean(axis=(1, 2), keepdims=True, dtype=np.float64) - 1
        mrc.write(f"{name}{suffix}.mrc", data, a.pixel, f"Simulated tilt series, {a.output}")
    if truth is not None:
        mrc.write(f"{name}_truth.mrc", truth, a.pixel, "Potential of the simulated specimen, V")
    for suffix in ".rawtlt", ".tlt":
        np.savetxt(name + suffix, [view["tilt"] for view in scene.views], "%.3f")
    write_mdoc(name + ".mrc.mdoc", a, scene.views)
    if not a.no_ctf:
        write_defocus(name + ".defocus", a, scene.views)
    if a.shifts or a.axis_angle or a.axis_drift:
        write_transforms(name + ".xf", a, scene.views)
    with open(name + "_simulation.json", "w", encoding="ascii") as file:
        parameters = {key: value for key, value in vars(a).items()
                      if key not in ("jobs", "out_prefix")}
        json.dump({"parameters": parameters, "wavelength": wavelength(a.voltage),
                   "hot_pixels": scene.bad["hot"], "dead_pixels": scene.bad["dead"],
                   "views": scene.views}, file, indent=1)
        file.write("\n")


def dot(text):
    place = [float(part) for part in text.split(",")]
    if len(place) != 3:
        raise argparse.ArgumentTypeError(f"{text}: three numbers are needed, X,S,Y")
    return place


UNITS = {"--amplitude-contrast": "FRACTION", "--axis-angle": "DEGREES",
         "--axis-drift": "DEGREES", "--axis-shift": "PIXELS",
         "--b-factor": "A2", "--carbon-edge": "PIXELS", "--crowding": "TIMES", "--cs": "MM", "--defocus": "UM",
         "--defocus-jitter": "UM", "--depth-step": "NM", "--dose-per-view": "E",
         "--dot-sigma": "PIXELS", "--dot-volt": "V", "--free-path": "NM",
         "--hot-amplitude": "TIMES", "--ice": "NM", "--out-prefix": "PREFIX",
         "--phase-shift": "DEGREES", "--pitch": "DEGREES", "--pixel": "A", "--shifts": "PIXELS",
         "--start": "DEGREES", "--step": "DEGREES", "--voltage": "KV"}


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def group(title):
        part = parser.add_argument_group(title)

        def add(name, default, text, **more):
            if default is not None and "action" not in more:
                shown = default if isinstance(default, list) else [default]
                text += f" (default {' '.join(map(str, shown))})"
            if not {"action", "choices", "metavar"} & set(more):
                more["metavar"] = UNITS.get(name, "N")
            part.add_argument(name, default=default, help=text, **more)
        return add

    add = group("specimen")
    add("--specimen", "chains", "blobs: textured blobs, vesicles, filaments; chains: of residues, "
        "also as rings and rods; white: points of random sign; none: only --dots and --gold",
        choices=["blobs", "chains", "white", "none"])
    add("--crowding", 1.0, "how much there is of it, times the usual", type=float)
    add("--ice", None, "its thickness in nm (default 0.9 NZ)", type=float)
    add("--dots", None, "Gaussian dots at these places, in pixels from the volume's centre "
        "(begin with a space where X is negative)", type=dot, nargs="+", metavar="X,S,Y")
    add("--dot-sigma", 1.0, "of the dots, in pixels", type=float)
    add("--dot-volt", 5.0, "the dots' potential at their middle", type=float)
    add("--carbon-edge", None, "carbon right of so many pixels from the volume's centre",
        type=float)
    add("--gold", 0, "so many beads of 10 nm in all of it", type=int)
    add("--seed", 1, "of everything random", type=int)
    add = group("geometry")
    add("--size", [128, 48, 64], "images of NX x NY pixels, the volume NZ thick", nargs=3,
        type=int, metavar=("NX", "NY", "NZ"))
    add("--pixel", 5.4, "in angstroms", type=float)
    add("--range", [-60.0, 60.0], "tilt angles in degrees", nargs=2, type=float,
        metavar=("FIRST", "LAST"))
    add("--step", 3.0, "between tilt angles", type=float)
    add("--pitch", 0.0, "rotation about x in degrees", type=float)
    add("--axis-shift", 0.0, "columns from the images' centre to the tilt axis", type=float)
    add("--shifts", 0.0, "standard deviation of each view's shift in pixels", type=float)
    add("--axis-angle", 0.0, "from y to the tilt axis in degrees, counterclockwise", type=float)
    add("--axis-drift", 0.0, "by so many degrees more in the last view than in the first",
        type=float)
    add = group("microscope")
    add("--no-ctf", False, "a CTF of 1 everywhere", action="store_true")
    add("--voltage", 300.0, "in kV", type=float)
    add("--cs", 2.7, "spherical aberration in mm", type=float)
    add("--amplitude-contrast", 0.07, "as a fraction", type=float)
    add("--phase-shift", 0.0, "of a phase plate, in degrees", type=float)
    add("--defocus", 3.0, "at the volume's centre, in micrometres; underfocus is positive",
        type=float)
    add("--defocus-jitter", 0.0, "standard deviation of each view's defocus, in micrometres",
        type=float)
    add("--astigmatism", [0.0, 0.0], "the defocus along ANGLE (degrees from x, counterclockwise) "
        "less that across, in micrometres", nargs=2, type=float, metavar=("UM", "ANGLE"))
    add("--hand", 1, "-1: depth counts the other way round", type=int, choices=[1, -1])
    add("--depth-step", None, "thickness of a layer of one defocus in nm (default: one whose "
        "phase is right to 0.05 radians at the highest frequency along x)", type=float)
    add = group("exposure")
    add("--dose-per-view", 2.0, "electrons for each square angstrom", type=float)
    add("--scheme", "symmetric", "the order of views: from --start, two and two on either side "
        "(Hagen); from --start up, then down; from the first angle to the last",
        choices=["symmetric", "bidirectional", "continuous"])
    add("--start", 0.0, "the first view's angle", type=float)
    add("--no-damping", False, "exposure takes nothing away", action="store_true")
    add("--damping-at", "middle", "of a view's exposure", choices=["middle", "end"])
    add("--b-factor", 60.0, "in square angstroms: what else is lost at high frequencies",
        type=float)
    add("--free-path", 320.0, "of electrons in the specimen, in nm", type=float)
    add("--snr", None, "white noise instead of counted electrons: the variance of the signal "
        "in the view nearest 0 degrees over that of the noise", type=float)
    add("--noise-free", False, "expected electrons instead of counted ones", action="store_true")
    add = group("detector")
    add("--hot-pixels", 0, "so many, the same in all views", type=int)
    add("--flashes", 0, "so many in each view, each in one half", type=int)
    add("--hot-amplitude", 20.0, "of hot pixels and flashes, times a view's mean", type=float)
    add("--dead-pixels", 0, "so many, the same in all views", type=int)
    add = group("output")
    add("--output", "counts", "electrons, or these over the view's mean, less 1",
        choices=["counts", "contrast"])
    add("--no-truth", False, "leave out the potential", action="store_true")
    add("--dark", False, "dense matter is dark", action="store_true")
    add("--jobs", os.cpu_count() or 1, "processes", type=int)
    add("--out-prefix", "sim", "how the files' names begin")
    return checked(parser, parser.parse_args())


def checked(parser, a):
    if min(a.size) < 8 or not a.step > 0 or not a.range[0] <= a.range[1]:
        parser.error("needs at least 8 pixels each way, a step above 0 and a range upwards")
    if max(map(abs, a.range)) > 75 or abs(a.pitch) > 30:
        parser.error("a specimen without end is seen up to 75 degrees of tilt and 30 of pitch")
    if min(a.pixel, a.voltage, a.dose_per_view, a.free_path, a.dot_sigma) <= 0:
        parser.error("--pixel, --voltage, --dose-per-view, --free-path and --dot-sigma must be "
                     "above 0")
    if a.ice is None:
        a.ice = 0.9 * a.size[2] * a.pixel / 10
    if a.depth_step is None:
        a.depth_step = 0.1 / (np.pi * wavelength(a.voltage)) * (2 * a.pixel) ** 2 / 10
    if a.snr is not None and (not a.snr > 0 or a.noise_free):
        parser.error("--snr must be above 0, and there is no noise with --noise-free")
    if a.ice <= 0 or a.depth_step <= 0 or a.crowding < 0 or not 0 <= a.amplitude_contrast <= 1:
        parser.error("--ice and --depth-step must be above 0, --crowding at least 0, "
                     "--amplitude-contrast from 0 to 1")
    if min(a.hot_pixels, a.dead_pixels, a.flashes, a.gold) < 0 or \
            a.hot_pixels + a.dead_pixels > a.size[0] * a.size[1]:
        parser.error("there cannot be so many bad pixels or beads")
    return a


def main():
    global SCENE
    a = parse_arguments()
    try:
        SCENE = Scene(a)
    except ValueError as error:
        raise SystemExit(f"simulate.py: {error}") from None
    numbers = range(len(SCENE.views))
    if a.jobs > 1:
        with multiprocessing.get_context("fork").Pool(a.jobs) as pool:
            halves = np.array(pool.map(halves_of, numbers, chunksize=1))
    else:
        halves = np.array([halves_of(number) for number in numbers])
    write_all(SCENE, halves, None if a.no_truth else truth_of(SCENE))
    print(f"{len(SCENE.x)} points, {len(SCENE.views)} views of {a.size[0]} x {a.size[1]}, "
          f"{a.range[0]:g} to {SCENE.views[-1]['tilt']:g} degrees, pixel {a.pixel:g} A")


if __name__ == "__main__":
    main()
