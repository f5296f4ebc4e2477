"""A virtual shop: the other side of the agent's wires, with the truth written down.

It shares the profile, the clock and the errors with the agent and nothing else.
"""
