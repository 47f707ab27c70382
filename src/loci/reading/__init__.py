"""What neurons look for and what they write."""

from loci.reading.read import NeuronCard, Trigger, parse_neuron, project, promoted, read, read_many, read_weights

__all__ = ["NeuronCard", "Trigger", "parse_neuron", "project", "promoted", "read", "read_many", "read_weights"]
