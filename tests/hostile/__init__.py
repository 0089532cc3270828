"""Broken and hostile files, and the fuzzer: what must never crash, hang or mislead."""
