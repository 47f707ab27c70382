"""What neurons look for and what they write."""

from loci.reading.read import NeuronCard, Trigger, norm_gain, parse_neuron, project, promoted, read, read_many

__all__ = ["NeuronCard", "Trigger", "norm_gain", "parse_neuron", "project", "promoted", "read", "read_many"]
