"""What every axis of a weight indexes: rules as text, and the coordinates that carry them back to the stored tensor."""
