"""However the work is divided, the file is the same, byte for byte."""
import re

import numpy as np
import pytest

from conftest import read_mrc, write_series

N_U, N_V, THICKNESS, N_VIEWS = 60, 101, 20, 13
LITTLE = "65M"  # not enough for slabs as large as they are with more


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("series")
    rng = np.random.default_rng(5)
    views = rng.normal(size=(N_VIEWS, N_V, N_U)) + 3
    views[:, 60:] += 3  # less noise for its mean: rows that reach a tolerance sooner
    views[4, 50, 7] = np.nan
    write_series(folder, views, np.linspace(-60, 57, N_VIEWS))
    np.savetxt(folder / "s.xtilt", 1.5 * np.sin(np.arange(N_VIEWS)))
    np.savetxt(folder / "no_mean.xtilt", (np.arange(N_VIEWS) * 5 % 13 - 6) * 0.25)
    turn = [[np.cos(a), -np.sin(a), np.sin(a), np.cos(a), 3 * a, 1]
            for a in 0.05 * np.arange(N_VIEWS)]
    np.savetxt(folder / "s.xf", turn)
    np.savetxt(folder / "s.tlt", np.linspace(-60, 57, N_VIEWS))
    return folder


WAYS = [dict(ranks=2), dict(ranks=3), dict(ranks=5), dict(threads=2), dict(memory=LITTLE)]
FEWER = [dict(ranks=3, threads=2), dict(memory=LITTLE)]

CASES = {
    "WBP": "-a WBP",
    "WBP pitch 6": "-a WBP --pitch 6",
    "FBP pitch 6 xyz half": "-a FBP --pitch 6 --order xyz --mode half",
    "BPT xyz int16": "-a BPT --order xyz --mode int16",
    "WBP pitch -20 int16": "-a WBP --pitch -20 --mode int16",
    "SIRT": "-a SIRT -i 6",
    "SIRT pitch 6 xyz": "-a SIRT -i 4 --pitch 6 --order xyz",
    "SIRT tolerance": "-a SIRT -i 9 --tolerance 0.41 --outside zero",
    "SIRT pitch 6 tolerance byte": "-a SIRT -i 9 --tolerance 0.41 --outside zero --pitch 6 --mode byte",
    "SART tolerance": "-a SART -i 3 --tolerance 0.45 --outside zero",
    "WBP x-tilts": "-a WBP --xtilts s.xtilt",
    "SIRT x-tilts without mean": "-a SIRT -i 2 --xtilts no_mean.xtilt",
    "WBP x-tilts pitch 6 int16 HDF5": "-a WBP --xtilts s.xtilt --pitch 6 --mode int16",
    "BPT xyz int16 HDF5 deflate": "-a BPT --order xyz --mode int16 --deflate 6",
    "WBP bin 2": "-a WBP --bin 2",
    "BPT transforms": "-a BPT --transforms s.xf",
    "FBP some slices": "-a FBP --slices 13:77 --mode uint16",
}


@pytest.mark.parametrize("case", CASES)
def test_the_file_is_the_same_however_it_is_made(tiltrec, series, tmp_path, case,
                                                 sanitized):
    output = tmp_path / ("rec.hdf" if "HDF5" in case else "rec.mrc")
    options = [*CASES[case].split(), "-T", THICKNESS, "-o", output, "s_ali.mrc"]

    def run(memory="4G", **how):
        said = tiltrec(*options, "--memory", memory, cwd=series, **how).stderr
        made = output.read_bytes()
        output.unlink()
        return made, re.search(r"slabs? of (\d+) rows", said)[1]

    alone, most_rows = run()
    fixed = "pitch" in case or "x-tilts" in case  # slabs that cannot be made smaller
    for way in FEWER if sanitized else WAYS:
        if fixed and "memory" in way:
            way = {**way, "memory": "100M"}
        made, rows = run(**way)
        assert made == alone, f"{way}: differs from one process with one thread"
        if way == {"memory": LITTLE} and "bin" not in case:
            assert int(rows) < int(most_rows)


@pytest.mark.parametrize("algorithm", ["SIRT", "SART"])
def test_initial(tiltrec, series, tmp_path, algorithm):
    """The volume that is read, too, however it is divided."""
    start = tmp_path / "start.mrc"
    tiltrec("-a", "BPT", "--pitch", 6, "-T", THICKNESS, "-o", start, "s_ali.mrc",
            cwd=series)
    made = set()
    for way in (dict(), dict(ranks=3), dict(threads=2)):
        output = tmp_path / "rec.mrc"
        tiltrec("-a", algorithm, "-i", 2, "--pitch", 6, "--initial", start, "-T",
                THICKNESS, "-o", output, "s_ali.mrc", cwd=series, **way)
        made.add(output.read_bytes())
        assert np.ptp(read_mrc(output)) > 0
    assert len(made) == 1


def test_some_slices_are_those_of_the_whole(tiltrec, series, tmp_path):
    """At a pitch and with x-tilts as well, where slices need their neighbours."""
    for options in ("-a WBP", "-a SIRT -i 3 --pitch 6",
                    "-a WBP --pitch -9 --xtilts s.xtilt"):
        volumes = []
        for slices in ("0:100", "37:58"):
            tiltrec(*options.split(), "-T", THICKNESS, "--slices", slices, "-o",
                    tmp_path / "rec.mrc", "s_ali.mrc", cwd=series)
            volumes.append(read_mrc(tmp_path / "rec.mrc"))
        assert np.array_equal(volumes[0][37:59], volumes[1])


def test_the_tolerances_above_stop_some_slices_and_not_others(tiltrec, series, tmp_path):
    for algorithm, iterations, tolerance in (("SIRT", 9, 0.41), ("SART", 3, 0.45)):
        volumes = []
        for limit in (0, tolerance):
            tiltrec("-a", algorithm, "-i", iterations, "--tolerance", limit, "-T",
                    THICKNESS, "--outside", "zero", "-o", tmp_path / "rec.mrc", "s_ali.mrc", cwd=series)
            volumes.append(read_mrc(tmp_path / "rec.mrc"))
        stopped = np.any(volumes[0] != volumes[1], axis=(1, 2))
        assert 10 < stopped.sum() < N_V - 10
