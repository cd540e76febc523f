"""Small campaigns for the fault tests, and the programs that run them."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

ASKED = re.compile("reference/[cv][0-9]")  # keys of single points
RELAXED = re.compile(r"end\d+/final/[^/]+")  # and of relaxations by the reference
MPIEXEC = Path(sys.executable).parent / "mpiexec"

# as small as networks come
NETWORK = """
[network]
radial = 2
angular = 2
pair = 4
hidden = 4
members = 2
retrain_iterations = 2
"""

SMALL = (
    """
[campaign]
seed = 3
[system]
elements = ["Cu", "Pd"]
atoms = [1, 3]
[search]
chunks = {chunks}
chunk_size = 6
symmetric_start = 2
in_flight = 3
[reference]
every = 2
lag = 1
per_round = 4
max_calls = 30
final_steps = 2
[bootstrap]
max_calls = 60
"""
    + NETWORK
)

# the same search by EMT itself: no bootstrap, no training
BY_EMT = """
[system]
elements = ["Cu", "Pd"]
atoms = [1, 2]
[search]
chunks = {chunks}
chunk_size = 4
[relax]
engine = "ase"
calculator = "ase.calculators.emt:EMT"
[reference]
engine = "none"
"""


def write(directory: Path, text: str, **values: int) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "campaign.toml").write_text(text.format(**values) if values else text)
    return directory


def evo(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """Run `evo` in a process of its own; stdout and stderr as text."""
    command = [sys.executable, "-m", "evo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


def start(ranks: int, *arguments: object) -> subprocess.Popen[str]:
    """Start `evo` under mpiexec, as a process group of its own."""
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "evo", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def processes(directory: Path) -> list[int]:
    """Process ids of the ranks that run this campaign."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if str(directory) in words and "python" in words[0] and state != "Z":
                found.append(int(entry.name))
    return sorted(found)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def without_seconds(value):
    """A JSON value without CPU seconds, which no two runs share."""
    if isinstance(value, dict):
        return {k: without_seconds(v) for k, v in value.items() if "seconds" not in k}
    return [without_seconds(v) for v in value] if isinstance(value, list) else value


def run(directory, *options):
    """The phases of a campaign after `evo run`."""
    done = evo("run", directory, "--quiet", *options)
    assert done.returncode == 0, done.stderr
    return json.loads(evo("results", directory, "--json").stdout)


def stored(directory, prefix):
    """What the campaign has kept under keys that begin so."""
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:
        rows = database.execute("SELECT key, value FROM results").fetchall()
    return {key: json.loads(value) for key, value in rows if key.startswith(prefix)}


def told(directory):
    """Labels of all calls of the reference after the bootstrap, by key."""
    asked = re.compile(r"(end\d+/)?(reference/[clve][0-9]|final/).*")
    found = {key: r for key, r in stored(directory, "").items() if asked.fullmatch(key)}
    return {key: r if isinstance(r, list) else [r] for key, r in found.items()}
