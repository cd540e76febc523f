"""A directory as a queue of tasks, for processes that share nothing but a file system."""
