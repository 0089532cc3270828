"""What is timed inside a process: functions that import and prepare, and return the call to time.

Each takes one subject (a path, or the name of a network) and is first run on a small one, so that nothing is timed that
is only loaded once.
"""
