"""Stratified neural-network interatomic potentials."""
