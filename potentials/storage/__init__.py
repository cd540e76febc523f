"""A library's directory: its index, its lock, the labelled crystals in it, and the account of what it cost."""
