"""The web process: webhooks in, 202 out; the read API; health. No upstream is called inside a request."""
