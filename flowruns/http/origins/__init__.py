"""Which hosts and origins a request may have, and what other origins may read."""
