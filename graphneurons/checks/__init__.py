"""Rules about weights, wiring and quantization, and the policy that says which of them count."""
