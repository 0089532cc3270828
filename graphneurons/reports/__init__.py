"""Analyses as text, JSON, CSV, Markdown and HTML. Pure functions: nothing here prints or opens a file to write."""
