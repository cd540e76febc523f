"""A crystal for engines, programs that behave as engines do on bad days, and who is still alive after them."""

from __future__ import annotations

import time
from pathlib import Path

from ase import Atoms

PAIR = Atoms(
    "CuPd",
    cell=[[2.7, 0, 0], [0.4, 2.9, 0], [0.3, -0.5, 3.6]],
    scaled_positions=[[0, 0, 0], [0.52, 0.47, 0.49]],
    pbc=True,
)

# stands in for the Python that has GPAW: python pretender.py MODE gpaw_program.py about|run ...
PRETENDER = """
import json, os, signal, subprocess, sys, time
mode, what, rest = sys.argv[1], sys.argv[3], sys.argv[4:]
if what == "about":
    sets = {s: {"valence": 11, "file": "abc"} for s in ("Cu", "Pd")}
    print(json.dumps({"versions": {"gpaw": "0"}, "setups": {s: sets.get(s) for s in rest[1:]}}))
    sys.exit()
job = json.load(open(rest[0]))
n = len(job["numbers"])
good = {"free_energy": -3.5 * n, "energy_zero": -3.4 * n, "forces": [[0.0] * 3] * n, "stress": [[0.0] * 3] * 3,
        "steps": 9, "k_points": 4, "bands": 20}
def finish(**changes):
    json.dump(good | changes, open(rest[1], "w"))
    sys.exit()
if mode == "good": finish()
if mode == "mesh":  # errors of opposite sign on the two meshes, that fall with the number of points
    off = (1 if job["shifted"] else -1) * n * 0.1 / len(job["k_points"])
    finish(free_energy=-3.5 * n + off + 0.02 * n * job["width"])
if mode == "moments": finish(moments=job["moments"] if any(job["moments"]) else None)
if mode == "no stress": finish(stress=None)
if mode == "nan": finish(free_energy=float("nan"))
if mode == "huge": finish(forces=[[900.0, 0, 0], [-900.0, 0, 0]][:n] if n > 1 else [[0.0] * 3], stress=[[90.0] * 3] * 3)
if mode == "net force": finish(forces=[[0.5, 0.0, 0.0]] * n)
if mode == "wrong shape": finish(forces=[[0.0] * 3] * (n + 1))
if mode == "all steps": finish(steps=60)
if mode == "no mercy": finish(failure=["unconverged", "60 steps"])
if mode == "second mixer": finish(**({} if job["mixer"] else {"failure": ["unconverged", "60 steps"]}))
if mode == "first attempt is dear" and not job["mixer"]:
    while time.process_time() < 2.0: pass
    finish(failure=["unconverged", "60 steps"])
if mode == "first attempt is dear": finish()
if mode == "asked to end": os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)
if mode == "text": open(rest[1], "w").write("Segmentation fau"); sys.exit()
if mode == "empty": open(rest[1], "w"); sys.exit()
if mode == "silent": sys.exit()
if mode == "raises": raise MemoryError("no room for the wave functions")
if mode == "killed": os.kill(os.getpid(), signal.SIGKILL)
if mode == "hangs":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "1000"], start_new_session=True)  # as a launcher leaves a daemon
    open(os.environ["MARK"], "w").write(" ".join(map(str, [os.getpid(), os.getppid()])))
    time.sleep(1000)
raise ValueError(mode)
"""


def below(process: int) -> list[int]:
    """All processes that this one started, and those below them."""
    found, waiting = [], [process]
    while waiting:
        for task in Path(f"/proc/{waiting.pop()}/task").glob("*/children"):
            try:
                children = [int(c) for c in task.read_text().split()]
            except OSError:
                continue
            found += children
            waiting += children
    return found


def alive(process: int) -> bool:
    """Whether it runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def gone(processes: list[int], seconds: float) -> bool:
    """Whether all of them end within this time."""
    end = time.monotonic() + seconds
    while any(alive(p) for p in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def wait_for(file: Path, seconds: float = 60.0) -> str:
    """The content of a file once it is there."""
    end = time.monotonic() + seconds
    while not (file.exists() and file.stat().st_size):
        assert time.monotonic() < end, f"{file} did not appear"
        time.sleep(0.02)
    return file.read_text()
