"""The example scripts for clusters, run without a cluster: srun, sbatch and scontrol are
stand-ins that set and understand what the scripts use of Slurm."""
import json
import os
import shutil
import subprocess
import time

import numpy as np
import pytest

from conftest import MPI_ENVIRONMENT, ROOT, read_mrc, write_series

CLUSTER = ROOT / "examples" / "cluster"
ONDEMAND = ROOT / "examples" / "ondemand"
STAND_INS = {
    # Starts the job's tasks; options are given as --name=value.
    "srun": """#!/bin/sh
while case $1 in --*) true ;; *) false ;; esac; do echo "$1" >> "$SHIM_LOG"; shift; done
exec "$TR_MPIEXEC" -n "$SLURM_NTASKS" "$@"
""",
    "scontrol": """#!/bin/sh
echo "scontrol $*" >> "$SHIM_LOG"
""",
}


@pytest.fixture
def job(build_dir, tmp_path):
    """job(script, *arguments, **variables): a batch job with this environment."""
    shims = tmp_path / "bin"
    shims.mkdir()
    for name, text in STAND_INS.items():
        (shims / name).write_text(text)
        (shims / name).chmod(0o755)
    log = tmp_path / "shim.log"

    def run(script, *arguments, cwd, ntasks=2, **variables):
        log.write_text("")
        environment = {**os.environ, **MPI_ENVIRONMENT, "SHIM_LOG": str(log),
                       "TR_MPIEXEC": os.environ.get("TR_MPIEXEC", "mpiexec"),
                       "PATH": f"{shims}:{build_dir}:{os.environ['PATH']}",
                       "SLURM_JOB_ID": "77", "SLURM_NTASKS": str(ntasks),
                       "SLURM_CPUS_PER_TASK": "1", **variables}
        environment.pop("SLURM_JOB_END_TIME", None)
        environment.update(variables)
        done = subprocess.run(["bash", str(script), *map(str, arguments)], cwd=cwd, text=True,
                              capture_output=True, timeout=120, env=environment)
        assert "Sanitizer" not in done.stderr, done.stderr
        return done, log.read_text()
    return run


def small_series(folder, name="ts_ali.mrc", seed=0):
    data = np.random.default_rng(seed).normal(10, 1, (9, 12, 16))
    return write_series(folder, data, np.arange(-40, 41, 10), name=name)


def sbatch_options(script):
    return dict(line[len("#SBATCH --"):].split("=", 1) if "=" in line else (line[10:], "")
                for line in script.read_text().splitlines() if line.startswith("#SBATCH --"))


@pytest.mark.parametrize("script", ["large.sbatch", "many.sbatch"])
def test_slurm_scripts_are_clean(script):
    options = sbatch_options(CLUSTER / script)
    assert {"time", "cpus-per-task", "mem", "output", "signal", "requeue"} <= set(options)
    if not shutil.which("shellcheck"):
        pytest.skip("no shellcheck")
    done = subprocess.run(["shellcheck", str(CLUSTER / script)], text=True,
                          capture_output=True)
    assert done.returncode == 0, done.stdout


def test_one_large_series(job, tmp_path):
    """Out of time it keeps what is done and asks for the queue; then it goes on."""
    small_series(tmp_path)
    arguments = ["-a", "CGLS", "-i", 4, "-T", 8, "--checkpoint", 0.0001, "ts_ali.mrc"]
    volume = {"PROGRAM": "tiltrecz-mpi", "cwd": tmp_path}
    done, _ = job(CLUSTER / "large.sbatch", *arguments, "-o", "whole.mrc", **volume)
    assert done.returncode == 0, done.stderr

    over = str(int(time.time()) + 1)
    done, asked = job(CLUSTER / "large.sbatch", *arguments, SLURM_JOB_END_TIME=over, **volume)
    assert done.returncode == 6, done.stderr
    assert asked == "--cpus-per-task=1\nscontrol requeue 77\n"
    assert "job 77 goes back into the queue" in done.stdout
    assert not (tmp_path / "ts_rec.mrc").exists()
    done, asked = job(CLUSTER / "large.sbatch", *arguments, SLURM_RESTART_COUNT="1", **volume)
    assert done.returncode == 0 and asked == "--cpus-per-task=1\n", done.stderr
    assert "going on" in done.stderr, done.stderr
    assert (np.array_equal(read_mrc(tmp_path / "ts_rec.mrc"), read_mrc(tmp_path / "whole.mrc")))

    _, asked = job(CLUSTER / "large.sbatch", *arguments, "-o", "again.mrc",
                   SLURM_JOB_END_TIME=over, SLURM_RESTART_COUNT="20", **volume)
    assert "requeue" not in asked  # not for ever
    done, asked = job(CLUSTER / "large.sbatch", "-T", -1, "ts_ali.mrc", cwd=tmp_path)
    assert done.returncode == 2 and "requeue" not in asked  # an error would come again
    done, asked = job(CLUSTER / "large.sbatch", "-T", 8, "ts_ali.mrc", cwd=tmp_path,
                      LAUNCH="mpiexec -n 1")
    assert done.returncode == 0 and asked == ""


def test_many_series(job, tmp_path):
    series = []
    for k in range(3):
        (tmp_path / f"a folder {k}").mkdir()
        series.append(small_series(tmp_path / f"a folder {k}", f"ts{k}_ali.mrc", k))
    (tmp_path / "series.txt").write_text("".join(f"{path}\n" for path in series))

    def run(task, *options, memory=300):
        return job(CLUSTER / "many.sbatch", tmp_path / "series.txt", "-a", "WBP", "-T", 8,
                   *options, cwd=tmp_path, ntasks=1, SLURM_MEM_PER_NODE=str(memory),
                   SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID=str(task))

    done, asked = run(1, memory=96)  # megabytes, of which two thirds are too few
    assert done.returncode == 4 and asked == "" and "64 MiB are allowed" in done.stderr
    for k, path in enumerate(series, 1):
        done, asked = run(k)
        assert done.returncode == 0 and asked == "", done.stderr
        assert read_mrc(path.with_name(f"ts{k - 1}_rec.mrc")).shape == (12, 8, 16)
    stamp = series[1].with_name("ts1_rec.mrc").stat().st_mtime_ns
    done, _ = run(2, "--no-such-option")  # is not looked at
    assert done.returncode == 0 and "ts1_rec.mrc is there already" in done.stdout
    assert series[1].with_name("ts1_rec.mrc").stat().st_mtime_ns == stamp
    os.utime(series[1])  # a new series
    os.utime(series[1].with_name("ts1_rec.mrc"), ns=(0, 0))
    assert run(2)[0].returncode == 0
    assert series[1].with_name("ts1_rec.mrc").stat().st_mtime_ns > stamp
    assert run(4)[0].returncode == 2
    # Ended by the signal before its time is over.
    os.utime(series[0].with_name("ts0_rec.mrc"), ns=(0, 0))
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\nkill -TERM $$\n")
    done, asked = run(1)
    assert done.returncode == 143 and asked == "scontrol requeue 5_1\n"


# ---- Open OnDemand ----

RENDER = """
require "erb"; require "json"; require "yaml"; require "ostruct"
values = JSON.parse(ARGV[1])
context = OpenStruct.new(values)
scope = binding
values.each { |name, value| scope.local_variable_set(name, value) }
text = ERB.new(File.read(ARGV[0]), trim_mode: "-").result(scope)
print ARGV[2] == "yaml" ? JSON.generate(YAML.safe_load(text)) : text
"""
VALUES = {"series": "", "tilts": "", "algorithm": "WBP", "iterations": "3", "thickness": "8",
          "options": "", "ranks": "2", "threads": "1"}


def render(name, kind="text", **values):
    if not shutil.which("ruby"):
        pytest.skip("no ruby, in which Open OnDemand's forms are written (Debian: ruby)")
    done = subprocess.run(["ruby", "-e", RENDER, str(ONDEMAND / name),
                           json.dumps({**VALUES, **values}), kind], text=True,
                          capture_output=True, env={**os.environ, "LANG": "C.UTF-8"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if kind == "yaml" else done.stdout


def test_ondemand_form():
    form = render("form.yml.erb", "yaml")
    assert render("manifest.yml", "yaml")["role"] == "batch_connect"
    assert form["cluster"] == "my_cluster"
    own = [name for name in form["form"] if not name.startswith("bc_")]
    assert set(own) == set(VALUES) and set(form["attributes"]) <= set(form["form"])
    assert all("label" in form["attributes"][name] or name == "algorithm" for name in own)
    submit = render("submit.yml.erb", "yaml", ranks="4", threads="")
    assert submit["batch_connect"]["template"] == "basic"
    assert submit["script"]["native"] == ["--ntasks=4", "--cpus-per-task=1",
                                          "--signal=TERM@120"]


@pytest.mark.parametrize("algorithm, options", [("WBP", ""), ("SIRT", "--order xyz"),
                                                ("CGLS", "--mode half")])
def test_ondemand_script(job, tmp_path, algorithm, options):
    """Names with what a shell would take for its own are names."""
    folder = tmp_path / "my $(touch trap) 'data'"
    folder.mkdir()
    series = small_series(folder)
    script = tmp_path / "script.sh"
    script.write_text(render("template/script.sh.erb", series=str(series),
                             algorithm=algorithm, options=options,
                             tilts="ts_ali.tlt" if algorithm == "SIRT" else ""))
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    done, _ = job(script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shape = (8, 12, 16) if "xyz" in options else (12, 8, 16)
    assert read_mrc(folder / "ts_rec.mrc").shape == shape
    assert algorithm in done.stderr and not list(tmp_path.rglob("trap"))
