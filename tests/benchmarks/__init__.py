"""How fast flowruns is, beside what no service on uvicorn could do better: `python -m tests.benchmarks --help`."""
