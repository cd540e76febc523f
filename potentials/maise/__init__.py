"""Published models of MAISE (doi:10.1016/j.cpc.2020.107679): neural networks and Gupta potentials, read into a library.

box            the header of a file: rows of keys and values
network_file   one neural network
gupta_file     one Gupta potential
importing      files of one family, cut into strata, each stored once
"""
