"""The figures of the design, each as one command: python -m bench.accept, python -m bench.latency."""
