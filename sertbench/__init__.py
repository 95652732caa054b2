"""sertbench: a benchmark harness for speech emotion recognition whose table can be trusted."""

__version__ = "0.1.0"
