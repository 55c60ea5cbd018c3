"""The methods of the ledger, by who asks: one per transaction, named after what becomes true."""
