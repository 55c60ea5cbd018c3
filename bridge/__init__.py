"""Incident Bridge: webhooks in, one incident per problem out, at a pace the account allows."""

__version__ = "0.1.0"
