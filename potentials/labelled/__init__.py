"""Labelled crystals: the record, the files they come from, the file they are kept in. `potentials.dataset` is the door."""
