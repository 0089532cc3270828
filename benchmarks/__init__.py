"""Side-by-side measurements: the same work by this package and by its peers, in one run on one machine.

    python -m benchmarks --quick

See docs/performance.md. The harness needs the standard library only; what it measures lives in an environment of its
own.
"""
