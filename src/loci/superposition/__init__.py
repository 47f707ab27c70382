"""How many directions fit into d dimensions, proved and shown, and what their sharing costs."""
