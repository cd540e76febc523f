"""Program of tests/mpi/test_pool.py: argv[1] is what to do, argv[2] marks the processes."""

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
            asked = []
            pool.until(lambda: bool(asked))
            for n in range(8):
                pool.submit(f"{n}", sleep_long, 0.5)
            threading.Timer(0.2, lambda: asked.append(True)).start()
            found = collect_all(pool)
            pool.cancel()
            print(len(found), flush=True)
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
