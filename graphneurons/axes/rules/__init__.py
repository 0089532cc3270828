"""The tables: one line of text per op, one file per op set."""
