"""Bad input gets one clear line that says what to write instead, and a documented exit code; nothing is lost."""

import json
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ase.build import bulk

from evo.prepare import seed_remarks
from evo.settings import parse
from evo.store import Store
from potentials.library import Library
from tests.faults.campaigns import BY_EMT, SMALL, evo, start, write


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line of this run, after its exit code was checked."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("evo")
    return lines[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[system]\nelements = ["Cu"]\n[serach]\n', "did you mean `search`"),
        ('[system]\nelements = ["Cu"]\natoms = [1, "eight"]\n', "eight"),
        ('[system]\nelements = "Cu"\n', "valid list"),
        ('[system]\nelements = ["Cu", "Si"]\n', "cannot do Si"),
        ('[system]\nelements = ["Cu"\n', "not valid TOML"),
        ('[system]\nelements = ["Cu"]\n[reference]\nengine = "ase"\ncalculator = "no.such:Thing"\n', "no.such"),
        ('[system]\nelements = ["Cu"]\n[network]\nlibrary = "nowhere"\n', "nowhere"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run"])
def test_campaign_files(tmp_path, text, expected, command):
    done = evo(command, write(tmp_path / "c", text))
    assert expected in complaint(done, 65 if "nowhere" in text else 64)


def test_command_line():
    assert "invalid choice" in complaint(evo("serach"), 64)
    assert "required" in complaint(evo("run"), 64)


def test_seed_file(tmp_path):
    directory = write(tmp_path / "c", '[seeds]\nfiles = ["seed.cif"]\n' + BY_EMT, chunks=1)
    assert "seed.cif" in complaint(evo("run", directory), 65)
    (directory / "seed.cif").write_text("data_\nloop_\n_cell_length_a 3.6 broken\n")
    assert "seed.cif" in complaint(evo("run", directory), 65)
    bulk("Au", "fcc", a=4.1).write(directory / "seed.cif")
    assert "Au" in complaint(evo("run", directory), 65)
    bulk("Cu", "fcc", a=3.6).write(directory / "seed.cif")
    assert evo("run", directory, "--quiet").returncode == 0
    bulk("Cu", "fcc", a=3.7).write(directory / "seed.cif")
    assert "others than when this campaign began" in complaint(evo("run", directory, "--quiet"), 64)


def test_moments_of_seeds_are_left_out_aloud(tmp_path):
    """One that is antiferromagnetic would be asked about as something else, and nobody would know."""
    directory = write(tmp_path / "c", '[seeds]\nfiles = ["seed.extxyz"]\n' + BY_EMT, chunks=1)
    seed = bulk("Cu", "fcc", a=3.6, cubic=True)
    seed.set_initial_magnetic_moments([1.0, -1.0, 1.0, -1.0])
    seed.write(directory / "seed.extxyz")
    told = "the magnetic moments in seed.extxyz are left out"
    assert evo("check", directory).stdout.count(f"beware: {told}") == 1
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0
    assert done.stderr.count(told) == 1 and "reference.options" not in done.stderr
    text = BY_EMT.replace('engine = "none"', 'engine = "gpaw"')
    settings = parse(tomllib.loads('[seeds]\nfiles = ["seed.extxyz"]\n' + text.format(chunks=1)))
    assert "set reference.options.moments" in seed_remarks(settings, directory)[0]
    seed.set_initial_magnetic_moments(None)
    seed.write(directory / "seed.extxyz")
    assert seed_remarks(settings, directory) == []


def test_directory_that_cannot_be_written(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    (directory / "out").write_text("a file where a directory should be")
    assert "cannot be written" in complaint(evo("run", directory), 74)


def test_commands_before_any_run(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    for command in (["status"], ["results"], ["export", "-o", tmp_path / "x.cif"]):
        assert "evo run" in complaint(evo(command[0], directory, *command[1:]), 74)


def test_init_keeps_what_is_there(tmp_path):
    assert evo("init", "Cu-Pt", tmp_path / "c").returncode == 0
    before = (tmp_path / "c" / "campaign.toml").read_text()
    assert "is there already" in complaint(evo("init", "Cu-Pt", tmp_path / "c"), 64)
    assert (tmp_path / "c" / "campaign.toml").read_text() == before
    assert "Qq" in complaint(evo("init", "Cu-Qq", tmp_path / "d"), 64)


def test_init_check_run_results_export(tmp_path):
    directory = tmp_path / "c"
    assert evo("init", "Cu", directory).returncode == 0
    checked = evo("check", directory)
    assert checked.returncode == 0, checked.stderr
    assert "candidate" in checked.stdout and "cost" in checked.stdout
    write(directory, BY_EMT, chunks=2)
    done = evo("run", directory)
    assert done.returncode == 0, done.stderr
    assert len(done.stderr.strip().splitlines()) >= 2  # one line per chunk
    shown = evo("results", directory)
    assert "Cu" in shown.stdout and "Pd" in shown.stdout
    for suffix in ("db", "extxyz", "cif"):
        told = evo("export", directory, "-o", tmp_path / f"x.{suffix}")
        assert told.returncode == 0
        assert told.stdout and all(Path(file).exists() for file in told.stdout.split())
    assert (tmp_path / "x.db").exists() and (tmp_path / "x.extxyz").exists() and list(tmp_path.glob("x-*.cif"))
    assert "must end in" in complaint(evo("export", directory, "-o", tmp_path / "x.pdf"), 64)


def test_check_tells_of_a_library_that_was_labelled_by_another_method(tmp_path):
    directory = tmp_path / "c"
    directory.mkdir()
    text = '[system]\nelements = ["Cu"]\n[network]\nlibrary = "cu-pd-ag-pbe"\n[reference]\nengine = "emt"\n'
    (directory / "campaign.toml").write_text(text)
    checked = evo("check", directory)
    assert checked.returncode == 0, checked.stderr
    (method,) = set(Library.open("cu-pd-ag-pbe").data_as_labelled().methods)
    assert f"beware: cu-pd-ag-pbe was labelled by {method}, the reference is ref:" in checked.stdout
    few = "[search]\nchunks = 1\nchunk_size = 4\n"
    (directory / "campaign.toml").write_text(text + "max_calls = 2\n" + few)
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0 and f"beware: cu-pd-ag-pbe was labelled by {method}" in done.stderr
    (directory / "campaign.toml").write_text('[system]\nelements = ["Cu"]\n')
    assert "beware" not in evo("check", directory).stdout


def test_changed_settings_are_refused_and_more_chunks_are_not(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    assert evo("run", directory).returncode == 0
    write(directory, "[campaign]\nseed = 9\n" + BY_EMT, chunks=1)
    assert "campaign.seed was 0" in complaint(evo("run", directory), 64)
    write(directory, BY_EMT, chunks=2)
    assert evo("run", directory).returncode == 0


def test_a_refused_start_binds_nobody(tmp_path):
    """What was wrong is put right in the same directory, as the message says."""
    wrong = {
        "max_calls = 60": ("max_calls = 5", "must allow at least 27 calls"),
        "hidden = 4": ("hidden = 4\ncutoff = 1.0", "`cutoff` must be at least 1.8"),
        "radial = 2": ("radial = 30", "`radial` must be between"),
        '["Cu", "Pd"]': ('["Cu", "Fe"]', "cannot do Fe"),
        "max_calls = 30": ('max_calls = 30\nengine = "ase"\ncalculator = "no.such:Thing"', "no.such"),
    }
    directory = tmp_path / "c"
    for right, (other, expected) in wrong.items():
        assert right in SMALL
        write(directory, SMALL.replace(right, other), chunks=3)
        if right in ("hidden = 4", "radial = 2"):
            assert expected in complaint(evo("check", directory), 64)
        assert expected in complaint(evo("run", directory, "--quiet"), 64)
    write(directory, BY_EMT, chunks=1)
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "done 1/1" in evo("status", directory).stdout


def test_networks_of_a_campaign_whose_database_is_gone_are_kept(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    Library.open("cu-pd-ag-pbe").copy(directory / "out" / "library")
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0 and "it is library.before-1 now, network.library takes it" in done.stderr
    assert Library.open(directory / "out" / "library.before-1").version() == Library.open("cu-pd-ag-pbe").version()


def test_a_start_that_was_killed_at_once_is_no_other_version(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    (directory / "out").mkdir()
    store = Store(directory / "out" / "campaign.sqlite", writer=True)
    store.set_note("settings", "{}")
    store.close()
    assert evo("run", directory, "--quiet").returncode == 0


def test_a_seed_that_is_kept_out_is_named(tmp_path):
    directory = write(tmp_path / "c", '[seeds]\nfiles = ["slab.extxyz"]\n' + BY_EMT, chunks=1)
    slab = bulk("Cu", "fcc", a=3.6, cubic=True)
    slab.center(vacuum=40.0, axis=2)
    slab.write(directory / "slab.extxyz")
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "evo: a crystal of seeds.files, Cu, 4 atoms, was kept out: absurd volume" in done.stderr


def test_an_export_that_cannot_be_written(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    assert evo("run", directory, "--quiet").returncode == 0
    assert "cannot be written" in complaint(evo("export", directory, "-o", "/proc/hull.db"), 74)


def test_a_mark_at_the_beginning_of_the_settings_is_no_error(tmp_path):
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    file = directory / "campaign.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert evo("check", directory).returncode == 0


def test_a_campaign_of_another_version_is_refused_in_one_line(tmp_path):
    """It would be replayed by a program that chooses otherwise."""
    directory = write(tmp_path / "c", BY_EMT, chunks=1)
    assert evo("run", directory, "--quiet").returncode == 0
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:
        database.execute("UPDATE meta SET value = '0' WHERE key = 'algorithm'")
    assert "another version of this program" in complaint(evo("run", directory, "--quiet"), 65)
    assert evo("results", directory).returncode == 0


def test_what_belongs_to_the_machine_may_change(tmp_path):
    reference = 'engine = "gpaw"\nqueue = "q"\n[reference.options]\ncutoff = 500.0\nseconds = 60.0'
    text = BY_EMT.replace('engine = "none"', reference)
    directory = write(tmp_path / "c", text, chunks=1)
    first = start(1, "run", directory)
    try:
        assert first.stderr.readline()
    finally:
        first.terminate()
        first.communicate(timeout=120)
    with sqlite3.connect(directory / "out" / "campaign.sqlite") as database:  # something has been worked out
        database.execute("INSERT INTO results (key, value) VALUES ('bootstrap/0', '{}')")
    for old, new, refused in (("60.0", "90.0", False), ("500.0", "600.0", True)):
        write(directory, text := text.replace(old, new), chunks=1)
        again = start(1, "run", directory)
        try:
            assert ("reference.options was" in again.stderr.readline()) == refused
        finally:
            again.terminate()
            again.communicate(timeout=120)


def test_a_calculator_may_call_its_options_what_it_likes(tmp_path):
    """`moments` need not be one for each element, and `threads` may be what energies depend on."""
    options = "{{ moments = [1.0, -1.0], threads = 2 }}"
    reference = f'engine = "ase"\ncalculator = "mine:make"\noptions = {options}\nmax_calls = 2'
    text = BY_EMT.replace('engine = "none"', reference)
    directory = write(tmp_path / "c", text, chunks=1)
    made = "from ase.calculators.emt import EMT\n\ndef make(moments, threads):\n    return EMT()\n"
    (directory / "mine.py").write_text(made)
    done = evo("run", directory, "--quiet")
    assert done.returncode == 0, done.stderr
    write(directory, text.replace("threads = 2", "threads = 3"), chunks=1)
    assert "reference.options was" in complaint(evo("run", directory, "--quiet"), 64)


def test_a_display_that_is_closed_stops_nothing(tmp_path):
    """`evo run DIR 2>&1 | head -1`: exit code 0 means that the campaign has ended."""
    directory = write(tmp_path / "c", BY_EMT, chunks=12)
    process = subprocess.Popen(
        [sys.executable, "-m", "evo", "run", str(directory)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(timeout=120) == 0
    assert json.loads(evo("status", directory, "--json").stdout)["stage"] == "done"


def test_a_calculator_that_relaxes_must_stay_what_it_is(tmp_path):
    directory = write(tmp_path / "c", BY_EMT.replace("ase.calculators.emt:EMT", "mine:make"), chunks=1)
    calculator = directory / "mine.py"
    calculator.write_text("from ase.calculators.emt import EMT\n\ndef make(some=()):\n    return EMT()\n")
    text = (directory / "campaign.toml").read_text()
    listed = text.replace('calculator = "mine:make"', 'calculator = "mine:make"\noptions = { some = [1, [2]] }')
    (directory / "campaign.toml").write_text(listed)  # options may be lists
    assert evo("run", directory, "--quiet").returncode == 0
    calculator.write_text(calculator.read_text() + "# another\n")
    assert "the calculator that relaxes is ref:" in complaint(evo("run", directory, "--quiet"), 65)


LICENSED = """
from pathlib import Path

from ase.calculators.emt import EMT

class Licensed(EMT):
    calls = 0

    def calculate(self, *arguments):
        Licensed.calls += 1
        if Licensed.calls > 2 and Path(__file__).with_name("down").exists():  # two: whether it can do both elements
            raise RuntimeError("licence server is down")
        super().calculate(*arguments)

def make():
    return Licensed()
"""


def test_a_reference_that_fails_always_is_named_and_asked_again(tmp_path):
    text = SMALL.replace("[reference]\n", '[reference]\nengine = "ase"\ncalculator = "mine:make"\n')
    directory = write(tmp_path / "c", text.replace("max_calls = 60", "max_calls = 30"), chunks=1)
    (directory / "mine.py").write_text(LICENSED)
    (directory / "down").touch()
    told = complaint(evo("run", directory, "--quiet"), 69)
    assert "licence server is down" in told and "asks again" in told
    (directory / "down").unlink()
    again = evo("run", directory, "--quiet")
    assert again.returncode == 0 and "licence server" not in again.stderr, again.stderr


def test_a_bootstrap_that_is_too_small_is_refused_before_it_costs_anything(tmp_path):
    directory = write(tmp_path / "c", SMALL.replace("max_calls = 60", "max_calls = 26"), chunks=1)
    for command in ("check", "run"):
        words = "bootstrap.max_calls (or max_hours) must allow at least 27 calls for Cu-Pd, got 26"
        assert words in complaint(evo(command, directory), 64)


def test_second_start_on_a_running_campaign(tmp_path):
    directory = write(tmp_path / "c", SMALL, chunks=400)
    first = start(1, "run", directory)
    try:
        assert first.stderr.readline()
        assert "is being run by process" in complaint(evo("run", directory), 73)
    finally:
        first.terminate()
        first.communicate(timeout=120)


def test_full_disk(tmp_path):
    """The run stops with one line, and goes on when there is room again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=72k", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small file system needs root")
    try:
        directory = write(disk / "c", BY_EMT, chunks=12)
        assert "nothing acknowledged is lost" in complaint(evo("run", directory, "--quiet"), 74)
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        done = evo("run", directory)
        assert done.returncode == 0, done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=False)
