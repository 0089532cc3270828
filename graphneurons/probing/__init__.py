"""What the neurons of a layer respond to: concepts read from their activations by probes, against controls."""
