"""What the README's figures come from: `python -m benchmarks`. See docs/benchmarks.md."""
