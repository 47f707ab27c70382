"""The embedded world: facts, phrasings, plain sentences, and the model trained on them. Data only;
see `CARD.md`.
"""
