"""Weights of two models compared: as matrices of neurons x synapses, whatever the exporter did to their layout."""
