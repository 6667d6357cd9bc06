"""The billing core's times, rates and memory: `python -m benchmarks billing`. See docs/benchmarks.md."""
