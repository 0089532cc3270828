"""The health of weights: statistics per neuron along the right axis, in one streaming pass over the bytes."""
