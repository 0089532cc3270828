"""Real models for the tests: built with fixed seeds, exported by PyTorch's exporters, checked element by element."""
