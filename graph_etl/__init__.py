"""Tables and text to a validated, versioned graph snapshot."""
