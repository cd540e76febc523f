"""The commands of `evo`; the list is in `evo --help`. Data on stdout, everything else on stderr."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from evo import parallel  # first of all: it remembers which process is the parent

if TYPE_CHECKING:
    from evo.report.phases import Phase

# One thread per task in every linear algebra library: the bits of a result must not depend on the machine.
# This has to happen before numpy is imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"

EXIT_OK = 0
EXIT_USAGE = 64  # bad settings or command line
EXIT_DATA = 65  # bad input data: seed file, library
EXIT_ABSENT = 69  # a program or package that is needed is not there
EXIT_INTERNAL = 70  # an unforeseen error; please report it
EXIT_LOCKED = 73  # the directory is being run by another process
EXIT_IO = 74  # disk full, directory not writable, damaged database
EXIT_INTERRUPTED = 130  # by a second ^C
EXIT_DRAINED = 75  # stopped on request; the same command goes on


class _Parser(argparse.ArgumentParser):
    """Bad usage has the same exit code as bad settings."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit codes are documented in README.md."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        print("evo: interrupted; nothing acknowledged is lost", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except Exception as error:  # noqa: BLE001 - whatever it is, it has an exit code
        code = _exit_code(error)
        if code is None:  # nobody foresaw it: the trace is for a report
            traceback.print_exc()
            return EXIT_INTERNAL
        print(f"evo: {error}", file=sys.stderr)
        return code


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="evo", description="Evolutionary search for crystals.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print versions and exit")
    commands = parser.add_subparsers(required=True, metavar="command", parser_class=_Parser)

    def add(name: str, function: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(command=function)
        return made

    init = add("init", _init, "write DIR/campaign.toml with every key and its default")
    init.add_argument("system", help="elements such as Cu-Pt, or a formula such as Cu4Pd4 for fixed composition")
    init.add_argument("directory", type=Path)
    check = add("check", _check, "check settings, files, reference; make a few candidates; estimate the cost")
    check.add_argument("directory", type=Path)
    run = add("run", _run, "run or resume the campaign in DIR; also under mpirun")
    run.add_argument("directory", type=Path)
    run.add_argument("--walltime", help="stop cleanly after HH:MM:SS (exit code 75); the same command goes on")
    run.add_argument("--accept-library", action="store_true", help="go on although network.library has changed")
    run.add_argument("--quiet", action="store_true", help="no progress")
    status = add("status", _status, "how far the campaign in DIR is")
    status.add_argument("directory", type=Path)
    status.add_argument("--json", action="store_true")
    results = add("results", _results, "the hull found so far, or everything near it")
    results.add_argument("directory", type=Path)
    near = "everything up to so far above the hull, at most 200 meV/atom; the reference's where it has been asked"
    results.add_argument("--within", type=_near, metavar="MEV", help=near)
    form = results.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true")
    form.add_argument("--csv", action="store_true", help="every field but the crystal, energies in eV/atom")
    export = add("export", _export, "write the hull phases to OUT (.db, .extxyz, .cif)")
    export.add_argument("directory", type=Path)
    export.add_argument("-o", "--output", type=Path, required=True)
    what = export.add_mutually_exclusive_group()
    what.add_argument("--within", type=_near, metavar="MEV", help=near)
    what.add_argument(
        "--labels", action="store_true", help="instead everything the reference has said, for `potentials data add`"
    )
    first = add("bootstrap", _bootstrap, "make and label a diverse first set of crystals for SYSTEM, resumable")
    first.add_argument("system", help="elements such as Cu-Pt")
    first.add_argument("-o", "--output", type=Path, required=True, help="labels: .extxyz, also .gz, .xz, .bz2")
    first.add_argument(
        "--reference",
        default="emt",
        metavar="WHO",
        help='"emt", "package.module:Class", or a .toml file with [reference] (campaign.toml will do)',
    )
    budget = first.add_mutually_exclusive_group()
    budget.add_argument("--calls", type=int, metavar="N", help="reference calls (800)")
    budget.add_argument("--hours", type=float, metavar="H", help="predicted CPU hours of the reference instead")
    first.add_argument("--seed", type=_seed, default=0)
    first.add_argument("--atoms", type=int, default=8, metavar="N", help="of the largest cell, at most 8")
    submit = add("submit", _submit, "hand the campaign in DIR to Slurm: the ranks, and the workers of its queue")
    submit.add_argument("directory", type=Path)
    submit.add_argument("--print", action="store_true", help="print the scripts, submit nothing")
    submit.add_argument("--ranks", type=_count, default=1, metavar="N", help="of the search, one GPU or core each")
    submit.add_argument("--launcher", default="mpirun", help="of the ranks: mpirun or srun")
    submit.add_argument("--workers", type=_count, metavar="N", help="jobs that ask the reference (1)")
    submit.add_argument("--cores", type=_count, default=1, metavar="N", help="of a worker, for its program's launcher")
    submit.add_argument("--time", default="24:00:00", help="HH:MM:SS of each job; it is queued again until it is done")
    for whose in ("ranks", "workers"):
        text = f"for sbatch, as --{whose}-option=--partition=long"
        submit.add_argument(f"--{whose}-option", action="append", default=[], metavar="--X=Y", help=text)
    text = "shell line such as `module load espresso`"
    submit.add_argument("--setup", action="append", default=[], metavar="LINE", help=text)
    reference = commands.add_parser("reference", help="what is asked of the reference outside a campaign")
    asked = reference.add_subparsers(required=True, metavar="command", parser_class=_Parser)
    text = "label every structure of FILE, resumable"
    label = asked.add_parser("label", help=text, description=text)
    label.set_defaults(command=_reference_label)
    label.add_argument("file", type=Path, help="structures, any format that ASE reads")
    label.add_argument(
        "-o", "--output", type=Path, required=True, help="labelled structures: .extxyz, also .gz, .xz, .bz2"
    )
    label.add_argument(
        "--settings", type=Path, help="campaign.toml, or a file with its [reference] alone; EMT without it"
    )
    label.add_argument("--retry", action="store_true", help="try again what failed before")
    label.add_argument("--at-most", type=_count, metavar="N", help="stop after so many calculations")
    text = "so many calculations at a time, each in a process of its own (default 1)"
    label.add_argument("--at-once", type=_count, default=1, metavar="N", help=text)
    text = "how energies, forces and stresses of FILE's structures move with the settings; resumable"
    converge = asked.add_parser("converge", help=text, description=text)
    converge.set_defaults(command=_reference_converge)
    converge.add_argument("file", type=Path, help="structures, any format that ASE reads")
    converge.add_argument("-o", "--output", type=Path, required=True, help="journal of all calculations")
    converge.add_argument("--settings", type=Path, required=True, help="campaign.toml, or its [reference] alone")
    converge.add_argument(
        "--vary",
        nargs="+",
        required=True,
        metavar="NAME=A,B",
        help="options and their values, the best last: kspacing=0.06,0.04",
    )
    text = "do the reference's tasks of a campaign with reference.queue, on any machine that sees the directory"
    work = asked.add_parser("work", help=text, description=text)
    work.set_defaults(command=_reference_work)
    work.add_argument(
        "directory", type=Path, help="the queue: reference.queue of the campaign; made if it is not there"
    )
    work.add_argument("--settings", type=Path, help="a file whose [reference.options] say what differs on this machine")
    work.add_argument("--walltime", help="stop after HH:MM:SS (exit code 75); the task under way is given back")
    work.add_argument("--idle", help="end when nothing has been to do for HH:MM:SS")
    return parser


class _Version(argparse.Action):
    def __call__(self, *_: object) -> None:
        from evo.software import versions

        print("\n".join(f"{name} {version}" for name, version in versions().items()))
        raise SystemExit(EXIT_OK)


def _init(options: argparse.Namespace) -> int:
    from evo.settings import SettingsError, parse, template
    from evo.shipped import library_for

    system, path = options.system, options.directory / "campaign.toml"
    if any(ch.isdigit() for ch in system):
        elements, formula = parse({"system": {"formula": system}}, system).system.elements, system
    else:
        elements, formula = parse({"system": {"elements": system.split("-")}}, system).system.elements, ""
    if path.exists():
        raise SettingsError(f"{path} is there already; edit it, or choose another directory")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(template(elements, formula, *library_for(elements)), encoding="utf-8")
    print(path)
    return EXIT_OK


def _check(options: argparse.Namespace) -> int:
    from evo.report.check import check

    for line in check(options.directory):
        print(line, flush=True)
    return EXIT_OK


def _run(options: argparse.Namespace) -> int:
    from evo.job import run

    pool = parallel.open_pool()
    if pool is None:  # a rank that has served its tasks
        return EXIT_OK
    try:
        return run(
            options.directory,
            pool,
            walltime=options.walltime,
            accept_library=options.accept_library,
            quiet=options.quiet,
        )
    except Exception as error:
        if _exit_code(error) is None:  # the other ranks must not wait for ever
            traceback.print_exc()
            parallel.abort(EXIT_INTERNAL)
        raise
    finally:
        pool.close()


def _submit(options: argparse.Namespace) -> int:
    from evo.submit import Job, scripts, submit

    job = Job(
        ranks=options.ranks,
        launcher=options.launcher,
        workers=options.workers,
        cores=options.cores,
        time=options.time,
        ranks_options=options.ranks_option,
        workers_options=options.workers_option,
        setup=options.setup,
    )
    if options.print:
        for name, text in scripts(options.directory, job).items():
            print(f"#### {name}.sh\n{text}")
    else:
        print("\n".join(submit(options.directory, job)))
    return EXIT_OK


def _near(text: str) -> float:
    """meV/atom on the command line, eV/atom here."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 200:
        raise argparse.ArgumentTypeError(f"must be meV/atom from 0 to 200, got {text}")
    return value / 1000


def _seed(text: str) -> int:
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a number of 0 or more, got {text}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a number of 1 or more, got {text}")
    return int(text)


def _status(options: argparse.Namespace) -> int:
    from evo.notes import read_notes
    from evo.queue.directory import census
    from evo.settings import load

    notes, section = read_notes(options.directory), load(options.directory / "campaign.toml").reference
    if options.json:
        print(json.dumps(notes["progress"]))
    else:
        print(notes["line"])
        queue = options.directory / section.queue
        # to ask what time it is there is to write: who may only read the campaign is told the rest
        if section.queue and notes["progress"]["stage"] != "done" and os.access(queue, os.W_OK):
            print(f"queue {section.queue}: {census(queue)}")
    return EXIT_OK


def _results(options: argparse.Namespace) -> int:
    from evo.report import phases

    rows = _phases(options)
    if options.json:
        print(json.dumps(phases.to_json(rows)))
    elif options.csv:
        print(phases.to_csv(rows), end="")
    else:
        print(phases.table(rows))
    return EXIT_OK


def _phases(options: argparse.Namespace) -> list[Phase]:
    """The hull, or with --within what is near it."""
    from evo.notes import read_near, read_notes
    from evo.report.phases import from_json

    if options.within is None:
        return from_json(read_notes(options.directory)["phases"])
    return from_json(read_near(options.directory), options.within)


def _export(options: argparse.Namespace) -> int:
    from evo.report import answers
    from evo.report.export import write
    from evo.settings import load
    from potentials.units import EV_PER_A3_PER_GPA

    if options.labels:
        print(f"{options.output}: {answers.write(options.directory, options.output)} labelled crystals")
        return EXIT_OK
    pressure = load(options.directory / "campaign.toml").system.pressure_GPa * EV_PER_A3_PER_GPA
    print(*write(_phases(options), options.output, pressure), sep="\n")
    return EXIT_OK


def _bootstrap(options: argparse.Namespace) -> int:
    from evo import first_set
    from evo.cell import Space
    from evo.reference import open_reference
    from evo.settings import SettingsError, load_reference, parse

    elements = parse({"system": {"elements": options.system.split("-")}}, options.system).system.elements
    who, directory = options.reference, Path()
    if who == "none":
        raise SettingsError('--reference: "none" labels nothing; name another')
    if who.endswith(".toml"):
        section, directory = load_reference(Path(who)), Path(who).parent
    else:
        engine = {"engine": "ase", "calculator": who} if ":" in who else {"engine": who}
        section = parse({"system": {"elements": elements}, "reference": engine}, "--reference").reference
    reference = open_reference(section, str(directory))
    if reference is None:
        raise SettingsError(f'{who}: reference.engine = "none" labels nothing; name an engine')
    for name, value, least in (
        ("calls", options.calls, 1),
        ("hours", options.hours, 1e-9),
        ("atoms", options.atoms, 1),
    ):
        if value is not None and not least <= value < math.inf:
            raise SettingsError(f"--{name} must be positive and finite, got {value}")
    space = Space(first_set.numbers_of(elements), (1, options.atoms))
    calls = options.calls or first_set.DEFAULT_CALLS
    if options.hours is not None:
        calls = first_set.calls_within(options.hours, section, space, options.seed)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    finished = first_set.make(space, calls, options.seed, options.output, reference, say)
    print(options.output)
    return EXIT_OK if finished else EXIT_DRAINED


def _reference_label(options: argparse.Namespace) -> int:
    from evo.reference import open_reference
    from evo.reference.collect import label_file
    from evo.settings import ReferenceSection, SettingsError, load_reference

    section = load_reference(options.settings) if options.settings else ReferenceSection()
    directory = options.settings.parent if options.settings else Path()
    reference = open_reference(section, str(directory))
    if reference is None:
        raise SettingsError(f'{options.settings}: reference.engine = "none" labels nothing; name an engine')

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    finished = label_file(
        options.file,
        options.output,
        reference,
        retry=options.retry,
        at_most=options.at_most,
        at_once=options.at_once,
        say=say,
    )
    if options.output.exists():
        print(options.output)
    elif finished:
        say(f"nothing is labelled, so there is no {options.output}; the reasons are beside it, in .failures.json")
    return EXIT_OK if finished else EXIT_DRAINED


def _reference_converge(options: argparse.Namespace) -> int:
    from evo.reference.collect import structures
    from evo.reference.converge import converge, parse_values, table
    from evo.reference.journal import Journal
    from evo.settings import load_reference

    values, section, crystals = parse_values(options.vary), load_reference(options.settings), structures(options.file)

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    journal = Journal(options.output)
    try:
        print(table(converge(crystals, section, values, journal, say)))
    finally:
        journal.close()
    return EXIT_OK


def _reference_work(options: argparse.Namespace) -> int:
    from evo.reference import for_worker
    from evo.settings import duration, load_reference
    from evo.worker import work

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    finished = work(
        options.directory,
        for_worker(load_reference(options.settings), options.settings.parent) if options.settings else None,
        walltime=duration(options.walltime, "--walltime") if options.walltime else None,
        idle=duration(options.idle, "--idle") if options.idle else None,
        say=say,
    )
    return EXIT_OK if finished else EXIT_DRAINED


def _exit_code(error: Exception) -> int | None:
    """The documented code of an error that a user can act on; None for one that is ours."""
    if isinstance(error, OSError):
        return EXIT_IO
    code: int | None = getattr(error, "exit_code", None)
    return code


if __name__ == "__main__":
    sys.exit(main())
