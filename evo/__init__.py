"""Evolutionary search for crystals, MPI-parallel and replayable to the bit."""
