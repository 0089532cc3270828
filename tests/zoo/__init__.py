"""Real models for the tests: built here with fixed seeds, exported by PyTorch's own exporters, checked element by element."""
