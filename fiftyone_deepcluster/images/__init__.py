"""A list of files becomes batches of tensors: decode once, cache, augment on the device."""
