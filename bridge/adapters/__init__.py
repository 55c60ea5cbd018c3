"""The outside world, each part behind a thin translation: the ledger, HTTP, Redis, files, processes."""
