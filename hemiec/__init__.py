"""High-throughput screening of high-entropy perovskite mixed ionic-electronic conductors."""

__version__ = "0.1.0"
