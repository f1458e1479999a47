"""Networks whose forward pass gives features and logits."""
