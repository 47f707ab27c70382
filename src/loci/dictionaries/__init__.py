"""Which sparser features lie underneath? Sparse autoencoders and transcoders: opened, trained,
judged, browsed.

dictionary = loci.dictionaries.load_dictionary("sae/layers.3.mlp")
features = dictionary.encode(activations)
"""

from loci.dictionaries.attribution_graphs import attribution_graph
from loci.dictionaries.conventions import OpenedDictionary, open_dictionary
from loci.dictionaries.dictionary import Dictionary
from loci.dictionaries.fact_units import FactSparsity, fact_sparsity
from loci.dictionaries.feature_cards import FeatureCard, read_features
from loci.dictionaries.graph_export import export_graph, graph_document
from loci.dictionaries.graph_results import AttributionGraph
from loci.dictionaries.isolation import AttributeIsolation, attribute_isolation
from loci.dictionaries.judging import DictionaryJudgement, judge
from loci.dictionaries.loading import load_dictionary, save_dictionary
from loci.dictionaries.settings import DictionarySettings
from loci.dictionaries.training import TrainedDictionary, train
from loci.dictionaries.transcoder_sets import TranscoderSet, load_transcoders

__all__ = [
    "AttributeIsolation",
    "AttributionGraph",
    "Dictionary",
    "DictionaryJudgement",
    "DictionarySettings",
    "FactSparsity",
    "FeatureCard",
    "OpenedDictionary",
    "TrainedDictionary",
    "TranscoderSet",
    "attribute_isolation",
    "attribution_graph",
    "export_graph",
    "fact_sparsity",
    "graph_document",
    "judge",
    "load_dictionary",
    "load_transcoders",
    "open_dictionary",
    "read_features",
    "save_dictionary",
    "train",
]
