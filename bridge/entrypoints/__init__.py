"""Where the outside world comes in: HTTP, RQ, the clock, the terminal."""
