"""Program of tests/mpi/test_pool.py: argv[1] is what to do, argv[2] marks the processes."""

import signal
import sys
import threading
import time

from evo.parallel import open_pool


def square(x):
    time.sleep(0.01)
    return x * x


def fail(x):
    raise ValueError("planted")


def large(x):
    """A megabyte in, a megabyte out: more than MPI sends without a receiver."""
    return sum(x), b"x" * 2**20


def spent(x):
    """CPU seconds of this rank so far, and a megabyte."""
    return time.process_time(), b"x" * 2**20


def sleep(x):
    time.sleep(0.05)
    return x


def sleep_long(seconds):
    time.sleep(seconds)
    return seconds


def sleep_longer(seconds):
    time.sleep(seconds)
    return seconds


def alarmed(x):
    """Only the first thread of a process may do this."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    time.sleep(0.05)
    return x


def collect_all(pool):
    results = {}
    while arrived := pool.collect():
        for key, value in arrived:
            assert key not in results
            results[key] = value
    return results


def main():
    pool = open_pool()
    if pool is None:
        return
    try:
        if sys.argv[1] == "busy":
            pool.submit("before", spent, 0)
            time.sleep(4)  # as in a long calculation of its own
            (before, _) = collect_all(pool)["before"]
            pool.submit("after", spent, 0)
            (after, _) = collect_all(pool)["after"]
            print(after - before, flush=True)
            return
        if sys.argv[1] == "uneven":
            start = time.monotonic()
            for n, seconds in enumerate([0.5, 0.5, 3.0, 0.5, 0.5, 0.5, 0.5]):  # the long one comes to rank 0 or rank 1
                pool.submit(f"second {n}", sleep_long, seconds)
            found = collect_all(pool)
            print(len(found), time.monotonic() - start, flush=True)
            return
        if sys.argv[1] == "stop":
            asked, kept = [], []
            pool.attach(lambda: bool(asked), lambda results: kept.extend(results))
            for n in range(8):
                pool.submit(f"{n}", sleep_long, 0.5)
            threading.Timer(0.2, lambda: asked.append(True)).start()
            found = collect_all(pool)
            pool.cancel()
            print(len(found) + len(kept), flush=True)
            return
        if sys.argv[1] == "keep":  # what is kept while rank 0 is in a task of its own, and when
            kept, start = [], time.monotonic()
            pool.attach(bool, lambda results: kept.extend((key, time.monotonic() - start) for key, _ in results))
            for n, seconds in enumerate([0.3, 2.5, 0.3, 0.3]):  # the first goes to rank 1, the second to rank 0
                pool.submit(f"{n}", sleep_long, seconds)
            found = collect_all(pool)
            print(len(kept), len(found), max(when for _, when in kept), flush=True)
            return
        if sys.argv[1] == "alarm":  # a calculator that guards itself by a signal
            for n in range(4):
                pool.submit(f"{n}", alarmed, n)
            print(sum(collect_all(pool).values()), flush=True)
            return
        if sys.argv[1] == "behind":  # a quick task while rank 1 has a slow one
            pool.submit("quick before", sleep_long, 0.01)
            collect_all(pool)
            start = time.monotonic()
            pool.submit("slow", sleep_longer, 2.5)
            pool.submit("quick", sleep_long, 0.01)
            first = pool.collect()
            print(first[0][0], time.monotonic() - start, flush=True)
            collect_all(pool)
            return
        function = {"sum": square, "fail": fail, "forever": sleep, "large": large}[sys.argv[1]]
        rounds = 10**6 if sys.argv[1] == "forever" else 1
        for n in range(rounds):
            for x in range(40):
                pool.submit(f"{n}/{x}", function, bytes([x]) + bytes(2**20) if function is large else x)
            if n == 0 and sys.argv[1] == "forever":
                print("ready", flush=True)
            results = collect_all(pool)
            if function is large:
                results = {key: total for key, (total, _) in results.items()}
        print(len(results), sum(results.values()), flush=True)
    finally:
        pool.close()


if __name__ == "__main__":
    main()
