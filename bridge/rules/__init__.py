"""Rules: which of them match an alert, and which condition of the others said no.

In: an Alert and a RuleBook. Out: Matches. What a matching rule sends is pipeline.decide's business.
"""
