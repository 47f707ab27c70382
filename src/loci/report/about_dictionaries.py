"""What the results of dictionaries are, in words. See `about`."""

from loci.report.about import entry

entry(
    "dictionaries.OpenedDictionary",
    "a dictionary",
    "Which conventions fit it?",
    "A low FVU at a plausible L0 says that it is read as it was trained.",
)

entry(
    "dictionaries.TrainedDictionary",
    "a trained dictionary",
    "How well does it reconstruct, with how few features?",
    "FVU and L0 are of text that was held out.",
)

entry(
    "dictionaries.TrainedDictionaries",
    "trained dictionaries",
    "How well do they reconstruct, with how few features?",
    "FVU and L0 are of text that was held out.",
)

entry(
    "dictionaries.DictionaryJudgement",
    "a dictionary's scores",
    "What does the model lose when it runs on the reconstruction?",
    "Recovered loss is between ablation (0) and the model itself (1).",
)

entry(
    "dictionaries.FeatureCard",
    "a feature",
    "What does it fire at, and what does it write?",
    "Contexts with the firing token marked; tokens that it promotes and suppresses.",
)

entry(
    "dictionaries.Recovery",
    "recovered features",
    "Are the known features found again?",
    "Matched cosine and share found, where the true features are known.",
)

entry(
    "dictionaries.FactSparsity",
    "facts in features",
    "How many features carry half of a fact's effect at the subject?",
    "Medians over facts, beside single neurons and random directions; fewer is sparser.",
)

entry(
    "dictionaries.AttributeIsolation",
    "isolated attributes",
    "Can one attribute of an entity be changed without the others?",
    "Cause: the attribute follows. Isolation: the others stay. Both have to be high.",
)

entry(
    "dictionaries.AttributionGraph",
    "an attribution graph",
    "What adds up to this answer?",
    "Edges are direct effects; nodes and errors sum to the score.",
)
